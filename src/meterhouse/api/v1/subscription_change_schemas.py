"""The v1 schemas of what changes a running subscription: edits, another plan, another version of the plan."""

from typing import Annotated, Literal

from pydantic import Field

from meterhouse.api.timing import SubscriptionTiming
from meterhouse.api.v1.ratecards import Discounts, RateCard, rate_card_value
from meterhouse.api.v1.subscription_schemas import (
    CustomPlanInput,
    PlanMembers,
    StartingPhase,
    Subscription,
    SubscriptionExpanded,
)
from meterhouse.api.wire import Counted, Description, Instant, ISODuration, Name, Opt, ResourceKey, V1Model
from meterhouse.subscriptions import patches
from meterhouse.subscriptions.service import Migration, PlanChange, PlanChoice
from meterhouse.subscriptions.spec import ItemSpec
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import CostBasisMode

_MAX_PATCHES = 100  # of the contract; keeps the work of one transaction bounded

BillingAnchor = Annotated[
    Opt[Instant], Field(description="Where billing periods are counted from; those of the subscription when absent.")
]


class EditSubscriptionAddItem(V1Model):
    """Give a phase an item; in the current phase it takes the place of the item of the same key from the edit on."""

    op: Literal["add_item"]
    phase_key: str
    rate_card: RateCard

    def to_value(self) -> patches.Patch:
        """Read the patch."""
        card = rate_card_value(self.rate_card)
        return patches.AddItem(self.phase_key, ItemSpec(card.key, card))


class EditSubscriptionRemoveItem(V1Model):
    """End an item of the current phase, or take it out of a future one."""

    op: Literal["remove_item"]
    phase_key: str
    item_key: str

    def to_value(self) -> patches.Patch:
        """Read the patch."""
        return patches.RemoveItem(self.phase_key, self.item_key)


class SubscriptionPhaseCreate(V1Model):
    """A phase to insert. Items are added to it by further patches of the same edit."""

    start_after: ISODuration | None = Field(description="When it starts, counted from the start of the subscription.")
    duration: Opt[ISODuration] = Field(None, description="How long it lasts; needed where another phase follows.")
    discounts: Opt[Discounts] = Field(None, description="Accepted and ignored: discounts belong to rate cards.")
    key: ResourceKey
    name: Name
    description: Opt[Description] = None


class EditSubscriptionAddPhase(V1Model):
    """Insert a phase; those after it move."""

    op: Literal["add_phase"]
    phase: SubscriptionPhaseCreate

    def to_value(self) -> patches.Patch:
        """Read the patch."""
        phase = self.phase
        return patches.AddPhase(phase.key, phase.name, phase.start_after, phase.duration, phase.description)


class EditSubscriptionRemovePhase(V1Model):
    """Take out a phase that has not started."""

    op: Literal["remove_phase"]
    phase_key: str
    shift: patches.Shift = Field(
        description="What fills the gap: `next`: the later phases, moved earlier; `prev`: the one before, made longer."
    )

    def to_value(self) -> patches.Patch:
        """Read the patch."""
        return patches.RemovePhase(self.phase_key, self.shift)


class EditSubscriptionStretchPhase(V1Model):
    """Let a phase last longer or shorter; those after it move."""

    op: Literal["stretch_phase"]
    phase_key: str
    extend_by: ISODuration = Field(description="By how much, on the calendar; negative for shorter.")

    def to_value(self) -> patches.Patch:
        """Read the patch."""
        return patches.StretchPhase(self.phase_key, self.extend_by)


class EditSubscriptionUnscheduleEdit(V1Model):
    """Forget what was planned for the items of the current phase."""

    op: Literal["unschedule_edit"]

    def to_value(self) -> patches.Patch:
        """Read the patch."""
        return patches.UnscheduleEdit()


SubscriptionEditOperation = Annotated[
    EditSubscriptionAddItem
    | EditSubscriptionRemoveItem
    | EditSubscriptionAddPhase
    | EditSubscriptionRemovePhase
    | EditSubscriptionStretchPhase
    | EditSubscriptionUnscheduleEdit,
    Field(discriminator="op"),
]


class SubscriptionEdit(V1Model):
    """Patches of a subscription, applied in order, all or none."""

    customizations: list[SubscriptionEditOperation] = Field(min_length=1, max_length=_MAX_PATCHES)
    timing: SubscriptionTiming = Field(
        NamedTiming.IMMEDIATE, description="Now, or at the next billing cycle where that is in the same phase."
    )


class _ChangeMembers(V1Model):
    timing: SubscriptionTiming = Field(description="Now, at the next billing cycle, or at a boundary of a period.")
    billing_anchor: BillingAnchor = None
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC


class PlanSubscriptionChange(PlanMembers, _ChangeMembers):
    """Another plan in the place of the present one."""

    def to_value(self) -> PlanChange:
        """Read the change."""
        return PlanChange(
            plan=PlanChoice(key=self.plan.key, version=self.plan.version),
            timing=self.timing,
            name=self.name,
            description=self.description,
            metadata=self.metadata,
            settlement_mode=self.settlement_mode,
            billing_anchor=self.billing_anchor,
            starting_phase=self.starting_phase,
            cost_basis_mode=self.cost_basis_mode,
        )


class CustomSubscriptionChange(_ChangeMembers):
    """A plan of its own in the place of the present one."""

    custom_plan: CustomPlanInput

    def to_value(self) -> PlanChange:
        """Read the change."""
        plan = self.custom_plan.to_value()
        return PlanChange(plan, self.timing, billing_anchor=self.billing_anchor, cost_basis_mode=self.cost_basis_mode)


class SubscriptionMigrate(V1Model):
    """A newer version of the plan in the place of the present one."""

    timing: SubscriptionTiming = Field(
        NamedTiming.IMMEDIATE, description="Now, at the next billing cycle, or at a boundary of a period."
    )
    target_version: Opt[Counted] = Field(None, description="The active version when absent.")
    starting_phase: StartingPhase = None
    billing_anchor: BillingAnchor = None

    def to_value(self) -> Migration:
        """Read the migration."""
        return Migration(self.target_version, self.timing, self.billing_anchor, self.starting_phase)


class SubscriptionChangeResponseBody(V1Model):
    """The subscription that ends, and the one that begins at that instant."""

    current: Subscription
    next: SubscriptionExpanded
