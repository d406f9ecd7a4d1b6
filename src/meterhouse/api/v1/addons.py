"""v1 add-ons (catalog section 4)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.ratecards import RateCard, rate_card_of, rate_card_value
from meterhouse.api.v1.versions import (
    KEY_VERSION_PARAMETER,
    AnyUlid,
    Order,
    OrderBy,
    VersionMembers,
    id_or_key_path,
    id_path,
    key_versions,
    members,
    refuse_beyond_v1,
    sorts_of,
)
from meterhouse.api.wire import CurrencyCode, Description, Name, Opt, ResourceKey, V1Model
from meterhouse.catalog import addons, planaddons
from meterhouse.catalog.addons import AddonQuery, AddonStatus, InstanceType
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue

router = APIRouter(tags=["Product Catalog"])

_PATH = "/api/v1/addons"
_ONE = _PATH + "/{addonId}"

AddonId = Annotated[str, id_path("addonId", "an add-on version")]


class _AddonInput(V1Model):
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    instance_type: InstanceType = Field(description="Whether a subscription takes it once, or in any quantity.")
    rate_cards: list[RateCard]

    def card_values(self) -> tuple[Any, ...]:
        return tuple(rate_card_value(card) for card in self.rate_cards)


class AddonCreate(_AddonInput):
    """The next version of an add-on, made as a draft."""

    key: ResourceKey
    currency: CurrencyCode

    def to_value(self) -> addons.NewAddon:
        """Read the add-on."""
        return addons.NewAddon(
            key=self.key,
            name=self.name,
            currency=self.currency,
            instance_type=self.instance_type,
            rate_cards=self.card_values(),
            description=self.description,
            metadata=self.metadata or {},
        )


class AddonReplaceUpdate(_AddonInput):
    """The new content of a draft. Description and metadata stay when left out."""

    def to_value(self) -> addons.AddonContent:
        """Read the content."""
        return addons.AddonContent(
            name=self.name,
            instance_type=self.instance_type,
            rate_cards=self.card_values(),
            description=self.description,
            metadata=self.metadata,
        )


class Addon(VersionMembers):
    """An add-on version."""

    annotations: Opt[dict[str, Any]] = Field(None, description="Never set.")
    instance_type: InstanceType
    status: AddonStatus
    rate_cards: list[RateCard]

    @classmethod
    def of(cls, addon: addons.Addon, issues: Iterable[Issue], at: datetime) -> "Addon":
        """Show an add-on with its issues and its status at `at`."""
        return cls(
            **members(addon, issues),
            instance_type=addon.instance_type,
            status=addons.status(addon, at),
            rate_cards=[rate_card_of(card) for card in addon.rate_cards],
        )


async def _shown(session: ReadSession, addon: addons.Addon) -> Addon:
    return Addon.of(addon, await addons.issues(session, addon), clock.now())


@router.post(
    _PATH,
    operation_id="createAddon",
    summary="Create an add-on",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def create_addon(body: AddonCreate, session: Write, namespace: Namespace) -> Addon:
    """Create an add-on, or the next version of one, as a draft. Warnings do not keep it from being saved."""
    return await _shown(session, await addons.create(session, namespace, body.to_value()))


@router.get(
    _PATH,
    operation_id="listAddons",
    summary="List add-ons",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
    openapi_extra={"parameters": [KEY_VERSION_PARAMETER]},
)
async def list_addons(
    request: Request,
    session: Read,
    namespace: Namespace,
    page: V1Paging,
    include_deleted: Annotated[bool, Query(alias="includeDeleted", description="Show deleted ones too.")] = False,
    ids: Annotated[list[AnyUlid] | None, Query(alias="id", description="Ids of versions.")] = None,
    key: Annotated[list[ResourceKey] | None, Query(description="Keys, with all their versions.")] = None,
    status: Annotated[list[AddonStatus] | None, Query(description="Statuses to show; all when left out.")] = None,
    currency: Annotated[list[CurrencyCode] | None, Query(description="Currencies.")] = None,
    order: Order = None,
    order_by: OrderBy = "id",
) -> V1Page[Addon]:
    """List add-on versions that meet every filter; the newest first."""
    query = AddonQuery(
        ids=ids or (),
        keys=key or (),
        key_versions=key_versions(request),
        currencies=currency or (),
        statuses=status or (),
        include_deleted=include_deleted,
        only_v1=True,
        sorts=sorts_of(order_by, order),
        page=page,
    )
    found = await addons.list_addons(session, namespace, query)
    now = clock.now()
    return V1Page.of(found, [Addon.of(addon, addons.addon_issues(addon), now) for addon in found.items])


@router.get(
    _ONE,
    operation_id="getAddon",
    summary="Get an add-on",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_addon(
    addon_id: Annotated[str, id_or_key_path("addonId", "an add-on version")],
    session: Read,
    namespace: Namespace,
    include_latest: Annotated[
        bool, Query(alias="includeLatest", description="By key: the highest version instead of the active one.")
    ] = False,
) -> Addon:
    """Get a version by id, or the active version of a key."""
    addon = await addons.get_by_id_or_key(session, namespace, addon_id, include_latest=include_latest)
    refuse_beyond_v1(addon)
    return await _shown(session, addon)


@router.put(
    _ONE,
    operation_id="updateAddon",
    summary="Replace an add-on",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def update_addon(addon_id: AddonId, body: AddonReplaceUpdate, session: Write, namespace: Namespace) -> Addon:
    """Replace the content of a draft."""
    addon = await addons.update(session, namespace, addon_id, body.to_value(), guard=refuse_beyond_v1)
    return await _shown(session, addon)


@router.delete(
    _ONE,
    operation_id="deleteAddon",
    summary="Delete an add-on",
    status_code=204,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_addon(addon_id: AddonId, session: Write, namespace: Namespace) -> Response:
    """Delete a version that is not active and that no plan has."""
    await addons.delete(session, namespace, addon_id, use=planaddons.addon_use)
    return Response(status_code=204)


@router.post(
    _ONE + "/publish",
    operation_id="publishAddon",
    summary="Publish an add-on",
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def publish_addon(addon_id: AddonId, session: Write, namespace: Namespace) -> Addon:
    """Make a draft active now; the version that was active is archived at the same instant."""
    return await _shown(session, await addons.publish(session, namespace, addon_id, guard=refuse_beyond_v1))


@router.post(
    _ONE + "/archive",
    operation_id="archiveAddon",
    summary="Archive an add-on",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def archive_addon(addon_id: AddonId, session: Write, namespace: Namespace) -> Addon:
    """End an active version now. Subscriptions that have it go on."""
    return await _shown(session, await addons.archive(session, namespace, addon_id, guard=refuse_beyond_v1))
