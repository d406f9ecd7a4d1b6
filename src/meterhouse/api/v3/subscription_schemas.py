"""The v3 schemas of subscriptions."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.timing import SubscriptionTiming
from meterhouse.api.v3.ratecards import BillingRateCard
from meterhouse.api.v3.references import ClosedPeriod
from meterhouse.api.wire import (
    CurrencyCode,
    Description,
    ExternalKey,
    Instant,
    ISODuration,
    Name,
    Opt,
    ResourceKey,
    Ulid,
    V3Model,
    Whole,
)
from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel import clock
from meterhouse.kernel.ids import made_at
from meterhouse.subscriptions.billing_period import aligned_period
from meterhouse.subscriptions.service import NewSubscription, PlanChange, PlanChoice
from meterhouse.subscriptions.status import Status, status_of
from meterhouse.subscriptions.timeline import shown_items
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import CostBasisMode, ItemVersion, PhaseView, SubscriptionView


class BillingSubscriptionItem(V3Model):
    """The version of an item that counts now."""

    id: Ulid
    active_from: Instant
    active_to: Opt[Instant] = None
    rate_card: BillingRateCard

    @classmethod
    def of(cls, item: ItemVersion) -> "BillingSubscriptionItem":
        """Show an item version."""
        return cls(
            id=item.id,
            active_from=item.active_from,
            active_to=item.active_to,
            rate_card=BillingRateCard.of(item.rate_card),
        )


class BillingSubscriptionPhase(V3Model):
    """A phase with its items."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    key: ResourceKey
    active_from: Instant
    active_to: Opt[Instant] = None
    items: list[BillingSubscriptionItem]

    @classmethod
    def of(cls, view: SubscriptionView, phase: PhaseView, now: datetime) -> "BillingSubscriptionPhase":
        """Show a phase of a subscription as it is at `now`."""
        # Rows of phases are written once, so the id knows when.
        made = made_at(phase.id)
        return cls(
            id=phase.id,
            name=phase.name,
            description=phase.description,
            labels=labels_of(phase.metadata),
            created_at=made,
            updated_at=made,
            key=phase.key,
            active_from=phase.active_from,
            active_to=phase.active_to,
            items=[BillingSubscriptionItem.of(item) for item in shown_items(view, phase, now)],
        )


class BillingSubscriptionPlanReference(V3Model):
    """The plan version that a subscription was made from."""

    id: Ulid
    key: ResourceKey
    version: int


class BillingSubscriptionProRatingConfig(V3Model):
    """Whether a price covers a part of its period in proportion."""

    enabled: bool
    mode: Literal["prorate_prices", "no_proration"]


class BillingSubscriptionCostBasisPin(V3Model):
    """The cost basis that a pair of currencies is held to."""

    custom_currency_id: Ulid
    invoice_currency: CurrencyCode
    cost_basis_id: Ulid


