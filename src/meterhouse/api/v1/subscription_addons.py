"""v1 add-ons of subscriptions. A change is committed first; billing follows it in its own transaction."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from meterhouse.api import subscription_purchases as purchases
from meterhouse.api.deps import Namespace, Read, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.timing import SubscriptionTiming
from meterhouse.api.v1.ratecards import RateCard, rate_card_of
from meterhouse.api.v1.subscriptions import FAILURES, ONE, SubscriptionId
from meterhouse.api.v1.versions import AnyUlid
from meterhouse.api.wire import Description, Instant, Name, Opt, ResourceKey, Ulid, V1Model, V1Resource
from meterhouse.catalog import ratecards
from meterhouse.catalog.addons import InstanceType
from meterhouse.kernel import clock
from meterhouse.kernel.errors import invalid
from meterhouse.subscriptions.addons import service
from meterhouse.subscriptions.addons.instances import Instance, quantity_at
from meterhouse.subscriptions.addons.purchase import Purchase
from meterhouse.subscriptions.addons.service import NewPurchase

router = APIRouter(tags=["Subscriptions"])

_PATH = ONE + "/addons"
_ONE = _PATH + "/{subscriptionAddonId}"

SubscriptionAddonId = Annotated[
    AnyUlid, Path(alias="subscriptionAddonId", description="The id of an add-on of a subscription.")
]
Quantity = Annotated[int, Field(ge=0)]


class SubscriptionAddonAddon(V1Model):
    """The add-on version that a subscription has."""

    id: Ulid
    key: ResourceKey
    version: int
    instance_type: InstanceType


class SubscriptionAddonTimelineSegment(V1Model):
    """A quantity and when it holds."""

    active_from: Instant
    active_to: Opt[Instant] = None
    quantity: Quantity

    @classmethod
    def of(cls, one: Instance) -> "SubscriptionAddonTimelineSegment":
        """Show a quantity in time."""
        return cls(active_from=one.active_from, active_to=one.active_to, quantity=one.quantity)


class SubscriptionAddonRateCard(V1Model):
    """A rate card of the add-on and what it changes."""

    rate_card: RateCard
    affected_subscription_item_ids: list[Ulid] = Field(
        description="The versions of items that it is part of, past and future ones too."
    )

    @classmethod
    def of(cls, bought: Purchase, card: ratecards.RateCard) -> "SubscriptionAddonRateCard":
        """Show a rate card."""
        affected = [item.id for item in bought.affected(card)]
        return cls(rate_card=rate_card_of(card), affected_subscription_item_ids=affected)


class SubscriptionAddon(V1Resource):
    """An add-on that a subscription has, or had."""

    subscription_id: Ulid
    addon: SubscriptionAddonAddon
    active_from: Instant = Field(description="Since when it is there, in whatever quantity.")
    active_to: Opt[Instant] = None
    quantity: Quantity
    quantity_at: Instant = Field(description="The instant at which there are so many.")
    timeline: list[SubscriptionAddonTimelineSegment] = Field(description="All quantities in order of time.")
    rate_cards: list[SubscriptionAddonRateCard]

    @classmethod
    def of(cls, bought: Purchase) -> "SubscriptionAddon":
        """Show an add-on of a subscription."""
        now = clock.now()
        addon = bought.addon
        return cls(
            id=bought.id,
            name=addon.name,
            description=addon.description,
            metadata=dict(bought.metadata) or None,
            created_at=bought.created_at,
            updated_at=bought.updated_at,
            subscription_id=bought.subscription.id,
            addon=SubscriptionAddonAddon(
                id=addon.id, key=addon.key, version=addon.version, instance_type=addon.instance_type
            ),
            active_from=bought.timeline[0].active_from,
            quantity=quantity_at(bought.timeline, now),
            quantity_at=now,
            timeline=[SubscriptionAddonTimelineSegment.of(one) for one in bought.timeline],
            rate_cards=[SubscriptionAddonRateCard.of(bought, card) for card in addon.rate_cards],
        )


class AddonChoice(V1Model):
    """Names an add-on version."""

    id: AnyUlid


class SubscriptionAddonCreate(V1Model):
    """An add-on to take. It has the name and description of the add-on, whatever is sent."""

    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    quantity: Quantity = Field(description="How many; 0 only for an add-on that the subscription has already.")
    timing: SubscriptionTiming = Field(description="From when on: any instant at which the subscription runs.")
    addon: AddonChoice

    def to_value(self) -> NewPurchase:
        """Read what is taken."""
        return NewPurchase(self.addon.id, self.quantity, self.timing, self.metadata or {})


class SubscriptionAddonUpdate(V1Model):
    """Another quantity, from an instant on. Other members are ignored."""

    name: Opt[Name] = None
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    quantity: Opt[Quantity] = Field(None, description="Required; 0 removes the add-on.")
    timing: Opt[SubscriptionTiming] = Field(None, description="Required; an instant at which the subscription runs.")


def refuse_beyond_v1(bought: Purchase) -> None:
    """Refuse an add-on that v1 cannot show (subscriptions section 12.1).

    Raises:
        InvalidInput: it converts units.
    """
    if any(card.unit_conversion is not None for card in bought.addon.rate_cards):
        message = f"add-on {bought.addon.key} has a unit conversion, which only API v3 can show"
        shown = f"/api/v3/openmeter/subscriptions/{bought.subscription.id}/addons"
        change = f"PATCH /api/v3/meterhouse/subscriptions/{bought.subscription.id}/addons/{{subscriptionAddonId}}"
        raise invalid(f"{message}: at {shown}; {change} changes its quantity", code="unit_config_not_representable")


def _shown(bought: Purchase) -> SubscriptionAddon:
    refuse_beyond_v1(bought)
    return SubscriptionAddon.of(bought)


@router.post(
    _PATH,
    operation_id="createSubscriptionAddon",
    summary="Take an add-on",
    status_code=201,
    responses=errors("v1", *FAILURES),
)
async def create_subscription_addon(
    subscription_id: SubscriptionId, body: SubscriptionAddonCreate, namespace: Namespace, services: ServicesDep
) -> SubscriptionAddon:
    """Take an add-on that the plan offers, or change how many the subscription has of it."""
    bought = await purchases.buy(
        services, namespace, subscription_id, body.to_value(), refuse_beyond_v1, or_change=True
    )
    return SubscriptionAddon.of(bought)


@router.get(
    _PATH,
    operation_id="listSubscriptionAddons",
    summary="List the add-ons of a subscription",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_subscription_addons(
    subscription_id: SubscriptionId, session: Read, namespace: Namespace
) -> list[SubscriptionAddon]:
    """List all add-ons that a subscription has or had, the oldest first."""
    found = await service.list_purchases(session, namespace, subscription_id)
    return [_shown(bought) for bought in found.items]


@router.get(
    _ONE,
    operation_id="getSubscriptionAddon",
    summary="Get an add-on of a subscription",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_subscription_addon(
    subscription_id: SubscriptionId, subscription_addon_id: SubscriptionAddonId, session: Read, namespace: Namespace
) -> SubscriptionAddon:
    """Get an add-on with how many there are in time and what it changes. Its id alone decides which."""
    return _shown(await service.get(session, namespace, subscription_addon_id))


@router.patch(
    _ONE,
    operation_id="updateSubscriptionAddon",
    summary="Change how many of an add-on there are",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def update_subscription_addon(
    subscription_id: SubscriptionId,
    subscription_addon_id: SubscriptionAddonId,
    body: SubscriptionAddonUpdate,
    namespace: Namespace,
    services: ServicesDep,
) -> SubscriptionAddon:
    """Set the quantity of an add-on from an instant on, until the next change that is already known."""
    for name, value in (("quantity", body.quantity), ("timing", body.timing)):
        if value is None:
            raise invalid(f"{name} is required", field=f"$.{name}")
    assert body.quantity is not None
    assert body.timing is not None
    changed = await purchases.change_quantity(
        services, namespace, subscription_id, subscription_addon_id, body.quantity, body.timing, refuse_beyond_v1
    )
    return SubscriptionAddon.of(changed)
