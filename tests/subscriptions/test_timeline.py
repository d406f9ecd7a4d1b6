"""The pure parts: intervals, offsets, status, periods (subscriptions sections 3 to 6)."""

import pytest

from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.periods import Duration, Period
from meterhouse.subscriptions.billing_period import aligned_period, aligned_period_or_refuse
from meterhouse.subscriptions.spec import from_plan
from meterhouse.subscriptions.status import Status, status_of
from meterhouse.subscriptions.timeline import current_phase, item_interval, phase_ends, shown_items
from meterhouse.subscriptions.views import ItemVersion, PhaseView, SubscriptionView
from tests.catalog.builders import flat_card, period, phase, plan, unit_card
from tests.subscriptions.conftest import at

START = at("2025-03-10T08")


def view(
    phases: list[tuple[str, str]] | None = None,
    *,
    start: str = "2025-03-10T08",
    end: str | None = None,
    anchor: str = "2025-01-01",
    deleted: str | None = None,
    items: dict[str, tuple[ItemVersion, ...]] | None = None,
) -> SubscriptionView:
    """Make a subscription of phases given by key and start."""
    starts = [(key, at(text)) for key, text in phases or [("only", start)]]
    ends = phase_ends([begins for _, begins in starts], (end and at(end)) or None)
    return SubscriptionView(
        id="sub",
        namespace="default",
        customer_id="customer",
        plan=None,
        name="Pro",
        description=None,
        metadata={},
        currency="USD",
        settlement_mode=SettlementMode.CREDIT_THEN_INVOICE,
        pro_rating_enabled=True,
        billing_cadence=Duration.parse("P1M"),
        billing_anchor=at(anchor),
        active_from=at(start),
        active_to=at(end) if end else None,
        created_at=at(start),
        updated_at=at(start),
        deleted_at=at(deleted) if deleted else None,
        phases=tuple(
            PhaseView(key, key, key, None, begins, ends_at, (items or {}).get(key, ()))
            for (key, begins), ends_at in zip(starts, ends, strict=True)
        ),
    )


def test_offsets_are_summed_before_they_are_added_to_the_start() -> None:
    laid_out = from_plan(
        plan(
            phase(flat_card(), key="a", duration="P1M"),
            phase(flat_card(), key="b", duration="P2M"),
            phase(flat_card(), key="c"),
        ),
        active_from=at("2025-01-31"),
        billing_anchor=at("2025-01-31"),
    )
    assert [p.active_from for p in laid_out.phases] == [at("2025-01-31"), at("2025-02-28"), at("2025-04-30")]


TRIAL = plan(
    phase(flat_card(), key="trial", duration="P2W"),
    phase(flat_card(), key="ramp", duration="P1M"),
    phase(flat_card(), key="full"),
)


def test_phases_before_the_starting_phase_last_no_time() -> None:
    spec = from_plan(TRIAL, active_from=START, billing_anchor=START, starting_phase="ramp")
    assert [(p.key, p.active_from) for p in spec.phases] == [
        ("trial", START),
        ("ramp", START),
        ("full", at("2025-04-10T08")),
    ]
    ends = phase_ends([p.active_from for p in spec.phases], None)
    assert ends == [START, at("2025-04-10T08"), None]
    started = view([("trial", "2025-03-10T08"), ("ramp", "2025-03-10T08"), ("full", "2025-04-10T08")])
    current = current_phase(started, START)
    assert current is not None
    assert current.key == "ramp"
    with pytest.raises(InvalidInput, match="no phase gold"):
        from_plan(TRIAL, active_from=START, billing_anchor=START, starting_phase="gold")


def test_a_plan_cannot_reach_beyond_the_calendar() -> None:
    endless = plan(phase(flat_card(), key="a", duration="P9000Y"), phase(flat_card(), key="b"))
    with pytest.raises(InvalidInput, match="end of the calendar"):
        from_plan(endless, active_from=START, billing_anchor=START)


def test_items_carry_their_currency_and_owner() -> None:
    spec = from_plan(plan(phase(unit_card(), flat_card("free", price=None))), active_from=START, billing_anchor=START)
    items = spec.phases[0].items
    assert items["api_calls"][0].rate_card.currency == "USD"
    assert items["free"][0].rate_card.currency is None
    assert items["free"][0].annotations == {"subscription.owner": ["subscription"]}


def test_the_end_cuts_phases_and_leaves_later_ones_without_time() -> None:
    starts = [at("2025-01-01"), at("2025-04-01"), at("2025-07-01")]
    assert phase_ends(starts, None) == [at("2025-04-01"), at("2025-07-01"), None]
    assert phase_ends(starts, at("2025-05-01")) == [at("2025-04-01"), at("2025-05-01"), at("2025-07-01")]
    assert phase_ends(starts, at("2025-09-01")) == [at("2025-04-01"), at("2025-07-01"), at("2025-09-01")]


