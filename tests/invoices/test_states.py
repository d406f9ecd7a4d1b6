"""The state machine and what is derived from it (billing sections 6.1 and 6.3)."""

from dataclasses import replace

import pytest

from meterhouse.billing.invoices.flags import flags
from meterhouse.billing.invoices.states import TRANSITIONS, Facts, State, Trigger, target
from tests.invoices.conftest import at

CLEAN = Facts(
    now=at("03-01T12:00"),
    collection_at=None,
    draft_until=at("03-01T00:00"),
    auto_advance=True,
    has_critical_issue=False,
    has_lines=True,
    collected=True,
)
S, T = State, Trigger


def test_every_state_has_a_row_and_every_target_exists() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        (S.DRAFT_CREATED, {T.NEXT, T.FAILED, T.DELETE, T.UPDATED}),
        (S.DRAFT_WAITING_FOR_COLLECTION, {T.NEXT, T.COLLECT, T.DELETE, T.UPDATED}),
        (S.DRAFT_UPDATING, {T.NEXT, T.FAILED, T.DELETE}),
        (S.DRAFT_INVALID, {T.RETRY, T.DELETE, T.UPDATED}),
        (S.DRAFT_SYNCING, {T.NEXT, T.FAILED, T.DELETE}),
        (S.DRAFT_MANUAL_APPROVAL_NEEDED, {T.APPROVE, T.DELETE, T.UPDATED}),
        (S.DRAFT_WAITING_AUTO_APPROVAL, {T.NEXT, T.APPROVE, T.DELETE, T.UPDATED}),
        (S.ISSUING_FAILED, {T.RETRY, T.DELETE}),
        (S.ISSUED, {T.NEXT, T.VOID}),
        (
            S.OVERDUE,
            {
                T.PAYMENT_AUTHORIZED,
                T.PAYMENT_PAID,
                T.PAYMENT_FAILED,
                T.PAYMENT_UNCOLLECTIBLE,
                T.PAYMENT_ACTION_REQUIRED,
                T.RETRY,
            },
        ),
        (S.UNCOLLECTIBLE, {T.PAYMENT_AUTHORIZED, T.PAYMENT_PAID, T.VOID}),
        (S.PAYMENT_BOOKING_SETTLED_FAILED, {T.RETRY, T.VOID}),
        (S.PAID, set()),
        (S.VOIDED, set()),
        (S.DELETED, set()),
        (S.DELETE_FAILED, {T.DELETE}),
    ],
)
def test_triggers_of_a_state(state: State, allowed: set[Trigger]) -> None:
    assert set(TRANSITIONS[state]) == allowed


@pytest.mark.parametrize(
    ("state", "trigger", "to"),
    [
        (S.PAYMENT_AUTHORIZED, T.PAYMENT_PAID, S.PAYMENT_BOOKING_SETTLED),
        (S.PAYMENT_PENDING, T.PAYMENT_PAID, S.PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED),
        (S.OVERDUE, T.PAYMENT_PAID, S.PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED),
        (S.PAYMENT_PENDING, T.PAYMENT_AUTHORIZED, S.PAYMENT_BOOKING_AUTHORIZED),
        (S.PAYMENT_ACTION_REQUIRED, T.RETRY, S.PAYMENT_PENDING),
        (S.ISSUING_SYNCING, T.FAILED, S.ISSUING_FAILED),
        (S.DRAFT_SYNCING, T.FAILED, S.DRAFT_SYNC_FAILED),
        (S.DRAFT_READY_TO_ISSUE, T.NEXT, S.ISSUING_LINE_FINALIZATION),
    ],
)
def test_targets(state: State, trigger: Trigger, to: State) -> None:
    assert target(state, trigger, CLEAN) is to


def test_guards() -> None:
    waiting = replace(CLEAN, collection_at=at("03-01T12:00:01"))
    assert target(S.DRAFT_WAITING_FOR_COLLECTION, T.NEXT, waiting) is None
    assert target(S.DRAFT_WAITING_FOR_COLLECTION, T.COLLECT, waiting) is S.DRAFT_COLLECTING
    assert target(S.DRAFT_READY_TO_ISSUE, T.NEXT, replace(CLEAN, has_lines=False)) is S.DELETE_SYNCING
    critical = replace(CLEAN, has_critical_issue=True)
    assert target(S.DRAFT_VALIDATING, T.NEXT, critical) is None
    assert target(S.DRAFT_MANUAL_APPROVAL_NEEDED, T.APPROVE, critical) is None
    assert target(S.DRAFT_SYNCING, T.NEXT, replace(CLEAN, auto_advance=False)) is S.DRAFT_MANUAL_APPROVAL_NEEDED
    held = replace(CLEAN, app_holds=frozenset({"draft.syncing"}))
    assert target(S.DRAFT_SYNCING, T.NEXT, held) is None


def test_a_retry_returns_to_the_wait_when_the_quantities_were_never_read() -> None:
    assert target(S.DRAFT_INVALID, T.RETRY, CLEAN) is S.DRAFT_VALIDATING
    assert target(S.DRAFT_INVALID, T.RETRY, replace(CLEAN, collected=False)) is S.DRAFT_WAITING_FOR_COLLECTION


def test_flags_of_a_draft_that_waits_for_approval() -> None:
    got = flags(S.DRAFT_MANUAL_APPROVAL_NEEDED, replace(CLEAN, auto_advance=False))
    assert not got.failed
    assert not got.immutable
    assert got.actions == {"approve": S.PAYMENT_PENDING, "delete": S.DELETED}


def test_approval_announces_the_state_in_which_the_app_holds() -> None:
    facts = replace(CLEAN, auto_advance=False, app_holds=frozenset({"issuing.syncing"}))
    assert flags(S.DRAFT_MANUAL_APPROVAL_NEEDED, facts).actions["approve"] is S.ISSUING_SYNCING


def test_flags_while_waiting_for_late_usage() -> None:
    facts = replace(CLEAN, collection_at=at("03-02T00:00"), draft_until=at("03-02T00:00"), collected=False)
    got = flags(S.DRAFT_WAITING_FOR_COLLECTION, facts)
    assert got.actions == {"delete": S.DELETED, "snapshot_quantities": S.DRAFT_WAITING_AUTO_APPROVAL}


def test_failed_and_immutable() -> None:
    assert not flags(S.DRAFT_INVALID, CLEAN).failed
    assert flags(S.DRAFT_SYNC_FAILED, CLEAN).failed
    assert flags(S.PAYMENT_FAILED, CLEAN).failed
    assert flags(S.ISSUING_CHARGE_BOOKING_FAILED, CLEAN).failed
    assert flags(S.DRAFT_UPDATING, CLEAN).immutable
    assert flags(S.PAID, CLEAN).immutable
    assert not flags(S.GATHERING, CLEAN).immutable
