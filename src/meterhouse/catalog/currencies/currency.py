"""Custom currencies and cost bases as values (catalog-extras section 3)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from meterhouse.catalog.currencies.models import CostBasisRow, CurrencyRow


class CurrencyType(StrEnum):
    """Where a currency comes from: the built-in table, or the namespace itself."""

    FIAT = "fiat"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class CustomCurrency:
    """A currency of a namespace, such as credits. `precision` is how many decimals an amount has."""

    id: str
    namespace: str
    code: str
    name: str
    symbol: str | None
    precision: int
    decimal_mark: str
    thousand_separator: str
    created_at: datetime

    @classmethod
    def of(cls, row: CurrencyRow) -> "CustomCurrency":
        """Read a row."""
        return cls(
            id=row.id,
            namespace=row.namespace,
            code=row.code,
            name=row.name,
            symbol=row.symbol,
            precision=row.precision,
            decimal_mark=row.decimal_mark,
            thousand_separator=row.thousand_separator,
            created_at=row.created_at,
        )


@dataclass(frozen=True, slots=True)
class CostBasis:
    """What a custom currency is worth: one unit of it costs `rate` units of the fiat.

    Attributes:
        effective_from, effective_to: when that holds, the start included, the end not; no end holds for ever.
    """

    id: str
    currency_id: str
    fiat_code: str
    rate: Decimal
    effective_from: datetime
    effective_to: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, row: CostBasisRow) -> "CostBasis":
        """Read a row."""
        return cls(
            id=row.id,
            currency_id=row.currency_id,
            fiat_code=row.fiat_code,
            rate=row.rate,
            effective_from=row.effective_from,
            effective_to=row.effective_to,
            created_at=row.created_at,
        )
