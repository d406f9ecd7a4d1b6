"""A charge's run as an invoice line shows it."""

from decimal import Decimal

from meterhouse.billing.charges import states
from meterhouse.billing.charges.layers import effective_intent
from meterhouse.billing.charges.models import ChargeRow, ChargeRunRow
from meterhouse.billing.charges.opened import details_of, totals_of
from meterhouse.billing.charges.valuation import Valued
from meterhouse.billing.ports import CreditApplied, LineOrigin, LineProjection
from meterhouse.billing.rating.results import Totals, UsageDiscountApplied
from meterhouse.catalog.prices import FlatPrice
from meterhouse.kernel.money import ZERO
from meterhouse.kernel.periods import Period


def of_run(run: ChargeRunRow) -> LineProjection:
    """Show a run."""
    return LineProjection(
        run_id=run.id,
        period=Period(run.service_period_from, run.service_period_to),
        quantity=run.quantity,
        pre_line_quantity=run.pre_line_quantity,
        metered_quantity=run.metered_quantity,
        metered_pre_line_quantity=run.metered_pre_line_quantity,
        usage_discount=UsageDiscountApplied.model_validate(run.usage_discount) if run.usage_discount else None,
        details=details_of(run),
        totals=totals_of(run),
        credits_applied=[CreditApplied(one["allocation_id"], Decimal(one["amount"])) for one in run.credits_applied],
        collection_closes_at=run.stored_at_lt + states.COLLECTION_GRACE if run.stored_at_lt else None,
        warnings=tuple(run.warnings),
    )


def of_value(value: Valued, period: Period) -> LineProjection:
    """Show what a run of this period would be."""
    return LineProjection(
        run_id=None,
        period=period,
        quantity=value.quantity,
        pre_line_quantity=value.pre_line_quantity,
        metered_quantity=value.metered_quantity,
        metered_pre_line_quantity=value.metered_pre_line_quantity,
        usage_discount=value.usage_discount,
        details=value.details,
        totals=value.totals,
        warnings=value.warnings,
    )


def unrated(reason: str, period: Period) -> LineProjection:
    """Show that a line of this period could not be rated."""
    return LineProjection(
        run_id=None,
        period=period,
        quantity=ZERO,
        pre_line_quantity=None,
        metered_quantity=None,
        metered_pre_line_quantity=None,
        usage_discount=None,
        details=(),
        totals=Totals(),
        warnings=(reason,),
    )


def origin(row: ChargeRow) -> LineOrigin:
    """Return what the charge's lines show; a flat price is the one after proration, the one that is billed."""
    intent = effective_intent(row)
    price = intent.price
    if isinstance(price, FlatPrice) and row.amount_after_proration is not None:
        price = price.model_copy(update={"amount": row.amount_after_proration})
    return LineOrigin(
        charge_id=row.id,
        engine="charge_flatfee" if isinstance(price, FlatPrice) else "charge_usagebased",
        name=intent.name,
        description=intent.description,
        metadata=intent.metadata,
        managed_by="manual" if row.override is not None else intent.managed_by,
        price=price,
        feature_key=row.feature_key,
        discounts=intent.discounts,
        unit_conversion=intent.unit_conversion,
        tax_config=intent.tax_config,
        subscription=intent.subscription,
        unique_reference_id=row.unique_reference_id,
    )
