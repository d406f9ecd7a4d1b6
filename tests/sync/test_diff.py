"""From the charges there are to the charges there should be (subscription-sync sections 4 and 10)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.views import ChargeState, Invoiced
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.billing.sync.diff import Create, Delete, Move, Patch, Redate, Relink, Replace, diff
from meterhouse.billing.sync.targets import ended_at, targets
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions.views import SubscriptionView
from tests.sync.builders import FEE, SEAT, TOKENS, at, card, flat, item, phase, span, unit, view, worked


def stored(intents: Sequence[ChargeIntent], *, with_runs: Sequence[str] = (), issued: bool = True) -> list[ChargeState]:
    """Pretend that the charges of these intents exist.

    `with_runs` lists identities (without the subscription); their runs are on an issued invoice or on a draft.
    """
    return [
        ChargeState(
            id=f"charge of {intent.unique_reference_id}",
            unique_reference_id=intent.unique_reference_id,
            intent=intent,
            status=Status.CREATED,
            has_runs=(realised := (intent.unique_reference_id or "").removeprefix("S/main/") in with_runs),
            subscription_item_id=None,
            invoiced=Invoiced(intent.service_period, Decimal(1)) if realised and issued else None,
        )
        for intent in intents
    ]


def marks(intents: Sequence[ChargeIntent]) -> dict[str, str]:
    return {intent.unique_reference_id or "": intent.content_digest() for intent in intents}


def plan(before: Sequence[ChargeIntent], after: Sequence[ChargeIntent], *with_runs: str) -> list[Patch]:
    return diff(after, stored(before, with_runs=with_runs), marks(before))


def told(patches: Sequence[Patch]) -> list[str]:
    return [f"{type(patch).__name__} {patch.reference.removeprefix('S/main/')}" for patch in patches]


RUNNING = targets(worked(), at("1-20")).intents
CANCELED = targets(worked(end="2-01T12:00"), at("2-01T12:00")).intents


def test_a_first_sync_creates() -> None:
    assert told(diff(RUNNING, [], {})) == [
        "Create fee/v[0]/period[0]",
        "Create fee/v[0]/period[1]",
        "Create seat/v[0]/period[0]",
        "Create tokens/v[0]/period[0]",
    ]


def test_a_second_sync_does_nothing() -> None:
    assert plan(RUNNING, RUNNING) == []


def test_a_cancellation_shrinks_and_deletes() -> None:
    patches = plan(RUNNING, CANCELED)
    assert told(patches) == [
        "Delete fee/v[0]/period[1]",
        "Move fee/v[0]/period[0]",
        "Move seat/v[0]/period[0]",
        "Move tokens/v[0]/period[0]",
    ]
    tokens = patches[-1]
    assert isinstance(tokens, Move)
    assert tokens.intent.service_period == span("1-15", "2-01T12:00")
    assert (tokens.intent.billing_period.end, tokens.intent.invoice_at) == (at("2-01T12:00"), at("2-01T12:00"))


def test_a_cancellation_taken_back_extends_and_creates() -> None:
    patches = plan(CANCELED, RUNNING)
    assert told(patches) == [
        "Move fee/v[0]/period[0]",
        "Move seat/v[0]/period[0]",
        "Move tokens/v[0]/period[0]",
        "Create fee/v[0]/period[1]",
    ]
    tokens = patches[2]
    assert isinstance(tokens, Move)
    assert (tokens.intent.service_period, tokens.intent.invoice_at) == (span("1-15", "2-15"), at("2-15"))


def test_a_price_change_ends_one_version_and_starts_the_next() -> None:
    before = targets(view(phase("main", item(TOKENS))), at("1-20")).intents
    after = view(phase("main", item(TOKENS, end="2-01"), item(card("tokens", unit("0.03")), "2-01", version=1)))
    patches = plan(before, targets(after, at("1-20")).intents)
    assert told(patches) == ["Move tokens/v[0]/period[0]", "Create tokens/v[1]/period[0]"]
    assert isinstance(patches[0], Move)
    assert (patches[0].intent.service_period, patches[0].intent.invoice_at) == (span("1-15", "2-01"), at("2-15"))


def test_other_content_under_the_same_identity_is_carried_over_before_anything_ran() -> None:
    renamed = [replace(intent, name="Other") for intent in RUNNING]
    assert told(plan(RUNNING, renamed, "fee/v[0]/period[0]")) == [
        "Replace fee/v[0]/period[1]",
        "Replace seat/v[0]/period[0]",
        "Replace tokens/v[0]/period[0]",
    ]


def test_a_fee_that_no_issued_invoice_bills_follows_its_content() -> None:
    renamed = [replace(intent, name="Other") for intent in RUNNING]
    on_a_draft = stored(RUNNING, with_runs=["fee/v[0]/period[0]", "tokens/v[0]/period[0]"], issued=False)
    assert told(diff(renamed, on_a_draft, marks(RUNNING))) == [
        "Replace fee/v[0]/period[0]",
        "Replace fee/v[0]/period[1]",
        "Replace seat/v[0]/period[0]",
    ]


def test_what_charges_normalize_is_no_change() -> None:
    """A stored charge has a resolved tax code and rounded amounts: only what was last synced tells of a change."""
    normalized = [replace(intent, name="as stored") for intent in RUNNING]
    assert diff(RUNNING, stored(normalized), marks(RUNNING)) == []


def test_recreated_rows_of_the_subscription_are_carried_over() -> None:
    (fee, *_) = RUNNING
    recreated = replace(fee, subscription=SubscriptionReference("S", "phase-main", "another row"))
    assert recreated.subscription is not None
    relink = Relink("S/main/fee/v[0]/period[0]", "charge of S/main/fee/v[0]/period[0]", recreated.subscription)
    assert plan([fee], [recreated]) == [relink]
    assert plan([fee], [recreated], "fee/v[0]/period[0]") == [relink]


def test_ends_and_content_change_together() -> None:
    full_fee = targets(worked(end="2-01T12:00"), at("2-01T12:00"), bill_full_period=True).intents[0]
    fee = next(intent for intent in RUNNING if intent.unique_reference_id == full_fee.unique_reference_id)
    assert told(plan([fee], [full_fee])) == ["Move fee/v[0]/period[0]", "Replace fee/v[0]/period[0]"]
    assert told(plan([fee], [full_fee], "fee/v[0]/period[0]")) == ["Move fee/v[0]/period[0]"]


def test_other_dates_with_the_same_service_period() -> None:
    (fee, *_) = RUNNING
    later = replace(fee, invoice_at=at("1-16"))
    assert told(plan([fee], [later])) == ["Replace fee/v[0]/period[0]"]
    assert plan([fee], [later], "fee/v[0]/period[0]") == []


def test_the_rest_of_usage_that_was_invoiced_in_part_is_billed_when_it_is_wanted() -> None:
    (tokens,) = targets(view(phase("main", item(TOKENS, end="2-01"))), at("1-20")).intents
    sooner = replace(tokens, billing_period=span("1-15", "2-05"), invoice_at=at("2-05"), name="Other")
    reference, charge_id = "S/main/tokens/v[0]/period[0]", "charge of S/main/tokens/v[0]/period[0]"
    assert plan([tokens], [sooner], "tokens/v[0]/period[0]") == [Redate(reference, charge_id, sooner)]
    assert told(plan([tokens], [sooner])) == ["Replace tokens/v[0]/period[0]"]


def test_another_start_or_kind_makes_the_charge_anew() -> None:
    (tokens,) = targets(view(phase("main", item(TOKENS))), at("1-20")).intents
    moved = replace(tokens, service_period=span("1-16", "2-15"))
    again = ["Delete tokens/v[0]/period[0]", "Create tokens/v[0]/period[0]"]
    assert told(plan([tokens], [moved])) == again
    assert told(plan([tokens], [replace(tokens, price=flat("5"), feature_key=None)])) == again
    assert plan([tokens], [moved], "tokens/v[0]/period[0]") == []


def test_a_period_without_length_cannot_be_shrunk_to() -> None:
    setup = card("setup", flat("500"), None)
    known = targets(view(phase("main", item(setup), end="3-01"), end="3-01"), at("1-20")).intents
    opened = targets(view(phase("main", item(setup))), at("1-20")).intents
    assert told(plan(opened, known)) == ["Move setup/v[0]"]
    assert told(plan(known, opened)) == ["Delete setup/v[0]", "Create setup/v[0]"]
    assert plan(known, opened, "setup/v[0]") == []


def test_an_empty_target_deletes_everything() -> None:
    patches = diff([], stored(RUNNING), {})
    assert {type(patch) for patch in patches} == {Delete}
    assert len(patches) == len(RUNNING)


def test_patches_know_their_charges() -> None:
    fee = targets(view(phase("main", item(FEE))), at("1-20")).intents[0]
    (patch,) = plan([fee], [replace(fee, name="Other")])
    assert patch == Replace(
        "S/main/fee/v[0]/period[0]", "charge of S/main/fee/v[0]/period[0]", replace(fee, name="Other")
    )
    (created,) = diff([fee], [], {})
    assert created == Create("S/main/fee/v[0]/period[0]", fee)


def applied(patches: Sequence[Patch], before: Sequence[ChargeIntent]) -> list[ChargeIntent]:
    """Return the charges after the patches, the way charges carry them out: a move changes the ends and no more."""
    after = {intent.unique_reference_id: intent for intent in before}
    for patch in patches:
        match patch:
            case Delete():
                del after[patch.reference]
            case Create():
                assert patch.reference not in after
                after[patch.reference] = patch.intent
            case Replace():
                after[patch.reference] = patch.intent
            case Relink(source=source):
                after[patch.reference] = replace(after[patch.reference], subscription=source)
            case Move(intent=wanted):
                old = after[patch.reference]
                assert wanted.service_period.end > old.service_period.start
                after[patch.reference] = replace(
                    old,
                    service_period=Period(old.service_period.start, wanted.service_period.end),
                    full_service_period=Period(old.full_service_period.start, wanted.full_service_period.end),
                    billing_period=Period(old.billing_period.start, wanted.billing_period.end),
                    invoice_at=wanted.invoice_at,
                )
    return list(after.values())


ends = st.none() | st.integers(1, 120 * 24).map(lambda hours: at("1-15") + timedelta(hours=hours))
moments = st.integers(0, 120 * 24).map(lambda hours: at("1-10") + timedelta(hours=hours))


def schedule(end: datetime | None) -> SubscriptionView:
    setup = card("setup", flat("500"), None)
    whole = view(phase("main", item(FEE), item(TOKENS), item(SEAT), item(setup)))
    return whole if end is None else ended_at(whole, end)


@given(first=ends, second=ends, before=moments, after=moments, full=st.booleans())
def test_the_patches_lead_to_the_target(
    first: datetime | None, second: datetime | None, before: datetime, after: datetime, full: bool
) -> None:
    """From any end and moment to any other; and then there is nothing left to do."""
    stored_intents = targets(schedule(first), first or before).intents
    wanted = targets(schedule(second), second or after, bill_full_period=full).intents
    reached = applied(plan(stored_intents, wanted), stored_intents)
    assert sorted(reached, key=by_identity) == sorted(wanted, key=by_identity)
    assert diff(wanted, stored(reached), marks(wanted)) == []


def by_identity(intent: ChargeIntent) -> str:
    return intent.unique_reference_id or ""