@pytest.mark.parametrize(
    ("end", "from_override", "to_override", "expected"),
    [
        (None, None, None, ("2025-04-01", None)),
        ("2025-05-01", None, None, ("2025-04-01", "2025-05-01")),
        (None, "PT1209600S", None, ("2025-04-15", None)),
        ("2025-05-01", None, "PT1209600S", ("2025-04-01", "2025-04-15")),
        ("2025-04-10", None, "PT1209600S", ("2025-04-01", "2025-04-10")),
        ("2025-04-10", "PT1209600S", None, ("2025-04-10", "2025-04-10")),
    ],
)
def test_item_intervals(
    end: str | None, from_override: str | None, to_override: str | None, expected: tuple[str, str | None]
) -> None:
    def read(text: str | None) -> Duration | None:
        return period(text) if text else None

    found = item_interval(at("2025-04-01"), at(end) if end else None, read(from_override), read(to_override))
    assert found == (at(expected[0]), at(expected[1]) if expected[1] else None)


@pytest.mark.parametrize(
    ("start", "end", "deleted", "now", "expected"),
    [
        ("2025-05-01", None, None, "2025-04-30", Status.SCHEDULED),
        ("2025-05-01", None, None, "2025-05-01", Status.ACTIVE),
        ("2025-05-01", "2025-06-01", None, "2025-05-20", Status.CANCELED),
        ("2025-05-01", "2025-06-01", None, "2025-06-01", Status.INACTIVE),
        ("2025-05-01", None, "2025-04-30", "2025-04-30", Status.INACTIVE),
        ("2025-05-01", None, "2025-04-30", "2025-04-29", Status.SCHEDULED),
    ],
)
def test_status(start: str, end: str | None, deleted: str | None, now: str, expected: Status) -> None:
    assert status_of(view(start=start, end=end, deleted=deleted), at(now)) is expected


TWO_PHASES = [("a", "2025-03-10T08"), ("b", "2025-04-21T08")]


@pytest.mark.parametrize(
    ("anchor", "t", "start", "end"),
    [
        ("2025-01-01", "2025-03-20", "2025-03-10T08", "2025-04-01"),
        ("2025-01-01", "2025-04-15", "2025-04-01", "2025-04-21T08"),
        ("2025-01-01", "2025-04-21T08", "2025-04-21T08", "2025-05-01"),
        ("2025-01-01", "2025-05-01", "2025-05-01", "2025-06-01"),
        ("2025-06-15", "2025-03-12", "2025-03-10T08", "2025-03-15"),
        ("2025-06-15", "2025-03-20", "2025-03-15", "2025-04-15"),
    ],
)
def test_aligned_periods(anchor: str, t: str, start: str, end: str) -> None:
    assert aligned_period(view(TWO_PHASES, anchor=anchor), at(t)) == Period(at(start), at(end))


def test_month_ends_do_not_drift() -> None:
    sub = view(start="2025-01-31", anchor="2025-01-31")
    found = [aligned_period(sub, at(t)) for t in ("2025-01-31", "2025-02-28", "2025-03-31")]
    assert found == [
        Period(at("2025-01-31"), at("2025-02-28")),
        Period(at("2025-02-28"), at("2025-03-31")),
        Period(at("2025-03-31"), at("2025-04-30")),
    ]


def test_there_is_no_period_before_the_start_and_from_the_end_on() -> None:
    ended = view(TWO_PHASES, end="2025-05-01")
    assert aligned_period(ended, at("2025-03-01")) is None
    assert aligned_period(ended, at("2025-05-01")) is None
    assert aligned_period(ended, at("2025-07-04")) is None
    with pytest.raises(InvalidInput) as caught:
        aligned_period_or_refuse(ended, at("2025-03-01"))
    issue = caught.value.issues[0]
    assert issue.code == "subscription_billing_period_queried_before_subscription_start"
    assert issue.attributes == {
        "queried_at": "2025-03-01T00:00:00+00:00",
        "subscription_start": "2025-03-10T08:00:00+00:00",
    }


def version(number: int, start: str, end: str | None) -> ItemVersion:
    return ItemVersion(f"i{number}", "seats", number, flat_card(), at(start), at(end) if end else None)


def test_the_version_shown_is_the_active_the_first_or_the_last() -> None:
    versions = (version(0, "2025-03-10T08", "2025-04-01"), version(1, "2025-04-05", "2025-04-21T08"))
    future = (version(0, "2025-04-21T08", "2025-06-01"), version(1, "2025-06-01", None))
    sub = view(TWO_PHASES, items={"a": versions, "b": future})

    def shown(phase: int, t: str) -> list[int]:
        return [item.version for item in shown_items(sub, sub.phases[phase], at(t))]

    assert shown(0, "2025-03-20") == [0]
    assert shown(0, "2025-04-03") == []
    assert shown(0, "2025-04-05") == [1]
    assert shown(0, "2025-05-01") == [1]
    assert shown(1, "2025-03-20") == [0]
    assert shown(1, "2025-07-01") == [1]
