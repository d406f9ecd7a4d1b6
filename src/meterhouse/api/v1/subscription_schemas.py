"""The v1 schemas of subscriptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from meterhouse.api.timing import SubscriptionTiming
from meterhouse.api.v1.entitlements.schemas import Entitlement
from meterhouse.api.v1.features import FeatureResource
from meterhouse.api.v1.plans import Alignment, PlanPhase, ProRatingConfig
from meterhouse.api.v1.ratecards import Discounts, RateCardUsageBasedPrice, TaxConfig, price_of
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
    V1Model,
    V1Resource,
    Whole,
)
from meterhouse.catalog import features as catalog
from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel import clock, periods
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.ids import made_at
from meterhouse.subscriptions.billing_period import aligned_period
from meterhouse.subscriptions.service import CustomPlan, NewSubscription, PlanChoice
from meterhouse.subscriptions.status import Status, status_of
from meterhouse.subscriptions.timeline import shown_items, timelines
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import CostBasisMode, ItemVersion, PhaseView, SubscriptionView


class Period(V1Model):
    """A stretch of time, its end excluded."""

    from_: Instant = Field(alias="from")
    to: Instant

    @classmethod
    def of(cls, period: periods.Period) -> "Period":
        """Show a period."""
        return cls(from_=period.start, to=period.end)


class PlanReference(V1Model):
    """The plan version that a subscription was made from."""

    id: Ulid
    key: ResourceKey
    version: int


class SubscriptionCostBasisPin(V1Model):
    """The cost basis that a pair of currencies is held to."""

    custom_currency_id: Ulid
    invoice_currency: CurrencyCode
    cost_basis_id: Ulid


class _SubscriptionMembers(V1Resource):
    active_from: Instant
    active_to: Opt[Instant] = Field(None, description="When it ends; absent while it is open-ended.")
    annotations: Opt[dict[str, Any]] = None
    status: Status
    customer_id: Ulid
    plan: Opt[PlanReference] = Field(None, description="Absent for a custom plan.")
    currency: CurrencyCode
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC
    cost_basis_pins: list[SubscriptionCostBasisPin] = []
    billing_cadence: ISODuration
    pro_rating_config: ProRatingConfig
    billing_anchor: Instant = Field(description="Where billing periods are counted from, in both directions.")
    settlement_mode: SettlementMode


def _members(view: SubscriptionView, now: datetime) -> dict[str, Any]:
    return {
        "id": view.id,
        "name": view.name,
        "description": view.description,
        "metadata": view.metadata or None,
        "created_at": view.created_at,
        "updated_at": view.updated_at,
        "deleted_at": view.deleted_at,
        "annotations": dict(view.annotations) or None,
        "active_from": view.active_from,
        "active_to": view.active_to,
        "status": status_of(view, now),
        "customer_id": view.customer_id,
        "plan": view.plan and PlanReference.model_validate(view.plan),
        "currency": view.currency,
        "billing_cadence": view.billing_cadence,
        "pro_rating_config": ProRatingConfig(enabled=view.pro_rating_enabled, mode="prorate_prices"),
        "billing_anchor": view.billing_anchor,
        "settlement_mode": view.settlement_mode,
        "cost_basis_mode": view.cost_basis_mode,
    }


class Subscription(_SubscriptionMembers):
    """A subscription without its schedule."""

    alignment: Opt[Alignment] = None

    @classmethod
    def of(cls, view: SubscriptionView) -> "Subscription":
        """Show a subscription."""
        return cls(**_members(view, clock.now()), alignment=Alignment(billables_must_align=True))


class SubscriptionAlignment(V1Model):
    """How the prices of a subscription line up."""

    billables_must_align: bool = Field(True, deprecated=True)
    current_aligned_billing_period: Opt[Period] = Field(
        None, description="The billing period that runs now, cut to the current phase; absent when none runs."
    )


class SubscriptionItemIncluded(V1Model):
    """What an item gives beside its price."""

    feature: FeatureResource
    entitlement: Opt[Entitlement] = None


@dataclass(frozen=True, slots=True)
class Included:
    """What the items of a subscription include.

    Attributes:
        features: by key.
        entitlements: by the id of the item version.
    """

    features: Mapping[str, catalog.Feature]
    entitlements: Mapping[str, Entitlement]

    def by(self, item: ItemVersion) -> SubscriptionItemIncluded | None:
        """Return what one version of an item includes."""
        feature = self.features.get(item.rate_card.feature_key or "")
        if feature is None:
            return None
        return SubscriptionItemIncluded(feature=FeatureResource.of(feature), entitlement=self.entitlements.get(item.id))


class SubscriptionItem(V1Resource):
    """One version of an item."""

    active_from: Instant
    active_to: Opt[Instant] = None
    key: ResourceKey
    currency: Opt[Annotated[str, StringConstraints(min_length=3, max_length=24)]] = None
    feature_key: Opt[ResourceKey] = None
    billing_cadence: ISODuration | None = Field(description="Null for a fee charged once.")
    price: RateCardUsageBasedPrice | None = Field(description="Null when it is free.")
    discounts: Opt[Discounts] = None
    included: Opt[SubscriptionItemIncluded] = None
    tax_config: Opt[TaxConfig] = None

    @classmethod
    def of(cls, item: ItemVersion, included: Included) -> "SubscriptionItem":
        """Show an item version."""
        card = item.rate_card
        # Rows of items are written once, so the id knows when.
        made = made_at(item.id)
        return cls(
            id=item.id,
            name=card.name,
            description=card.description,
            metadata=card.metadata,
            created_at=made,
            updated_at=made,
            active_from=item.active_from,
            active_to=item.active_to,
            key=item.key,
            currency=card.currency,
            feature_key=card.feature_key,
            billing_cadence=card.billing_cadence,
            price=card.price and price_of(card.price),
            discounts=Discounts.of(card.discounts),
            included=included.by(item),
            tax_config=card.tax_config and TaxConfig.of(card.tax_config),
        )


class SubscriptionPhaseExpanded(V1Resource):
    """A phase with its items."""

    key: ResourceKey
    discounts: Opt[Discounts] = None
    active_from: Instant
    active_to: Opt[Instant] = None
    items: list[SubscriptionItem] = Field(description="One version of each item: the one that counts now.")
    item_timelines: dict[str, list[SubscriptionItem]] = Field(description="All versions of each item, by its key.")

    @classmethod
    def of(
        cls, view: SubscriptionView, phase: PhaseView, included: Included, now: datetime
    ) -> "SubscriptionPhaseExpanded":
        """Show a phase of a subscription as it is at `now`."""
        made = made_at(phase.id)
        return cls(
            id=phase.id,
            name=phase.name,
            description=phase.description,
            metadata=phase.metadata or None,
            created_at=made,
            updated_at=made,
            key=phase.key,
            active_from=phase.active_from,
            active_to=phase.active_to,
            items=[SubscriptionItem.of(item, included) for item in shown_items(view, phase, now)],
            item_timelines={
                key: [SubscriptionItem.of(item, included) for item in versions]
                for key, versions in timelines(phase).items()
            },
        )


class SubscriptionExpanded(_SubscriptionMembers):
    """A subscription with its whole schedule."""

    alignment: Opt[SubscriptionAlignment] = None
    phases: list[SubscriptionPhaseExpanded] = Field(description="In order of time.")

    @classmethod
    def of(cls, view: SubscriptionView, included: Included) -> "SubscriptionExpanded":
        """Show a subscription."""
        now = clock.now()
        period = aligned_period(view, now)
        return cls(
            **_members(view, now),
            alignment=SubscriptionAlignment(
                current_aligned_billing_period=period and Period.of(period),
            ),
            phases=[SubscriptionPhaseExpanded.of(view, phase, included, now) for phase in view.phases],
        )


class PlanReferenceInput(V1Model):
    """Names the active version of a plan. A version, where given, must be the active one."""

    key: ResourceKey
    version: Opt[Whole] = None


class _SubscriptionCreateMembers(V1Model):
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC
    timing: SubscriptionTiming = Field(NamedTiming.IMMEDIATE, description="When it starts.")
    customer_id: Opt[Ulid] = Field(None, description="The id of the customer; it goes before the key.")
    customer_key: Opt[ExternalKey] = None
    billing_anchor: Opt[Instant] = Field(None, description="Where billing periods are counted from; default the start.")

    def customer(self) -> str:
        """Return what names the customer.

        Raises:
            InvalidInput: nothing does.
        """
        named = self.customer_id or self.customer_key
        if named is None:
            raise invalid("either customerId or customerKey must be provided", field="$.customerId")
        return named


StartingPhase = Annotated[
    Opt[Annotated[str, StringConstraints(min_length=1)]],
    Field(description="Key of the phase to begin with; the phases before it last no time."),
]


class PlanMembers(V1Model):
    """What a subscription to a plan can have of its own."""

    alignment: Opt[Alignment] = None
    metadata: Opt[dict[str, str]] = None
    plan: PlanReferenceInput
    starting_phase: StartingPhase = None
    name: Opt[Annotated[str, StringConstraints(max_length=256)]] = Field(
        None, description="The plan's name when absent or empty."
    )
    description: Opt[Description] = None
    settlement_mode: Opt[SettlementMode] = Field(None, description="The plan's when absent.")


class PlanSubscriptionCreate(PlanMembers, _SubscriptionCreateMembers):
    """A subscription to a plan."""

    def to_value(self, customer_id: str) -> NewSubscription:
        """Read the subscription."""
        return NewSubscription(
            customer_id=customer_id,
            plan=PlanChoice(key=self.plan.key, version=self.plan.version),
            timing=self.timing,
            name=self.name,
            description=self.description,
            metadata=self.metadata or {},
            settlement_mode=self.settlement_mode,
            billing_anchor=self.billing_anchor,
            starting_phase=self.starting_phase,
            cost_basis_mode=self.cost_basis_mode,
        )


class CustomPlanInput(V1Model):
    """A plan written for one subscription."""

    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    alignment: Opt[Alignment] = None
    currency: CurrencyCode
    billing_cadence: ISODuration
    pro_rating_config: ProRatingConfig = ProRatingConfig(enabled=True, mode="prorate_prices")
    settlement_mode: SettlementMode = SettlementMode.CREDIT_THEN_INVOICE
    phases: list[PlanPhase] = Field(min_length=1)

    def to_value(self) -> CustomPlan:
        """Read the plan."""
        return CustomPlan(
            name=self.name,
            currency=self.currency,
            billing_cadence=self.billing_cadence,
            phases=tuple(phase.to_value() for phase in self.phases),
            description=self.description,
            metadata=self.metadata or {},
            pro_rating_enabled=self.pro_rating_config.enabled,
            settlement_mode=self.settlement_mode,
        )


class CustomSubscriptionCreate(_SubscriptionCreateMembers):
    """A subscription to a plan of its own."""

    custom_plan: CustomPlanInput

    def to_value(self, customer_id: str) -> NewSubscription:
        """Read the subscription."""
        plan = self.custom_plan.to_value()
        return NewSubscription(
            customer_id=customer_id,
            plan=plan,
            timing=self.timing,
            billing_anchor=self.billing_anchor,
            cost_basis_mode=self.cost_basis_mode,
        )


class SubscriptionCancel(V1Model):
    """When a cancellation takes effect."""

    timing: SubscriptionTiming = Field(
        NamedTiming.IMMEDIATE, description="Now, at the next billing cycle, or at a boundary of a period or phase."
    )
