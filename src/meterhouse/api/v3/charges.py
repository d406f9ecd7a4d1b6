"""v3 charges of a customer: what it has to pay for (charges section 9)."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BeforeValidator, Discriminator, Field

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.filters import (
    FieldKind,
    expand_parameter,
    list_parameters,
    members_of,
    parse_expand,
    parse_filters,
    parse_sort,
)
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.v3.prices import (
    BillingChargeFlatFeeDiscounts,
    BillingPrice,
    BillingRateCardDiscounts,
    BillingTaxConfig,
    BillingUnitConfig,
    discounts_of,
    price_of,
    shown,
)
from meterhouse.api.v3.references import (
    BillingCustomerReference,
    BillingSubscriptionReference,
    BillingTotals,
    ClosedPeriod,
)
from meterhouse.api.wire import CurrencyCode, Description, Instant, Name, Numeric, Opt, Ulid, V3Model
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.service import Charges
from meterhouse.billing.charges.states import PublicStatus
from meterhouse.billing.charges.views import Charge
from meterhouse.catalog import features
from meterhouse.catalog.prices import FlatPrice, PaymentTerm, SettlementMode
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import FeatureDisabled, InvalidInput, NotFound, invalid
from meterhouse.kernel.money import ZERO
from meterhouse.kernel.pages import Page

router = APIRouter(tags=["OpenMeter Customers"])

_PATH = "/api/v3/openmeter/customers/{customerId}/charges"
_FIELDS = {"status": FieldKind.EXACT}
_SORT_FIELDS = ("id", "created_at", "service_period.from", "billing_period.from")
_REAL_TIME_USAGE = "real_time_usage"
_EXPANDED = [_REAL_TIME_USAGE]

CustomerId = Annotated[Ulid, Path(alias="customerId", description="The id of a customer.")]
ProrationMode = Literal["no_proration", "prorate_prices"]


class CurrencyAmount(V3Model):
    """An amount of money."""

    amount: Numeric
    currency: CurrencyCode


class BillingRateCardProrationConfiguration(V3Model):
    """Whether a fee follows the length of its service period."""

    mode: ProrationMode


def _proration(intent: ChargeIntent) -> BillingRateCardProrationConfiguration:
    return BillingRateCardProrationConfiguration(mode="prorate_prices" if intent.prorate else "no_proration")


class _SystemIntent(V3Model):
    name: Name
    description: Opt[Description] = None
    labels: Opt[ShownLabels] = None
    invoice_at: Instant
    service_period: ClosedPeriod
    full_service_period: ClosedPeriod
    billing_period: ClosedPeriod
    deleted_at: Opt[Instant] = Field(None, description="When the system deleted its own intent.")


class BillingChargeFlatFeeSystemIntent(_SystemIntent):
    """What the system wants of a fee that a user overrode."""

    payment_term: PaymentTerm
    discounts: Opt[BillingChargeFlatFeeDiscounts] = None
    proration_configuration: BillingRateCardProrationConfiguration
    amount_before_proration: CurrencyAmount


class BillingChargeUsageBasedSystemIntent(_SystemIntent):
    """What the system wants of metered usage that a user overrode."""

    discounts: Opt[BillingRateCardDiscounts] = None
    price: BillingPrice


class BillingChargeTotals(V3Model):
    """What a charge comes to."""

    booked: BillingTotals = Field(description="What runs booked so far, credits taken off.")
    realtime: Opt[BillingTotals] = Field(
        None,
        description="Usage up to now rated from the start, before credits. A minimum counts from the end on. Events "
        "that were stored after the collection closed count here but are never billed.",
    )


class _Charge(V3Model):
    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: Opt[ShownLabels] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    customer: BillingCustomerReference
    lifecycle_controller: Literal["system", "manual"] = Field(
        description="`manual` for a charge that a user made, edited or deleted."
    )
    subscription: Opt[BillingSubscriptionReference] = None
    currency: CurrencyCode
    status: PublicStatus
    invoice_at: Instant
    service_period: ClosedPeriod = Field(description="What is billed.")
    full_service_period: ClosedPeriod = Field(description="What a whole period would be.")
    billing_period: ClosedPeriod = Field(description="The cycle in which it is collected.")
    advance_after: Opt[Instant] = Field(None, description="When time next moves the charge on.")
    unique_reference_id: Opt[str] = None
    settlement_mode: SettlementMode
    tax_config: Opt[BillingTaxConfig] = None


class BillingChargeFlatFee(_Charge):
    """A fixed fee."""

    type: Literal["flat_fee"]
    payment_term: PaymentTerm
    discounts: Opt[BillingChargeFlatFeeDiscounts] = None
    feature_key: Opt[str] = None
    feature_id: Opt[str] = None
    proration_configuration: BillingRateCardProrationConfiguration
    amount_after_proration: CurrencyAmount
    price: BillingPrice
    system_intent: Opt[BillingChargeFlatFeeSystemIntent] = None


class BillingChargeUsageBased(_Charge):
    """Metered usage."""

    type: Literal["usage_based"]
    discounts: Opt[BillingRateCardDiscounts] = None
    feature_key: str
    feature_id: str
    totals: BillingChargeTotals
    price: BillingPrice
    unit_config: Opt[BillingUnitConfig] = Field(
        None, description="How usage becomes priced units; also how a package or dynamic price is shown."
    )
    system_intent: Opt[BillingChargeUsageBasedSystemIntent] = None


BillingCharge = Annotated[BillingChargeFlatFee | BillingChargeUsageBased, Field(discriminator="type")]


def _flat_discounts(intent: ChargeIntent) -> BillingChargeFlatFeeDiscounts | None:
    percentage = intent.discounts.percentage
    return None if percentage is None else BillingChargeFlatFeeDiscounts(percentage=percentage.percentage)


def _common(charge: Charge) -> dict[str, Any]:
    intent = charge.intent
    return {
        **_layer(intent),
        "id": charge.id,
        "created_at": charge.created_at,
        "updated_at": charge.updated_at,
        "deleted_at": charge.deleted_at,
        "customer": BillingCustomerReference(id=charge.customer_id),
        "lifecycle_controller": charge.lifecycle_controller,
        "subscription": BillingSubscriptionReference.of(intent.subscription),
        "currency": intent.currency,
        "status": charge.public_status,
        "advance_after": charge.advance_after,
        "unique_reference_id": intent.unique_reference_id,
        "settlement_mode": intent.settlement_mode,
        "tax_config": BillingTaxConfig.of(intent.tax_config),
    }


def _layer(intent: ChargeIntent) -> dict[str, Any]:
    return {
        "name": intent.name,
        "description": intent.description,
        "labels": labels_of(intent.metadata, {}) or None,
        "invoice_at": intent.invoice_at,
        "service_period": ClosedPeriod.of(intent.service_period),
        "full_service_period": ClosedPeriod.of(intent.full_service_period),
        "billing_period": ClosedPeriod.of(intent.billing_period),
    }


def _system_layer(charge: Charge) -> dict[str, Any] | None:
    """Return the base layer where a user's override hides it."""
    if not charge.overridden:
        return None
    return {**_layer(charge.base), "deleted_at": charge.base_deleted_at}


