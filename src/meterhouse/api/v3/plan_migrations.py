"""Moving all subscriptions of a plan version to another version; no part of the contract."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.services import Services
from meterhouse.api.v3.references import ClosedPeriod
from meterhouse.api.wire import Counted, Instant, Numeric, Opt, ResourceKey, Ulid, V3Model
from meterhouse.billing.planmigrations.service import PlanMigrations
from meterhouse.billing.planmigrations.values import (
    Forecast,
    ForecastLine,
    MigratedSubscription,
    NewPlanMigration,
    Outcome,
    PlanMigration,
    Status,
)
from meterhouse.kernel.errors import FeatureDisabled
from meterhouse.kernel.money import total
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import PlanReference

router = APIRouter(tags=["Plan migrations"])

_PATH = "/api/v3/meterhouse/plans/{planId}/migrations"
_ONE = _PATH + "/{migrationId}"
_FAILURES = (400, 401, 403, 404, 409, 500, 503)

PlanId = Annotated[Ulid, Path(alias="planId", description="The id of a plan version.")]
MigrationId = Annotated[Ulid, Path(alias="migrationId", description="The id of a migration from that version.")]


class PlanMigrationRequest(V3Model):
    """Where the subscriptions of the plan version go, and when."""

    target_version: Opt[Counted] = Field(
        None, description="A later version of the plan; the one that is active now when absent."
    )
    timing: NamedTiming = Field(
        NamedTiming.NEXT_BILLING_CYCLE,
        description="When a subscription changes over: at the end of its billing period, or when its turn comes.",
    )
    starting_phase: Opt[ResourceKey] = Field(
        None,
        description="Key of the phase of the target that every subscription begins with, for its whole length. When "
        "absent, each goes on in the phase that runs when it changes over, which ends when it would have ended, and "
        "fails where the target has no phase of that key.",
    )
    dry_run: bool = Field(False, description="Work out what each next invoice would be, and change nothing.")


class PlanVersion(V3Model):
    """Names a version of a plan."""

    id: Ulid
    key: str
    version: int

    @classmethod
    def of(cls, reference: PlanReference) -> "PlanVersion":
        """Show a reference."""
        return cls(id=reference.id, key=reference.key, version=reference.version)


class MigrationProgress(V3Model):
    """How many subscriptions there are, and what became of them so far."""

    total: int
    pending: int
    previewed: int
    migrated: int
    failed: int


class PlanMigrationAnswer(V3Model):
    """A migration and how far it is."""

    id: Ulid
    source: PlanVersion
    target: PlanVersion
    timing: NamedTiming
    starting_phase: Opt[ResourceKey] = Field(None, description="Absent where each goes on in its own phase.")
    dry_run: bool
    status: Status
    progress: MigrationProgress
    created_at: Instant
    started_at: Opt[Instant] = None
    completed_at: Opt[Instant] = None
    canceled_at: Opt[Instant] = None

    @classmethod
    def of(cls, migration: PlanMigration) -> "PlanMigrationAnswer":
        """Show a migration."""
        counts = {outcome.value: count for outcome, count in migration.progress.items()}
        return cls(
            id=migration.id,
            source=PlanVersion.of(migration.source),
            target=PlanVersion.of(migration.target),
            timing=migration.timing,
            starting_phase=migration.starting_phase,
            dry_run=migration.dry_run,
            status=migration.status,
            progress=MigrationProgress(total=sum(counts.values()), **counts),
            created_at=migration.created_at,
            started_at=migration.started_at,
            completed_at=migration.completed_at,
            canceled_at=migration.canceled_at,
        )


class MigrationForecastLine(V3Model):
    """What one charge comes to."""

    charge_id: Ulid
    name: str
    feature_key: Opt[str] = None
    service_period: ClosedPeriod
    invoice_at: Instant
    amount: Numeric

    @classmethod
    def of(cls, line: ForecastLine) -> "MigrationForecastLine":
        """Show a line."""
        return cls(
            charge_id=line.charge_id,
            name=line.name,
            feature_key=line.feature_key,
            service_period=ClosedPeriod.of(Period(line.start, line.end)),
            invoice_at=line.invoice_at,
            amount=line.amount,
        )


class MigrationForecastSide(V3Model):
    """What is owed at the next invoice, charge by charge."""

    total: Numeric
    lines: list[MigrationForecastLine]

    @classmethod
    def of(cls, lines: tuple[ForecastLine, ...]) -> "MigrationForecastSide":
        """Add up lines."""
        return cls(total=total(line.amount for line in lines), lines=[MigrationForecastLine.of(line) for line in lines])


class MigrationForecast(V3Model):
    """What the next invoice would be without the migration and with it: usage so far, before credits and taxes.

    What credits paid already and get back is a negative amount.
    """

    currency: str
    next_invoice_at: Instant
    before: MigrationForecastSide
    after: MigrationForecastSide
    difference: Numeric = Field(description="How much more is owed after; negative for less.")

    @classmethod
    def of(cls, forecast: Forecast) -> "MigrationForecast":
        """Show a forecast."""
        return cls(
            currency=forecast.currency,
            next_invoice_at=forecast.until,
            before=MigrationForecastSide.of(forecast.before),
            after=MigrationForecastSide.of(forecast.after),
            difference=forecast.difference(),
        )


class MigrationFailure(V3Model):
    """Why a subscription was left as it is."""

    code: str = Field(description="Empty where the failure has no code of its own.")
    message: str


class PlanMigrationSubscription(V3Model):
    """A subscription of a migration and what became of it."""

    subscription_id: Ulid
    customer_id: Ulid
    outcome: Outcome
    next_subscription_id: Opt[Ulid] = None
    failure: Opt[MigrationFailure] = None
    forecast: Opt[MigrationForecast] = None
    dropped_addons: list[ResourceKey] = Field(
        description="Keys of the add-ons that the migration ends, or would end: the customer may buy them anew."
    )
    finished_at: Opt[Instant] = None

    @classmethod
    def of(cls, found: MigratedSubscription) -> "PlanMigrationSubscription":
        """Show a subscription."""
        failure, forecast = found.failure, found.forecast
        return cls(
            subscription_id=found.subscription_id,
            customer_id=found.customer_id,
            outcome=found.outcome,
            next_subscription_id=found.next_subscription_id,
            failure=None if failure is None else MigrationFailure(code=failure.code, message=failure.message),
            forecast=None if forecast is None else MigrationForecast.of(forecast),
            dropped_addons=list(found.dropped_addons),
            finished_at=found.finished_at,
        )


def _migrations(services: Services) -> PlanMigrations:
    if services.plan_migrations is None:
        raise FeatureDisabled("plan migrations need billing")
    return services.plan_migrations


@router.post(
    _PATH,
    operation_id="createPlanMigration",
    summary="Migrate all subscriptions of a plan version",
    status_code=202,
    responses=errors("v3", *_FAILURES),
)
async def create_plan_migration(
    plan_id: PlanId, body: PlanMigrationRequest, session: Write, namespace: Namespace, services: ServicesDep
) -> PlanMigrationAnswer:
    """Begin to migrate, and answer before the first subscription does; read the migration to see how far it is."""
    new = NewPlanMigration(plan_id, body.target_version, body.timing, body.dry_run, body.starting_phase)
    return PlanMigrationAnswer.of(await _migrations(services).create(session, namespace, new))


@router.get(
    _PATH,
    operation_id="listPlanMigrations",
    summary="List the migrations from a plan version",
    responses=errors("v3", *_FAILURES),
)
async def list_plan_migrations(
    plan_id: PlanId, session: Read, namespace: Namespace, services: ServicesDep, page: V3Paging
) -> V3Page[PlanMigrationAnswer]:
    """List migrations and dry runs, the latest first."""
    found = await _migrations(services).list_migrations(session, namespace, plan_id, page)
    return V3Page.of(found, [PlanMigrationAnswer.of(one) for one in found.items])


@router.get(_ONE, operation_id="getPlanMigration", summary="Get a plan migration", responses=errors("v3", *_FAILURES))
async def get_plan_migration(
    plan_id: PlanId, migration_id: MigrationId, session: Read, namespace: Namespace, services: ServicesDep
) -> PlanMigrationAnswer:
    """Get a migration and how far it is."""
    return PlanMigrationAnswer.of(await _migrations(services).get(session, namespace, plan_id, migration_id))


@router.get(
    _ONE + "/subscriptions",
    operation_id="listPlanMigrationSubscriptions",
    summary="List the subscriptions of a plan migration",
    responses=errors("v3", *_FAILURES),
)
async def list_plan_migration_subscriptions(
    plan_id: PlanId,
    migration_id: MigrationId,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    page: V3Paging,
    outcome: Annotated[Outcome | None, Query(description="Only those with this outcome.")] = None,
) -> V3Page[PlanMigrationSubscription]:
    """List what became of each subscription, with its forecast in a dry run."""
    found = await _migrations(services).subscriptions(session, namespace, plan_id, migration_id, page, outcome=outcome)
    return V3Page.of(found, [PlanMigrationSubscription.of(one) for one in found.items])


@router.post(
    _ONE + "/cancel",
    operation_id="cancelPlanMigration",
    summary="Cancel a plan migration",
    responses=errors("v3", *_FAILURES),
)
async def cancel_plan_migration(
    plan_id: PlanId, migration_id: MigrationId, session: Write, namespace: Namespace, services: ServicesDep
) -> PlanMigrationAnswer:
    """Stop before the next subscription. Those that were migrated stay migrated."""
    return PlanMigrationAnswer.of(await _migrations(services).cancel(session, namespace, plan_id, migration_id))
