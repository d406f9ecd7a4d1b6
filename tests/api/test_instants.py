"""Which instants requests may name (api-conventions section 16)."""

from datetime import UTC, datetime

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from meterhouse.api.wire import Instant

AT = TypeAdapter[datetime](Instant)
# Forms of ISO 8601, or of Python, that RFC 3339 does not have.
FOREIGN = ["2026-01-01 00:00:00Z", "2026-01-01_00:00:00Z", "2026-01-01T00:00Z", "2026-01-01T00:00:00+0100"]
FOREIGN += ["2026-01-01T00:00:00+01", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00 Z"]
FOREIGN += ["2026-01-01T00:00:00", "2026-01-01", "20260101T000000Z", " 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n"]
FOREIGN += ["1767225600", "\u0662026-01-01T00:00:00Z", "now", ""]
# In the form, but on no calendar and no clock.
IMPOSSIBLE = ["2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00+24:00", "0001-01-01T00:00:00+01:00"]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01t00:00:00z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00+05:30", datetime(2025, 12, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-01T00:00:00-00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00.5Z", datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-01T00:00:00.123456789Z", datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_instants_of_rfc_3339(text: str, instant: datetime) -> None:
    assert AT.validate_python(text) == instant


@pytest.mark.parametrize("value", [*FOREIGN, 1767225600, 1.5, True, None, {}, b"2026-01-01T00:00:00Z"], ids=repr)
def test_other_forms_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="must be an RFC 3339 instant with an offset or Z"):
        AT.validate_python(value)


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_instants_that_do_not_exist(text: str) -> None:
    with pytest.raises(ValidationError):
        AT.validate_python(text)


async def test_queries_and_bodies_name_the_instant_that_is_refused(client: httpx.AsyncClient) -> None:
    plan, customer = {"key": "pro"}, {"key": "acme"}
    for text in FOREIGN + IMPOSSIBLE:
        for answer, field in (
            (await client.get("/api/v1/billing/invoices", params={"createdAfter": text}), "$.createdAfter"),
            (
                await client.post("/api/v1/subscriptions", json={"plan": plan, "billingAnchor": text}),
                "$.billingAnchor",
            ),
            (
                await client.post(
                    "/api/v3/openmeter/subscriptions",
                    json={"plan": plan, "customer": customer, "billing_anchor": text},
                ),
                "$.billing_anchor",
            ),
        ):
            assert answer.status_code == 400, (text, answer.text)
            assert field in [one["field"] for one in answer.json()["extensions"]["validationErrors"]], text
