"""Runs: starting, valuing, paying by credits, taking back and sealing them (charges section 6)."""

from datetime import datetime
from decimal import Decimal

from meterhouse.billing.charges import usage
from meterhouse.billing.charges.models import ChargeRunRow
from meterhouse.billing.charges.opened import OpenCharge, details_of
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.valuation import Valued, credit_difference, value_flat, value_usage
from meterhouse.billing.errors import BillingError
from meterhouse.billing.ports import LineRef
from meterhouse.billing.rating.credits import apply_credits
from meterhouse.billing.rating.results import DetailedLine, Totals
from meterhouse.billing.rating.totals import total_of
from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits import collector, invoiced, supply
from meterhouse.credits.collector import Allocation, CollectRequest
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import Conflict
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import ZERO, plain, total
from meterhouse.kernel.periods import Period


async def collection_end(session: WriteSession, tools: Tools, charge: OpenCharge, end: datetime) -> datetime:
    """Return until when usage of a final run that ends at `end` may be stored: the profile's interval later."""
    profile = await tools.profiles.merged(session, charge.row.namespace, charge.row.customer_id)
    return profile.workflow.collection_interval.add_to(end)


async def start(session: WriteSession, tools: Tools, charge: OpenCharge, line: LineRef | None) -> ChargeRunRow:
    """Start a run for a line, or, without one, for the whole charge; value it and pay it by credits.

    A run is final when its line ends where the charge ends, to the second.

    Raises:
        Conflict: a run bills some of these days already.
    """
    service = charge.intent.service_period
    period = service if line is None else line.period.whole_seconds()
    if charge.is_flat:
        period = service
    _check_days(charge, period)
    is_final = period.end == service.end
    stored_at_lt = None
    if not charge.is_flat:
        stored_at_lt = await collection_end(session, tools, charge, period.end) if is_final else period.end
    run = ChargeRunRow(
        id=new_id(),
        namespace=charge.row.namespace,
        charge_id=charge.id,
        type="final_realization" if is_final else "partial_invoice",
        service_period_from=period.start,
        service_period_to=period.end,
        stored_at_lt=stored_at_lt,
        line_id=None if line is None else line.line_id,
        invoice_id=None if line is None else line.invoice_id,
        no_money_needed=False,
        payment="none",
    )
    _write_value(run, await _valued(session, tools, charge, run))
    charge.all_runs.append(run)
    charge.row.current_run_id = run.id
    session.add(run)
    await session.flush()
    await pay(session, tools, charge, run)
    return run


def flat_total(charge: OpenCharge) -> Decimal:
    """Return what a flat fee comes to, discounts off, before credits."""
    return value_flat(charge.intent, charge.row.amount_after_proration or ZERO).totals.total


def gross(run: ChargeRunRow) -> Decimal:
    """Return what a run comes to before credits."""
    return run.total + run.credits_total


def _check_days(charge: OpenCharge, period: Period) -> None:
    billed = [run.service_period_to for run in charge.runs]
    if billed and (charge.is_flat or period.start < max(billed)):
        raise Conflict(f"days of charge {charge.id} from {period.start.isoformat()} on are billed already")


