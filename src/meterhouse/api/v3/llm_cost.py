"""v3 prices of language models (catalog-extras section 4)."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters, parse_sort
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.wire import CurrencyCode, Instant, Numeric, Opt, Ulid, V3Model
from meterhouse.catalog import llmcost
from meterhouse.catalog.llmcost import SORT_FIELDS, NewOverride, PriceQuery, Pricing
from meterhouse.catalog.llmcost import Source as LLMCostPriceSource
from meterhouse.kernel.conditions import Sort

router = APIRouter(tags=["OpenMeter LLM Cost"])

_PRICES = "/api/v3/openmeter/llm-cost/prices"
_OVERRIDES = "/api/v3/openmeter/llm-cost/overrides"
_FIELDS = {
    "provider": FieldKind.STRING,
    "model_id": FieldKind.STRING,
    "model_name": FieldKind.STRING,
    "currency": FieldKind.STRING,
    "source": FieldKind.STRING,
}

PriceId = Annotated[Ulid, Path(alias="priceId", description="The id of a price.")]


class LLMCostProvider(V3Model):
    """Who answers the requests."""

    id: str
    name: str


class LLMCostModel(V3Model):
    """A language model."""

    id: str
    name: str


class LLMCostModelPricing(V3Model):
    """What one token of each kind costs."""

    input_per_token: Numeric
    output_per_token: Numeric
    cache_read_per_token: Opt[Numeric] = None
    cache_write_per_token: Opt[Numeric] = None
    reasoning_per_token: Opt[Numeric] = None


class LLMCostPrice(V3Model):
    """The price of a model, of everybody or one's own."""

    id: Ulid
    provider: LLMCostProvider
    model: LLMCostModel
    pricing: LLMCostModelPricing
    currency: CurrencyCode
    source: LLMCostPriceSource
    effective_from: Instant
    effective_to: Opt[Instant] = None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, price: llmcost.LLMPrice) -> "LLMCostPrice":
        """Show a price."""
        return cls(
            id=price.id,
            provider=LLMCostProvider(id=price.provider, name=llmcost.provider_title(price.provider)),
            model=LLMCostModel(id=price.model_id, name=price.model_name),
            pricing=LLMCostModelPricing.model_validate(price.pricing),
            currency=price.currency,
            source=price.source,
            effective_from=price.effective_from,
            effective_to=price.effective_to,
            created_at=price.created_at,
            updated_at=price.updated_at,
        )


class LLMCostOverrideCreate(V3Model):
    """One's own price for a model."""

    provider: str
    model_id: str
    model_name: Opt[str] = Field(None, description="The id of the model when absent.")
    pricing: LLMCostModelPricing
    currency: CurrencyCode
    effective_from: Instant
    effective_to: Opt[Instant] = None

    def to_value(self) -> NewOverride:
        """Read the override."""
        return NewOverride(
            provider=self.provider,
            model_id=self.model_id,
            model_name=self.model_name,
            pricing=Pricing(**dict(self.pricing)),
            currency=self.currency,
            effective_from=self.effective_from,
            effective_to=self.effective_to,
        )


@router.get(
    _PRICES,
    operation_id="listLLMCostPrices",
    summary="List prices of language models",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS, SORT_FIELDS),
)
async def list_prices(request: Request, session: Read, namespace: Namespace, page: V3Paging) -> V3Page[LLMCostPrice]:
    """List the prices in force now, one for each provider and model: one's own where there is one."""
    query = PriceQuery(
        conditions=parse_filters(request, _FIELDS),
        sorts=parse_sort(request, SORT_FIELDS, [Sort("model.id")]),
        page=page,
    )
    found = await llmcost.list_prices(session, namespace, query)
    return V3Page.of(found, [LLMCostPrice.of(price) for price in found.items])


@router.get(
    _PRICES + "/{priceId}",
    operation_id="getLLMCostPrice",
    summary="Get a price of a language model",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_price(price_id: PriceId, session: Read, namespace: Namespace) -> LLMCostPrice:
    """Get a price, or one's own that holds in its place: the id then differs from the path's."""
    return LLMCostPrice.of(await llmcost.get_price(session, namespace, price_id))


@router.get(
    _OVERRIDES,
    operation_id="listLLMCostOverrides",
    summary="List one's own prices of language models",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS),
)
async def list_overrides(request: Request, session: Read, namespace: Namespace, page: V3Paging) -> V3Page[LLMCostPrice]:
    """List one's own prices by provider and model, those that hold later or no more too."""
    conditions = parse_filters(request, _FIELDS)
    found = await llmcost.list_overrides(session, namespace, page, conditions=conditions)
    return V3Page.of(found, [LLMCostPrice.of(price) for price in found.items])


@router.post(
    _OVERRIDES,
    operation_id="createLLMCostOverride",
    summary="Set one's own price of a language model",
    status_code=201,
    responses=errors("v3", 400, 401, 403),
)
async def create_override(body: LLMCostOverrideCreate, session: Write, namespace: Namespace) -> LLMCostPrice:
    """Set one's own price of a model. It takes the place of an earlier one, whatever its dates."""
    return LLMCostPrice.of(await llmcost.create_override(session, namespace, body.to_value()))


@router.delete(
    _OVERRIDES + "/{priceId}",
    operation_id="deleteLLMCostOverride",
    summary="Delete one's own price of a language model",
    status_code=204,
    response_class=Response,
    responses=errors("v3", 400, 401, 403, 404),
)
async def delete_override(price_id: PriceId, session: Write, namespace: Namespace) -> None:
    """Delete one's own price, so that everybody's holds again. A second time answers the same."""
    await llmcost.delete_override(session, namespace, price_id)
