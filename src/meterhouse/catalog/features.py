"""Features: what a plan gives access to or charges for, measured by a meter or not at all (catalog section 2)."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog.models import FeatureRow
from meterhouse.catalog.repository import features as repository
from meterhouse.catalog.unitcost import UNIT_COST, LLMUnitCost, ManualUnitCost, UnitCost
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Condition, Sort
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, InvalidInput, NotFound, invalid
from meterhouse.kernel.ids import is_ulid, new_id
from meterhouse.metering import meters
from meterhouse.metering.filters import Filter, from_json
from meterhouse.metering.meters import Aggregation, Meter

# Aggregates of one period that cannot be continued over several calls or added up have no place in access and billing.
_AGGREGATIONS = frozenset({Aggregation.SUM, Aggregation.COUNT, Aggregation.UNIQUE_COUNT, Aggregation.LATEST})


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature.

    Attributes:
        key: unique among the live features of the namespace; archiving frees it.
        meter_id, meter_key: both set, or neither: without a meter the feature only grants access.
        meter_filters: conditions on the meter's dimensions, all of which hold for the usage of the feature.
        archived_at: when it stopped taking new uses; None while it is live.
    """

    id: str
    namespace: str
    key: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    meter_id: str | None
    meter_key: str | None
    meter_filters: Mapping[str, Filter]
    unit_cost: UnitCost | None
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def dimensions(self) -> set[str]:
        """Return the dimensions of the meter that usage and cost of the feature are read from."""
        return {*self.meter_filters, *(self.unit_cost.dimensions() if self.unit_cost is not None else ())}


class FeatureInUse(InvalidInput):
    """The feature cannot be archived because something that is sold uses it."""


