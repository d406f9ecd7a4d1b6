"""Queries on subscriptions, and the assembly of their views."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, any_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import String

from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.customers.models import CustomerRow
from meterhouse.kernel.conditions import Condition, Sort, order_by
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import PageRequest
from meterhouse.kernel.periods import Duration
from meterhouse.subscriptions.models import SubscriptionItemRow, SubscriptionPhaseRow, SubscriptionRow
from meterhouse.subscriptions.spec import ItemSpec, PhaseSpec
from meterhouse.subscriptions.status import Status
from meterhouse.subscriptions.timeline import item_interval, phase_ends
from meterhouse.subscriptions.views import CostBasisMode, ItemVersion, PhaseView, PlanReference, SubscriptionView

SORT_COLUMNS = {
    "id": SubscriptionRow.id,
    "active_from": SubscriptionRow.active_from,
    "active_to": SubscriptionRow.active_to,
}


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """Which live subscriptions a list shows; conditions are combined with AND, statuses with OR.

    Attributes:
        at: the instant that statuses are asked for.
    """

    at: datetime
    id: Condition | None = None
    customer_id: Condition | None = None
    plan_id: Condition | None = None
    plan_key: Condition | None = None
    statuses: Collection[Status] = ()


def _runs(at: datetime) -> ColumnElement[bool]:
    open_or_later = or_(SubscriptionRow.active_to.is_(None), SubscriptionRow.active_to > at)
    return (SubscriptionRow.active_from <= at) & open_or_later & SubscriptionRow.deleted_at.is_(None)


def _has_status(status: Status, at: datetime) -> ColumnElement[bool]:
    match status:
        case Status.SCHEDULED:
            return SubscriptionRow.active_from > at
        case Status.ACTIVE:
            return _runs(at) & SubscriptionRow.active_to.is_(None)
        case Status.CANCELED:
            return _runs(at) & SubscriptionRow.active_to.is_not(None)
        case Status.INACTIVE:
            return (SubscriptionRow.active_from <= at) & (SubscriptionRow.active_to <= at)


def customers_on_plan(namespace: str, plan_key: Condition, at: datetime) -> Select[Any]:
    """Return the query of customer ids that have a subscription from a plan of that key running at `at`."""
    on_plans = select(SubscriptionRow.customer_id).where(
        SubscriptionRow.namespace == namespace, _runs(at), SubscriptionRow.plan_key.is_not(None)
    )
    return select(CustomerRow.id).where(
        CustomerRow.namespace == namespace,
        plan_key.clause_of_many(CustomerRow.id, on_plans, SubscriptionRow.plan_key),
    )


async def by_id(session: ReadSession, namespace: str, subscription_id: str) -> SubscriptionRow | None:
    """Return the row as the database has it now, deleted ones too."""
    query = select(SubscriptionRow).where(SubscriptionRow.namespace == namespace, SubscriptionRow.id == subscription_id)
    return await session.scalar(query.execution_options(populate_existing=True))


async def by_ids(session: ReadSession, namespace: str, ids: Collection[str]) -> Sequence[SubscriptionRow]:
    """Return the rows of these ids, deleted ones too, in order of id."""
    wanted = any_(bindparam(None, list(ids), type_=ARRAY(String)))
    query = select(SubscriptionRow).where(SubscriptionRow.namespace == namespace, SubscriptionRow.id == wanted)
    return (await session.scalars(query.order_by(SubscriptionRow.id))).all()


async def running_of(
    session: ReadSession, namespace: str, customer_ids: Collection[str], at: datetime
) -> Sequence[SubscriptionRow]:
    """Return the subscriptions of these customers that run at `at`, in order of their start."""
    customers = any_(bindparam(None, list(customer_ids), type_=ARRAY(String)))
    query = select(SubscriptionRow).where(
        SubscriptionRow.namespace == namespace, SubscriptionRow.customer_id == customers, _runs(at)
    )
    return (await session.scalars(query.order_by(SubscriptionRow.active_from, SubscriptionRow.id))).all()


async def not_ended(
    session: ReadSession, namespace: str, customer_id: str, after: datetime
) -> Sequence[SubscriptionRow]:
    """Return the live subscriptions of a customer that have no end or end after `after`, in order of their start."""
    query = select(SubscriptionRow).where(
        SubscriptionRow.namespace == namespace,
        SubscriptionRow.customer_id == customer_id,
        SubscriptionRow.deleted_at.is_(None),
        or_(SubscriptionRow.active_to.is_(None), SubscriptionRow.active_to > after),
    )
    return (await session.scalars(query.order_by(SubscriptionRow.active_from, SubscriptionRow.id))).all()


async def listed(
    session: ReadSession, namespace: str, chosen: SubscriptionFilter, sorts: Sequence[Sort], page: PageRequest | None
) -> tuple[Sequence[SubscriptionRow], int]:
    """Return one page of live subscriptions, or all of them without `page`, and how many match."""
    clauses = [SubscriptionRow.namespace == namespace, SubscriptionRow.deleted_at.is_(None)]
    conditions: list[tuple[Condition | None, Any]] = [
        (chosen.id, SubscriptionRow.id),
        (chosen.customer_id, SubscriptionRow.customer_id),
        (chosen.plan_id, SubscriptionRow.plan_id),
        (chosen.plan_key, SubscriptionRow.plan_key),
    ]
    clauses += [condition.clause(column) for condition, column in conditions if condition is not None]
    if chosen.statuses:
        clauses.append(or_(*(_has_status(status, chosen.at) for status in chosen.statuses)))
    if page is not None:
        return await page_of(session, SubscriptionRow, clauses, sorts, SORT_COLUMNS, page, last=SubscriptionRow.id)
    ordering = order_by(sorts, SORT_COLUMNS, last=SubscriptionRow.id)
    rows = (await session.scalars(select(SubscriptionRow).where(*clauses).order_by(*ordering))).all()
    return rows, len(rows)


async def active_between(session: ReadSession, start: datetime, end: datetime) -> list[tuple[str, str]]:
    """Return namespace and id of the live subscriptions of all tenants that run at some instant of [start, end]."""
    query = select(SubscriptionRow.namespace, SubscriptionRow.id).where(
        SubscriptionRow.deleted_at.is_(None),
        SubscriptionRow.active_from <= end,
        or_(SubscriptionRow.active_to.is_(None), SubscriptionRow.active_to >= start),
    )
    rows = await session.execute(query.order_by(SubscriptionRow.namespace, SubscriptionRow.id))
    return [(namespace, subscription_id) for namespace, subscription_id in rows]


async def count_using_feature(session: ReadSession, namespace: str, feature_key: str, at: datetime) -> int:
    """Return how many live subscriptions that have not ended at `at` have an item of the feature."""
    query = (
        select(func.count(SubscriptionRow.id.distinct()))
        .join(SubscriptionItemRow, SubscriptionItemRow.subscription_id == SubscriptionRow.id)
        .where(
            SubscriptionItemRow.namespace == namespace,
            SubscriptionItemRow.feature_key == feature_key,
            SubscriptionItemRow.deleted_at.is_(None),
            SubscriptionRow.deleted_at.is_(None),
            or_(SubscriptionRow.active_to.is_(None), SubscriptionRow.active_to > at),
        )
    )
    return await session.scalar(query) or 0


async def delete_schedule(session: WriteSession, subscription_id: str, at: datetime) -> None:
    """Delete the phases and items of a subscription."""
    for table in (SubscriptionItemRow, SubscriptionPhaseRow):
        await _delete(session, table, at, table.subscription_id == subscription_id)


async def delete_rows(
    session: WriteSession, phase_ids: Collection[str], item_ids: Collection[str], at: datetime
) -> None:
    """Delete phases with all their items, and items alone."""
    phases = any_(bindparam(None, list(phase_ids), type_=ARRAY(String)))
    items = any_(bindparam(None, list(item_ids), type_=ARRAY(String)))
    item = or_(SubscriptionItemRow.phase_id == phases, SubscriptionItemRow.id == items)
    await _delete(session, SubscriptionItemRow, at, item)
    await _delete(session, SubscriptionPhaseRow, at, SubscriptionPhaseRow.id == phases)


async def _delete(session: WriteSession, table: Any, at: datetime, which: ColumnElement[bool]) -> None:
    await session.execute(update(table).where(which, table.deleted_at.is_(None)).values(deleted_at=at))


async def insert_phases(session: WriteSession, row: SubscriptionRow, phases: Iterable[PhaseSpec]) -> None:
    """Store phases with their items."""
    for phase in phases:
        stored = SubscriptionPhaseRow(
            namespace=row.namespace,
            subscription_id=row.id,
            key=phase.key,
            name=phase.name,
            description=phase.description,
            labels=dict(phase.metadata),
            active_from=phase.active_from,
            sort_hint=phase.sort_hint,
        )
        session.add(stored)
        await session.flush()
        for versions in phase.items.values():
            for version, item in enumerate(versions):
                session.add(_item_row(row, stored.id, version, item))
    await session.flush()


async def insert_item(session: WriteSession, row: SubscriptionRow, phase_id: str, version: int, item: ItemSpec) -> None:
    """Store one version of an item in a phase that is stored."""
    session.add(_item_row(row, phase_id, version, item))
    await session.flush()


def _item_row(row: SubscriptionRow, phase_id: str, version: int, item: ItemSpec) -> SubscriptionItemRow:
    return SubscriptionItemRow(
        namespace=row.namespace,
        subscription_id=row.id,
        phase_id=phase_id,
        key=item.key,
        version=version,
        feature_key=item.rate_card.feature_key,
        rate_card=item.rate_card.model_dump(mode="json"),
        active_from_override=item.active_from_override and str(item.active_from_override),
        active_to_override=item.active_to_override and str(item.active_to_override),
        annotations=dict(item.annotations),
    )


async def views(session: ReadSession, rows: Sequence[SubscriptionRow]) -> list[SubscriptionView]:
    """Return the whole schedules of subscriptions, in the given order.

    A deleted subscription shows the phases and items it had when it was deleted.
    """
    ids = any_(bindparam(None, [row.id for row in rows], type_=ARRAY(String)))
    owner = SubscriptionRow.__table__.c

    def of_schedule(table: Any) -> Select[Any]:
        return (
            select(table)
            .join(SubscriptionRow, owner.id == table.subscription_id)
            .where(table.subscription_id == ids, table.deleted_at.is_not_distinct_from(owner.deleted_at))
        )

    phase_query = of_schedule(SubscriptionPhaseRow).order_by(
        SubscriptionPhaseRow.active_from, SubscriptionPhaseRow.sort_hint, SubscriptionPhaseRow.key.collate("C")
    )
    item_query = of_schedule(SubscriptionItemRow).order_by(
        SubscriptionItemRow.key.collate("C"), SubscriptionItemRow.version
    )
    phases: dict[str, list[SubscriptionPhaseRow]] = {}
    for phase in await session.scalars(phase_query):
        phases.setdefault(phase.subscription_id, []).append(phase)
    items: dict[str, list[SubscriptionItemRow]] = {}
    for item in await session.scalars(item_query):
        items.setdefault(item.phase_id, []).append(item)
    return [_view(row, phases.get(row.id, []), items) for row in rows]


def _view(
    row: SubscriptionRow, phases: Sequence[SubscriptionPhaseRow], items: dict[str, list[SubscriptionItemRow]]
) -> SubscriptionView:
    ends = phase_ends([phase.active_from for phase in phases], row.active_to)
    plan = None
    if row.plan_id is not None and row.plan_key is not None and row.plan_version is not None:
        plan = PlanReference(row.plan_id, row.plan_key, row.plan_version)
    return SubscriptionView(
        id=row.id,
        namespace=row.namespace,
        customer_id=row.customer_id,
        plan=plan,
        name=row.name,
        description=row.description,
        metadata=dict(row.labels),
        currency=row.currency,
        settlement_mode=SettlementMode(row.settlement_mode),
        pro_rating_enabled=row.pro_rating_enabled,
        billing_cadence=Duration.parse(row.billing_cadence),
        billing_anchor=row.billing_anchor,
        active_from=row.active_from,
        active_to=row.active_to,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        phases=tuple(_phase(phase, end, items.get(phase.id, [])) for phase, end in zip(phases, ends, strict=True)),
        annotations=row.annotations,
        cost_basis_mode=CostBasisMode(row.cost_basis_mode),
    )


def _phase(row: SubscriptionPhaseRow, end: datetime | None, items: Sequence[SubscriptionItemRow]) -> PhaseView:
    return PhaseView(
        id=row.id,
        key=row.key,
        name=row.name,
        description=row.description,
        active_from=row.active_from,
        active_to=end,
        items=tuple(_item(item, row.active_from, end) for item in items),
        metadata=dict(row.labels),
        sort_hint=row.sort_hint,
    )


def _item(row: SubscriptionItemRow, start: datetime, end: datetime | None) -> ItemVersion:
    from_override, to_override = _override(row.active_from_override), _override(row.active_to_override)
    active_from, active_to = item_interval(start, end, from_override, to_override)
    return ItemVersion(
        id=row.id,
        key=row.key,
        version=row.version,
        rate_card=RateCard.model_validate(row.rate_card),
        active_from=active_from,
        active_to=active_to,
        active_from_override=from_override,
        active_to_override=to_override,
        annotations=row.annotations,
    )


def _override(text: str | None) -> Duration | None:
    return None if text is None else Duration.parse(text)
