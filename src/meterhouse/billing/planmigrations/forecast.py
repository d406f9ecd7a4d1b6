"""What migrating a subscription would change in money: done for real inside a savepoint that is then taken back."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime

from meterhouse.billing.charges.forecast import DueCharge
from meterhouse.billing.charges.service import Charges
from meterhouse.billing.planmigrations.values import Forecast, ForecastLine
from meterhouse.billing.sync.service import SubscriptionSync
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import PreconditionFailed
from meterhouse.kernel.money import ZERO
from meterhouse.subscriptions import service as subscriptions


async def forecast(
    session: WriteSession,
    charges: Charges,
    sync: SubscriptionSync,
    namespace: str,
    subscription_id: str,
    migrate: Callable[[], Awaitable[subscriptions.Changed]],
) -> tuple[Forecast, subscriptions.Changed]:
    """Return what the subscription's charges come to at its next invoice, as it is and after `migrate`, and that.

    Changes the database: the caller takes that back.

    The next invoice is when the first charge is due that is not due yet; where there is none, everything due now
    counts. What credits alone pay is booked before it is due, and can come back: as much is a negative line afterwards.

    Raises:
        DomainError: the migration is refused.
        PreconditionFailed: charges cannot be made from one of the subscriptions.
    """
    now = clock.now()

    async def synced(one: str, until: datetime | None) -> None:
        failures = (await sync.sync(session, namespace, one, until)).failures
        if failures:
            raise PreconditionFailed(f"{failures[0].reference} of subscription {one}: {failures[0].message}")

    async def due(*ids: str, until: datetime) -> list[DueCharge]:
        for one in ids:
            await synced(one, until)
        return [charge for one in ids for charge in await charges.due(session, namespace, one, until)]

    await synced(subscription_id, None)
    view = await subscriptions.load(session, namespace, subscription_id)
    known = await charges.of_subscription(session, namespace, subscription_id)
    until = min((one.intent.invoice_at for one in known if one.intent.invoice_at > now), default=now)
    before = await due(subscription_id, until=until)
    paid = await charges.paid_by_credits(session, namespace, subscription_id)
    changed = await migrate()
    after = {one.id: one for one in await due(subscription_id, changed.next.id, until=until)}
    kept = {one.id: one.amount for one in await charges.paid_by_credits(session, namespace, subscription_id)}
    for one in paid:
        shown, back = after.get(one.id, replace(one, amount=ZERO)), one.amount - kept.get(one.id, ZERO)
        after[one.id] = replace(shown, amount=shown.amount - back)
    found = Forecast(currency=view.currency, until=until, before=_lines(before), after=_lines(after.values()))
    return found, changed


def _lines(charges: Iterable[DueCharge]) -> tuple[ForecastLine, ...]:
    return tuple(
        ForecastLine(
            charge_id=charge.id,
            name=charge.name,
            feature_key=charge.feature_key,
            start=charge.service_period.start,
            end=charge.service_period.end,
            invoice_at=charge.invoice_at,
            amount=charge.amount,
        )
        for charge in sorted(charges, key=lambda charge: (charge.service_period.start, charge.name, charge.id))
        if charge.amount
    )
