"""What the namespace has from the first start on: the configured meters, tax codes, prices of language models."""

from meterhouse.catalog import taxcodes
from meterhouse.catalog.llmcost import refresh
from meterhouse.kernel import locks
from meterhouse.kernel.db import Database
from meterhouse.metering import meters
from meterhouse.metering.meters import Aggregation, NewMeter
from meterhouse.settings import Settings


async def provision(settings: Settings, db: Database) -> None:
    """Make what is missing. Of processes that start together one makes it, the others find it.

    Raises:
        InvalidInput: a configured meter or tax code breaks a rule.
    """
    namespace = settings.namespace.default
    async with db.write() as session:
        await locks.lock(session, "catalog", "meters", namespace)
        await meters.provision(session, namespace, _meters(settings))
    async with db.write() as session:
        await taxcodes.provision(session, namespace, _seeds(settings))
    async with db.write() as session:
        await refresh.provision(session)


def _meters(settings: Settings) -> list[NewMeter]:
    return [
        NewMeter(
            key=meter.slug,
            name=meter.name or meter.slug,
            description=meter.description,
            event_type=meter.event_type,
            aggregation=Aggregation(meter.aggregation),
            value_property=meter.value_property,
            group_by=meter.group_by,
        )
        for meter in settings.meters
    ]


def _seeds(settings: Settings) -> tuple[taxcodes.Seed, ...]:
    configured = tuple(taxcodes.Seed(**seed.model_dump()) for seed in settings.tax_codes)
    return configured or taxcodes.SEEDS