async def revalue(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    """Read the meter again within the run's own bounds, rate, and reconcile the credits (section 6)."""
    _write_value(run, await _valued(session, tools, charge, run))
    await pay(session, tools, charge, run, late=tools.late_grants)


async def _valued(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> Valued:
    intent = charge.intent
    if charge.is_flat:
        return value_flat(intent, charge.row.amount_after_proration or ZERO)
    assert run.stored_at_lt is not None
    asked = await usage.request(
        session, charge.row, intent, until=run.service_period_to, stored_before=run.stored_at_lt
    )
    return value_usage(
        intent,
        cumulative=await usage.quantity(tools.usage, asked),
        previous=usage.previous_count([one.metered_cumulative for one in charge.runs if one is not run]),
        booked=charge.booked_before(run),
        reaches_end=run.service_period_to >= intent.service_period.end,
    )


def _write_value(run: ChargeRunRow, value: Valued) -> None:
    run.metered_quantity = value.metered_quantity
    run.metered_pre_line_quantity = value.metered_pre_line_quantity
    run.quantity, run.pre_line_quantity = value.quantity, value.pre_line_quantity
    run.usage_discount = value.usage_discount.model_dump(mode="json") if value.usage_discount else None
    run.warnings = list(value.warnings)
    run.credits_applied = []
    _write_details(run, value.details)


def _write_details(run: ChargeRunRow, details: tuple[DetailedLine, ...]) -> None:
    run.details = [detail.model_dump(mode="json") for detail in details]
    write_totals(run, total_of(details))


def write_totals(run: ChargeRunRow, totals: Totals) -> None:
    """Store totals in the run's columns."""
    for name in Totals.model_fields:
        setattr(run, name, getattr(totals, name))


async def pay(
    session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow, *, late: bool = False
) -> None:
    """Reconcile the credits of a valued run: take what is missing, give back what is too much.

    A charge that is settled by credits only takes everything, as an advance where credit is short; any other takes what
    there is.

    Raises:
        BillingError: code `credit_allocations_do_not_match_total`.
    """
    if not tools.credits_enabled:
        return
    # The run was valued anew just now, so its total is what it is worth before credits.
    worth = run.total
    held = (await collector.allocations(session, run.namespace, [run.id]))[run.id]
    difference = credit_difference(worth, _held(held), charge.row.currency)
    if difference > 0:
        await collector.collect(session, _request(charge, run, difference, late=late))
    elif difference < 0:
        await give_back(session, charge, run, -difference)
    if difference:
        held = (await collector.allocations(session, run.namespace, [run.id]))[run.id]
    allocated = _held(held)
    if allocated > worth or (charge.by_credits_only and allocated != worth):
        raise BillingError(
            "credit_allocations_do_not_match_total",
            f"the credits of run {run.id} come to {allocated} instead of {worth} {charge.row.currency}",
        )
    if allocated < worth:
        await _tell_of_later_credit(session, charge, run, worth - allocated)
    taken = [(one.id, one.remaining, None) for one in held if one.remaining > 0]
    run.credits_applied = [{"allocation_id": one_id, "amount": str(amount)} for one_id, amount, _ in taken]
    _write_details(run, apply_credits(details_of(run), taken, charge.row.currency))


async def _tell_of_later_credit(session: WriteSession, charge: OpenCharge, run: ChargeRunRow, unpaid: Decimal) -> None:
    """Note on the run that there is credit which could not pay it, because it came later (subscription-sync 9.4)."""
    row = charge.row
    # All that counted when the run did is taken by now.
    later = await supply.available_now(session, row.namespace, row.customer_id, row.currency, row.feature_key)
    if later > 0:
        amount = f"{plain(min(later, unpaid))} {row.currency}"
        told = f"{amount} of credit takes effect only after this was due and is not used for it"
        run.warnings = [*run.warnings, told]


def _held(allocations: list[Allocation]) -> Decimal:
    return total(one.remaining for one in allocations)


def _request(charge: OpenCharge, run: ChargeRunRow, amount: Decimal, *, late: bool) -> CollectRequest:
    intent, booked_at = charge.intent, charge.booked_at(run)
    sources_as_of = intent.invoice_at if charge.is_flat else booked_at
    if late and run.stored_at_lt is not None:
        sources_as_of = max(sources_as_of, min(clock.now(), run.stored_at_lt))
    tax = intent.tax_config
    return CollectRequest(
        namespace=run.namespace,
        customer_id=charge.row.customer_id,
        charge_id=charge.id,
        run_id=run.id,
        currency=charge.row.currency,
        feature_key=charge.row.feature_key,
        amount=amount,
        settlement_mode=SettlementMode(charge.row.settlement_mode),
        booked_at=booked_at,
        source_balance_as_of=sources_as_of,
        tax_code_id=tax.tax_code_id if tax else None,
        tax_behavior=tax.behavior if tax else None,
        labels=charge.labels(),
        name=intent.name,
    )


async def give_back(session: WriteSession, charge: OpenCharge, run: ChargeRunRow, amount: Decimal) -> None:
    """Return `amount` of the run's credits, the newest first, booked when the run was."""
    await collector.correct(
        session,
        namespace=run.namespace,
        customer_id=charge.row.customer_id,
        run_id=run.id,
        amount=amount,
        booked_at=charge.booked_at(run),
    )


async def give_all_back(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    """Return every credit that the run still holds."""
    if not tools.credits_enabled:
        return
    held = _held((await collector.allocations(session, run.namespace, [run.id]))[run.id])
    if held > 0:
        await give_back(session, charge, run, held)


async def void(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    """Take back a run that has no line; what it booked stays readable."""
    await give_all_back(session, tools, charge, run)
    run.voided_at = clock.now()
    _close(charge, run)


async def drop(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    """Take back a run whose line is gone: its credits return, its lines are forgotten (section 3)."""
    await give_all_back(session, tools, charge, run)
    run.deleted_at = clock.now()
    run.details, run.credits_applied = [], []
    _close(charge, run)


async def disown(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    """Leave a run to its immutable invoice: the credits return, the run is kept for audit only (section 11)."""
    await give_all_back(session, tools, charge, run)
    run.type = "invalid_due_to_unsupported_credit_note"
    _close(charge, run)


def _close(charge: OpenCharge, run: ChargeRunRow) -> None:
    if charge.row.current_run_id == run.id:
        charge.row.current_run_id = None


async def seal(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    """Book what credits did not pay and make the run immutable (section 3)."""
    run.sealed_at = clock.now()
    run.no_money_needed = run.total == 0
    _close(charge, run)
    if run.no_money_needed or not tools.credits_enabled:
        return
    tax = charge.intent.tax_config
    await invoiced.accrue(
        session,
        namespace=run.namespace,
        customer_id=charge.row.customer_id,
        charge_id=charge.id,
        run_id=run.id,
        currency=charge.row.currency,
        amount=run.total,
        booked_at=charge.booked_at(run),
        tax_code_id=tax.tax_code_id if tax else None,
        tax_behavior=tax.behavior if tax else None,
        labels=charge.labels(),
    )
