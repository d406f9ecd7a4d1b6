"""Queries on plans, and the mapping of their rows to values."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, exists, or_, select

from meterhouse.catalog.plans.models import PlanPhaseRow, PlanRateCardRow, PlanRow
from meterhouse.catalog.plans.plan import Plan, PlanPhase
from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions import VersionStatus
from meterhouse.catalog.versions.repository import VersionStore, beyond_v1, card_columns, members
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.periods import Duration


class PlanStore(VersionStore[Plan, PlanRow]):
    """Keeps plan versions with their phases."""

    kind = "plan"
    noun = "Plan"
    row = PlanRow

    async def _values(self, session: ReadSession, rows: Sequence[PlanRow]) -> list[Plan]:
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

    def _write(self, row: PlanRow, version: Plan) -> None:
        row.billing_cadence = str(version.billing_cadence)
        row.pro_rating_enabled = version.pro_rating_enabled
        row.settlement_mode = version.settlement_mode

    async def _remove_cards(self, session: WriteSession, version: Plan) -> None:
        await session.execute(delete(PlanPhaseRow).where(PlanPhaseRow.plan_id == version.id))

    async def _insert_cards(self, session: WriteSession, version: Plan) -> None:
        stored = [(new_id(), position, phase) for position, phase in enumerate(version.phases)]
        session.add_all(
            PlanPhaseRow(
                id=phase_id,
                plan_id=version.id,
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
            PlanRateCardRow(phase_id=phase_id, **card_columns(position, card))
            for phase_id, _, phase in stored
            for position, card in enumerate(phase.rate_cards)
        )
        await session.flush()

    def _beyond_v1(self) -> ColumnElement[bool]:
        return exists().where(
            PlanPhaseRow.plan_id == PlanRow.id,
            PlanRateCardRow.phase_id == PlanPhaseRow.id,
            beyond_v1(PlanRateCardRow),
        )


STORE = PlanStore()


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
            or_(STORE.has_status(VersionStatus.ACTIVE, at), STORE.has_status(VersionStatus.SCHEDULED, at)),
            or_(PlanRateCardRow.feature_id == feature_id, PlanRateCardRow.feature_key == feature_key),
        )
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


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
        **members(row),
        billing_cadence=Duration.parse(row.billing_cadence),
        pro_rating_enabled=row.pro_rating_enabled,
        settlement_mode=SettlementMode(row.settlement_mode),
        phases=tuple(phases),
    )
