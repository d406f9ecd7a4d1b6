"""What one unit of a feature costs the seller (catalog-extras section 5.1). Stored as JSON with the feature.

`tests/catalog/golden` holds every stored form.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from meterhouse.catalog.prices import Amount, Value


class TokenType(StrEnum):
    """What kind of token is counted; `request` costs as input, `response` as output."""

    INPUT = "input"
    OUTPUT = "output"
    CACHE_READ = "cache_read"
    CACHE_WRITE = "cache_write"
    REASONING = "reasoning"
    REQUEST = "request"
    RESPONSE = "response"


class ManualUnitCost(Value):
    """A fixed amount in USD."""

    type: Literal["manual"] = "manual"
    amount: Amount

    def dimensions(self) -> tuple[str, ...]:
        """Return the dimensions of the meter that the cost depends on."""
        return ()


class LLMUnitCost(Value):
    """The price list of language models. Each of provider, model and token type is fixed or read from a dimension."""

    type: Literal["llm"] = "llm"
    provider: str | None = None
    provider_property: str | None = None
    model: str | None = None
    model_property: str | None = None
    token_type: TokenType | None = None
    token_type_property: str | None = None

    def sources(self) -> Mapping[str, tuple[str | None, str | None]]:
        """Return for each of the three facts its fixed value and the dimension it is read from."""
        return {
            "provider": (self.provider, self.provider_property),
            "model": (self.model, self.model_property),
            "token_type": (self.token_type, self.token_type_property),
        }

    def dimensions(self) -> tuple[str, ...]:
        """Return the dimensions of the meter that the cost depends on."""
        return tuple(dimension for _, dimension in self.sources().values() if dimension)


UnitCost = Annotated[ManualUnitCost | LLMUnitCost, Field(discriminator="type")]
UNIT_COST: TypeAdapter[UnitCost] = TypeAdapter(UnitCost)
