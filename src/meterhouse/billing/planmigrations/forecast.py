"""What migrating a subscription would change in money: done for real inside a savepoint that is then taken back."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from meterhouse.billing.charges.forecast import DueCharge
from meterhouse.billing.charges.service import Charges
from meterhouse.billing.planmigrations.values import Forecast, ForecastLine
from meterhouse.billing.sync.service import SubscriptionSync
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import PreconditionFailed
from meterhouse.subscriptions import service as subscriptions


async def forecast(
    session: WriteSession,
    charges: Charges,
    sync: SubscriptionSync,
    namespace: str,
    subscription_id: str,
    migrate: Callable[[], Awaitable[str]],
) -> Forecast:
    """Return what the subscription's charges come to at its next invoice, as it is and after `migrate`.

    Changes the database: the caller takes that back.

    The next invoice is when the first charge is due that is not due yet; where there is none, everything due now
    counts.

    Args:
        migrate: migrates the subscription and returns the id of the one that follows it.

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
    next_id = await migrate()
    after = await due(subscription_id, next_id, until=until)
    return Forecast(currency=view.currency, until=until, before=_lines(before), after=_lines(after))


def _lines(charges: list[DueCharge]) -> tuple[ForecastLine, ...]:
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
