"""Turns subscriptions into charges, again and again, so that both agree (subscription-sync sections 1, 5 and 6)."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import structlog

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.billing.profiles import Profiles
from meterhouse.billing.sync import repository
from meterhouse.billing.sync.diff import Create, Delete, Move, Patch, Redate, Relink, Replace, diff
from meterhouse.billing.sync.explain import SubscriptionReason, reason_of
from meterhouse.billing.sync.invoiced import beyond_invoiced
from meterhouse.billing.sync.issued_days import around_issued
from meterhouse.billing.sync.matching import matched
from meterhouse.billing.sync.models import SyncStateRow
from meterhouse.billing.sync.state import ItemFailure, new_state, record_failure, record_pointless, record_sync
from meterhouse.billing.sync.targets import Targets, ended_at, has_billables, has_custom_currency, targets
from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database, ReadSession, WriteSession
from meterhouse.kernel.errors import Conflict, DomainError, NotFound
from meterhouse.kernel.locks import lock
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.views import SUPERSEDING, SubscriptionView

log = structlog.get_logger(__name__)


class ChargeBook(Protocol):
    """What the sync needs of charges; implemented by `Charges`."""

    async def of_subscription(self, session: ReadSession, namespace: str, subscription_id: str) -> list[ChargeState]:
        """Return the subscription's charges whose base intent is not deleted."""
        ...

    async def invoiced_beyond(
        self, session: ReadSession, namespace: str, subscription_ids: Sequence[str], instant: datetime
    ) -> list[ChargeState]:
        """Return those charges of subscriptions of which issued invoices bill days after `instant`."""
        ...

    async def left_to_invoices(
        self, session: ReadSession, namespace: str, subscription_ids: Sequence[str]
    ) -> list[ChargeState]:
        """Return deleted fees of subscriptions that issued invoices bill."""
        ...

    def together(self, session: WriteSession) -> AbstractAsyncContextManager[None]:
        """Bring invoices in line with many changes at once."""
        ...

    async def create(self, session: WriteSession, intents: Sequence[ChargeIntent]) -> object:
        """Make charges."""
        ...

    async def change_periods(
        self,
        session: WriteSession,
        namespace: str,
        charge_id: str,
        *,
        service_end: datetime,
        full_service_end: datetime,
        billing_end: datetime,
        invoice_at: datetime,
    ) -> None:
        """Extend or shrink a charge."""
        ...

    async def redate(self, session: WriteSession, namespace: str, charge_id: str, intent: ChargeIntent) -> None:
        """Let what is left of a charge be billed when `intent` is."""
        ...

    async def replace_intent(self, session: WriteSession, namespace: str, charge_id: str, intent: ChargeIntent) -> None:
        """Give a charge that is not fixed a new intent of the same identity."""
        ...

    async def relink(
        self, session: WriteSession, namespace: str, charge_id: str, source: SubscriptionReference
    ) -> None:
        """Let a charge name the rows that it comes from."""
        ...

    async def delete(self, session: WriteSession, namespace: str, charge_id: str) -> None:
        """Delete a charge."""
        ...


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did, failed patches included."""

    patches: tuple[Patch, ...] = ()
    failures: tuple[ItemFailure, ...] = ()
    limit: datetime | None = None


class CustomCurrency(Conflict):
    """The subscription has priced items in a currency that cannot be invoiced."""


class SubscriptionSync:
    """Keeps the charges of subscriptions in line with their schedules."""

    def __init__(self, charges: ChargeBook, profiles: Profiles) -> None:
        self._charges = charges
        self._profiles = profiles

    async def sync(
        self, session: WriteSession, namespace: str, subscription_id: str, as_of: datetime | None = None
    ) -> SyncResult:
        """Make the subscription's charges what they should be as of `as_of`, under the customer's billing lock.

        Without `as_of`: now, or the end of a subscription that has one, because everything up to its end is known. An
        item that is refused is skipped and recorded, and the others are synced.

        Raises:
            NotFound: no such subscription.
            CustomCurrency: a priced item is in a currency that is not fiat.
        """
        found = await repository.subscription(session, namespace, subscription_id)
        if found is None:
            raise NotFound(f"subscription not found: {subscription_id}")
        await lock(session, "customer", namespace, found.customer_id, "billing")
        # Loaded under the lock: the schedule that another sync may just have seen is never newer than this one.
        view = await subscriptions.load(session, namespace, subscription_id, include_deleted=True)
        state = await self._state(session, namespace, subscription_id, found)
        wanted = await self._targets(session, view, as_of)
        existing = await self._charges.of_subscription(session, namespace, subscription_id)
        billed, following = await self._billed_before(session, view), await self._following(session, view, existing)
        intents = matched(around_issued(wanted.intents, existing), existing)
        intents = beyond_invoiced(intents, existing, besides=billed, following=following)
        wanted = replace(wanted, intents=intents)
        patches = diff(wanted.intents, existing, state.fingerprints)
        async with self._charges.together(session):
            failures = await self._apply(session, namespace, patches)
        fixed = {charge.unique_reference_id for charge in existing if charge.is_fixed}
        record_sync(state, view.updated_at, wanted, failures, fixed)
        await session.flush()
        for failure in failures:
            log.error("item not synced", subscription=subscription_id, item=failure.reference, error=failure.message)
        return SyncResult(tuple(patches), tuple(failures), wanted.limit)

    async def sync_quietly(
        self, db: Database, namespace: str, subscription_id: str, as_of: datetime | None = None
    ) -> None:
        """Sync in a transaction of its own; a failure is recorded and logged instead of raised, and tried again."""
        try:
            async with db.write() as session:
                await self.sync(session, namespace, subscription_id, as_of)
        except Exception as error:  # whatever failed, the caller's work is done and must not suffer
            if not isinstance(error, CustomCurrency):
                log.error("subscription not synced", subscription=subscription_id, exc_info=error)
            async with db.write() as session:
                await self._record_failure(session, namespace, subscription_id, error)

    async def explain(self, session: ReadSession, namespace: str, customer_id: str) -> list[SubscriptionReason]:
        """Tell of each of the customer's subscriptions why it gives nothing to invoice, where there is a reason.

        See subscription-sync section 9.6.
        """
        customer = await customers.get(session, namespace, customer_id)
        page = await subscriptions.list_for_customer(session, namespace, customer_id)
        states = await repository.states(session, [view.id for view in page.items])
        reasons = [reason_of(view, states.get(view.id), customer.deleted_at, clock.now()) for view in page.items]
        return [reason for reason in reasons if reason is not None]

    async def _targets(self, session: WriteSession, view: SubscriptionView, as_of: datetime | None) -> Targets:
        if view.deleted_at is not None or not has_billables(view):
            return Targets()
        if has_custom_currency(view):
            raise CustomCurrency("priced items in a custom currency cannot be charged")
        customer = await customers.get(session, view.namespace, view.customer_id)
        if customer.deleted_at is not None:
            if customer.deleted_at <= view.active_from:
                return Targets()
            view = ended_at(view, customer.deleted_at)
        profile = await self._profiles.merged(session, view.namespace, view.customer_id)
        return targets(
            view,
            as_of or view.active_to or clock.now(),
            bill_full_period=profile.workflow.subscription_end_proration_mode == "bill_full_period",
        )

    async def _billed_before(self, session: ReadSession, view: SubscriptionView) -> list[ChargeState]:
        """Return what invoices bill beside the charges that are: of deleted ones, and of subscriptions before this one.

        Of those whose place it took, beyond its start.
        """
        before = await repository.replaced(session, view)
        found = await self._charges.left_to_invoices(session, view.namespace, [view.id, *before])
        if before:
            found += await self._charges.invoiced_beyond(session, view.namespace, before, view.active_from)
        return found

    async def _following(
        self, session: ReadSession, view: SubscriptionView, existing: Sequence[ChargeState]
    ) -> tuple[ChargeIntent, ...]:
        """Return what is wanted of the subscription that takes the place of this one, for the days invoices bill."""
        following = view
        # One that was changed again in the second of its beginning has nothing; the one after it took the place.
        while following is view or following.active_from == following.active_to:
            superseding = following.annotations.get(SUPERSEDING)
            if superseding is None:
                return ()
            following = await subscriptions.load(session, view.namespace, superseding, include_deleted=True)
            if following.deleted_at is not None:
                return ()
        billed = (state.invoiced.period.end for state in existing if state.invoiced is not None)
        return targets(following, max(billed, default=following.active_from)).intents

    async def _apply(self, session: WriteSession, namespace: str, patches: Sequence[Patch]) -> list[ItemFailure]:
        failures: dict[str, ItemFailure] = {}
        for patch in patches:
            if not isinstance(patch, Create):
                await self._attempt(session, namespace, patch, failures)
        # What could not be deleted must not be made a second time.
        missing = [patch for patch in patches if isinstance(patch, Create) and patch.reference not in failures]
        try:
            async with session.begin_nested():
                await self._charges.create(session, [patch.intent for patch in missing])
        except DomainError:
            # One is refused: which one shows by making them one by one, which takes longer where they are many.
            for patch in missing:
                await self._attempt(session, namespace, patch, failures)
        return list(failures.values())

    async def _attempt(
        self, session: WriteSession, namespace: str, patch: Patch, failures: dict[str, ItemFailure]
    ) -> None:
        try:
            async with session.begin_nested():
                await self._patch(session, namespace, patch)
        except DomainError as error:
            failures[patch.reference] = ItemFailure(patch.reference, error.message)

    async def _patch(self, session: WriteSession, namespace: str, patch: Patch) -> None:
        match patch:
            case Delete():
                await self._charges.delete(session, namespace, patch.charge_id)
            case Move(intent=intent):
                await self._charges.change_periods(
                    session,
                    namespace,
                    patch.charge_id,
                    service_end=intent.service_period.end,
                    full_service_end=intent.full_service_period.end,
                    billing_end=intent.billing_period.end,
                    invoice_at=intent.invoice_at,
                )
            case Redate():
                await self._charges.redate(session, namespace, patch.charge_id, patch.intent)
            case Replace():
                await self._charges.replace_intent(session, namespace, patch.charge_id, patch.intent)
            case Relink():
                await self._charges.relink(session, namespace, patch.charge_id, patch.source)
            case Create():
                await self._charges.create(session, [patch.intent])

    async def _state(
        self, session: WriteSession, namespace: str, subscription_id: str, found: repository.Subscription
    ) -> SyncStateRow:
        state = await repository.state(session, subscription_id)
        if state is None:
            state = new_state(namespace, subscription_id, found.customer_id, found.version)
            session.add(state)
        return state

    async def _record_failure(
        self, session: WriteSession, namespace: str, subscription_id: str, error: Exception
    ) -> None:
        found = await repository.subscription(session, namespace, subscription_id)
        if found is None:
            return
        await lock(session, "customer", namespace, found.customer_id, "billing")
        state = await self._state(session, namespace, subscription_id, found)
        if isinstance(error, CustomCurrency):
            record_pointless(state, found.version)
        else:
            message = error.message if isinstance(error, DomainError) else f"{type(error).__name__}: {error}"
            record_failure(state, found.version, message)
