"""Charges as immutable values: what the subscription sync, the wire and the live balance read."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import PublicStatus, Status
from meterhouse.billing.rating.results import Totals
from meterhouse.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class Invoiced:
    """What invoices that can no longer change bill of a charge, from its start.

    Attributes:
        amount: discounts off, before credits and taxes.
    """

    period: Period
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ChargeState:
    """What the subscription sync compares its target with.

    Attributes:
        intent: the base intent, the system's view; a user's override does not show here.
        status: the detailed status.
        has_runs: whether anything was realised that still counts.
        invoiced: what issued invoices bill of it; None: nothing.
    """

    id: str
    unique_reference_id: str | None
    intent: ChargeIntent
    status: Status
    has_runs: bool
    subscription_item_id: str | None
    invoiced: Invoiced | None = None

    @property
    def is_fixed(self) -> bool:
        """Tell whether its content stays: of usage that was realised, and of a fee that an issued invoice bills."""
        return self.has_runs and (not self.intent.is_flat or self.invoiced is not None)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge with its two layers (charges section 1).

    Attributes:
        intent: the effective intent: the user's where there is one, else the system's.
        base: the system's intent.
        overridden: whether a user's layer exists.
        status: detailed; `public_status` is what the wire shows.
        amount_after_proration: what a flat fee really costs, rounded; None for usage.
        advance_after: earliest instant of the next step that time drives, None when time drives nothing.
        base_deleted_at: when the system deleted its own layer.
        deleted_at: when the charge stopped to be billable, by whichever layer.
        booked: what runs booked so far, after credits.
        realtime: usage up to now rated from the start, before credits; None unless asked for and readable. Also what
            was stored too late to be booked counts here.
        last_error: why the last advance failed, None when it did not.
    """

    id: str
    namespace: str
    customer_id: str
    intent: ChargeIntent
    base: ChargeIntent
    overridden: bool
    status: Status
    feature_id: str | None
    amount_after_proration: Decimal | None
    advance_after: datetime | None
    base_deleted_at: datetime | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    booked: Totals
    realtime: Totals | None = None
    last_error: str | None = None

    @property
    def public_status(self) -> PublicStatus:
        """The first segment of the detailed status."""
        return self.status.public

    @property
    def lifecycle_controller(self) -> Literal["system", "manual"]:
        """Who decides about the charge: a user by an override or by having made it, else the system."""
        return "manual" if self.overridden or self.base.managed_by == "manual" else "system"
