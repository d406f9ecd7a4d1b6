"""Reading charges: for the subscription sync, the live credit balance and the wire."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import structlog

from meterhouse.billing.charges import repository, usage
from meterhouse.billing.charges.layers import base_intent, effective_intent, override_of
from meterhouse.billing.charges.models import ChargeRow, ChargeRunRow
from meterhouse.billing.charges.opened import OpenCharge
from meterhouse.billing.charges.realization import flat_total, gross
from meterhouse.billing.charges.states import Kind, PublicStatus, Status
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.usage import Metered
from meterhouse.billing.charges.valuation import rate_cumulative
from meterhouse.billing.charges.views import Charge, ChargeState, Invoiced
from meterhouse.billing.rating.results import Totals
from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits.balances import OutstandingCharge
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import DomainError
from meterhouse.kernel.money import ZERO, total
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.kernel.periods import Period
from meterhouse.metering.usage import UsageRequest

log = structlog.get_logger(__name__)


def view(row: ChargeRow, *, booked: Totals | None = None, realtime: Totals | None = None) -> Charge:
    """Return a charge as a value."""
    return Charge(
        id=row.id,
        namespace=row.namespace,
        customer_id=row.customer_id,
        intent=effective_intent(row),
        base=base_intent(row),
        overridden=override_of(row) is not None,
        status=Status(row.status),
        feature_id=row.feature_id,
        amount_after_proration=row.amount_after_proration,
        advance_after=row.advance_after,
        base_deleted_at=row.base_deleted_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        booked=booked or Totals(),
        realtime=realtime,
        last_error=row.last_error,
    )


async def of_subscription(session: ReadSession, namespace: str, subscription_id: str) -> list[ChargeState]:
    """Return the subscription's charges whose base intent is not deleted, also those that a user deleted."""
    return [_state(*found) for found in await repository.of_subscriptions(session, namespace, [subscription_id])]


async def invoiced_beyond(
    session: ReadSession, namespace: str, subscription_ids: Sequence[str], instant: datetime
) -> list[ChargeState]:
    """Return those charges of subscriptions of which issued invoices bill days after `instant`."""
    found = await repository.of_subscriptions(session, namespace, subscription_ids, invoiced_beyond=instant)
    return [_state(*one) for one in found]


async def left_to_invoices(session: ReadSession, namespace: str, subscription_ids: Sequence[str]) -> list[ChargeState]:
    """Return deleted fees of subscriptions that issued invoices bill; `invoiced.amount` is what was to be paid."""
    found = await repository.left_to_invoices(session, namespace, subscription_ids)
    return [_state(row, False, since, until, paid) for row, since, until, paid in found]


def _state(
    row: ChargeRow, has_runs: bool, since: datetime | None, until: datetime | None, amount: Decimal | None
) -> ChargeState:
    return ChargeState(
        id=row.id,
        unique_reference_id=row.unique_reference_id,
        intent=base_intent(row),
        status=Status(row.status),
        has_runs=has_runs,
        subscription_item_id=row.subscription_item_id,
        invoiced=Invoiced(Period(since, until), amount or ZERO) if since and until else None,
    )


async def list_charges(
    session: ReadSession,
    tools: Tools,
    namespace: str,
    customer_id: str,
    page: PageRequest,
    *,
    statuses: Sequence[PublicStatus] | None,
    sorts: Sequence[Sort],
    realtime: bool,
) -> Page[Charge]:
    """Return a page of the customer's charges, deleted ones only where `statuses` names them."""
    rows, count = await repository.page(
        session, namespace, customer_id, statuses=statuses, sorts=sorts, offset=page.offset, limit=page.size
    )
    booked = await repository.booked_totals(session, namespace, [row.id for row in rows])
    live: dict[str, Totals] = {}
    if realtime and any(row.kind == Kind.USAGE_BASED for row in rows):
        live = await _realtime(session, tools, await customers.get(session, namespace, customer_id), rows)
    return Page([view(row, booked=booked.get(row.id), realtime=live.get(row.id)) for row in rows], count, page)


async def outstanding(session: ReadSession, tools: Tools, customer: Customer) -> list[OutstandingCharge]:
    """Return what started charges will still take: their amount now, less what runs took or invoiced (ledger 10.6).

    A charge whose usage cannot be read is left out and logged, so that one broken feature never hides a balance.
    """
    now = clock.now()
    unfinished = await repository.unfinished(session, customer.namespace, customer.id)
    charges = [OpenCharge(row, runs) for row, runs in unfinished if _has_started(row, now)]
    rated = await _realtime(session, tools, customer, [charge.row for charge in charges])
    found = []
    for charge in charges:
        row = charge.row
        if not charge.is_flat and row.id not in rated:
            continue
        worth = flat_total(charge) if charge.is_flat else rated[row.id].total
        amount = max(worth - total(_taken(run) for run in charge.runs), ZERO)
        mode = SettlementMode(row.settlement_mode)
        found.append(OutstandingCharge(row.id, row.currency, row.feature_key, mode, amount))
    return found


def _has_started(row: ChargeRow, now: datetime) -> bool:
    intent = effective_intent(row)
    return now >= (intent.invoice_at if intent.is_flat else intent.service_period.start)


def _taken(run: ChargeRunRow) -> Decimal:
    """Return what of a run is no longer open: the credits, and all of it once an invoice asks for the rest."""
    return gross(run) if run.sealed_at is not None else run.credits_total


async def _realtime(
    session: ReadSession, tools: Tools, customer: Customer, rows: Sequence[ChargeRow]
) -> dict[str, Totals]:
    """Rate the usage of each metered charge of a customer from its start up to now, before credits.

    Unreadable ones are missing. A minimum commitment counts once the charge's end has come. A charge that has not begun
    comes to nothing.
    """
    now = clock.now()
    intents = {row.id: effective_intent(row) for row in rows if row.kind == Kind.USAGE_BASED}
    totals = {charge_id: Totals() for charge_id, intent in intents.items() if intent.service_period.start > now}
    begun = [row for row in rows if row.id in intents and row.id not in totals]
    if not begun:
        return totals
    asked: dict[str, UsageRequest] = {}
    for row_id, found in (await _meters(session, customer.namespace, begun)).items():
        until = min(now, intents[row_id].service_period.end)
        subjects = customer.usage_subjects()
        asked[row_id] = usage.bounded(found, subjects, intents[row_id], until=until, stored_before=now)
    quantities = await tools.usage.quantities(list(asked.values()))
    for charge_id, quantity in zip(asked, quantities, strict=True):
        intent = intents[charge_id]
        try:
            rated = rate_cumulative(intent, quantity, reaches_end=now >= intent.service_period.end)
        except DomainError as error:
            log.warning("usage of a charge cannot be rated", charge_id=charge_id, error=error.message)
        else:
            totals[charge_id] = rated.totals
    return totals


async def _meters(session: ReadSession, namespace: str, rows: Sequence[ChargeRow]) -> dict[str, Metered]:
    """Return what counts each charge; a charge whose feature or meter is gone is missing."""
    found: dict[str, Metered] = {}
    for charge_id, one in (await usage.metered_of(session, namespace, rows)).items():
        if isinstance(one, Metered):
            found[charge_id] = one
        else:
            log.warning("usage of a charge cannot be read", charge_id=charge_id, error=one.message)
    return found
