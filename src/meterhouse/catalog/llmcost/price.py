"""Prices of language models as values (catalog-extras section 4.1)."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from meterhouse.catalog.llmcost.models import LLMPriceRow
from meterhouse.catalog.unitcost import TokenType


class Source(StrEnum):
    """Where a price comes from: everybody's list, or an override of the namespace."""

    SYSTEM = "system"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Pricing:
    """What one token of each kind costs; None where the price list says nothing."""

    input_per_token: Decimal
    output_per_token: Decimal
    cache_read_per_token: Decimal | None = None
    cache_write_per_token: Decimal | None = None
    reasoning_per_token: Decimal | None = None

    def of(self, kind: TokenType) -> Decimal | None:
        """Return the price of a kind of token: `request` costs as input, `response` as output."""
        return {
            TokenType.INPUT: self.input_per_token,
            TokenType.REQUEST: self.input_per_token,
            TokenType.OUTPUT: self.output_per_token,
            TokenType.RESPONSE: self.output_per_token,
            TokenType.CACHE_READ: self.cache_read_per_token,
            TokenType.CACHE_WRITE: self.cache_write_per_token,
            TokenType.REASONING: self.reasoning_per_token,
        }[kind]

    def members(self) -> Iterator[tuple[str, Decimal | None]]:
        """Yield every price with its name."""
        for one in fields(self):
            yield one.name, getattr(self, one.name)


@dataclass(frozen=True, slots=True)
class LLMPrice:
    """A price of a model, in force on `[effective_from, effective_to)`.

    Attributes:
        provider, model_id, model_name: as they were given; `names` tells what they are found by.
    """

    id: str
    provider: str
    model_id: str
    model_name: str
    pricing: Pricing
    currency: str
    source: Source
    effective_from: datetime
    effective_to: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: LLMPriceRow) -> "LLMPrice":
        """Read a row."""
        return cls(
            id=row.id,
            provider=row.provider,
            model_id=row.model_id,
            model_name=row.model_name,
            pricing=pricing_of(row),
            currency=row.currency,
            source=Source.SYSTEM if row.namespace is None else Source.MANUAL,
            effective_from=row.effective_from,
            effective_to=row.effective_to,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def pricing_of(row: LLMPriceRow) -> Pricing:
    """Read the prices of a row."""
    return Pricing(**{one.name: getattr(row, one.name) for one in fields(Pricing)})