def _flat_fee(charge: Charge, price: FlatPrice) -> BillingChargeFlatFee:
    intent, base = charge.intent, charge.base
    system, base_price = _system_layer(charge), base.price
    return BillingChargeFlatFee(
        **_common(charge),
        type="flat_fee",
        payment_term=price.payment_term,
        discounts=_flat_discounts(intent),
        feature_key=intent.feature_key,
        feature_id=charge.feature_id,
        proration_configuration=_proration(intent),
        amount_after_proration=CurrencyAmount(amount=charge.amount_after_proration or ZERO, currency=intent.currency),
        price=shown(price).price,
        system_intent=BillingChargeFlatFeeSystemIntent(
            **system,
            payment_term=base_price.payment_term,
            discounts=_flat_discounts(base),
            proration_configuration=_proration(base),
            amount_before_proration=CurrencyAmount(amount=base_price.amount, currency=base.currency),
        )
        if system and isinstance(base_price, FlatPrice)
        else None,
    )


def _usage_based(charge: Charge) -> BillingChargeUsageBased:
    intent, base, system = charge.intent, charge.base, _system_layer(charge)
    price = shown(intent.price, intent.unit_conversion)
    return BillingChargeUsageBased(
        **_common(charge),
        type="usage_based",
        discounts=BillingRateCardDiscounts.of(intent.discounts),
        feature_key=intent.feature_key or "",
        feature_id=charge.feature_id or "",
        totals=BillingChargeTotals(
            booked=BillingTotals.of(charge.booked),
            realtime=BillingTotals.of(charge.realtime) if charge.realtime else None,
        ),
        price=price.price,
        unit_config=price.unit_config,
        system_intent=BillingChargeUsageBasedSystemIntent(
            **system,
            discounts=BillingRateCardDiscounts.of(base.discounts),
            price=shown(base.price, base.unit_conversion).price,
        )
        if system
        else None,
    )


def shown_charge(charge: Charge) -> BillingChargeFlatFee | BillingChargeUsageBased:
    """Show a charge."""
    price = charge.intent.price
    return _flat_fee(charge, price) if isinstance(price, FlatPrice) else _usage_based(charge)


class _CreateCharge(V3Model):
    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    currency: CurrencyCode
    invoice_at: Instant
    service_period: ClosedPeriod
    full_service_period: Opt[ClosedPeriod] = Field(None, description="The service period when left out.")
    billing_period: Opt[ClosedPeriod] = Field(None, description="The service period when left out.")
    unique_reference_id: Opt[str] = Field(None, description="Your own name for it, unique for the customer.")
    settlement_mode: SettlementMode
    tax_config: Opt[BillingTaxConfig] = None


class CreateChargeFlatFeeRequest(_CreateCharge):
    """A fee to charge."""

    type: Literal["flat_fee"]
    payment_term: PaymentTerm
    discounts: Opt[BillingChargeFlatFeeDiscounts] = None
    feature_id: Opt[str] = None
    proration_configuration: BillingRateCardProrationConfiguration
    amount_before_proration: CurrencyAmount


