"""The table of prices of language models."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, SoftDelete, Timestamps


class LLMPriceRow(Timestamps, SoftDelete, Base):
    """What a token costs, on `[effective_from, effective_to)`: of everybody, or of one namespace, which then wins.

    `provider` and `model_id` are shown as they were given; `provider_key` and `model_key` are what they are found by.
    """

    __tablename__ = "llm_prices"
    __table_args__ = (
        Index(
            "uq_llm_prices_override",
            "namespace",
            "provider_key",
            "model_key",
            unique=True,
            postgresql_where=text("namespace IS NOT NULL AND deleted_at IS NULL"),
        ),
        Index(
            "uq_llm_prices_start",
            "provider_key",
            "model_key",
            "effective_from",
            unique=True,
            postgresql_where=text("namespace IS NULL AND deleted_at IS NULL"),
        ),
        Index(
            "uq_llm_prices_open_ended",
            "provider_key",
            "model_key",
            unique=True,
            postgresql_where=text("namespace IS NULL AND effective_to IS NULL AND deleted_at IS NULL"),
        ),
        CheckConstraint("effective_to IS NULL OR effective_from <= effective_to", "effective_order"),
        CheckConstraint(
            "least(input_per_token, output_per_token, cache_read_per_token, cache_write_per_token,"
            " reasoning_per_token) >= 0",
            "not_negative",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str | None]
    provider: Mapped[str]
    provider_key: Mapped[str]
    model_id: Mapped[str]
    model_key: Mapped[str]
    model_name: Mapped[str]
    input_per_token: Mapped[Decimal]
    output_per_token: Mapped[Decimal]
    cache_read_per_token: Mapped[Decimal | None]
    cache_write_per_token: Mapped[Decimal | None]
    reasoning_per_token: Mapped[Decimal | None]
    currency: Mapped[str]
    effective_from: Mapped[datetime]
    effective_to: Mapped[datetime | None]
