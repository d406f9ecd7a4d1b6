"""v1 currencies (catalog-extras section 2)."""

from fastapi import APIRouter
from pydantic import Field

from meterhouse.api.problems import errors
from meterhouse.api.wire import CurrencyCode, V1Model
from meterhouse.kernel.fiat import FIAT

router = APIRouter(tags=["Lookup Information"])

_FIRST = ("USD", "EUR", "GBP", "AUD", "CAD", "JPY")  # the most used stand before the alphabet


class Currency(V1Model):
    """A fiat currency."""

    code: CurrencyCode = Field(description="The ISO 4217 code.")
    name: str
    symbol: str = Field(description="Empty for metals and codes that have none.")
    subunits: int = Field(ge=0, description="Decimals that amounts are rounded to.")


_CURRENCIES = [
    Currency(code=one.code, name=one.name, symbol=one.symbol or "", subunits=one.digits)
    for one in [*(FIAT[code] for code in _FIRST), *(one for code, one in FIAT.items() if code not in _FIRST)]
]


@router.get(
    "/api/v1/info/currencies",
    operation_id="listCurrencies",
    summary="List fiat currencies",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_currencies() -> list[Currency]:
    """List the fiat currencies that amounts can be in, the most used first."""
    return _CURRENCIES
