"""Tables of custom currencies and what they are worth."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, Timestamps


class CurrencyRow(Timestamps, Base):
    """A custom currency. Nothing about it changes, and it is never deleted: amounts are kept in it."""

    __tablename__ = "custom_currencies"
    __table_args__ = (
        UniqueConstraint("namespace", "code", name="uq_custom_currencies_code"),
        CheckConstraint("precision BETWEEN 0 AND 12", "precision"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    code: Mapped[str]
    name: Mapped[str]
    symbol: Mapped[str | None]
    precision: Mapped[int]
    decimal_mark: Mapped[str]
    thousand_separator: Mapped[str]


class CostBasisRow(Timestamps, Base):
    """What one unit of a custom currency is worth in a fiat, on `[effective_from, effective_to)`."""

    __tablename__ = "currency_cost_bases"
    __table_args__ = (
        UniqueConstraint("currency_id", "fiat_code", "effective_from", name="uq_currency_cost_bases_start"),
        CheckConstraint("rate > 0", "rate"),
        CheckConstraint("effective_to IS NULL OR effective_from < effective_to", "effective_order"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    currency_id: Mapped[str] = mapped_column(ForeignKey("custom_currencies.id"))
    fiat_code: Mapped[str]
    rate: Mapped[Decimal]
    effective_from: Mapped[datetime]
    effective_to: Mapped[datetime | None]
