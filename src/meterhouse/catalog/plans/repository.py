"""Queries on plans, and the mapping of their rows to values."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, false, func, or_, select

from meterhouse.catalog.plans.models import PlanPhaseRow, PlanRateCardRow, PlanRow
from meterhouse.catalog.plans.plan import Plan, PlanPhase
from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions import VersionStatus
from meterhouse.kernel.conditions import Column, Condition, Sort, order_by
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.kernel.periods import Duration

COLUMNS: Mapping[str, Column] = {
    "id": PlanRow.id,
    "key": PlanRow.key,
    "name": PlanRow.name,
    "currency": PlanRow.currency,
    "version": PlanRow.version,
    "created_at": PlanRow.created_at,
    "updated_at": PlanRow.updated_at,
}


@dataclass(frozen=True, slots=True)
class PlanQuery:
    """Which plans a list shows.

    Attributes:
        ids, keys, key_versions, currencies: a plan that meets any of the given ones matches; none given: all match.
        conditions: on key, name and currency; all must hold.
        statuses: any of them; empty does not filter.
        only_v1: leave out what v1 cannot express (catalog section 8.4).
    """

    ids: Sequence[str] = ()
    keys: Sequence[str] = ()
    key_versions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    currencies: Sequence[str] = ()
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    statuses: Collection[VersionStatus] = ()
    include_deleted: bool = False
    only_v1: bool = False
    sorts: Sequence[Sort] = (Sort("id"),)
    page: PageRequest = field(default_factory=PageRequest)


def _has_status(status: VersionStatus, at: datetime) -> ColumnElement[bool]:
    """Return the condition that `plan.status` gives `status`."""
    start, end = PlanRow.effective_from, PlanRow.effective_to
    not_ended = or_(end.is_(None), end > at)
    return {
        VersionStatus.DRAFT: start.is_(None),
        VersionStatus.ACTIVE: and_(start <= at, not_ended),
        VersionStatus.SCHEDULED: and_(start > at, not_ended),
        VersionStatus.ARCHIVED: end <= at,
    }[status]


async def find(session: ReadSession, namespace: str, plan_id: str) -> Plan | None:
    """Return the version of that id, deleted or not."""
    return await _one(session, PlanRow.namespace == namespace, PlanRow.id == plan_id)


async def find_active(session: ReadSession, namespace: str, key: str, at: datetime) -> Plan | None:
    """Return the version of the key that is active at `at`."""
    live = and_(PlanRow.namespace == namespace, PlanRow.key == key, PlanRow.deleted_at.is_(None))
    return await _one(session, live, _has_status(VersionStatus.ACTIVE, at))


async def find_latest(session: ReadSession, namespace: str, key: str) -> Plan | None:
    """Return the highest version of the key that is not deleted."""
    return await _one(session, PlanRow.namespace == namespace, PlanRow.key == key, PlanRow.deleted_at.is_(None))


async def _one(session: ReadSession, *where: ColumnElement[bool]) -> Plan | None:
    query = select(PlanRow).where(*where).order_by(PlanRow.version.desc()).limit(1)
    rows = (await session.scalars(query.execution_options(populate_existing=True))).all()
    plans = await _loaded(session, rows)
    return plans[0] if plans else None


async def key_of(session: ReadSession, namespace: str, plan_id: str) -> str | None:
    """Return the key of the version of that id."""
    query = select(PlanRow.key).where(PlanRow.namespace == namespace, PlanRow.id == plan_id)
    return (await session.scalars(query)).one_or_none()


async def last_version(session: ReadSession, namespace: str, key: str) -> int:
    """Return the highest version number ever given to the key, deleted versions included; 0 when there is none."""
    query = select(func.max(PlanRow.version)).where(PlanRow.namespace == namespace, PlanRow.key == key)
    return await session.scalar(query) or 0


async def has_draft(session: ReadSession, namespace: str, key: str) -> bool:
    """Tell whether the key has a draft that is not deleted."""
    query = select(
        exists().where(
            PlanRow.namespace == namespace,
            PlanRow.key == key,
            PlanRow.effective_from.is_(None),
            PlanRow.deleted_at.is_(None),
        )
    )
    return bool(await session.scalar(query))


async def selling(
    session: ReadSession, namespace: str, *, feature_id: str, feature_key: str, at: datetime
) -> str | None:
    """Return the key of a published plan, active or scheduled at `at`, that has a card on the feature."""
    query = (
        select(PlanRow.key)
        .join(PlanPhaseRow, PlanPhaseRow.plan_id == PlanRow.id)
        .join(PlanRateCardRow, PlanRateCardRow.phase_id == PlanPhaseRow.id)
        .where(
            PlanRow.namespace == namespace,
            PlanRow.deleted_at.is_(None),
            or_(_has_status(VersionStatus.ACTIVE, at), _has_status(VersionStatus.SCHEDULED, at)),
            or_(PlanRateCardRow.feature_id == feature_id, PlanRateCardRow.feature_key == feature_key),
        )
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


def _listed(namespace: str, query: PlanQuery, at: datetime) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [PlanRow.namespace == namespace]
    named: list[ColumnElement[bool]] = []
    for column, values in ((PlanRow.id, query.ids), (PlanRow.key, query.keys), (PlanRow.currency, query.currencies)):
        if values:
            named.append(column.in_(values))
    for key, versions in query.key_versions.items():
        named.append(and_(PlanRow.key == key, PlanRow.version.in_(versions)))
    if named:
        where.append(or_(*named))
    where += [condition.clause(COLUMNS[name]) for name, condition in query.conditions.items()]
    if query.statuses:
        where.append(or_(false(), *(_has_status(status, at) for status in query.statuses)))
    if not query.include_deleted:
        where.append(PlanRow.deleted_at.is_(None))
    if query.only_v1:
        where.append(~_beyond_v1())
    return where


def _beyond_v1() -> ColumnElement[bool]:
    card = PlanRateCardRow.card
    return exists().where(
        PlanPhaseRow.plan_id == PlanRow.id,
        PlanRateCardRow.phase_id == PlanPhaseRow.id,
        or_(card["unit_conversion"].astext.is_not(None), card["currency"].astext.is_not(None)),
    )


async def listed(session: ReadSession, namespace: str, query: PlanQuery, at: datetime) -> Page[Plan]:
    """Return a page of plans. `at` is the instant that statuses speak of."""
    where = _listed(namespace, query, at)
    total = await session.scalar(select(func.count()).select_from(PlanRow).where(*where)) or 0
    statement = (
        select(PlanRow)
        .where(*where)
        .order_by(*order_by(query.sorts, COLUMNS, last=PlanRow.id))
        .offset(query.page.offset)
        .limit(query.page.size)
    )
    rows = (await session.scalars(statement)).all()
    return Page(await _loaded(session, rows), total, query.page)


async def _loaded(session: ReadSession, rows: Sequence[PlanRow]) -> list[Plan]:
    if not rows:
        return []
    phase_query = (
        select(PlanPhaseRow)
        .where(PlanPhaseRow.plan_id.in_([row.id for row in rows]))
        .order_by(PlanPhaseRow.plan_id, PlanPhaseRow.position)
    )
    phase_rows = (await session.scalars(phase_query)).all()
    card_query = (
        select(PlanRateCardRow)
        .where(PlanRateCardRow.phase_id.in_([row.id for row in phase_rows]))
        .order_by(PlanRateCardRow.phase_id, PlanRateCardRow.position)
    )
    cards: defaultdict[str, list[RateCard]] = defaultdict(list)
    for card_row in await session.scalars(card_query):
        cards[card_row.phase_id].append(RateCard.model_validate(card_row.card))
    phases: defaultdict[str, list[PlanPhase]] = defaultdict(list)
    for phase_row in phase_rows:
        phases[phase_row.plan_id].append(_phase(phase_row, cards[phase_row.id]))
    return [_plan(row, phases[row.id]) for row in rows]


def _phase(row: PlanPhaseRow, cards: Sequence[RateCard]) -> PlanPhase:
    return PlanPhase(
        key=row.key,
        name=row.name,
        description=row.description,
        metadata=row.metadata_,
        duration=Duration.parse(row.duration) if row.duration is not None else None,
        rate_cards=tuple(cards),
    )


def _plan(row: PlanRow, phases: Sequence[PlanPhase]) -> Plan:
    return Plan(
        id=row.id,
        namespace=row.namespace,
        key=row.key,
        version=row.version,
        name=row.name,
        description=row.description,
        metadata=row.metadata_,
        currency=row.currency,
        billing_cadence=Duration.parse(row.billing_cadence),
        pro_rating_enabled=row.pro_rating_enabled,
        settlement_mode=SettlementMode(row.settlement_mode),
        effective_from=row.effective_from,
        effective_to=row.effective_to,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        phases=tuple(phases),
    )


async def insert(session: WriteSession, plan: Plan) -> None:
    """Store a new version with its phases and cards."""
    row = PlanRow(id=plan.id, namespace=plan.namespace, key=plan.key, version=plan.version, currency=plan.currency)
    row.created_at = plan.created_at
    _write(row, plan)
    session.add(row)
    await session.flush()
    await _insert_phases(session, plan)


async def save(session: WriteSession, plan: Plan) -> None:
    """Write the members of a stored version; phases and cards stay as they are."""
    row = await session.get_one(PlanRow, plan.id)
    _write(row, plan)
    await session.flush()


async def save_content(session: WriteSession, plan: Plan) -> None:
    """Write a stored version and replace its phases and cards."""
    await save(session, plan)
    await session.execute(delete(PlanPhaseRow).where(PlanPhaseRow.plan_id == plan.id))
    await _insert_phases(session, plan)


def _write(row: PlanRow, plan: Plan) -> None:
    row.name = plan.name
    row.description = plan.description
    row.metadata_ = dict(plan.metadata)
    row.billing_cadence = str(plan.billing_cadence)
    row.pro_rating_enabled = plan.pro_rating_enabled
    row.settlement_mode = plan.settlement_mode
    row.effective_from = plan.effective_from
    row.effective_to = plan.effective_to
    row.updated_at = plan.updated_at
    row.deleted_at = plan.deleted_at


async def _insert_phases(session: WriteSession, plan: Plan) -> None:
    stored = [(new_id(), position, phase) for position, phase in enumerate(plan.phases)]
    session.add_all(
        PlanPhaseRow(
            id=phase_id,
            plan_id=plan.id,
            position=position,
            key=phase.key,
            name=phase.name,
            description=phase.description,
            metadata_=dict(phase.metadata),
            duration=str(phase.duration) if phase.duration is not None else None,
        )
        for phase_id, position, phase in stored
    )
    await session.flush()
    session.add_all(
        PlanRateCardRow(
            id=new_id(),
            phase_id=phase_id,
            position=position,
            key=card.key,
            feature_key=card.feature_key,
            feature_id=card.feature_id,
            card=card.model_dump(mode="json"),
        )
        for phase_id, _, phase in stored
        for position, card in enumerate(phase.rate_cards)
    )
    await session.flush()
