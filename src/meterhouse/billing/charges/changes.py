"""Changing what a charge bills: other periods, another intent, deletion; by the system and by users (sections 1, 3, 4).

While a user's layer exists, the system changes only the hidden base: nothing else moves.
"""

from dataclasses import replace
from datetime import datetime

from meterhouse.billing.charges import machine, periods, realization, states
from meterhouse.billing.charges.creation import gather, normalized, tax_config, with_same_ids
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.layers import base_intent, write_base, write_user_layer
from meterhouse.billing.charges.models import ChargeRow, ChargeRunRow
from meterhouse.billing.charges.opened import OpenCharge, unsupported
from meterhouse.billing.charges.periods import Plan, RunSpan
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.valuation import amount_after_proration
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.kernel import clock
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import InvalidInput, PreconditionFailed
from meterhouse.kernel.periods import Period

# In these a run's line can still be changed.
_OPEN_RUN = frozenset({Status.STARTED, Status.WAITING, Status.PROCESSING})


async def change_periods(
    session: WriteSession,
    tools: Tools,
    charge: OpenCharge,
    *,
    service_end: datetime,
    full_service_end: datetime,
    billing_end: datetime,
    invoice_at: datetime,
) -> None:
    """Extend or shrink a charge for the system; the service period's end alone tells which.

    Raises:
        InvalidInput: the new ends break a rule of section 3.1.
        PreconditionFailed: the status does not allow it now, or a run beyond the new end has no line.
    """
    row = charge.row
    new = periods.with_ends(
        base_intent(row),
        service_end=whole_seconds(service_end),
        full_service_end=whole_seconds(full_service_end),
        billing_end=whole_seconds(billing_end),
        invoice_at=whole_seconds(invoice_at),
    )
    if row.override is not None:
        write_base(row, new)
        return
    if charge.status in states.CHANGE_REFUSED:
        raise unsupported(charge, "a change of periods; retry after billing advances")
    old_end = charge.intent.service_period.end
    write_base(row, new)
    await _carry_over(session, tools, charge, old_end)
    await session.flush()


async def redate(session: WriteSession, tools: Tools, charge: OpenCharge, intent: ChargeIntent) -> None:
    """Take the whole period, the billing period and the time of billing from an intent; runs and their lines stay."""
    new = normalized(intent)
    dated = replace(
        base_intent(charge.row),
        full_service_period=new.full_service_period,
        billing_period=new.billing_period,
        invoice_at=new.invoice_at,
    )
    write_base(charge.row, dated)
    if charge.row.override is None:
        await gather(session, tools, charge)
    await session.flush()


async def _carry_over(session: WriteSession, tools: Tools, charge: OpenCharge, old_end: datetime) -> None:
    """Let runs, lines and status follow an effective intent that was just written."""
    charge.row.amount_after_proration = amount_after_proration(charge.intent)
    if charge.is_flat:
        await _carry_over_flat(session, tools, charge)
    elif charge.by_credits_only:
        await _start_over(session, tools, charge)
    else:
        await _replan(session, tools, charge, old_end)


async def _start_over(session: WriteSession, tools: Tools, charge: OpenCharge) -> None:
    """Void what credits paid, and wait for the new end."""
    for run in charge.runs:
        await realization.void(session, tools, charge, run)
    charge.enter(Status.CREATED if charge.status is Status.CREATED else Status.ACTIVE)


# --- usage that an invoice settles ------------------------------------------------------------------------------------


async def _replan(session: WriteSession, tools: Tools, charge: OpenCharge, old_end: datetime) -> None:
    new_end = charge.intent.service_period.end
    spans = [RunSpan(run.id, run.service_period_to, run.sealed_at is not None) for run in charge.runs]
    plan = periods.extended(spans, old_end) if new_end > old_end else periods.shrunk(spans, new_end)
    runs = {run.id: run for run in charge.runs}
    if any(runs[run_id].line_id is None for run_id in plan.remove):
        raise PreconditionFailed(f"charge {charge.id} has a run without a line beyond its new end")
    for run_id in plan.remove:
        await _remove_line(session, tools, charge, runs[run_id])
    for run in charge.runs:
        await _note_end(session, tools, run, new_end)
    await _relabel(session, tools, charge, plan)
    await gather(session, tools, charge)
    _follow(charge)


