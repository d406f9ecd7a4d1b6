"""Making charges (charges section 8)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy.exc import IntegrityError

from meterhouse.billing.charges import states
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.layers import write_base
from meterhouse.billing.charges.models import ChargeRow
from meterhouse.billing.charges.opened import OpenCharge
from meterhouse.billing.charges.states import Kind, Status
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.valuation import amount_after_proration
from meterhouse.billing.errors import BillingError
from meterhouse.billing.rating.discounts import with_correlation_ids
from meterhouse.catalog import features, taxcodes
from meterhouse.catalog.features import Feature
from meterhouse.catalog.pricerules import price_issues
from meterhouse.catalog.prices import Discounts, FlatPrice, SettlementMode, TaxConfig
from meterhouse.customers import service as customers
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.db import WriteSession, violated
from meterhouse.kernel.errors import Conflict, InvalidInput, Issue, invalid
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import is_fiat, round_money

CREDITS_OFF = "credits are not enabled on this deployment of OpenMeter"

# Far from where calendar arithmetic and the database's notion of infinity end.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)

_WHOLE = 100


async def create(
    session: WriteSession, tools: Tools, intents: Sequence[ChargeIntent], *, gathering_lines: bool
) -> list[OpenCharge]:
    """Store charges and make the gathering lines of those that an invoice settles.

    Raises:
        NotFound: the customer does not exist.
        InvalidInput: the namespace is locked, or an intent breaks a rule.
        Conflict: the customer is deleted, or has a charge of the same unique reference.
    """
    for namespace, customer_id in sorted({(intent.namespace, intent.customer_id) for intent in intents}):
        await _check_customer(session, tools, namespace, customer_id)
    made = [await _row(session, tools, intent) for intent in intents]
    try:
        async with session.begin_nested():
            session.add_all(made)
    except IntegrityError as error:
        if violated(error) != "uq_charges_unique_reference_id":
            raise
        raise Conflict("a charge with this unique reference id exists already") from None
    charges = [OpenCharge(row) for row in made]
    for charge in charges:
        charge.enter(Status.CREATED)
    await session.flush()
    if gathering_lines:
        async with tools.book.gathering_lines_together(session):
            for charge in charges:
                await gather(session, tools, charge)
    return charges


async def _check_customer(session: WriteSession, tools: Tools, namespace: str, customer_id: str) -> None:
    if namespace in tools.locked_namespaces:
        raise BillingError("namespace_locked", f"namespace {namespace} is locked")
    customer = await customers.get(session, namespace, customer_id)
    if customer.deleted_at is not None:
        raise Conflict(f"customer {customer_id} is deleted")


async def _row(session: WriteSession, tools: Tools, intent: ChargeIntent) -> ChargeRow:
    if intent.settlement_mode is SettlementMode.CREDIT_ONLY and not tools.credits_enabled:
        raise InvalidInput(CREDITS_OFF)
    intent = normalized(intent)
    feature = await _feature(session, intent)
    intent = replace(intent, tax_config=await tax_config(session, intent))
    row = ChargeRow(
        id=new_id(),
        namespace=intent.namespace,
        customer_id=intent.customer_id,
        kind=Kind.FLAT_FEE if intent.is_flat else Kind.USAGE_BASED,
        currency=intent.currency,
        managed_by=intent.managed_by,
        settlement_mode=intent.settlement_mode,
        unique_reference_id=intent.unique_reference_id,
        subscription_id=intent.subscription.subscription_id if intent.subscription else None,
        subscription_phase_id=intent.subscription.phase_id if intent.subscription else None,
        subscription_item_id=intent.subscription.item_id if intent.subscription else None,
        feature_key=intent.feature_key,
        feature_id=feature.id if feature else None,
        status=Status.CREATED,
        amount_after_proration=amount_after_proration(intent),
        failures=0,
    )
    write_base(row, intent)
    return row


def normalized(intent: ChargeIntent) -> ChargeIntent:
    """Return the intent in whole seconds, a flat amount in minor units, every discount with a correlation id.

    Raises:
        InvalidInput: no fiat currency, a price or discount that breaks a rule (rating section 3.7), a period that
            ends before it starts (usage: when it starts), or an instant out of all reason.
    """
    if not is_fiat(intent.currency):
        raise invalid(f"currency {intent.currency} is not fiat", field="$.currency")
    _check_money(intent)
    intent = replace(
        intent,
        service_period=intent.service_period.whole_seconds(),
        full_service_period=intent.full_service_period.whole_seconds(),
        billing_period=intent.billing_period.whole_seconds(),
        invoice_at=whole_seconds(intent.invoice_at),
        discounts=with_correlation_ids(intent.discounts, new_id),
    )
    for period, name in (
        (intent.service_period, "service_period"),
        (intent.full_service_period, "full_service_period"),
        (intent.billing_period, "billing_period"),
    ):
        if period.end < period.start:
            raise invalid("the period must not end before it starts", field=f"$.{name}")
        if period.start < EARLIEST or period.end > LATEST:
            raise invalid(f"the period must lie between {EARLIEST:%Y} and {LATEST:%Y}", field=f"$.{name}")
    if not EARLIEST <= intent.invoice_at <= LATEST:
        raise invalid(f"invoice_at must lie between {EARLIEST:%Y} and {LATEST:%Y}", field="$.invoice_at")
    if isinstance(intent.price, FlatPrice):
        price = intent.price.model_copy(update={"amount": round_money(intent.price.amount, intent.currency)})
        return replace(intent, price=price)
    if intent.service_period.is_empty():
        raise BillingError("invoice_create_ubp_line_period_is_empty", "the period of metered usage must not be empty")
    return intent


def with_same_ids(discounts: Discounts, old: Discounts) -> Discounts:
    """Return the discounts with the correlation ids of the old ones where they carry none: the ids outlive edits."""
    percentage, usage = discounts.percentage, discounts.usage
    if percentage is not None and percentage.correlation_id is None and old.percentage is not None:
        percentage = percentage.model_copy(update={"correlation_id": old.percentage.correlation_id})
    if usage is not None and usage.correlation_id is None and old.usage is not None:
        usage = usage.model_copy(update={"correlation_id": old.usage.correlation_id})
    return Discounts(percentage=percentage, usage=usage)


def _check_money(intent: ChargeIntent) -> None:
    issues = price_issues(intent.price, "$.price")
    percentage, usage = intent.discounts.percentage, intent.discounts.usage
    if percentage is not None and not 0 <= percentage.percentage <= _WHOLE:
        issues.append(Issue("", "the percentage must be from 0 to 100", "$.discounts.percentage"))
    if usage is not None and usage.quantity < 0:
        issues.append(Issue("", "the quantity of a usage discount must not be negative", "$.discounts.usage"))
    if usage is not None and intent.is_flat:
        issues.append(Issue("", "a flat price has no usage to discount", "$.discounts.usage"))
    if issues:
        raise InvalidInput("; ".join(issue.message for issue in issues), issues=issues)


async def _feature(session: WriteSession, intent: ChargeIntent) -> Feature | None:
    if intent.feature_key is None:
        if intent.is_flat:
            return None
        raise invalid("feature key is required for non-flat prices", field="$.featureKey")
    feature = (await features.for_billing(session, intent.namespace, [intent.feature_key])).get(intent.feature_key)
    if feature is None:
        raise invalid(f"feature not found: {intent.feature_key}", field="$.featureKey")
    if feature.meter_id is None and not intent.is_flat:
        raise invalid(f"feature {intent.feature_key} has no meter", field="$.featureKey")
    return feature


async def tax_config(session: WriteSession, intent: ChargeIntent) -> TaxConfig:
    """Return how the intent is taxed: as it says, else by the organization's default for invoicing.

    What a subscription was sold with stays, even if the tax code is deleted meanwhile.

    Raises:
        BillingError: code `tax_code_not_found`.
    """
    config = intent.tax_config or TaxConfig()
    if config.tax_code_id is None and config.stripe_code is None:
        default = await taxcodes.default_invoicing(session, intent.namespace)
        return config.model_copy(update={"tax_code_id": default})
    kept, code_id = intent.managed_by == "subscription", config.tax_code_id
    if code_id is not None and not await taxcodes.exists(session, intent.namespace, code_id, deleted_too=kept):
        raise BillingError("tax_code_not_found", f"tax code not found: {code_id}", path="tax_config.tax_code")
    return await taxcodes.resolved(session, intent.namespace, config, kept=kept)


async def gather(session: WriteSession, tools: Tools, charge: OpenCharge) -> None:
    """Make the charge's gathering line cover what is left to bill; without anything left there is none."""
    if charge.by_credits_only:
        return
    await session.flush()
    rest = charge.uncovered()
    row = charge.row
    if rest is None or row.amount_after_proration == 0 or charge.status is states.Status.DELETED:
        await tools.book.delete_gathering_line(session, namespace=row.namespace, charge_id=row.id)
        return
    await tools.book.upsert_gathering_line(
        session,
        namespace=row.namespace,
        customer_id=row.customer_id,
        currency=row.currency,
        charge_id=row.id,
        period=rest,
        invoice_at=charge.intent.invoice_at,
    )
