"""v3 currencies: fiat ones, custom ones, and what custom ones are worth (catalog-extras sections 2 and 3)."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field, RootModel

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.filters import (
    FieldKind,
    expand_parameter,
    list_parameters,
    members_of,
    parse_expand,
    parse_filters,
    parse_sort,
)
from meterhouse.api.paging import V3Page, V3Paging, v3_paging
from meterhouse.api.problems import errors
from meterhouse.api.wire import CurrencyCode, Instant, Name, Numeric, Opt, Ulid, V3Model
from meterhouse.catalog import currencies
from meterhouse.catalog.currencies import CurrencyQuery, CurrencyType, NewCostBasis, NewCurrency
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.fiat import Fiat
from meterhouse.kernel.pages import Page, PageRequest

router = APIRouter(tags=["OpenMeter Currencies"])

_PATH = "/api/v3/openmeter/currencies"
_CUSTOM = _PATH + "/custom"
_BASES = _CUSTOM + "/{currencyId}/cost-bases"
_FIELDS = {"type": FieldKind.PLAIN, "code": FieldKind.STRING}
_BASIS_FIELDS = {"fiat_code": FieldKind.PLAIN}
_SORT_FIELDS = ("code", "name")
_COST_BASIS = "cost_basis"
_EXPANDED = [_COST_BASIS]
_PAGE_SIZE = 100

CurrencyPaging = Annotated[PageRequest, Depends(v3_paging(_PAGE_SIZE))]
CurrencyId = Annotated[Ulid, Path(alias="currencyId", description="The id of a custom currency.")]
CustomCode = Annotated[str, Field(min_length=4, max_length=24)]
Symbol = Annotated[str, Field(min_length=1)]
Mark = Annotated[str, Field(min_length=1, max_length=1)]
Precision = Annotated[int, Field(ge=0, description="Decimals of an amount, which is rounded half away from zero.")]


class BillingCostBasis(V3Model):
    """What one unit of a custom currency is worth in a fiat, for some time."""

    id: Ulid
    fiat_code: CurrencyCode
    rate: Numeric
    effective_from: Opt[Instant] = None
    effective_to: Opt[Instant] = Field(None, description="When it stops holding, the instant itself not included.")
    created_at: Instant


class CreateCostBasisRequest(V3Model):
    """A cost basis to create."""

    fiat_code: CurrencyCode
    rate: Numeric = Field(description="How many units of the fiat one unit of the currency is worth.")
    effective_from: Opt[Instant] = Field(None, description="An instant in the future; now when absent.")
    effective_to: Opt[Instant] = Field(None, description="When absent, it holds until a later one begins.")


class BillingCurrencyFiat(V3Model):
    """A fiat currency."""

    type: Literal["fiat"] = "fiat"
    name: Name
    symbol: Opt[Symbol] = None
    precision: Precision
    decimal_mark: Mark
    thousand_separator: Mark
    code: CurrencyCode

    @classmethod
    def of(cls, fiat: Fiat) -> "BillingCurrencyFiat":
        """Show a fiat currency."""
        return cls(
            name=fiat.name,
            symbol=fiat.symbol,
            precision=fiat.digits,
            decimal_mark=fiat.decimal_mark,
            thousand_separator=fiat.thousand_separator,
            code=fiat.code,
        )


class BillingCurrencyCustom(V3Model):
    """A currency of one's own, such as credits."""

    type: Literal["custom"] = "custom"
    name: Name
    symbol: Opt[Symbol] = None
    precision: Precision
    decimal_mark: Mark
    thousand_separator: Mark
    id: Ulid
    code: CustomCode
    created_at: Instant
    cost_basis: Opt[list[BillingCostBasis]] = Field(None, description="What it is worth now and is to be worth later.")

    @classmethod
    def of(
        cls, currency: currencies.CustomCurrency, bases: Sequence[currencies.CostBasis] | None
    ) -> "BillingCurrencyCustom":
        """Show a custom currency; `bases` None shows none."""
        shown = None if bases is None else [BillingCostBasis.model_validate(one) for one in bases]
        return cls(
            name=currency.name,
            symbol=currency.symbol,
            precision=currency.precision,
            decimal_mark=currency.decimal_mark,
            thousand_separator=currency.thousand_separator,
            id=currency.id,
            code=currency.code,
            created_at=currency.created_at,
            cost_basis=shown,
        )


