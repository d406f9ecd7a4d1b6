"""v3 defaults of the organization (catalog-extras section 1.4)."""

from fastapi import APIRouter
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.problems import errors
from meterhouse.api.v3.prices import TaxCodeReference
from meterhouse.api.wire import Instant, Opt, V3Model
from meterhouse.catalog import taxcodes
from meterhouse.catalog.taxcodes import TaxDefaults
from meterhouse.kernel.errors import InvalidInput, Issue

router = APIRouter(tags=["OpenMeter Defaults"])

_PATH = "/api/v3/openmeter/defaults/tax-codes"


class OrganizationDefaultTaxCodes(V3Model):
    """The tax codes of what names none of its own."""

    invoicing_tax_code: TaxCodeReference = Field(description="Of everything invoiced but purchases of credit.")
    credit_grant_tax_code: TaxCodeReference = Field(description="Of purchases of credit.")
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, defaults: TaxDefaults) -> "OrganizationDefaultTaxCodes":
        """Show the defaults."""
        return cls(
            invoicing_tax_code=TaxCodeReference(id=defaults.invoicing_tax_code_id),
            credit_grant_tax_code=TaxCodeReference(id=defaults.credit_grant_tax_code_id),
            created_at=defaults.created_at,
            updated_at=defaults.updated_at,
        )


class UpdateOrganizationDefaultTaxCodesRequest(V3Model):
    """What replaces the defaults; both are needed, and may be the same."""

    invoicing_tax_code: Opt[TaxCodeReference] = None
    credit_grant_tax_code: Opt[TaxCodeReference] = None


@router.get(
    _PATH,
    operation_id="getOrganizationDefaultTaxCodes",
    summary="Get the default tax codes",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_defaults(session: Read, namespace: Namespace) -> OrganizationDefaultTaxCodes:
    """Get the tax codes of what names none of its own."""
    return OrganizationDefaultTaxCodes.of(await taxcodes.get_defaults(session, namespace))


@router.put(
    _PATH,
    operation_id="updateOrganizationDefaultTaxCodes",
    summary="Replace the default tax codes",
    responses=errors("v3", 400, 401, 403),
)
async def set_defaults(
    body: UpdateOrganizationDefaultTaxCodesRequest, session: Write, namespace: Namespace
) -> OrganizationDefaultTaxCodes:
    """Replace both defaults. What was billed before keeps its tax code."""
    given = {name: getattr(body, name) for name in UpdateOrganizationDefaultTaxCodesRequest.model_fields}
    missing = [name for name, reference in given.items() if reference is None]
    if missing:
        issues = [Issue("required", f"{name} is required", f"$.{name}") for name in missing]
        raise InvalidInput("; ".join(issue.message for issue in issues), issues=issues)
    changed = await taxcodes.set_defaults(
        session,
        namespace,
        invoicing=given["invoicing_tax_code"].id,
        credit_grant=given["credit_grant_tax_code"].id,
    )
    return OrganizationDefaultTaxCodes.of(changed)
