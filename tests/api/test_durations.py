"""Which durations requests may name (api-conventions section 17)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from meterhouse.api.v1.entitlements.parts import Interval
from meterhouse.api.wire import Interval as AnyInterval
from meterhouse.api.wire import ISODuration, UnsignedDuration
from meterhouse.catalog.ratecards import Cadence
from meterhouse.kernel.db import Database
from tests.catalog.http import client_of

V1, V3 = "/api/v1/plans", "/api/v3/openmeter/plans"
# What no calendar holds, or nothing can be a whole multiple of, or what is longer than nothing in some months only.
UNFIT = ["P" + "9" * 100 + "Y", "PT0." + "0" * 100 + "1S", "PT" + "9" * 1_000_001 + "S", "P" + "9" * 40 + "Y"]
UNFIT += ["PT0." + "0" * 40 + "1S", "PT0.0000001S", "P10000Y", "P101Y", "P1M-40D", "P1DT-48H"]

Place = Callable[[Any], tuple[str, dict[str, Any]]]


@pytest.mark.parametrize(
    "text", [*UNFIT, "P1M-1DT1H", "P\u0661M", "P", "PT", "P1.5M", "-P101Y", "P-101Y", ""], ids=lambda text: text[:20]
)
def test_durations_that_nothing_can_last(text: str) -> None:
    for kind in (ISODuration, Interval):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(
    "text", ["P100Y", "P1200M", "-P1M", "P1Y2M3W4DT5H6M7.000008S", "P0D", "P7D", "PT60M", "-P100Y"]
)
def test_durations_keep_their_units(text: str) -> None:
    found = TypeAdapter(ISODuration).validate_python(text)
    assert TypeAdapter(ISODuration).dump_python(found, mode="json") == text


@pytest.mark.parametrize("text", ["-P1M", "P-1D", "P1M-1D", "+P1M", "P+1M", "PT-0S"])
def test_durations_of_v3_have_no_signs(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(UnsignedDuration).validate_python(text)


@pytest.mark.parametrize("value", [{"months": 1}, {}, {"years": 5000}, 5, 1.5, True, None, ["P1M"], b"P1M"])
@pytest.mark.parametrize("kind", [ISODuration, UnsignedDuration, AnyInterval, Interval, Cadence])
def test_what_is_no_text_is_no_duration(kind: Any, value: object) -> None:
    """The last kind reads what is stored."""
    with pytest.raises(ValidationError, match=r"must be an ISO 8601 duration.* such as P1M"):
        TypeAdapter(kind).validate_python(value)


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of both API versions."""
    async with client_of(db) as client:
        yield client


def first(place: str) -> Place:
    """Write a plan of v1 with a duration at a place."""

    def body(text: object) -> tuple[str, dict[str, Any]]:
        template = {"type": "metered", "issueAfterReset": 5, "usagePeriod": "P1M"}
        card: dict[str, Any] = {"type": "flat_fee", "key": "fee", "name": "Fee", "billingCadence": "P1M"}
        card |= {"price": {"type": "flat", "amount": "5"}, "entitlementTemplate": template}
        phase: dict[str, Any] = {"key": "main", "name": "Main", "duration": None, "rateCards": [card]}
        plan = {"key": "pro", "name": "Pro", "currency": "USD", "billingCadence": "P1M", "phases": [phase]}
        {"usagePeriod": template, "duration": phase, "billingCadence": card}[place][place] = text
        return V1, plan

    return body


def third(place: str) -> Place:
    """Write a plan of v3 with a duration at a place."""

    def body(text: object) -> tuple[str, dict[str, Any]]:
        entitlement = {"type": "metered", "limit": 5, "usage_period": "P1M"}
        card: dict[str, Any] = {"key": "fee", "name": "Fee", "billing_cadence": "P1M", "entitlement": entitlement}
        card |= {"price": {"type": "flat", "amount": "5"}}
        phase: dict[str, Any] = {"key": "main", "name": "Main", "duration": "P1M", "rate_cards": [card]}
        plan = {"key": "pro", "name": "Pro", "currency": "USD", "billing_cadence": "P1M", "phases": [phase]}
        {"usage_period": entitlement, "duration": phase, "billing_cadence": card}[place][place] = text
        return V3, plan

    return body


PLACES = [
    *(first(place) for place in ("usagePeriod", "duration", "billingCadence")),
    *(third(place) for place in ("usage_period", "duration", "billing_cadence")),
]


@pytest.mark.parametrize("place", PLACES)
async def test_plans_name_the_duration_that_is_refused(client: httpx.AsyncClient, place: Place) -> None:
    for text in (*UNFIT, *(("-P1M", "+P1M") if place("")[0] == V3 else ())):
        path, plan = place(text)
        answer = await client.post(path, json=plan)
        assert answer.status_code == 400, (text, answer.text)
        assert "phases" in answer.text
    for value in ({"months": 1}, {}, {"years": 5000}, 5):
        path, plan = place(value)
        answer = await client.post(path, json=plan)
        assert answer.status_code == 400, (value, answer.text)
        assert "must be an ISO 8601 duration written as a string, such as P1M" in answer.json()["detail"]
    path, plan = place("P2M")
    assert (await client.post(path, json=plan)).status_code == 201


async def test_a_draft_of_v1_may_look_back(client: httpx.AsyncClient) -> None:
    path, plan = first("duration")("-P1D")
    answer = await client.post(path, json=plan)
    assert answer.status_code == 201
    assert "plan_phase_with_negative_duration" in [one["code"] for one in answer.json()["validationErrors"]]
