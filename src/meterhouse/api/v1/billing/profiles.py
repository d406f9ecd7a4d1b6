"""v1 routes of billing profiles."""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.billing.parts import AppReference, BillingParty, BillingProfileAppReferences, BillingWorkflow
from meterhouse.api.wire import Instant, Name, Opt, Ulid, V1Model
from meterhouse.billing.invoices.freezing import supplier_party, workflow_of
from meterhouse.billing.profiles import Profile, Profiles
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.errors import FeatureDisabled

router = APIRouter()

PATH = "/api/v1/billing/profiles"

ProfileId = Annotated[
    str, Path(alias="id", pattern=r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$", description="The profile.")
]
Expand = Annotated[
    list[Literal["apps"]] | None,
    Query(alias="expand", description="Accepted and without effect: apps are shown by reference."),
]
BillingProfileOrderBy = Literal["createdAt", "updatedAt", "default", "name"]

_SORT_FIELDS: Mapping[str, str] = {"createdAt": "created_at", "updatedAt": "updated_at"}


class BillingProfile(V1Model):
    """Who bills, through which app, and how invoices go their way."""

    id: Ulid
    name: Name
    description: Opt[str] = Field(None, max_length=1024)
    metadata: Opt[dict[str, str]] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    supplier: BillingParty
    workflow: BillingWorkflow
    apps: BillingProfileAppReferences
    default: bool = Field(description="Whether it bills the customers that are not pinned to another profile.")

    @classmethod
    def of(cls, profile: Profile) -> "BillingProfile":
        """Show a stored profile."""
        app = AppReference(id=profile.app_id)
        return cls.model_validate(
            {
                "id": profile.id,
                "name": profile.name,
                "description": profile.description,
                "metadata": dict(profile.metadata) or None,
                "created_at": profile.created_at,
                "updated_at": profile.updated_at,
                "deleted_at": profile.deleted_at,
                "supplier": BillingParty.of(supplier_party(profile)),
                "workflow": BillingWorkflow.of(workflow_of(profile)),
                "apps": BillingProfileAppReferences(tax=app, invoicing=app, payment=app),
                "default": profile.default,
            }
        )


def _profiles(services: ServicesDep) -> Profiles:
    if services.profiles is None:
        raise FeatureDisabled("billing is not part of this server")
    return services.profiles


@router.get(
    PATH,
    operation_id="listBillingProfiles",
    summary="List billing profiles",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_billing_profiles(
    session: Write,
    namespace: Namespace,
    services: ServicesDep,
    page: V1Paging,
    include_archived: Annotated[bool, Query(alias="includeArchived", description="Show deleted ones too.")] = False,
    _expand: Expand = None,
    order: Literal["ASC", "DESC"] = "DESC",
    order_by: Annotated[BillingProfileOrderBy, Query(alias="orderBy")] = "createdAt",
) -> V1Page[BillingProfile]:
    """List billing profiles, newest first. There is always one, the default."""
    profiles = _profiles(services)
    # Looking is a use: the first one makes the namespace's default profile, hence the write session.
    await profiles.default(session, namespace)
    found = await profiles.list_profiles(
        session,
        namespace,
        page,
        include_deleted=include_archived,
        sort=Sort(_SORT_FIELDS.get(order_by, order_by), descending=order == "DESC"),
    )
    return V1Page[BillingProfile].of(found, [BillingProfile.of(profile) for profile in found.items])


@router.get(
    f"{PATH}/{{id}}",
    operation_id="getBillingProfile",
    summary="Get a billing profile",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_billing_profile(
    profile_id: ProfileId, session: Read, namespace: Namespace, services: ServicesDep, _expand: Expand = None
) -> BillingProfile:
    """Show a billing profile, also a deleted one."""
    return BillingProfile.of(await _profiles(services).get(session, namespace, profile_id))
