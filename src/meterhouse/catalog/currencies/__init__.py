"""Currencies: fiat ones, custom ones, and what custom ones are worth (catalog-extras sections 2 and 3)."""

from meterhouse.catalog.currencies.currency import CostBasis, CurrencyType, CustomCurrency
from meterhouse.catalog.currencies.service import (
    CurrencyQuery,
    NewCostBasis,
    NewCurrency,
    check,
    cost_basis_at,
    create,
    create_cost_basis,
    current_cost_bases,
    get,
    known,
    list_cost_bases,
    list_currencies,
    with_cost_basis,
)

__all__ = [
    "CostBasis",
    "CurrencyQuery",
    "CurrencyType",
    "CustomCurrency",
    "NewCostBasis",
    "NewCurrency",
    "check",
    "cost_basis_at",
    "create",
    "create_cost_basis",
    "current_cost_bases",
    "get",
    "known",
    "list_cost_bases",
    "list_currencies",
    "with_cost_basis",
]
