"""Custom currencies and prices of language models"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "custom_currencies",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=True),
        sa.Column("precision", sa.Integer(), nullable=False),
        sa.Column("decimal_mark", sa.String(), nullable=False),
        sa.Column("thousand_separator", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("precision BETWEEN 0 AND 12", name=op.f("ck_custom_currencies_precision")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_currencies")),
        sa.UniqueConstraint("namespace", "code", name="uq_custom_currencies_code"),
    )
    op.create_table(
        "llm_prices",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=True),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("provider_key", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("model_key", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("input_per_token", sa.Numeric(), nullable=False),
        sa.Column("output_per_token", sa.Numeric(), nullable=False),
        sa.Column("cache_read_per_token", sa.Numeric(), nullable=True),
        sa.Column("cache_write_per_token", sa.Numeric(), nullable=True),
        sa.Column("reasoning_per_token", sa.Numeric(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effective_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "effective_to IS NULL OR effective_from <= effective_to", name=op.f("ck_llm_prices_effective_order")
        ),
        sa.CheckConstraint(
            "least(input_per_token, output_per_token, cache_read_per_token, cache_write_per_token, reasoning_per_token) >= 0",
            name=op.f("ck_llm_prices_not_negative"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_prices")),
    )
    op.create_index(
        "uq_llm_prices_open_ended",
        "llm_prices",
        ["provider_key", "model_key"],
        unique=True,
        postgresql_where=sa.text("namespace IS NULL AND effective_to IS NULL AND deleted_at IS NULL"),
    )
    op.create_index(
        "uq_llm_prices_override",
        "llm_prices",
        ["namespace", "provider_key", "model_key"],
        unique=True,
        postgresql_where=sa.text("namespace IS NOT NULL AND deleted_at IS NULL"),
    )
    op.create_index(
        "uq_llm_prices_start",
        "llm_prices",
        ["provider_key", "model_key", "effective_from"],
        unique=True,
        postgresql_where=sa.text("namespace IS NULL AND deleted_at IS NULL"),
    )
    op.create_table(
        "currency_cost_bases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("currency_id", sa.String(), nullable=False),
        sa.Column("fiat_code", sa.String(), nullable=False),
        sa.Column("rate", sa.Numeric(), nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effective_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "effective_to IS NULL OR effective_from < effective_to", name=op.f("ck_currency_cost_bases_effective_order")
        ),
        sa.CheckConstraint("rate > 0", name=op.f("ck_currency_cost_bases_rate")),
        sa.ForeignKeyConstraint(
            ["currency_id"], ["custom_currencies.id"], name=op.f("fk_currency_cost_bases_currency_id_custom_currencies")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_currency_cost_bases")),
        sa.UniqueConstraint("currency_id", "fiat_code", "effective_from", name="uq_currency_cost_bases_start"),
    )


def downgrade() -> None:
    op.drop_table("currency_cost_bases")
    op.drop_index(
        "uq_llm_prices_start",
        table_name="llm_prices",
        postgresql_where=sa.text("namespace IS NULL AND deleted_at IS NULL"),
    )
    op.drop_index(
        "uq_llm_prices_override",
        table_name="llm_prices",
        postgresql_where=sa.text("namespace IS NOT NULL AND deleted_at IS NULL"),
    )
    op.drop_index(
        "uq_llm_prices_open_ended",
        table_name="llm_prices",
        postgresql_where=sa.text("namespace IS NULL AND effective_to IS NULL AND deleted_at IS NULL"),
    )
    op.drop_table("llm_prices")
    op.drop_table("custom_currencies")