# Tells why a feature is still needed (by id or by key), or None. Floors above the catalog bring their own.
FeatureUse = Callable[[ReadSession, str, Feature], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class NewFeature:
    """What a feature is created from. The meter is named by id or by key."""

    key: str
    name: str
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    meter_id: str | None = None
    meter_key: str | None = None
    meter_filters: Mapping[str, Filter] = field(default_factory=dict)
    unit_cost: UnitCost | None = None


@dataclass(frozen=True, slots=True)
class FeatureQuery:
    """Which stretch of which features. Conditions are on key, name, meter_id and meter_key; all must hold."""

    conditions: Mapping[str, Condition] = field(default_factory=dict)
    include_archived: bool = False
    sorts: Sequence[Sort] = (Sort("created_at"),)
    offset: int = 0
    limit: int = 100


def _filters(stored: Mapping[str, object]) -> dict[str, Filter]:
    read = {name: from_json(document) for name, document in stored.items()}
    return {name: condition for name, condition in read.items() if condition is not None}


def _feature(row: FeatureRow) -> Feature:
    return Feature(
        id=row.id,
        namespace=row.namespace,
        key=row.key,
        name=row.name,
        description=row.description,
        metadata=row.metadata_,
        meter_id=row.meter_id,
        meter_key=row.meter_key,
        meter_filters=_filters(row.meter_filters),
        unit_cost=UNIT_COST.validate_python(row.unit_cost) if row.unit_cost is not None else None,
        archived_at=row.archived_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _not_found(what: str) -> NotFound:
    return NotFound(f"feature not found: {what}")


async def create(session: WriteSession, namespace: str, new: NewFeature) -> Feature:
    """Store a feature.

    Raises:
        InvalidInput: the key looks like an id, the meter's aggregation cannot be used, a filter or the unit cost breaks
            a rule of section 2.1.
        NotFound: the meter does not exist.
        Conflict: a live feature has the key.
    """
    if is_ulid(new.key.upper()):
        raise invalid(f"feature key must not be a ULID: {new.key}", field="$.key")
    meter = await _meter(session, namespace, new)
    _check_filters(meter, new.meter_filters)
    _check_unit_cost(meter, new.unit_cost)
    row = FeatureRow(
        id=new_id(),
        namespace=namespace,
        key=new.key,
        name=new.name,
        description=new.description,
        metadata_=dict(new.metadata),
        meter_id=meter and meter.id,
        meter_key=meter and meter.key,
        meter_filters={name: condition.to_json() for name, condition in new.meter_filters.items()},
        unit_cost=_stored(new.unit_cost),
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        if violated(error) != "uq_features_live_key":
            raise
        raise Conflict(f"feature with key {new.key} already exists") from None
    return _feature(row)


def _stored(unit_cost: UnitCost | None) -> dict[str, object] | None:
    return None if unit_cost is None else unit_cost.model_dump(mode="json")


async def _meter(session: WriteSession, namespace: str, new: NewFeature) -> Meter | None:
    meter_id = new.meter_id
    if meter_id is None:
        if new.meter_key is None:
            return None
        named = await meters.find_by_key(session, namespace, new.meter_key)
        if named is None:
            raise NotFound(f"meter not found: {new.meter_key}")
        meter_id = named.id
    # Held, so that it neither goes nor loses a dimension before the feature is there to be asked.
    found = await meters.held(session, namespace, meter_id)
    if found.deleted_at is not None:
        raise NotFound(f"meter not found: {new.meter_id or new.meter_key}")
    if found.aggregation not in _AGGREGATIONS:
        usable = ", ".join(one for one in Aggregation if one in _AGGREGATIONS)
        message = f"meter {found.key} aggregates by {found.aggregation}, which features cannot use"
        raise invalid(f"{message}; take a meter that aggregates by one of {usable}", field="$.meter")
    return found


def _check_filters(meter: Meter | None, filters: Mapping[str, Filter]) -> None:
    if meter is None:
        if filters:
            raise invalid("meter filters need a meter", field="$.meter")
        return
    for name, condition in filters.items():
        field = f"$.meter.filters.{name}"
        if name not in meter.group_by:
            raise invalid(f"meter {meter.key} has no dimension {name}", field=field)
        if "" in _operands(condition):
            raise invalid(f"filter on {name} has an empty value", field=field)


def _operands(condition: Filter) -> list[str]:
    return [*condition.values, *(operand for part in condition.filters for operand in _operands(part))]


def _check_unit_cost(meter: Meter | None, unit_cost: UnitCost | None) -> None:
    if isinstance(unit_cost, ManualUnitCost) and unit_cost.amount < 0:
        raise invalid("unit cost must not be negative", field="$.unit_cost.amount")
    if not isinstance(unit_cost, LLMUnitCost):
        return
    if meter is None:
        raise invalid("a unit cost by language model needs a meter", field="$.meter")
    for name, (fixed, dimension) in unit_cost.sources().items():
        if bool(fixed) == bool(dimension):
            message = f"unit cost needs exactly one of {name} and {name}_property"
            raise invalid(message, field=f"$.unit_cost.{name}")
        if dimension and dimension not in meter.group_by:
            raise invalid(f"meter {meter.key} has no dimension {dimension}", field=f"$.unit_cost.{name}_property")


async def get(session: ReadSession, namespace: str, id_or_key: str) -> Feature:
    """Return a live feature.

    Raises:
        NotFound: there is none, or it is archived.
    """
    return _feature(await _live(session, namespace, id_or_key))


async def _live(session: ReadSession, namespace: str, id_or_key: str) -> FeatureRow:
    row = await repository.find_live(session, namespace, id_or_key)
    if row is None:
        raise _not_found(id_or_key)
    return row


async def resolve(
    session: ReadSession, namespace: str, *, feature_id: str | None = None, key: str | None = None
) -> Feature:
    """Return the live feature that an id, a key, or both name (section 2.5).

    Raises:
        NotFound: one of the two names no live feature.
        InvalidInput: they name different features, or neither is given.
    """
    if feature_id is None and key is None:
        raise InvalidInput("a feature is named by id or by key")
    found = [(await _live(session, namespace, name)) for name in dict.fromkeys((feature_id, key)) if name is not None]
    if found[0].id != found[-1].id:
        raise InvalidInput(f"feature {feature_id} has not the key {key}")
    return _feature(found[0])


async def for_billing(session: ReadSession, namespace: str, keys: Collection[str]) -> dict[str, Feature]:
    """Return by key the live feature, else the one archived last: usage outlives its feature."""
    rows = await repository.latest_of_keys(session, namespace, keys) if keys else ()
    return {row.key: _feature(row) for row in rows}


async def named(
    session: ReadSession, namespace: str, *, ids: Collection[str] = (), keys: Collection[str] = ()
) -> list[Feature]:
    """Return the features of those ids, archived or not, and the live ones of those keys."""
    rows = await repository.by_ids_or_live_keys(session, namespace, ids=ids, keys=keys)
    return [_feature(row) for row in rows]


async def held(session: WriteSession, namespace: str, ids: Collection[str]) -> list[Feature]:
    """Return the features of those ids, archived or not, and keep them from being archived meanwhile."""
    return [_feature(row) for row in await repository.hold(session, namespace, ids)]


async def keep_meter(session: ReadSession, meter: Meter, removed: frozenset[str] | None) -> None:
    """Guard a meter (`metering.meters.Guard`): live features need it, and the dimensions that they are read from.

    Raises:
        Conflict: a live feature needs what goes away; `removed` None means the whole meter.
    """
    for row in await repository.live_of_meter(session, meter.namespace, meter.id):
        if removed is None or removed & _feature(row).dimensions():
            raise Conflict(f"meter {meter.key} is used by feature {row.key}")


async def list_features(session: ReadSession, namespace: str, query: FeatureQuery) -> tuple[list[Feature], int]:
    """Return a stretch of the features and how many match in all."""
    rows, total = await repository.listed(
        session,
        namespace,
        conditions=query.conditions,
        include_archived=query.include_archived,
        sorts=query.sorts,
        offset=query.offset,
        limit=query.limit,
    )
    return [_feature(row) for row in rows], total


async def set_unit_cost(session: WriteSession, namespace: str, feature_id: str, unit_cost: UnitCost | None) -> Feature:
    """Replace the unit cost, the only thing about a feature that can change; None clears it (section 2.3).

    Raises:
        NotFound: there is no such live feature.
        InvalidInput: the unit cost breaks a rule.
    """
    row = await _live(session, namespace, feature_id)
    meter = await meters.held(session, namespace, row.meter_id) if row.meter_id is not None else None
    _check_unit_cost(meter, unit_cost)
    row.unit_cost = _stored(unit_cost)
    await session.flush()
    return _feature(row)


async def archive(session: WriteSession, namespace: str, id_or_key: str, *, uses: Sequence[FeatureUse]) -> None:
    """Archive a live feature, which frees its key.

    Raises:
        NotFound: there is no such live feature.
        FeatureInUse: one of `uses` still needs it.
    """
    # The row stays locked, and publishing a plan locks it too, so a use cannot appear after it was looked for.
    row = await repository.find_live(session, namespace, id_or_key, for_update=True)
    if row is None:
        raise _not_found(id_or_key)
    feature = _feature(row)
    for use in uses:
        reason = await use(session, namespace, feature)
        if reason is not None:
            raise FeatureInUse(f"feature {feature.key} cannot be archived: {reason}")
    row.archived_at = clock.now()
    await session.flush()
