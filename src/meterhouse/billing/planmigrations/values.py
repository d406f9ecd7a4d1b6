"""What a plan migration is, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from meterhouse.kernel.money import total
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import PlanReference


class Status(StrEnum):
    """How far a migration is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELED = "canceled"


class Outcome(StrEnum):
    """What became of one subscription. A dry run ends in `previewed`, a real one in `migrated`, both in `failed`."""

    PENDING = "pending"
    PREVIEWED = "previewed"
    MIGRATED = "migrated"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NewPlanMigration:
    """What to do.

    Attributes:
        plan_id: the version that subscriptions leave.
        target_version: the version they go to; None means the one that is active now.
        timing: when each of them changes over.
        dry_run: only work out what would change.
        starting_phase: key of the phase that all of them begin with; None: each goes on in the phase that runs when it
            changes over, until that would have ended.
    """

    plan_id: str
    target_version: int | None
    timing: NamedTiming
    dry_run: bool
    starting_phase: str | None = None


@dataclass(frozen=True, slots=True)
class PlanMigration:
    """A migration and how far it is. `progress` counts its subscriptions by outcome, every outcome named."""

    id: str
    namespace: str
    source: PlanReference
    target: PlanReference
    timing: NamedTiming
    starting_phase: str | None
    dry_run: bool
    status: Status
    progress: Mapping[Outcome, int]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    canceled_at: datetime | None


class ForecastLine(BaseModel):
    """What one charge still comes to, before credits."""

    model_config = ConfigDict(frozen=True)

    charge_id: str
    name: str
    feature_key: str | None
    start: datetime
    end: datetime
    invoice_at: datetime
    amount: Decimal


class Forecast(BaseModel):
    """What a subscription's charges come to up to `until`, with the usage so far, before credits and taxes.

    Lines that exist before and after have the same charge id.
    """

    model_config = ConfigDict(frozen=True)

    currency: str
    until: datetime
    before: tuple[ForecastLine, ...]
    after: tuple[ForecastLine, ...]

    def difference(self) -> Decimal:
        """Return how much more the customer will owe at `until`; negative for less."""
        return total(line.amount for line in self.after) - total(line.amount for line in self.before)


class Failure(BaseModel):
    """Why a subscription was left as it is. `code` is empty where none is defined."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class MigratedSubscription:
    """A subscription of a migration, and what became of it.

    Attributes:
        next_subscription_id: the one that follows it.
        forecast: of a dry run.
        dropped_addons: keys of the add-ons that the migration ends, or would end.
    """

    subscription_id: str
    customer_id: str
    outcome: Outcome
    next_subscription_id: str | None
    failure: Failure | None
    forecast: Forecast | None
    dropped_addons: tuple[str, ...]
    finished_at: datetime | None
