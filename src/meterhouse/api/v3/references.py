"""Small v3 schemas that several tags show: periods, references, totals."""

from pydantic import Field

from meterhouse.api.wire import Instant, Numeric, Ulid, V3Model
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.billing.rating.results import Totals
from meterhouse.kernel.periods import Period


class ClosedPeriod(V3Model):
    """A span of time, its start in it, its end not."""

    from_: Instant = Field(alias="from")
    to: Instant

    @classmethod
    def of(cls, period: Period) -> "ClosedPeriod":
        """Show a period."""
        return cls.model_validate({"from": period.start, "to": period.end})

    def to_value(self) -> Period:
        """Read the period."""
        return Period(self.from_, self.to)


class BillingCustomerReference(V3Model):
    """Names a customer."""

    id: Ulid


class BillingSubscriptionItemReference(V3Model):
    """Names an item of a subscription."""

    id: Ulid


class BillingSubscriptionPhaseReference(V3Model):
    """Names a phase of a subscription, and the item in it."""

    id: Ulid
    item: BillingSubscriptionItemReference


class BillingSubscriptionReference(V3Model):
    """Names a subscription, down to the item."""

    id: Ulid
    phase: BillingSubscriptionPhaseReference

    @classmethod
    def of(cls, reference: SubscriptionReference | None) -> "BillingSubscriptionReference | None":
        """Show where something comes from, or None."""
        if reference is None:
            return None
        item = BillingSubscriptionItemReference(id=reference.item_id)
        return cls(
            id=reference.subscription_id, phase=BillingSubscriptionPhaseReference(id=reference.phase_id, item=item)
        )


class BillingTotals(V3Model):
    """Sums of money. `total` = amount + charges + exclusive taxes - discounts - credits."""

    amount: Numeric = Field(description="Before charges, discounts, credits and taxes.")
    taxes_total: Numeric
    taxes_inclusive_total: Numeric
    taxes_exclusive_total: Numeric
    charges_total: Numeric = Field(description="What commitments add.")
    discounts_total: Numeric
    credits_total: Numeric
    total: Numeric

    @classmethod
    def of(cls, totals: Totals) -> "BillingTotals":
        """Show totals."""
        return cls.model_validate(totals.model_dump())
