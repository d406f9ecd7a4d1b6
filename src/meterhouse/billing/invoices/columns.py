"""Column types and mixins shared by the invoice tables."""

from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from meterhouse.billing.rating.results import Totals


class JSONValue(TypeDecorator[Any]):
    """A pydantic value stored as its JSON. Values are immutable, so a change is always an assignment."""

    impl = JSONB
    cache_ok = True

    def __init__(self, of: Any) -> None:
        super().__init__(none_as_null=True)
        # SQLAlchemy puts attributes named like the arguments into its cache key, so this must be hashable.
        self.of = repr(of)
        self._adapter: TypeAdapter[Any] = TypeAdapter(of)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Turn the value into JSON."""
        return None if value is None else self._adapter.dump_python(value, mode="json")

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Turn JSON into the value."""
        return None if value is None else self._adapter.validate_python(value)


class TotalsColumns:
    """The eight totals of rating section 10 as columns, read and written as one value."""

    amount: Mapped[Decimal] = mapped_column(default=Decimal(0))
    charges_total: Mapped[Decimal] = mapped_column(default=Decimal(0))
    discounts_total: Mapped[Decimal] = mapped_column(default=Decimal(0))
    credits_total: Mapped[Decimal] = mapped_column(default=Decimal(0))
    taxes_inclusive_total: Mapped[Decimal] = mapped_column(default=Decimal(0))
    taxes_exclusive_total: Mapped[Decimal] = mapped_column(default=Decimal(0))
    taxes_total: Mapped[Decimal] = mapped_column(default=Decimal(0))
    total: Mapped[Decimal] = mapped_column(default=Decimal(0))

    def totals(self) -> Totals:
        """Return the eight columns as one value."""
        return Totals(**{name: getattr(self, name) for name in Totals.model_fields})

    def set_totals(self, totals: Totals) -> None:
        """Store all eight."""
        for name in Totals.model_fields:
            setattr(self, name, getattr(totals, name))
