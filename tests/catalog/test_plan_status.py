"""Status of a plan version (catalog section 3.1)."""

from datetime import UTC, datetime

import pytest

from meterhouse.catalog.plans import PlanStatus, status
from tests.catalog.builders import plan

AT = datetime(2031, 5, 10, 12, tzinfo=UTC)


def day(month: int, number: int) -> datetime:
    """Name a midnight of 2031."""
    return datetime(2031, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, PlanStatus.DRAFT),
        (AT.replace(hour=11, minute=59, second=59), None, PlanStatus.ACTIVE),
        (day(5, 1), AT.replace(second=1), PlanStatus.ACTIVE),
        (day(5, 1), day(5, 9), PlanStatus.ARCHIVED),
        (day(6, 1), None, PlanStatus.SCHEDULED),
        (day(6, 1), day(6, 15), PlanStatus.SCHEDULED),
        (day(6, 1), day(5, 1), PlanStatus.ARCHIVED),
        (AT, None, PlanStatus.ACTIVE),
        (day(5, 1), AT, PlanStatus.ARCHIVED),
    ],
)
def test_every_instant_has_exactly_one_status(
    start: datetime | None, end: datetime | None, expected: PlanStatus
) -> None:
    assert status(plan(effective_from=start, effective_to=end), AT) is expected
