"""Automatic collection moments (billing sections 5.1, 5.3, 11)."""

from datetime import timedelta

from meterhouse.billing.invoices.alignment import PendingLine, collectable_at, collected_at, cut_off
from meterhouse.kernel.periods import Duration, Recurrence
from tests.invoices.conftest import at

FIFTH = Recurrence(Duration(months=1), at("01-05T00:00"))
LAST = Recurrence(Duration(months=1), at("01-31T00:00"))
LONG_AGO = at("01-01T00:00")


def test_the_collector_bills_up_to_the_latest_tick() -> None:
    assert cut_off(at("03-20T00:00"), FIFTH) == at("03-05T00:00")
    assert cut_off(at("03-01T00:00"), LAST) == at("02-28T00:00")
    assert cut_off(at("03-05T00:00"), FIFTH) == at("03-05T00:00")


def test_ticks_return_to_the_31st_after_a_short_month() -> None:
    assert cut_off(at("03-31T12:00"), LAST) == at("03-31T00:00")


def test_a_line_is_collected_at_the_first_tick_from_its_moment_on() -> None:
    assert collected_at(at("03-20T00:00"), FIFTH) == at("04-05T00:00")
    assert collected_at(at("03-05T00:00"), FIFTH) == at("03-05T00:00")


def test_without_ticks_a_line_is_collected_at_its_own_whole_second() -> None:
    assert collected_at(at("03-20T00:00:00.500000"), None) == at("03-20T00:00")
    assert cut_off(at("03-20T00:00:00.500000"), None) == at("03-20T00:00")


def test_lines_untouched_for_long_are_collectable_at_exactly_their_moment() -> None:
    assert collectable_at([PendingLine(at("02-15T00:00"), LONG_AGO)], None) == at("02-15T00:00")


def test_a_due_line_that_was_just_changed_holds_back_all_due_lines() -> None:
    lines = [
        PendingLine(at("02-15T00:00"), LONG_AGO),
        PendingLine(at("02-15T00:00"), at("02-14T23:59:58")),
        PendingLine(at("03-15T00:00"), at("02-14T23:59:59")),
    ]
    assert collectable_at(lines, None) == at("02-15T00:00:03")


def test_a_line_that_becomes_due_while_waiting_is_waited_for_as_well() -> None:
    lines = [
        PendingLine(at("02-15T00:00"), at("02-14T23:59:59")),
        PendingLine(at("02-15T00:00:03"), at("02-15T00:00:02")),
    ]
    assert collectable_at(lines, None) == at("02-15T00:00:02") + timedelta(seconds=5)


def test_no_lines_are_never_collectable() -> None:
    assert collectable_at([], None) is None
