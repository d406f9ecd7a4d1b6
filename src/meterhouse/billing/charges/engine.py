"""The steps of an invoice line's life, as charges take them (charges section 7)."""

from datetime import datetime

import structlog

from meterhouse.billing.charges import billability, changes, machine, projections, realization, usage
from meterhouse.billing.charges.creation import gather
from meterhouse.billing.charges.models import ChargeRunRow
from meterhouse.billing.charges.opened import OpenCharge, open_charge, read, unsupported
from meterhouse.billing.charges.states import Status, Trigger
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.valuation import Valued, value_flat, value_usage
from meterhouse.billing.errors import BillingError
from meterhouse.billing.ports import Billability, LineProjection, LineRef, NotBillable
from meterhouse.credits import invoiced
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import DomainError, InvalidInput
from meterhouse.kernel.money import ZERO
from meterhouse.metering.meters import Aggregation

log = structlog.get_logger(__name__)


async def line_billability(session: ReadSession, line: LineRef, *, as_of: datetime, progressive: bool) -> Billability:
    """Tell which part of a gathering line can be billed.

    While a run of the charge is open, a line that is only collected waits for it; a progressive request is let through
    to be refused by `invoice_created`, which names the blocking invoice (section 11).
    """
    charge = await read(session, line.charge_id, line.namespace)
    if charge.is_flat:
        return billability.flat(line.period, line.invoice_at, as_of)
    current = charge.current_run
    if current is not None and not progressive:
        closes_at = charge.situation().collection_closes_at
        upcoming = closes_at if closes_at is not None and closes_at > as_of else None
        return Billability(None, NotBillable.DRAFT_INVOICE_OPEN, upcoming)
    return billability.usage(
        charge.intent,
        line.period,
        line.invoice_at,
        as_of,
        progressive=progressive,
        aggregation=await _aggregation(session, charge),
    )


async def _aggregation(session: ReadSession, charge: OpenCharge) -> Aggregation | None:
    try:
        return (await usage.metered(session, charge.row)).meter.aggregation
    except DomainError:
        # The feature or its meter is gone: that shows when the line is rated, and must not block other lines here.
        return None


async def preview(session: ReadSession, tools: Tools, line: LineRef) -> LineProjection:
    """Rate a gathering line with usage up to now."""
    charge = await read(session, line.charge_id, line.namespace)
    try:
        return projections.of_value(await _previewed(session, tools, charge, line), line.period)
    except InvalidInput as error:
        # One line that cannot be rated must not hide the others of the customer.
        log.warning("gathering line cannot be rated", charge_id=charge.id, error=error.message)
        return projections.unrated(error.message, line.period)


async def _previewed(session: ReadSession, tools: Tools, charge: OpenCharge, line: LineRef) -> Valued:
    intent, now = charge.intent, clock.now()
    if charge.is_flat:
        return value_flat(intent, charge.row.amount_after_proration or ZERO)
    until = min(line.period.end, now)
    asked = await usage.request(session, charge.row, intent, until=until, stored_before=now)
    previous = usage.previous_count([run.metered_cumulative for run in charge.runs])
    # Nothing can have been used of a period that has not begun.
    cumulative = previous if until <= line.period.start else await usage.quantity(tools.usage, asked)
    return value_usage(
        intent,
        cumulative=cumulative,
        previous=previous,
        booked=charge.booked_before(None),
        reaches_end=until >= intent.service_period.end,
    )


async def invoice_created(session: WriteSession, tools: Tools, line: LineRef) -> LineProjection:
    """Start a run for a line that moved to a standard invoice."""
    charge = await open_charge(session, line.namespace, line.charge_id)
    current = charge.current_run
    if current is None:
        await machine.settle(session, tools, charge)
        await machine.fire(session, tools, charge, Trigger.INVOICE_CREATED, line)
    elif current.line_id != line.line_id:
        raise BillingError(
            "active_realization_run_already_exists",
            f"usage of charge {charge.id} is on invoice {current.invoice_id}, which is still a draft",
            extra={"invoice_id": current.invoice_id, "reason": NotBillable.DRAFT_INVOICE_OPEN.value},
        )
    return projections.of_run(charge.run_of_line(line.line_id))


