"""Queries on add-ons, and the mapping of their rows to values."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, exists, or_, select

from meterhouse.catalog.addons.addon import Addon, AddonStatus, InstanceType
from meterhouse.catalog.addons.models import AddonRateCardRow, AddonRow
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions import VersionStatus
from meterhouse.catalog.versions.repository import VersionStore, beyond_v1, card_columns, members
from meterhouse.kernel.db import ReadSession, WriteSession


class AddonStore(VersionStore[Addon, AddonRow]):
    """Keeps add-on versions."""

    kind = "addon"
    noun = "Add-on"
    row = AddonRow

    async def _values(self, session: ReadSession, rows: Sequence[AddonRow]) -> list[Addon]:
        query = (
            select(AddonRateCardRow)
            .where(AddonRateCardRow.addon_id.in_([row.id for row in rows]))
            .order_by(AddonRateCardRow.addon_id, AddonRateCardRow.position)
        )
        cards: defaultdict[str, list[RateCard]] = defaultdict(list)
        for card_row in await session.scalars(query):
            cards[card_row.addon_id].append(RateCard.model_validate(card_row.card))
        return [_addon(row, cards) for row in rows]

    def _write(self, row: AddonRow, version: Addon) -> None:
        row.instance_type = version.instance_type

    async def _remove_cards(self, session: WriteSession, version: Addon) -> None:
        await session.execute(delete(AddonRateCardRow).where(AddonRateCardRow.addon_id == version.id))

    async def _insert_cards(self, session: WriteSession, version: Addon) -> None:
        session.add_all(
            AddonRateCardRow(addon_id=version.id, **card_columns(position, card))
            for position, card in enumerate(version.rate_cards)
        )
        await session.flush()

    def _beyond_v1(self) -> ColumnElement[bool]:
        return exists().where(AddonRateCardRow.addon_id == AddonRow.id, beyond_v1(AddonRateCardRow))

    def has_status(self, status: str, at: datetime) -> ColumnElement[bool]:
        """Return the condition that `addon.status` gives `status`: what was published and not archived is active."""
        if status != AddonStatus.ACTIVE:
            return super().has_status(status, at)
        return or_(super().has_status(VersionStatus.ACTIVE, at), super().has_status(VersionStatus.SCHEDULED, at))


STORE = AddonStore()


def _addon(row: AddonRow, cards: Mapping[str, Sequence[RateCard]]) -> Addon:
    return Addon(**members(row), instance_type=InstanceType(row.instance_type), rate_cards=tuple(cards.get(row.id, ())))
