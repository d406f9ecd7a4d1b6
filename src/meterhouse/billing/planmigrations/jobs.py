"""The job that runs plan migrations."""

from meterhouse.billing.planmigrations.service import RUN, PlanMigrations
from meterhouse.kernel.jobs import JobHandler


def handlers(migrations: PlanMigrations) -> list[JobHandler]:
    """Return the handler of this package: `billing.run_plan_migration`, payload `migration_id`."""
    return [JobHandler(RUN, migrations.run)]
