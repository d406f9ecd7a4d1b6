"""A plan add-on, the assignment of an add-on version to a plan version, as an immutable value (catalog section 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meterhouse.catalog.addons.addon import Addon


@dataclass(frozen=True, slots=True)
class NewPlanAddon:
    """What a client writes to assign an add-on version to a plan version."""

    addon_id: str
    from_plan_phase: str
    max_quantity: int | None = None
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanAddonContent:
    """What a client writes when it replaces an assignment. None of metadata, name and description keeps them."""

    from_plan_phase: str
    max_quantity: int | None = None
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PlanAddon:
    """The assignment of an add-on version to a plan version.

    Attributes:
        from_plan_phase: key of the first phase in which a subscription can take the add-on.
        max_quantity: how many a subscription can take of an add-on that can be taken several times; None: no limit.
    """

    id: str
    namespace: str
    plan_id: str
    addon: Addon
    from_plan_phase: str
    max_quantity: int | None
    name: str | None
    description: str | None
    metadata: Mapping[str, str]
    annotations: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
