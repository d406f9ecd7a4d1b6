"""Metadata of v1 survives that v3 reads, changes something and writes back (api-conventions sections 15 and 24)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.api.labels import metadata_of, replaced_metadata
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import InvalidInput
from tests.catalog.http import client_of

V1, V3 = "/api/v1", "/api/v3/openmeter"
METADATA = {"team": "a", "not a label": "x", "note": "any text", "openmeter_own": "y"}


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client."""
    async with client_of(db) as client:
        yield client


def test_what_is_sent_back_as_it_was_shown_is_not_checked() -> None:
    shown = {**METADATA, "openmeter_managed_by": "system"}
    stored = METADATA, {"managed_by": "system"}
    assert metadata_of(shown, *stored) == METADATA
    assert metadata_of({"not a label": "x", "team": "b"}, *stored) == {"not a label": "x", "team": "b"}
    assert metadata_of({}, *stored) == {}
    for label in ({"not a label": "other"}, {"other text": "x"}, {"openmeter_managed_by": "me"}):
        with pytest.raises(InvalidInput):
            metadata_of(label, *stored)


def test_what_was_not_shown_stays() -> None:
    hidden = {"not a label": "x", "note": "any text", "openmeter_own": "y"}
    assert replaced_metadata({"team": "a"}, METADATA) == METADATA
    assert replaced_metadata({"team": "b", "tier": "c"}, METADATA) == {**hidden, "team": "b", "tier": "c"}
    assert replaced_metadata(None, METADATA) == hidden


async def test_a_plan_changed_by_v3_keeps_its_metadata(client: httpx.AsyncClient) -> None:
    price = {"type": "flat", "amount": "10", "paymentTerm": "in_advance"}
    card = {"type": "flat_fee", "key": "seats", "name": "Seats", "billingCadence": "P1M", "price": price}
    phase: dict[str, Any] = {"key": "main", "name": "Main", "duration": None, "metadata": METADATA}
    given = {"key": "pro", "name": "Pro", "currency": "USD", "metadata": METADATA}
    cards = [{**card, "metadata": METADATA}]
    for path, sent in (
        ("plans", {**given, "billingCadence": "P1M", "phases": [{**phase, "rateCards": cards}]}),
        ("addons", {**given, "instanceType": "single", "rateCards": cards}),
    ):
        made = (await client.post(f"{V1}/{path}", json=sent)).json()
        shown = (await client.get(f"{V3}/{path}/{made['id']}")).json()
        assert shown["labels"] == {"team": "a"}
        (holder,) = shown.get("phases", [shown])
        # Another price makes another card, and the rest is sent back as it was shown.
        holder["rate_cards"][0]["price"]["amount"] = "12"
        writable = ("name", "labels", "phases", "rate_cards", "instance_type")
        content = {name: shown[name] for name in writable if name in shown}
        changed = await client.put(f"{V3}/{path}/{made['id']}", json=content)
        assert changed.status_code == 200, changed.text
        stored = (await client.get(f"{V1}/{path}/{made['id']}")).json()
        (holder,) = stored.get("phases", [stored])
        assert holder["rateCards"][0]["price"]["amount"] == "12"
        assert [stored["metadata"], holder["metadata"], holder["rateCards"][0]["metadata"]] == [METADATA] * 3
