"""Making, reading, running and canceling plan migrations."""

from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy.exc import IntegrityError

from meterhouse.billing.charges.service import Charges
from meterhouse.billing.planmigrations import repository
from meterhouse.billing.planmigrations.failures import failure_of, may_pass
from meterhouse.billing.planmigrations.forecast import forecast
from meterhouse.billing.planmigrations.models import ONE_AT_A_TIME, MigratedSubscriptionRow, PlanMigrationRow
from meterhouse.billing.planmigrations.values import (
    Failure,
    Forecast,
    MigratedSubscription,
    NewPlanMigration,
    Outcome,
    PlanMigration,
    Status,
)
from meterhouse.billing.sync.service import SubscriptionSync
from meterhouse.catalog import plans
from meterhouse.catalog.plans import Plan
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database, ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, DomainError, NotFound, invalid
from meterhouse.kernel.jobs import enqueue
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.service import Changed
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import PlanReference

log = structlog.get_logger(__name__)

RUN = "billing.run_plan_migration"

_UNFINISHED = (Status.PENDING, Status.RUNNING)


class PlanMigrations:
    """Moves the subscriptions of a plan version to another version of the plan.

    A migration is a record with one row a subscription. A job works through the rows, each in a transaction of its own
    that migrates the subscription and finishes the row, so a job that died goes on where it was.
    """

    def __init__(self, db: Database, charges: Charges, sync: SubscriptionSync) -> None:
        self._db = db
        self._charges = charges
        self._sync = sync

    async def create(self, session: WriteSession, namespace: str, new: NewPlanMigration) -> PlanMigration:
        """Enlist all subscriptions that the version has now, scheduled ones included, and let the job begin.

        Raises:
            NotFound: there is no such plan version.
            InvalidInput: the target does not exist, is a draft, is not a later version, or lacks the starting phase.
            Conflict: a migration of the version is under way.
        """
        source = await plans.get(session, namespace, new.plan_id)
        target = await _target(session, source, new.target_version)
        if new.starting_phase is not None and new.starting_phase not in {phase.key for phase in target.phases}:
            message = f"version {target.version} of plan {target.key} has no phase {new.starting_phase}"
            raise invalid(message, field="$.starting_phase")
        row = PlanMigrationRow(
            namespace=namespace,
            plan_key=source.key,
            plan_id=source.id,
            plan_version=source.version,
            target_id=target.id,
            target_version=target.version,
            timing=new.timing.value,
            starting_phase=new.starting_phase,
            dry_run=new.dry_run,
            status=Status.PENDING.value,
        )
        session.add(row)
        try:
            await session.flush()
        except IntegrityError as error:
            if violated(error) != ONE_AT_A_TIME:
                raise
            raise Conflict(
                f"version {source.version} of plan {source.key} is being migrated already; wait for that to end, or "
                "cancel it"
            ) from error
        await repository.enlist(session, row, clock.now())
        await enqueue(session, RUN, {"migration_id": row.id})
        return (await _migrations(session, [row]))[0]

    async def get(self, session: ReadSession, namespace: str, plan_id: str, migration_id: str) -> PlanMigration:
        """Return a migration from this plan version.

        Raises:
            NotFound: there is none.
        """
        return (await _migrations(session, [await _found(session, namespace, plan_id, migration_id)]))[0]

    async def list_migrations(
        self, session: ReadSession, namespace: str, plan_id: str, request: PageRequest
    ) -> Page[PlanMigration]:
        """Return a page of the migrations from this plan version, the latest first.

        Raises:
            NotFound: there is no such plan version.
        """
        await plans.get(session, namespace, plan_id)
        rows, total = await repository.page(session, namespace, plan_id, request)
        return Page(await _migrations(session, rows), total, request)

    async def subscriptions(
        self,
        session: ReadSession,
        namespace: str,
        plan_id: str,
        migration_id: str,
        request: PageRequest,
        *,
        outcome: Outcome | None = None,
    ) -> Page[MigratedSubscription]:
        """Return a page of what became of the subscriptions, in order of their ids.

        Raises:
            NotFound: there is no such migration.
        """
        row = await _found(session, namespace, plan_id, migration_id)
        rows, total = await repository.subscriptions(session, row.id, outcome, request)
        return Page([_subscription(one) for one in rows], total, request)

    async def cancel(self, session: WriteSession, namespace: str, plan_id: str, migration_id: str) -> PlanMigration:
        """Stop a migration: once this is committed, no further subscription changes. What was migrated stays so.

        Raises:
            NotFound: there is no such migration.
            Conflict: it has ended.
        """
        found = await _found(session, namespace, plan_id, migration_id)
        row = await repository.locked(session, found.id, shared=False)
        if row.status not in _UNFINISHED:
            raise Conflict(f"the migration is {row.status}; only one that is pending or running can be canceled")
        row.status, row.canceled_at = Status.CANCELED.value, clock.now()
        await session.flush()
        return (await _migrations(session, [row]))[0]

    async def run(self, payload: Mapping[str, str]) -> None:
        """Do what is left of a migration; the handler of the job `billing.run_plan_migration`."""
        migration_id = payload["migration_id"]
        await self._begin(migration_id)
        while await self._step(migration_id):
            pass
        await self._complete(migration_id)

    async def _step(self, migration_id: str) -> bool:
        """Do one subscription; tell whether there was one."""
        async with self._db.write() as session:
            migration = await repository.locked(session, migration_id, shared=True)
            row = await repository.next_pending(session, migration_id) if migration.status in _UNFINISHED else None
            if row is None:
                return False
            await self._finish(session, migration, row)
            subscription_id, next_id = row.subscription_id, row.next_subscription_id
        if next_id is not None:
            # Where this process dies first, the due work of the sync finds both.
            await self._sync.sync_quietly(self._db, migration.namespace, subscription_id)
            await self._sync.sync_quietly(self._db, migration.namespace, next_id)
        return True

    async def _finish(self, session: WriteSession, migration: PlanMigrationRow, row: MigratedSubscriptionRow) -> None:
        """Migrate or preview a subscription; a failure leaves nothing of the attempt behind but its reason.

        One that may pass is raised: the job tries again, and the subscription is still pending.
        """
        subscription_id = row.subscription_id
        try:
            async with session.begin_nested():
                if migration.dry_run:
                    shown, changed = await self._preview(session, migration, subscription_id)
                    result: dict[str, object] = {
                        "outcome": Outcome.PREVIEWED,
                        "forecast": shown.model_dump(mode="json"),
                    }
                else:
                    changed = await self._migrate(session, migration, subscription_id)
                    result = {"outcome": Outcome.MIGRATED, "next_subscription_id": changed.next.id}
                result["dropped_addons"] = list(changed.dropped_addons)
        except Exception as error:
            if may_pass(error):
                raise
            if not isinstance(error, DomainError):
                log.error(
                    "subscription not migrated", migration=migration.id, subscription=subscription_id, exc_info=error
                )
            result = {"outcome": Outcome.FAILED, "failure": failure_of(error).model_dump()}
        for name, value in result.items():
            setattr(row, name, value)
        row.finished_at = clock.now()
        await session.flush()

    async def _begin(self, migration_id: str) -> None:
        async with self._db.write() as session:
            migration = await repository.locked(session, migration_id, shared=False)
            if migration.status == Status.PENDING:
                migration.status, migration.started_at = Status.RUNNING.value, clock.now()

    async def _complete(self, migration_id: str) -> None:
        async with self._db.write() as session:
            # Whoever still works on a subscription holds the migration too, so nothing is pending unseen.
            migration = await repository.locked(session, migration_id, shared=False)
            left = (await repository.counts(session, [migration_id]))[migration_id][Outcome.PENDING]
            if migration.status == Status.RUNNING and not left:
                migration.status, migration.completed_at = Status.COMPLETED.value, clock.now()

    async def _migrate(self, session: WriteSession, migration: PlanMigrationRow, subscription_id: str) -> Changed:
        wanted = subscriptions.Migration(
            migration.target_version,
            NamedTiming(migration.timing),
            starting_phase=migration.starting_phase,
            keeps_phase=True,
        )
        return await subscriptions.migrate(
            session, migration.namespace, subscription_id, wanted, credits_enabled=self._charges.tools.credits_enabled
        )

    async def _preview(
        self, session: WriteSession, migration: PlanMigrationRow, subscription_id: str
    ) -> tuple[Forecast, Changed]:
        async with session.begin_nested() as attempt:
            found = await forecast(
                session,
                self._charges,
                self._sync,
                migration.namespace,
                subscription_id,
                lambda: self._migrate(session, migration, subscription_id),
            )
            await attempt.rollback()
        return found


