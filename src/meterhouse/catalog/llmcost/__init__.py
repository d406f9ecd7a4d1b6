"""What tokens of language models cost (catalog-extras section 4)."""

from meterhouse.catalog.llmcost.names import provider_title
from meterhouse.catalog.llmcost.price import LLMPrice, Pricing, Source
from meterhouse.catalog.llmcost.service import (
    SORT_FIELDS,
    NewOverride,
    PriceQuery,
    changes,
    create_override,
    delete_override,
    get_price,
    list_overrides,
    list_prices,
    resolve,
)

__all__ = [
    "SORT_FIELDS",
    "LLMPrice",
    "NewOverride",
    "PriceQuery",
    "Pricing",
    "Source",
    "changes",
    "create_override",
    "delete_override",
    "get_price",
    "list_overrides",
    "list_prices",
    "provider_title",
    "resolve",
]
