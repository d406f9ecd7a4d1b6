"""Time fields of standard invoices (billing section 4.2)."""

from datetime import datetime

import pytest

from meterhouse.billing.invoices.times import InvoiceTimes, invoice_times
from meterhouse.kernel.periods import Duration
from tests.invoices.conftest import at

MONTH = Duration(days=30)
NONE = Duration()


def times(
    created: datetime,
    *closes: datetime | None,
    draft: Duration = NONE,
    due: Duration = MONTH,
    auto: bool = True,
    issued: datetime | None = None,
) -> InvoiceTimes:
    return invoice_times(
        created_at=created, issued_at=issued, closes=closes, auto_advance=auto, draft_period=draft, due_after=due
    )


# What charges say: a final run closes at the charge's end + 1 h + 1 min, a partial one 1 min after its own end.
@pytest.mark.parametrize(
    ("got", "collection", "draft_until", "due_at"),
    [
        (times(at("03-01T00:05"), at("03-01T01:01")), at("03-01T01:01"), at("03-01T01:01"), at("03-31T01:01")),
        (times(at("03-01T00:05:12"), None), None, at("03-01T00:05:12"), at("03-31T00:05:12")),
        (
            times(at("03-10T00:00"), at("03-01T01:01"), draft=Duration(days=3)),
            at("03-01T01:01"),
            at("03-13T00:00"),
            at("04-12T00:00"),
        ),
        (
            times(at("03-01T00:00"), None, auto=False, issued=at("03-05T10:00:00.700000")),
            None,
            None,
            at("04-04T10:00"),
        ),
        (times(at("03-15T12:00:03"), at("03-15T12:01")), at("03-15T12:01"), at("03-15T12:01"), at("04-14T12:01")),
        (
            times(at("03-04T00:00"), at("03-01T01:01"), at("03-04T01:01")),
            at("03-04T01:01"),
            at("03-04T01:01"),
            at("04-03T01:01"),
        ),
        (
            times(at("01-31T00:00"), at("01-31T01:01"), due=Duration(months=1)),
            at("01-31T01:01"),
            at("01-31T01:01"),
            at("02-28T01:01"),
        ),
    ],
    ids=["B1", "B2", "B3", "B4", "B5", "B6", "B7"],
)
def test_vectors(
    got: InvoiceTimes, collection: datetime | None, draft_until: datetime | None, due_at: datetime
) -> None:
    assert got == InvoiceTimes(collection, draft_until, due_at)


def test_without_auto_advance_nothing_is_due_before_the_issue() -> None:
    assert times(at("03-01T00:00"), auto=False) == InvoiceTimes(None, None, None)