class CreateChargeUsageBasedRequest(_CreateCharge):
    """Metered usage to charge. It is due in arrears."""

    type: Literal["usage_based"]
    discounts: Opt[BillingRateCardDiscounts] = None
    feature_id: str
    price: BillingPrice


def _known_type(body: object) -> object:
    if isinstance(body, dict) and body.get("type") not in ("flat_fee", "usage_based"):
        raise invalid("type must be flat_fee or usage_based", field="params")
    return body


# Beside a `Field` FastAPI would drop the validator, hence `Discriminator`.
CreateChargeRequest = Annotated[
    CreateChargeFlatFeeRequest | CreateChargeUsageBasedRequest, Discriminator("type"), BeforeValidator(_known_type)
]


@dataclass(frozen=True, slots=True)
class _Customer:
    namespace: str
    id: str


def _refused(reason: str) -> InvalidInput:
    return invalid(reason, field="intents")


async def _feature_key(session: ReadSession, namespace: str, feature: str | None) -> str | None:
    if feature is None:
        return None
    try:
        return (await features.get(session, namespace, feature)).key
    except NotFound as error:
        raise _refused(error.message) from error


def _intent(customer: _Customer, body: CreateChargeRequest, feature_key: str | None) -> ChargeIntent:
    service = body.service_period.to_value()
    if isinstance(body, CreateChargeFlatFeeRequest):
        if body.amount_before_proration.currency != body.currency:
            raise _refused("the currency of the amount is not the currency of the charge")
        price: Any = FlatPrice(amount=body.amount_before_proration.amount, payment_term=body.payment_term)
    else:
        price = price_of(body.price)
        if price is None or isinstance(price, FlatPrice):
            raise _refused("metered usage needs a unit, graduated or volume price")
    return ChargeIntent(
        namespace=customer.namespace,
        customer_id=customer.id,
        currency=body.currency,
        managed_by="manual",
        settlement_mode=body.settlement_mode,
        name=body.name,
        price=price,
        service_period=service,
        full_service_period=body.full_service_period.to_value() if body.full_service_period else service,
        billing_period=body.billing_period.to_value() if body.billing_period else service,
        invoice_at=body.invoice_at,
        feature_key=feature_key,
        discounts=discounts_of(body.discounts),
        tax_config=body.tax_config.to_value() if body.tax_config else None,
        prorate=isinstance(body, CreateChargeFlatFeeRequest) and body.proration_configuration.mode == "prorate_prices",
        description=body.description,
        metadata=metadata_of(body.labels),
        unique_reference_id=body.unique_reference_id or None,
    )


def _charges(services: ServicesDep) -> Charges:
    assert services.charges is not None
    if not services.credits_enabled:
        raise FeatureDisabled("charges are served with credits only, and the setting `credits_enabled` is off")
    return services.charges


@router.get(
    _PATH,
    operation_id="listCustomerCharges",
    summary="List the charges of a customer",
    response_model=V3Page[BillingCharge],
    responses=errors("v3", 400, 401, 403, 404),
    openapi_extra={
        "parameters": [
            *list_parameters(_FIELDS, _SORT_FIELDS)["parameters"],
            expand_parameter(_EXPANDED, f"What to add: `{_REAL_TIME_USAGE}` rates the usage up to now."),
        ],
    },
)
async def list_charges(
    request: Request,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    page: V3Paging,
    customer_id: CustomerId,
) -> V3Page[Any]:
    """Return fees and metered usage. Credit purchases are grants and not listed; nor is what was deleted, unless
    asked for. An unknown customer has none.
    """
    statuses = members_of(PublicStatus, parse_filters(request, _FIELDS), "status")
    sorts = parse_sort(request, _SORT_FIELDS, (Sort("created_at"),))
    found: Page[Charge] = await _charges(services).list_charges(
        session,
        namespace,
        customer_id,
        page,
        statuses=statuses,
        sorts=sorts,
        realtime=_REAL_TIME_USAGE in parse_expand(request, _EXPANDED),
    )
    return V3Page[Any].of(found, [shown_charge(charge) for charge in found.items])


@router.post(
    _PATH,
    operation_id="createCustomerCharge",
    summary="Charge a customer",
    status_code=201,
    response_model=BillingCharge,
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def create_charge(
    session: Write, namespace: Namespace, services: ServicesDep, customer_id: CustomerId, body: CreateChargeRequest
) -> BillingChargeFlatFee | BillingChargeUsageBased:
    """Make one charge, controlled by hand. Depending on its settlement mode it is paid by credits alone, or by credits
    first and an invoice for the rest.
    """
    charges = _charges(services)
    feature_key = await _feature_key(session, namespace, body.feature_id)
    intent = _intent(_Customer(namespace, customer_id), body, feature_key)
    try:
        (made,) = await charges.create(session, [intent])
    except InvalidInput as error:
        issues = [replace(issue, field="intents") for issue in error.issues]
        raise InvalidInput(error.message, issues=issues, extensions=error.extensions) from error
    return shown_charge(made)
