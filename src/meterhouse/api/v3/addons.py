"""v3 add-ons (catalog section 4)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.filters import FieldKind, list_parameters, members_of, parse_filters, parse_sort
from meterhouse.api.labels import Labels, metadata_of, replaced_metadata
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.v3.prices import BillingCurrencyCode
from meterhouse.api.v3.ratecards import BillingRateCard
from meterhouse.api.v3.versions import VersionMembers, members
from meterhouse.api.wire import Description, Name, Opt, ResourceKey, Ulid, V3Model
from meterhouse.catalog import addons, planaddons, ratecards
from meterhouse.catalog.addons import AddonQuery, AddonStatus, InstanceType
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue

router = APIRouter(tags=["OpenMeter Product Catalog"])

_PATH = "/api/v3/openmeter/addons"
_ONE = _PATH + "/{addonId}"
_FIELDS = {
    "id": FieldKind.ULID,
    "key": FieldKind.STRING,
    "name": FieldKind.STRING,
    "currency": FieldKind.EXACT,
    "status": FieldKind.EXACT,
}
_SORT_FIELDS = ("id", "key", "name", "version", "created_at", "updated_at")

AddonId = Annotated[Ulid, Path(alias="addonId", description="The id of an add-on version.")]


class UpsertAddonRequest(V3Model):
    """The new content of a draft. The description stays when left out, labels do not."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    instance_type: InstanceType = Field(description="Whether a subscription takes it once, or in any quantity.")
    rate_cards: list[BillingRateCard]

    def card_values(self, stored: Mapping[str, ratecards.RateCard]) -> tuple[ratecards.RateCard, ...]:
        """Read the rate cards; `stored` has those that they replace, by key."""
        # An add-on's card that is billed again and again is one by usage, whatever its price (section 8.2).
        return tuple(
            card.to_value("usage_based" if card.billing_cadence else "flat_fee", stored.get(card.key))
            for card in self.rate_cards
        )

    def to_content(self, replaced: addons.Addon) -> addons.AddonContent:
        """Read the content that takes the place of `replaced`."""
        return addons.AddonContent(
            name=self.name,
            instance_type=self.instance_type,
            rate_cards=self.card_values({card.key: card for card in replaced.rate_cards}),
            description=self.description,
            metadata=replaced_metadata(self.labels, replaced.metadata),
        )


class CreateAddonRequest(UpsertAddonRequest):
    """The next version of an add-on, made as a draft."""

    key: ResourceKey
    currency: BillingCurrencyCode

    def to_value(self) -> addons.NewAddon:
        """Read the add-on."""
        return addons.NewAddon(
            key=self.key,
            name=self.name,
            currency=self.currency,
            instance_type=self.instance_type,
            rate_cards=self.card_values({}),
            description=self.description,
            metadata=metadata_of(self.labels),
        )


class Addon(VersionMembers):
    """An add-on version."""

    instance_type: InstanceType
    status: AddonStatus
    rate_cards: list[BillingRateCard]

    @classmethod
    def of(cls, addon: addons.Addon, issues: Iterable[Issue], at: datetime) -> "Addon":
        """Show an add-on with its issues and its status at `at`."""
        return cls.model_construct(
            **members(addon, issues),
            instance_type=addon.instance_type,
            status=addons.status(addon, at),
            rate_cards=[BillingRateCard.of(card) for card in addon.rate_cards],
        )


async def _shown(session: ReadSession, addon: addons.Addon) -> Addon:
    return Addon.of(addon, await addons.issues(session, addon), clock.now())


@router.get(
    _PATH,
    operation_id="listAddons",
    summary="List add-ons",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS, _SORT_FIELDS),
)
async def list_addons(request: Request, session: Read, namespace: Namespace, page: V3Paging) -> V3Page[Addon]:
    """List add-on versions that meet every filter, the oldest first unless asked otherwise."""
    filters = parse_filters(request, _FIELDS)
    query = AddonQuery(
        conditions={name: condition for name, condition in filters.items() if name != "status"},
        statuses=members_of(AddonStatus, filters, "status") or (),
        sorts=parse_sort(request, _SORT_FIELDS, [Sort("id")]),
        page=page,
    )
    found = await addons.list_addons(session, namespace, query)
    issues = await addons.listed_issues(session, namespace, found.items)
    now = clock.now()
    items = [Addon.of(addon, about, now) for addon, about in zip(found.items, issues, strict=True)]
    return V3Page.of(found, items)


@router.post(
    _PATH,
    operation_id="createAddon",
    summary="Create an add-on",
    status_code=201,
    responses=errors("v3", 400, 401, 403),
)
async def create_addon(body: CreateAddonRequest, session: Write, namespace: Namespace) -> Addon:
    """Create an add-on, or the next version of one, as a draft. Warnings do not keep it from being saved."""
    return await _shown(session, await addons.create(session, namespace, body.to_value()))


@router.get(
    _ONE,
    operation_id="getAddon",
    summary="Get an add-on",
    responses=errors("v3", 400, 401, 403, 404, 410),
)
async def get_addon(addon_id: AddonId, session: Read, namespace: Namespace) -> Addon:
    """Get an add-on version, deleted ones too."""
    return await _shown(session, await addons.get(session, namespace, addon_id))


@router.put(
    _ONE,
    operation_id="updateAddon",
    summary="Replace an add-on",
    responses=errors("v3", 400, 401, 403, 404, 410),
)
async def update_addon(addon_id: AddonId, body: UpsertAddonRequest, session: Write, namespace: Namespace) -> Addon:
    """Replace the content of a draft. A rate card sent back as it was shown stays as it is."""
    content = body.to_content(await addons.locked(session, namespace, addon_id))
    return await _shown(session, await addons.update(session, namespace, addon_id, content))


@router.delete(
    _ONE,
    operation_id="deleteAddon",
    summary="Delete an add-on",
    status_code=204,
    responses=errors("v3", 400, 401, 403, 404),
)
async def delete_addon(addon_id: AddonId, session: Write, namespace: Namespace) -> Response:
    """Delete a version that is not active and that no plan has."""
    await addons.delete(session, namespace, addon_id, use=planaddons.addon_use)
    return Response(status_code=204)


@router.post(
    _ONE + "/archive",
    operation_id="archiveAddon",
    summary="Archive an add-on",
    responses=errors("v3", 400, 401, 403, 404),
)
async def archive_addon(addon_id: AddonId, session: Write, namespace: Namespace) -> Addon:
    """End an active version now. Subscriptions that have it go on."""
    return await _shown(session, await addons.archive(session, namespace, addon_id))


@router.post(
    _ONE + "/publish",
    operation_id="publishAddon",
    summary="Publish an add-on",
    responses=errors("v3", 400, 401, 403, 404),
)
async def publish_addon(addon_id: AddonId, session: Write, namespace: Namespace) -> Addon:
    """Make a draft active now; the version that was active is archived at the same instant."""
    return await _shown(session, await addons.publish(session, namespace, addon_id))