class BillingCurrency(RootModel[BillingCurrencyFiat | BillingCurrencyCustom]):
    """A currency of either kind."""

    root: Annotated[BillingCurrencyFiat | BillingCurrencyCustom, Field(discriminator="type")]


class CreateCurrencyCustomRequest(V3Model):
    """A custom currency to create. It cannot be changed afterwards."""

    name: Name
    symbol: Opt[Symbol] = None
    precision: Precision
    decimal_mark: Mark
    thousand_separator: Mark
    code: CustomCode


def _with_credits(services: ServicesDep) -> None:
    if not services.credits_enabled:
        raise InvalidInput("custom currencies need credits, and the setting `credits_enabled` is off")


@router.get(
    _PATH,
    operation_id="listCurrencies",
    summary="List currencies",
    responses=errors("v3", 400, 401, 403),
    openapi_extra={
        "parameters": [
            *list_parameters(_FIELDS, _SORT_FIELDS)["parameters"],
            expand_parameter(_EXPANDED, f"What to add: `{_COST_BASIS}` shows what custom currencies are worth."),
        ]
    },
)
async def list_currencies(
    request: Request, session: Read, namespace: Namespace, page: CurrencyPaging
) -> V3Page[BillingCurrency]:
    """List fiat and custom currencies together, by code unless asked otherwise."""
    filters = parse_filters(request, _FIELDS)
    query = CurrencyQuery(
        types=members_of(CurrencyType, filters, "type") or tuple(CurrencyType),
        code=filters.get("code"),
        sorts=parse_sort(request, _SORT_FIELDS, [Sort("code")]),
        offset=page.offset,
        limit=page.size,
    )
    expanded = parse_expand(request, _EXPANDED)
    found, total = await currencies.list_currencies(session, namespace, query)
    custom = [one for one in found if not isinstance(one, Fiat)]
    bases = await currencies.current_cost_bases(session, custom) if expanded and custom else {}
    shown = [
        BillingCurrencyFiat.of(one) if isinstance(one, Fiat) else BillingCurrencyCustom.of(one, bases.get(one.id))
        for one in found
    ]
    return V3Page.of(Page(found, total, page), [BillingCurrency(one) for one in shown])


@router.post(
    _CUSTOM,
    operation_id="createCustomCurrency",
    summary="Create a custom currency",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 409),
    dependencies=[Depends(_with_credits)],
)
async def create_currency(
    body: CreateCurrencyCustomRequest, session: Write, namespace: Namespace
) -> BillingCurrencyCustom:
    """Create a currency of one's own. Its code is unique, and it can be neither changed nor deleted."""
    made = await currencies.create(session, namespace, NewCurrency(**body.model_dump()))
    return BillingCurrencyCustom.of(made, None)


@router.get(
    _CUSTOM + "/{currencyId}",
    operation_id="getCustomCurrency",
    summary="Get a custom currency",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_currency(currency_id: CurrencyId, session: Read, namespace: Namespace) -> BillingCurrencyCustom:
    """Get a custom currency, with what it is worth now and is to be worth later."""
    found = await currencies.get(session, namespace, currency_id)
    bases = await currencies.current_cost_bases(session, [found])
    return BillingCurrencyCustom.of(found, bases[found.id])


@router.get(
    _BASES,
    operation_id="listCostBases",
    summary="List what a custom currency is worth",
    responses=errors("v3", 400, 401, 403, 404),
    openapi_extra=list_parameters(_BASIS_FIELDS),
)
async def list_cost_bases(
    request: Request, currency_id: CurrencyId, session: Read, namespace: Namespace, page: V3Paging
) -> V3Page[BillingCostBasis]:
    """List what the currency was, is and will be worth, the latest to begin first."""
    conditions = parse_filters(request, _BASIS_FIELDS)
    found = await currencies.list_cost_bases(session, namespace, currency_id, page, conditions=conditions)
    return V3Page.of(found, [BillingCostBasis.model_validate(one) for one in found.items])


@router.post(
    _BASES,
    operation_id="createCostBasis",
    summary="Say what a custom currency is worth",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 404, 409),
    dependencies=[Depends(_with_credits)],
)
async def create_cost_basis(
    currency_id: CurrencyId, body: CreateCostBasisRequest, session: Write, namespace: Namespace
) -> BillingCostBasis:
    """Say what one unit is worth in a fiat, from now or from an instant in the future on."""
    made = await currencies.create_cost_basis(session, namespace, currency_id, NewCostBasis(**body.model_dump()))
    return BillingCostBasis.model_validate(made)