class BillingSubscription(V3Model):
    """A subscription with its schedule."""

    id: Ulid
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    name: Name
    description: Opt[Description] = None
    active_from: Instant
    active_to: Opt[Instant] = Field(None, description="When it ends; absent while it is open-ended.")
    customer_id: Ulid
    plan_id: Opt[Ulid] = Field(None, deprecated=True)
    plan: Opt[BillingSubscriptionPlanReference] = Field(None, description="Absent for a custom plan.")
    invoice_currency: CurrencyCode
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC
    cost_basis_pins: list[BillingSubscriptionCostBasisPin] = []
    billing_cadence: ISODuration
    pro_rating_config: BillingSubscriptionProRatingConfig
    billing_anchor: Instant = Field(description="Where billing periods are counted from, in both directions.")
    status: Status
    settlement_mode: SettlementMode
    current_period: Opt[ClosedPeriod] = Field(
        None, description="The billing period that runs now, cut to the current phase; absent when none runs."
    )
    phases: list[BillingSubscriptionPhase] = Field(description="In order of time.")

    @classmethod
    def of(cls, view: SubscriptionView) -> "BillingSubscription":
        """Show a subscription."""
        now = clock.now()
        period = aligned_period(view, now)
        return cls(
            id=view.id,
            labels=labels_of(view.metadata),
            created_at=view.created_at,
            updated_at=view.updated_at,
            deleted_at=view.deleted_at,
            name=view.name,
            description=view.description,
            active_from=view.active_from,
            active_to=view.active_to,
            customer_id=view.customer_id,
            plan_id=view.plan and view.plan.id,
            plan=view.plan and BillingSubscriptionPlanReference.model_validate(view.plan),
            invoice_currency=view.currency,
            billing_cadence=view.billing_cadence,
            pro_rating_config=BillingSubscriptionProRatingConfig(
                enabled=view.pro_rating_enabled,
                mode="prorate_prices" if view.pro_rating_enabled else "no_proration",
            ),
            billing_anchor=view.billing_anchor,
            status=status_of(view, now),
            settlement_mode=view.settlement_mode,
            cost_basis_mode=view.cost_basis_mode,
            current_period=period and ClosedPeriod.of(period),
            phases=[BillingSubscriptionPhase.of(view, phase, now) for phase in view.phases],
        )


class CustomerChoice(V3Model):
    """Names a customer; the id goes before the key."""

    id: Opt[Ulid] = None
    key: Opt[ExternalKey] = None

    def named(self) -> str | None:
        """Return what names the customer, if anything does."""
        return self.id or self.key


class PlanChoiceInput(V3Model):
    """Names a plan version: by its id, or the active one of a key."""

    id: Opt[Ulid] = None
    key: Opt[ResourceKey] = None
    version: Opt[Whole] = None


class _SubscriptionMembers(V3Model):
    labels: Opt[Labels] = None
    settlement_mode: Opt[SettlementMode] = Field(None, description="The plan's when absent.")
    customer: CustomerChoice
    plan: PlanChoiceInput
    billing_anchor: Opt[Instant] = Field(
        None,
        description="Where billing periods are counted from; default the start, after a change the anchor before it.",
    )
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC

    def plan_choice(self) -> PlanChoice:
        """Read which plan version."""
        return PlanChoice(self.plan.id, self.plan.key, self.plan.version)


class BillingSubscriptionCreate(_SubscriptionMembers):
    """A subscription to a plan. It starts at once."""

    def to_value(self, customer_id: str) -> NewSubscription:
        """Read the subscription."""
        return NewSubscription(
            customer_id=customer_id,
            plan=self.plan_choice(),
            metadata=metadata_of(self.labels),
            settlement_mode=self.settlement_mode,
            billing_anchor=self.billing_anchor,
            named_after_version=True,
            cost_basis_mode=self.cost_basis_mode,
        )


class BillingSubscriptionCancel(V3Model):
    """When a cancellation takes effect."""

    timing: SubscriptionTiming = Field(
        NamedTiming.IMMEDIATE, description="Now, at the next billing cycle, or at a boundary of a period or phase."
    )


class BillingSubscriptionChange(_SubscriptionMembers):
    """Another plan in the place of the present one. A customer, where named, must be the subscription's."""

    timing: SubscriptionTiming = Field(
        description="Now, at the next billing cycle, or at a boundary of a period or phase."
    )

    def to_value(self) -> PlanChange:
        """Read the change."""
        return PlanChange(
            plan=self.plan_choice(),
            timing=self.timing,
            metadata=None if self.labels is None else metadata_of(self.labels),
            settlement_mode=self.settlement_mode,
            billing_anchor=self.billing_anchor,
            keeps_name=True,
            cost_basis_mode=self.cost_basis_mode,
        )


class BillingSubscriptionChangeResponse(V3Model):
    """The subscription that ends, and the one that begins at that instant."""

    current: BillingSubscription
    next: BillingSubscription
