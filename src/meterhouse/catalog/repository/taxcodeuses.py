"""Queries on what is sold with a tax code."""

from datetime import datetime

from sqlalchemy import ColumnElement, or_, select

from meterhouse.catalog.addons.models import AddonRateCardRow, AddonRow
from meterhouse.catalog.plans.models import PlanPhaseRow, PlanRateCardRow, PlanRow
from meterhouse.catalog.versions.models import RateCardRow, VersionRow
from meterhouse.kernel.db import ReadSession

KeyAndVersion = tuple[str, int]


async def plan_with(session: ReadSession, namespace: str, tax_code_id: str, at: datetime) -> KeyAndVersion | None:
    """Return a plan version that is not over at the instant and has a rate card with the tax code."""
    query = (
        select(PlanRow.key, PlanRow.version)
        .join(PlanPhaseRow, PlanPhaseRow.plan_id == PlanRow.id)
        .join(PlanRateCardRow, PlanRateCardRow.phase_id == PlanPhaseRow.id)
        .where(*_sold_with(PlanRow, PlanRateCardRow, namespace, tax_code_id, at))
        .limit(1)
    )
    found = (await session.execute(query)).one_or_none()
    return None if found is None else (found.key, found.version)


async def addon_with(session: ReadSession, namespace: str, tax_code_id: str, at: datetime) -> KeyAndVersion | None:
    """Return an add-on version that is not over at the instant and has a rate card with the tax code."""
    query = (
        select(AddonRow.key, AddonRow.version)
        .join(AddonRateCardRow, AddonRateCardRow.addon_id == AddonRow.id)
        .where(*_sold_with(AddonRow, AddonRateCardRow, namespace, tax_code_id, at))
        .limit(1)
    )
    found = (await session.execute(query)).one_or_none()
    return None if found is None else (found.key, found.version)


def _sold_with(
    version: type[VersionRow], card: type[RateCardRow], namespace: str, tax_code_id: str, at: datetime
) -> tuple[ColumnElement[bool], ...]:
    return (
        version.namespace == namespace,
        version.deleted_at.is_(None),
        or_(version.effective_to.is_(None), version.effective_to > at),
        card.card.contains({"tax_config": {"tax_code_id": tax_code_id}}),
    )
