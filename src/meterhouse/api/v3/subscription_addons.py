"""v3 add-ons of subscriptions. A change is committed first; billing follows it in its own transaction."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import Field

from meterhouse.api import subscription_purchases as purchases
from meterhouse.api.deps import Namespace, Read, ServicesDep
from meterhouse.api.filters import list_parameters, parse_sort
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.timing import SubscriptionTiming
from meterhouse.api.v3.plan_addons import AddonReference
from meterhouse.api.v3.ratecards import BillingRateCard
from meterhouse.api.v3.subscriptions import SubscriptionId
from meterhouse.api.wire import Description, Instant, Name, Opt, Ulid, V3Model
from meterhouse.catalog import ratecards
from meterhouse.kernel import clock
from meterhouse.subscriptions.addons import service
from meterhouse.subscriptions.addons.instances import Instance, quantity_at
from meterhouse.subscriptions.addons.purchase import Purchase
from meterhouse.subscriptions.addons.repository import OLDEST_FIRST, SORT_COLUMNS
from meterhouse.subscriptions.addons.service import NewPurchase

router = APIRouter(tags=["OpenMeter Subscriptions"])

_PATH = "/api/v3/openmeter/subscriptions/{subscriptionId}/addons"
_SORT_FIELDS = tuple(SORT_COLUMNS)

SubscriptionAddonId = Annotated[
    Ulid, Path(alias="subscriptionAddonId", description="The id of an add-on of a subscription.")
]


class SubscriptionAddonTimelineSegment(V3Model):
    """A quantity and when it holds."""

    active_from: Instant
    active_to: Opt[Instant] = None
    quantity: Annotated[int, Field(ge=0)]

    @classmethod
    def of(cls, one: Instance) -> "SubscriptionAddonTimelineSegment":
        """Show a quantity in time."""
        return cls(active_from=one.active_from, active_to=one.active_to, quantity=one.quantity)


class SubscriptionAddonRateCard(V3Model):
    """A rate card of the add-on and what it changes."""

    rate_card: BillingRateCard
    affected_subscription_item_ids: list[Ulid] = Field(
        description="The versions of items that it is part of, past and future ones too."
    )

    @classmethod
    def of(cls, bought: Purchase, card: ratecards.RateCard) -> "SubscriptionAddonRateCard":
        """Show a rate card."""
        affected = [item.id for item in bought.affected(card)]
        return cls(rate_card=BillingRateCard.of(card), affected_subscription_item_ids=affected)


class SubscriptionAddon(V3Model):
    """An add-on that a subscription has, or had."""

    id: Ulid
    labels: ShownLabels
    name: Name
    description: Opt[Description] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    addon: AddonReference
    quantity: int = Field(description="How many there are now; 0 before the first and after the last.")
    quantity_at: Instant = Field(description="The instant at which there are so many.")
    active_from: Instant = Field(description="Since when it is there, in whatever quantity.")
    active_to: Opt[Instant] = None
    timeline: list[SubscriptionAddonTimelineSegment] = Field(description="All quantities in order of time.")
    rate_cards: list[SubscriptionAddonRateCard]

    @classmethod
    def of(cls, bought: Purchase) -> "SubscriptionAddon":
        """Show an add-on of a subscription."""
        now = clock.now()
        return cls(
            id=bought.id,
            labels=labels_of(bought.metadata),
            name=bought.addon.name,
            description=bought.addon.description,
            created_at=bought.created_at,
            updated_at=bought.updated_at,
            addon=AddonReference(id=bought.addon.id),
            quantity=quantity_at(bought.timeline, now),
            quantity_at=now,
            active_from=bought.timeline[0].active_from,
            timeline=[SubscriptionAddonTimelineSegment.of(one) for one in bought.timeline],
            rate_cards=[SubscriptionAddonRateCard.of(bought, card) for card in bought.addon.rate_cards],
        )


class CreateSubscriptionAddonRequest(V3Model):
    """An add-on to take."""

    labels: Opt[Labels] = None
    addon: AddonReference
    quantity: Annotated[int, Field(ge=1)]
    timing: SubscriptionTiming = Field(description="From when on: any instant at which the subscription runs.")

    def to_value(self) -> NewPurchase:
        """Read what is taken."""
        return NewPurchase(self.addon.id, self.quantity, self.timing, metadata_of(self.labels))


@router.post(
    _PATH,
    operation_id="createSubscriptionAddon",
    summary="Take an add-on",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def create_subscription_addon(
    subscription_id: SubscriptionId, body: CreateSubscriptionAddonRequest, namespace: Namespace, services: ServicesDep
) -> SubscriptionAddon:
    """Take an add-on that the plan offers, once for a subscription."""
    return SubscriptionAddon.of(await purchases.buy(services, namespace, subscription_id, body.to_value()))


@router.get(
    _PATH,
    operation_id="listSubscriptionAddons",
    summary="List the add-ons of a subscription",
    responses=errors("v3", 400, 401, 403, 404),
    openapi_extra=list_parameters({}, _SORT_FIELDS),
)
async def list_subscription_addons(
    request: Request, subscription_id: SubscriptionId, session: Read, namespace: Namespace, page: V3Paging
) -> V3Page[SubscriptionAddon]:
    """List the add-ons that a subscription has or had, the oldest first unless asked otherwise."""
    sorts = parse_sort(request, _SORT_FIELDS, OLDEST_FIRST)
    found = await service.list_purchases(session, namespace, subscription_id, sorts=sorts, page=page)
    return V3Page.of(found, [SubscriptionAddon.of(bought) for bought in found.items])


@router.get(
    _PATH + "/{subscriptionAddonId}",
    operation_id="getSubscriptionAddon",
    summary="Get an add-on of a subscription",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_subscription_addon(
    subscription_id: SubscriptionId, subscription_addon_id: SubscriptionAddonId, session: Read, namespace: Namespace
) -> SubscriptionAddon:
    """Get an add-on with how many there are in time and what it changes."""
    found = await service.get(session, namespace, subscription_addon_id, subscription_id=subscription_id)
    return SubscriptionAddon.of(found)
