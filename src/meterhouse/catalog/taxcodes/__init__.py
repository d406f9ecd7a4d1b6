"""Tax codes, the organization's defaults among them, and consistent tax configs (catalog-extras section 1)."""

from meterhouse.catalog.taxcodes.defaults import (
    SEEDS,
    Seed,
    TaxDefaults,
    default_credit_grant,
    default_invoicing,
    get_defaults,
    provision,
    set_defaults,
)
from meterhouse.catalog.taxcodes.resolution import filled, for_provider_code, merged, resolved
from meterhouse.catalog.taxcodes.service import (
    TaxCodeUse,
    create,
    delete,
    exists,
    get,
    list_tax_codes,
    update,
)
from meterhouse.catalog.taxcodes.taxcode import NewTaxCode, TaxCode

__all__ = [
    "SEEDS",
    "NewTaxCode",
    "Seed",
    "TaxCode",
    "TaxCodeUse",
    "TaxDefaults",
    "create",
    "default_credit_grant",
    "default_invoicing",
    "delete",
    "exists",
    "filled",
    "for_provider_code",
    "get",
    "get_defaults",
    "list_tax_codes",
    "merged",
    "provision",
    "resolved",
    "set_defaults",
    "update",
]
