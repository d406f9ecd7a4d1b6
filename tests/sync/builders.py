"""The subscription of the worked vectors, and short ways to vary it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.catalog.prices import (
    FlatPrice,
    PaymentTerm,
    Price,
    SettlementMode,
    UnitPrice,
)
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel.periods import Duration, Period
from meterhouse.subscriptions.views import ItemVersion, PhaseView, SubscriptionView


def at(text: str) -> datetime:
    """Read `1-15`, `2-01T12:00` or `1-15T00:00:00.4` as an instant of 2025."""
    month, _, rest = text.partition("-")
    day, _, clock = rest.partition("T")
    hour, minute, second = ([*clock.split(":"), "0", "0"] if clock else ["0", "0", "0"])[:3]
    whole, _, fraction = second.partition(".")
    return datetime(
        2025, int(month), int(day), int(hour), int(minute), int(whole), int(fraction.ljust(6, "0") or 0), UTC
    )


def span(start: str, end: str) -> Period:
    return Period(at(start), at(end))


def flat(amount: str, term: PaymentTerm = PaymentTerm.IN_ADVANCE) -> FlatPrice:
    return FlatPrice(amount=Decimal(amount), payment_term=term)


def unit(amount: str) -> UnitPrice:
    return UnitPrice(amount=Decimal(amount))


def card(key: str, price: Price | None, cadence: str | None = "P1M", **more: object) -> RateCard:
    usage = price is not None and not isinstance(price, FlatPrice)
    return RateCard.model_validate(
        {
            "kind": "usage_based" if usage else "flat_fee",
            "key": key,
            "name": key.title(),
            "price": price,
            "billing_cadence": None if cadence is None else Duration.parse(cadence),
            "feature_key": key if usage else None,
            "feature_id": f"id-of-{key}" if usage else None,
            **more,
        }
    )


FEE = card("fee", flat("62.00"))
TOKENS = card("tokens", unit("0.02"))
SEAT = card("seat", flat("90.00", PaymentTerm.IN_ARREARS), "P3M")


def item(rate_card: RateCard, start: str = "1-15", end: str | None = None, version: int = 0) -> ItemVersion:
    return ItemVersion(
        id=f"item-{rate_card.key}-{version}",
        key=rate_card.key,
        version=version,
        rate_card=rate_card,
        active_from=at(start),
        active_to=None if end is None else at(end),
    )


def phase(key: str, *items: ItemVersion, start: str = "1-15", end: str | None = None) -> PhaseView:
    stop = None if end is None else at(end)
    cut = tuple(
        replace(one, active_to=one.active_to if stop is None else min(stop, one.active_to or stop)) for one in items
    )
    return PhaseView(f"phase-{key}", key, key.title(), None, at(start), stop, cut)


def view(*phases: PhaseView, end: str | None = None, anchor: str = "1-15", **more: object) -> SubscriptionView:
    made = SubscriptionView(
        id="S",
        namespace="acme",
        customer_id="customer-1",
        plan=None,
        name="Pro",
        description=None,
        metadata={},
        currency="USD",
        settlement_mode=SettlementMode.CREDIT_THEN_INVOICE,
        pro_rating_enabled=True,
        billing_cadence=Duration.parse("P1M"),
        billing_anchor=at(anchor),
        active_from=phases[0].active_from,
        active_to=None if end is None else at(end),
        created_at=at("1-01"),
        updated_at=at("1-01"),
        deleted_at=None,
        phases=phases,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def worked(end: str | None = None, **more: object) -> SubscriptionView:
    """The subscription of the vectors: phase `main` with fee, tokens and seat, from 15 January on."""
    return view(phase("main", item(FEE), item(TOKENS), item(SEAT), end=end), end=end, **more)


def short(intents: Sequence[ChargeIntent]) -> list[str]:
    """Write identities as `fee[0]`, or `tokens/v1[0]` for a later version; sorted."""
    return sorted(_short(intent.unique_reference_id or "") for intent in intents)


def _short(reference: str) -> str:
    _, _, key, version, *rest = reference.split("/")
    number = version.removeprefix("v[").removesuffix("]")
    name = key + ("" if number == "0" else f"/v{number}")
    return "/".join([name, *rest]).replace("/period", "")


def by_name(intents: Sequence[ChargeIntent]) -> dict[str, ChargeIntent]:
    return {_short(intent.unique_reference_id or ""): intent for intent in intents}
