"""What the unit costs of features have in common in v1 and v3; each adds its naming (catalog-extras section 5.1)."""

from dataclasses import asdict
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, RootModel

from meterhouse.api.wire import Numeric, Opt
from meterhouse.catalog.llmcost import LLMPrice
from meterhouse.catalog.unitcost import UNIT_COST, TokenType, UnitCost


class ManualMembers(BaseModel):
    """A fixed cost of one unit, in USD."""

    type: Literal["manual"]
    amount: Numeric


class LLMMembers(BaseModel):
    """A cost from the price list of language models. Each fact is fixed or read from a dimension of the meter."""

    type: Literal["llm"]
    provider_property: Opt[str] = None
    provider: Opt[str] = None
    model_property: Opt[str] = None
    model: Opt[str] = None
    token_type_property: Opt[str] = None
    token_type: Opt[TokenType] = None


class PricingMembers(BaseModel):
    """What one token costs in USD, by its kind."""

    input_per_token: Numeric
    output_per_token: Numeric
    cache_read_per_token: Opt[Numeric] = None
    reasoning_per_token: Opt[Numeric] = None
    cache_write_per_token: Opt[Numeric] = None


PRICING = "What the model costs now, where the unit cost or an equality of the feature names it. Shown, never taken."


class UnitCostRoot(RootModel[Any]):
    """One of the kinds of unit cost. `Pricing` is how the price of a model is shown with it."""

    Pricing: ClassVar[type[PricingMembers]]

    @classmethod
    def of(cls, unit_cost: UnitCost, price: LLMPrice | None = None) -> Self:
        """Show a unit cost, with the price of the model that it names."""
        shown = cls.model_validate(unit_cost.model_dump())
        if price is not None:
            # Past the checks of requests, which have no price.
            shown.root = shown.root.model_copy(update={"pricing": cls.Pricing.model_validate(asdict(price.pricing))})
        return shown

    def to_value(self) -> UnitCost:
        """Read the unit cost."""
        return UNIT_COST.validate_python(self.root.model_dump(exclude={"pricing"}))