async def _remove_line(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> bool:
    """Delete a run's line and drop the run; False when the line is on an immutable invoice and both stay."""
    assert run.line_id is not None
    await session.flush()
    removed = await tools.book.delete_standard_line(session, namespace=run.namespace, line_id=run.line_id)
    if removed:
        await realization.drop(session, tools, charge, run)
    return removed


async def _note_end(session: WriteSession, tools: Tools, run: ChargeRunRow, until: datetime | None) -> None:
    """Let the issued invoice of a run tell whether it bills days after `until`; None: whether it bills anything."""
    if run.line_id is not None:
        await session.flush()
        await tools.book.note_end_of_line(session, namespace=run.namespace, line_id=run.line_id, until=until)


async def _relabel(session: WriteSession, tools: Tools, charge: OpenCharge, plan: Plan) -> None:
    service_end = charge.intent.service_period.end
    for run in charge.runs:
        if run.id == plan.relabel_partial or (run.id in plan.remove and run.service_period_to < service_end):
            run.type = "partial_invoice"
        elif run.id == plan.relabel_final:
            await _finalize(session, tools, charge, run)


async def _finalize(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    """Make a run the last one; where it is open still, it owes the minimum and waits for late usage."""
    run.type = "final_realization"
    if run.sealed_at is not None or run.line_id is None:
        return
    if charge.status is not Status.PROCESSING:
        run.stored_at_lt = await realization.collection_end(session, tools, charge, run.service_period_to)
    await realization.revalue(session, tools, charge, run)
    if charge.status is Status.WAITING:
        charge.enter(Status.WAITING)
    await session.flush()
    await tools.book.refresh_standard_line(session, namespace=run.namespace, line_id=run.line_id)


def _follow(charge: OpenCharge) -> None:
    """Choose the status after runs were kept or taken back (section 3.1)."""
    if charge.current_run is not None:
        return
    if charge.uncovered() is None:
        charge.enter(Status.FINAL if charge.situation().is_settled else Status.AWAITING_PAYMENT)
    else:
        charge.enter(Status.CREATED if charge.status is Status.CREATED else Status.ACTIVE)


# --- flat fees --------------------------------------------------------------------------------------------------------


async def _carry_over_flat(session: WriteSession, tools: Tools, charge: OpenCharge) -> None:
    runs = charge.runs
    if charge.by_credits_only:
        if runs:
            await _revalue_flat(session, tools, charge, runs[0])
        else:
            charge.enter(Status.CREATED)
        return
    is_free = charge.row.amount_after_proration == 0
    if not runs:
        await gather(session, tools, charge)
        charge.enter(Status.FINAL if is_free else Status.CREATED)
        return
    run = runs[0]
    if charge.status not in _OPEN_RUN:
        # There are no credit notes: the invoice says what of it does not hold, and nothing else is billed.
        holds = realization.flat_total(charge) == realization.gross(run)
        await _note_end(session, tools, run, run.service_period_to if holds else charge.intent.service_period.end)
    elif is_free:
        if await _remove_line(session, tools, charge, run):
            charge.enter(Status.FINAL)
    else:
        await _revalue_flat(session, tools, charge, run)
        await session.flush()
        await tools.book.refresh_standard_line(session, namespace=run.namespace, line_id=_line(run))


async def _revalue_flat(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    period = charge.intent.service_period
    run.service_period_from, run.service_period_to = period.start, period.end
    await realization.revalue(session, tools, charge, run)


def _line(run: ChargeRunRow) -> str:
    assert run.line_id is not None
    return run.line_id


# --- another intent ---------------------------------------------------------------------------------------------------


async def replace_intent(session: WriteSession, tools: Tools, charge: OpenCharge, intent: ChargeIntent) -> None:
    """Give a charge a new base intent of the same identity: usage without runs, or a fee that no issued invoice bills.

    Raises:
        InvalidInput: another kind of price, currency, customer or settlement, or a rule of creation is broken.
        PreconditionFailed: the charge is usage and has runs, or its status does not allow it now.
    """
    row, old = charge.row, base_intent(charge.row)
    fixed = ("customer_id", "currency", "settlement_mode", "managed_by", "feature_key", "is_flat")
    changed = [name for name in fixed if getattr(intent, name) != getattr(old, name)]
    if changed:
        raise InvalidInput(f"of a charge these cannot change: {', '.join(changed)}")
    intent = normalized(replace(intent, discounts=with_same_ids(intent.discounts, old.discounts)))
    intent = replace(intent, tax_config=await tax_config(session, intent))
    realised = bool(charge.runs)
    if row.override is None and ((realised and not charge.is_flat) or charge.status in states.CHANGE_REFUSED):
        raise unsupported(charge, "a change of the intent")
    write_base(row, intent)
    if intent.subscription is not None:
        relink(row, intent.subscription)
    if row.override is None and realised:
        await _carry_over(session, tools, charge, old.service_period.end)
    elif row.override is None:
        row.amount_after_proration = amount_after_proration(intent)
        await gather(session, tools, charge)
        charge.enter(Status.CREATED)
        if not charge.by_credits_only:
            # Nothing is paid by this; it only shows at once that the charge has begun, as it did before.
            await machine.settle(session, tools, charge)
    await session.flush()


def relink(row: ChargeRow, source: SubscriptionReference) -> None:
    """Let a charge point to the rows that are: an edit of the subscription makes them anew."""
    row.subscription_phase_id, row.subscription_item_id = source.phase_id, source.item_id


async def rewrite(session: WriteSession, tools: Tools, charge: OpenCharge, intent: ChargeIntent) -> None:
    """Write what a user wants into the user's layer and let the run follow (section 4).

    Raises:
        PreconditionFailed: the status does not allow it.
    """
    if charge.status in states.CHANGE_REFUSED:
        raise unsupported(charge, "an edit")
    old_end = charge.intent.service_period.end
    write_user_layer(charge.row, normalized(intent))
    await _carry_over(session, tools, charge, old_end)
    await session.flush()


# --- deletion ---------------------------------------------------------------------------------------------------------


async def delete(session: WriteSession, tools: Tools, charge: OpenCharge) -> None:
    """Delete a charge for the system: credits return, lines go; one on an immutable invoice stays with a warning."""
    row = charge.row
    if row.base_deleted_at is not None:
        return
    row.base_deleted_at = clock.now()
    if row.override is None:
        await _take_everything_back(session, tools, charge)
        _bury(charge)
    await session.flush()


async def delete_by_user(session: WriteSession, tools: Tools, charge: OpenCharge) -> None:
    """Delete a charge in the user's layer: a system's charge keeps its base, hidden (section 1)."""
    if charge.status is Status.DELETED:
        return
    write_user_layer(charge.row, charge.intent, deleted_at=clock.now())
    await _take_everything_back(session, tools, charge)
    _bury(charge)
    await session.flush()


async def _take_everything_back(session: WriteSession, tools: Tools, charge: OpenCharge) -> None:
    for run in charge.runs:
        if run.line_id is None:
            await realization.void(session, tools, charge, run)
        elif not await _remove_line(session, tools, charge, run):
            await _note_end(session, tools, run, None)
            await realization.disown(session, tools, charge, run)
    if not charge.by_credits_only:
        row = charge.row
        await tools.book.delete_gathering_line(session, namespace=row.namespace, charge_id=row.id)


def _bury(charge: OpenCharge) -> None:
    charge.row.deleted_at = clock.now()
    charge.row.current_run_id = None
    charge.enter(Status.DELETED)


async def shrink_to_realized(session: WriteSession, tools: Tools, charge: OpenCharge, *, rest_starts: datetime) -> None:
    """End a charge, in the user's layer, where its last run ends: the user deleted the line for the rest (section 3.1).

    Raises:
        InvalidInput: the charge has no run, or its last run does not end where the deleted line starts.
    """
    runs = charge.runs
    if not runs or runs[-1].service_period_to != rest_starts:
        raise InvalidInput(f"charge {charge.id} has no run that ends at {rest_starts.isoformat()}")
    intent = charge.intent
    service = Period(intent.service_period.start, rest_starts)
    write_user_layer(charge.row, replace(intent, service_period=service))
    await _finalize(session, tools, charge, runs[-1])
    await gather(session, tools, charge)
    _follow(charge)
    await session.flush()