async def _target(session: ReadSession, source: Plan, version: int | None) -> Plan:
    current = PlanReference(source.id, source.key, source.version)
    try:
        return await subscriptions.migration_target(session, source.namespace, current, version)
    except NotFound as error:
        # The path names another plan version, and that exists.
        raise invalid(error.message, field="$.target_version") from error


async def _found(session: ReadSession, namespace: str, plan_id: str, migration_id: str) -> PlanMigrationRow:
    row = await repository.by_id(session, namespace, migration_id)
    if row is None or row.plan_id != plan_id:
        raise NotFound(f"plan migration not found: {migration_id}")
    return row


async def _migrations(session: ReadSession, rows: Sequence[PlanMigrationRow]) -> list[PlanMigration]:
    counts = await repository.counts(session, [row.id for row in rows])
    return [
        PlanMigration(
            id=row.id,
            namespace=row.namespace,
            source=PlanReference(row.plan_id, row.plan_key, row.plan_version),
            target=PlanReference(row.target_id, row.plan_key, row.target_version),
            timing=NamedTiming(row.timing),
            starting_phase=row.starting_phase,
            dry_run=row.dry_run,
            status=Status(row.status),
            progress=counts[row.id],
            created_at=row.created_at,
            started_at=row.started_at,
            completed_at=row.completed_at,
            canceled_at=row.canceled_at,
        )
        for row in rows
    ]


def _subscription(row: MigratedSubscriptionRow) -> MigratedSubscription:
    return MigratedSubscription(
        subscription_id=row.subscription_id,
        customer_id=row.customer_id,
        outcome=Outcome(row.outcome),
        next_subscription_id=row.next_subscription_id,
        failure=None if row.failure is None else Failure.model_validate(row.failure),
        forecast=None if row.forecast is None else Forecast.model_validate(row.forecast),
        dropped_addons=tuple(row.dropped_addons),
        finished_at=row.finished_at,
    )
