"""Short forms for catalog values."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from meterhouse.catalog.addons import Addon, InstanceType, NewAddon
from meterhouse.catalog.planaddons import PlanAddon
from meterhouse.catalog.plans import NewPlan, Plan, PlanPhase
from meterhouse.catalog.prices import FlatPrice, SettlementMode, UnitPrice
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel.clock import now
from meterhouse.kernel.periods import Duration


def period(text: str) -> Duration:
    """Read a duration."""
    return Duration.parse(text)


def flat_card(key: str = "seats", cadence: str | None = "P1M", **members: Any) -> RateCard:
    """Make a card with a fixed price."""
    members = {"price": FlatPrice(amount=Decimal(10)), **members}
    return RateCard(kind="flat_fee", key=key, name=key, billing_cadence=cadence, **members)


def unit_card(key: str = "api_calls", cadence: str | None = "P1M", **members: Any) -> RateCard:
    """Make a card with a price by usage of the feature of the same key."""
    members = {"kind": "usage_based", "price": UnitPrice(amount=Decimal("0.1")), "feature_key": key, **members}
    return RateCard(key=key, name=key, billing_cadence=cadence, **members)


def phase(*cards: RateCard, key: str = "main", duration: str | None = None) -> PlanPhase:
    """Make a phase."""
    length = period(duration) if duration is not None else None
    return PlanPhase(key, key, None, {}, length, cards)


def new_plan(key: str = "ws_pro", phases: Sequence[PlanPhase] | None = None, **members: Any) -> NewPlan:
    """Make a plan to create."""
    members = {"currency": "USD", "billing_cadence": period("P1M"), **members}
    return NewPlan(key=key, name="Pro", phases=tuple(phases if phases is not None else [phase(flat_card())]), **members)


def plan(*phases: PlanPhase, cadence: str = "P1M", currency: str = "USD", **members: Any) -> Plan:
    """Make a plan as a value."""
    given: dict[str, Any] = {
        "id": "01JNX8T0000000000000000001",
        "namespace": "default",
        "key": "ws_pro",
        "version": 1,
        "name": "Pro",
        "description": None,
        "metadata": {},
        "currency": currency,
        "billing_cadence": period(cadence),
        "pro_rating_enabled": True,
        "settlement_mode": SettlementMode.CREDIT_THEN_INVOICE,
        "effective_from": None,
        "effective_to": None,
        "created_at": now(),
        "updated_at": now(),
        "deleted_at": None,
        "phases": phases,
    }
    return Plan(**{**given, **members})


def new_addon(*cards: RateCard, key: str = "extra", **members: Any) -> NewAddon:
    """Make an add-on to create."""
    members = {"currency": "USD", "instance_type": InstanceType.SINGLE, **members}
    return NewAddon(key=key, name="Extra", rate_cards=cards or (flat_card("support"),), **members)


def addon(*cards: RateCard, **members: Any) -> Addon:
    """Make an add-on as a value: an active one that can be taken several times."""
    given: dict[str, Any] = {
        "id": "01JNX8T0000000000000000002",
        "namespace": "default",
        "key": "extra",
        "version": 1,
        "name": "Extra",
        "description": None,
        "metadata": {},
        "currency": "USD",
        "effective_from": now(),
        "effective_to": None,
        "created_at": now(),
        "updated_at": now(),
        "deleted_at": None,
        "instance_type": InstanceType.MULTIPLE,
        "rate_cards": cards,
    }
    return Addon(**{**given, **members})


def assignment(given: Addon, from_plan_phase: str = "main", max_quantity: int | None = None) -> PlanAddon:
    """Make the assignment of an add-on to a plan as a value."""
    return PlanAddon(
        id="01JNX8T0000000000000000003",
        namespace="default",
        plan_id="01JNX8T0000000000000000001",
        addon=given,
        from_plan_phase=from_plan_phase,
        max_quantity=max_quantity,
        name=None,
        description=None,
        metadata={},
        annotations={},
        created_at=now(),
        updated_at=now(),
        deleted_at=None,
    )
