"""v3 tax codes (catalog-extras section 1)."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.wire import Description, Instant, Name, Opt, ResourceKey, Ulid, V3Model
from meterhouse.catalog import taxcodes
from meterhouse.catalog.taxcodes import NewTaxCode

router = APIRouter(tags=["OpenMeter Tax"])

_PATH = "/api/v3/openmeter/tax-codes"
_SYSTEM = {"managed_by": "system"}

TaxCodeId = Annotated[Ulid, Path(alias="taxCodeId", description="The id of a tax code.")]


class BillingAppType(StrEnum):
    """The kind of an app."""

    SANDBOX = "sandbox"
    STRIPE = "stripe"
    EXTERNAL_INVOICING = "external_invoicing"


# Everywhere but in v3 these apps are called otherwise.
_STORED = {BillingAppType.EXTERNAL_INVOICING: "custom_invoicing"}
_SHOWN = {stored: shown for shown, stored in _STORED.items()}


class BillingTaxCodeAppMapping(V3Model):
    """What an app calls a tax code."""

    app_type: BillingAppType
    tax_code: str

    def to_value(self) -> tuple[str, str]:
        """Read the mapping."""
        return _STORED.get(self.app_type, self.app_type.value), self.tax_code


class UpsertTaxCodeRequest(V3Model):
    """What replaces a tax code."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    app_mappings: list[BillingTaxCodeAppMapping]


class CreateTaxCodeRequest(UpsertTaxCodeRequest):
    """A tax code to create."""

    key: ResourceKey


class BillingTaxCode(V3Model):
    """How a kind of good is taxed, in the terms of each app."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    key: ResourceKey
    app_mappings: list[BillingTaxCodeAppMapping]

    @classmethod
    def of(cls, code: taxcodes.TaxCode) -> "BillingTaxCode":
        """Show a tax code."""
        mappings = {
            BillingAppType(_SHOWN.get(app_type, app_type)): found for app_type, found in code.app_mappings.items()
        }
        # Built past the checks: a key that was made for a provider's code may be longer than what can be sent.
        return cls.model_construct(
            id=code.id,
            name=code.name,
            description=code.description,
            labels=labels_of(code.metadata, _SYSTEM if code.managed_by_system else None),
            created_at=code.created_at,
            updated_at=code.updated_at,
            deleted_at=code.deleted_at,
            key=code.key,
            app_mappings=[
                BillingTaxCodeAppMapping(app_type=app_type, tax_code=mappings[app_type])
                for app_type in BillingAppType
                if app_type in mappings
            ],
        )


@router.post(
    _PATH,
    operation_id="createTaxCode",
    summary="Create a tax code",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 409),
)
async def create_tax_code(body: CreateTaxCodeRequest, session: Write, namespace: Namespace) -> BillingTaxCode:
    """Create a tax code: at most one code for each kind of app."""
    new = NewTaxCode(
        key=body.key,
        name=body.name,
        description=body.description,
        metadata=metadata_of(body.labels),
        app_mappings=[mapping.to_value() for mapping in body.app_mappings],
    )
    return BillingTaxCode.of(await taxcodes.create(session, namespace, new))


@router.get(_PATH, operation_id="listTaxCodes", summary="List tax codes", responses=errors("v3", 400, 401, 403))
async def list_tax_codes(
    session: Read,
    namespace: Namespace,
    page: V3Paging,
    include_deleted: Annotated[bool, Query(description="Show deleted ones too.")] = False,
) -> V3Page[BillingTaxCode]:
    """List tax codes, the oldest first."""
    found = await taxcodes.list_tax_codes(session, namespace, page, include_deleted=include_deleted)
    return V3Page.of(found, [BillingTaxCode.of(code) for code in found.items])


@router.get(
    _PATH + "/{taxCodeId}",
    operation_id="getTaxCode",
    summary="Get a tax code",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_tax_code(tax_code_id: TaxCodeId, session: Read, namespace: Namespace) -> BillingTaxCode:
    """Get a tax code that is not deleted."""
    return BillingTaxCode.of(await taxcodes.get(session, namespace, tax_code_id))


@router.put(
    _PATH + "/{taxCodeId}",
    operation_id="updateTaxCode",
    summary="Replace a tax code",
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def update_tax_code(
    tax_code_id: TaxCodeId, body: UpsertTaxCodeRequest, session: Write, namespace: Namespace
) -> BillingTaxCode:
    """Replace everything about a tax code but its key. A description that is left out is kept."""
    stored = await taxcodes.get(session, namespace, tax_code_id)
    changed = await taxcodes.update(
        session,
        namespace,
        tax_code_id,
        name=body.name,
        description=body.description,
        metadata=metadata_of(body.labels, stored.metadata),
        app_mappings=[mapping.to_value() for mapping in body.app_mappings],
    )
    return BillingTaxCode.of(changed)


@router.delete(
    _PATH + "/{taxCodeId}",
    operation_id="deleteTaxCode",
    summary="Delete a tax code",
    status_code=204,
    response_class=Response,
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def delete_tax_code(tax_code_id: TaxCodeId, session: Write, namespace: Namespace, services: ServicesDep) -> None:
    """Delete a tax code that is no default and that no plan or add-on on sale, or in preparation, uses."""
    await taxcodes.delete(session, namespace, tax_code_id, uses=services.tax_code_uses)