async def collection_completed(session: WriteSession, tools: Tools, line: LineRef) -> LineProjection:
    """Read the usage again and reconcile the credits; a run that is past that is shown as it stands."""
    charge = await open_charge(session, line.namespace, line.charge_id)
    run = charge.run_of_line(line.line_id)
    if run.id == charge.row.current_run_id:
        await machine.fire(session, tools, charge, Trigger.COLLECTION_COMPLETED, line)
    return projections.of_run(run)


async def line_projection(session: ReadSession, line: LineRef) -> LineProjection:
    """Show the line's run as it stands."""
    charge = await read(session, line.charge_id, line.namespace)
    return projections.of_run(charge.run_of_line(line.line_id))


async def invoice_issued(session: WriteSession, tools: Tools, line: LineRef) -> None:
    """Book the line's rest and seal its run."""
    charge = await open_charge(session, line.namespace, line.charge_id)
    run = charge.run_of_line(line.line_id)
    if run.sealed_at is not None:
        return
    if charge.status is Status.DELETED:
        # The charge was deleted when the invoice could no longer change: what is on it is owed.
        await realization.seal(session, tools, charge, run)
    else:
        await machine.fire(session, tools, charge, Trigger.INVOICE_ISSUED, line)
    await session.flush()


async def payment_authorized(session: WriteSession, tools: Tools, line: LineRef) -> None:
    """Book that the line's payment was authorised, once."""
    charge = await open_charge(session, line.namespace, line.charge_id)
    run = _payable(charge, line)
    if run.payment == "none" and not run.no_money_needed:
        await _authorize(session, tools, charge, run)
    await session.flush()


async def payment_settled(session: WriteSession, tools: Tools, line: LineRef) -> None:
    """Book that the line's payment arrived, once; a charge that waits for no more money ends."""
    charge = await open_charge(session, line.namespace, line.charge_id)
    run = _payable(charge, line)
    if run.payment != "settled" and not run.no_money_needed:
        if run.payment == "none":
            await _authorize(session, tools, charge, run)
        if tools.credits_enabled:
            await invoiced.settle_payment(
                session,
                namespace=run.namespace,
                customer_id=charge.row.customer_id,
                charge_id=charge.id,
                run_id=run.id,
                currency=charge.row.currency,
                amount=run.total,
            )
        run.payment = "settled"
    await machine.settle(session, tools, charge)


def _payable(charge: OpenCharge, line: LineRef) -> ChargeRunRow:
    run = charge.run_of_line(line.line_id)
    if run.sealed_at is None:
        raise unsupported(charge, "a payment before the invoice was issued")
    return run


async def _authorize(session: WriteSession, tools: Tools, charge: OpenCharge, run: ChargeRunRow) -> None:
    if tools.credits_enabled:
        await invoiced.authorize_payment(
            session,
            namespace=run.namespace,
            customer_id=charge.row.customer_id,
            charge_id=charge.id,
            run_id=run.id,
            currency=charge.row.currency,
            amount=run.total,
        )
    run.payment = "authorized"


async def line_removed(session: WriteSession, tools: Tools, line: LineRef, *, by_user: bool) -> None:
    """Follow the removal of a line.

    A user's removal deletes the charge in the user's layer; a gathering line of usage that was billed in part only
    takes the rest away. After a removal by the system what is left to bill is gathered again.

    Raises:
        BillingError: code `cannot_edit_progressively_billed_usagebased_line`: other runs stand beside the line's.
    """
    charge = await open_charge(session, line.namespace, line.charge_id)
    run = charge.find_run(line.line_id)
    if run is not None and run.sealed_at is not None:
        raise unsupported(charge, "the removal of an issued line")
    others = [one for one in charge.runs if one is not run]
    if by_user and run is None and others:
        await changes.shrink_to_realized(session, tools, charge, rest_starts=line.period.start)
        return
    if by_user and others:
        raise BillingError(
            "cannot_edit_progressively_billed_usagebased_line",
            "usage that was billed in several parts cannot be removed from one of the invoices",
        )
    if run is not None:
        await realization.drop(session, tools, charge, run)
    if by_user:
        await changes.delete_by_user(session, tools, charge)
    elif charge.status is not Status.DELETED and run is not None:
        charge.enter(Status.CREATED if charge.is_flat else Status.ACTIVE)
        await gather(session, tools, charge)
    await session.flush()
