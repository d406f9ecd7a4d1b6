"""What a subscription's charges still come to up to an instant, with the usage so far."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.billing.charges import repository, usage
from meterhouse.billing.charges.models import ChargeRunRow
from meterhouse.billing.charges.opened import OpenCharge
from meterhouse.billing.charges.realization import flat_total, gross
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.valuation import rate_cumulative
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.money import ZERO, total
from meterhouse.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class DueCharge:
    """A charge that is invoiced by some instant, and what it still comes to: before credits, less what was invoiced."""

    id: str
    name: str
    feature_key: str | None
    service_period: Period
    invoice_at: datetime
    amount: Decimal


async def due(
    session: ReadSession, tools: Tools, namespace: str, subscription_id: str, until: datetime
) -> list[DueCharge]:
    """Return the subscription's charges that are invoiced at `until` or before.

    Usage counts as stored by now. A minimum commitment counts where the charge ends by `until`.

    Raises:
        BillingError: usage cannot be read or rated.
    """
    return [
        _due(charge, await _left(session, tools, charge, until))
        for charge in await _charges(session, namespace, subscription_id)
        if charge.intent.invoice_at <= until
    ]


async def paid_by_credits(session: ReadSession, namespace: str, subscription_id: str) -> list[DueCharge]:
    """Return the subscription's charges that credits alone pay, with what they paid of each as its amount."""
    charges = await _charges(session, namespace, subscription_id)
    return [_due(charge, total(gross(run) for run in charge.runs)) for charge in charges if charge.by_credits_only]


async def _charges(session: ReadSession, namespace: str, subscription_id: str) -> list[OpenCharge]:
    rows = [row for row, *_ in await repository.of_subscriptions(session, namespace, [subscription_id])]
    runs: dict[str, list[ChargeRunRow]] = {row.id: [] for row in rows}
    for run in await repository.runs_of(session, namespace, list(runs)):
        runs[run.charge_id].append(run)
    return [OpenCharge(row, runs[row.id]) for row in rows if row.deleted_at is None]


def _due(charge: OpenCharge, amount: Decimal) -> DueCharge:
    return DueCharge(
        charge.id,
        charge.intent.name,
        charge.row.feature_key,
        charge.intent.service_period,
        charge.intent.invoice_at,
        amount,
    )


async def _left(session: ReadSession, tools: Tools, charge: OpenCharge, until: datetime) -> Decimal:
    worth = flat_total(charge) if charge.is_flat else await _used(session, tools, charge, until)
    return max(worth - total(gross(run) for run in charge.runs if run.sealed_at is not None), ZERO)


async def _used(session: ReadSession, tools: Tools, charge: OpenCharge, until: datetime) -> Decimal:
    intent, now = charge.intent, clock.now()
    quantity = ZERO
    if intent.service_period.start < now:
        bound = min(now, intent.service_period.end)
        asked = await usage.request(session, charge.row, intent, until=bound, stored_before=now)
        quantity = await usage.quantity(tools.usage, asked)
    return rate_cumulative(intent, quantity, reaches_end=intent.service_period.end <= until).totals.total
