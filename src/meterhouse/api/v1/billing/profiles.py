"""v1 routes of billing profiles."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from meterhouse.api import fields
from meterhouse.api.deps import Namespace, ProfilesDep, Read, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.billing.profile_schemas import (
    FIELD_NAMES,
    BillingProfile,
    BillingProfileCreate,
    BillingProfileReplaceUpdateWithWorkflow,
)
from meterhouse.apps.app import App
from meterhouse.apps.registry import apps_by_id
from meterhouse.billing.profiles import Profile
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession

router = APIRouter()

PATH = "/api/v1/billing/profiles"

ProfileId = Annotated[
    str, Path(alias="id", pattern=r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$", description="The profile.")
]
Expand = Annotated[
    list[Literal["apps"]] | None, Query(description="What to show in full; apps are shown by reference otherwise.")
]
BillingProfileOrderBy = Literal["createdAt", "updatedAt", "default", "name"]

_SORT_FIELDS: Mapping[str, str] = {"createdAt": "created_at", "updatedAt": "updated_at"}


@router.get(
    PATH,
    operation_id="listBillingProfiles",
    summary="List billing profiles",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_billing_profiles(
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
    page: V1Paging,
    include_archived: Annotated[bool, Query(alias="includeArchived", description="Show deleted ones too.")] = False,
    expand: Expand = None,
    order: Literal["ASC", "DESC"] = "DESC",
    order_by: Annotated[BillingProfileOrderBy, Query(alias="orderBy")] = "createdAt",
) -> V1Page[BillingProfile]:
    """List billing profiles, newest first. There is always one, the default."""
    # Looking is a use: the first one makes the namespace's default profile, hence the write session.
    await profiles.default(session, namespace)
    found = await profiles.list_profiles(
        session,
        namespace,
        page,
        include_deleted=include_archived,
        sort=Sort(_SORT_FIELDS.get(order_by, order_by), descending=order == "DESC"),
    )
    apps = await expanded(session, namespace, found.items, expand=bool(expand))
    return V1Page[BillingProfile].of(found, [BillingProfile.of(profile, apps) for profile in found.items])


@router.get(
    f"{PATH}/{{id}}",
    operation_id="getBillingProfile",
    summary="Get a billing profile",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_billing_profile(
    profile_id: ProfileId, session: Read, namespace: Namespace, profiles: ProfilesDep, expand: Expand = None
) -> BillingProfile:
    """Show a billing profile, also a deleted one."""
    profile = await profiles.get(session, namespace, profile_id)
    return BillingProfile.of(profile, await expanded(session, namespace, [profile], expand=bool(expand)))


async def expanded(
    session: ReadSession, namespace: str, profiles: Sequence[Profile], *, expand: bool
) -> Mapping[str, App]:
    """Return the apps of profiles by their ids, nothing where they are not asked for."""
    return await apps_by_id(session, namespace, {profile.app_id for profile in profiles}) if expand else {}


@router.post(
    PATH,
    operation_id="createBillingProfile",
    summary="Create a billing profile",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def create_billing_profile(
    body: BillingProfileCreate, session: Write, namespace: Namespace, profiles: ProfilesDep
) -> BillingProfile:
    """Create a billing profile. As the default it takes the place of the present default."""
    with fields.named(FIELD_NAMES):
        return BillingProfile.of(await profiles.create(session, namespace, *body.to_value()), {})


@router.put(
    f"{PATH}/{{id}}",
    operation_id="updateBillingProfile",
    summary="Replace a billing profile",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def update_billing_profile(
    profile_id: ProfileId,
    body: BillingProfileReplaceUpdateWithWorkflow,
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
) -> BillingProfile:
    """Replace everything about a billing profile but its apps."""
    stored = await profiles.get(session, namespace, profile_id)
    with fields.named(FIELD_NAMES):
        changed = await profiles.update(session, namespace, profile_id, body.to_value(stored))
    return BillingProfile.of(changed, {})


@router.delete(
    f"{PATH}/{{id}}",
    operation_id="deleteBillingProfile",
    summary="Delete a billing profile",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_billing_profile(
    profile_id: ProfileId, session: Write, namespace: Namespace, profiles: ProfilesDep
) -> None:
    """Delete a billing profile that is not the default and that no customer is pinned to."""
    await profiles.delete(session, namespace, profile_id)
