"""Queries on versions of any kind, and the mapping of their rows to values.

`VersionStore` has what all kinds share; a kind derives from it and adds its own columns and how its cards are kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select

from meterhouse.catalog import taxcodes
from meterhouse.catalog.currencies.service import FIAT_LENGTH
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions.models import RateCardRow, VersionRow
from meterhouse.catalog.versions.version import Version, VersionStatus
from meterhouse.kernel.conditions import Column, Condition, Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import Page, PageRequest

R = TypeVar("R", bound=VersionRow)
V = TypeVar("V", bound=Version)


@dataclass(frozen=True, slots=True)
class VersionQuery:
    """Which versions a list shows.

    Attributes:
        ids, keys, key_versions, currencies: a version meets each of the given ones, or with `match_any` one of them.
        conditions: on id, key, name and currency; all must hold.
        statuses: any of them; empty does not filter.
        only_v1: leave out what v1 cannot express (catalog section 8.4).
    """

    ids: Sequence[str] = ()
    keys: Sequence[str] = ()
    key_versions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    currencies: Sequence[str] = ()
    match_any: bool = False
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    statuses: Collection[str] = ()
    include_deleted: bool = False
    only_v1: bool = False
    sorts: Sequence[Sort] = (Sort("id"),)
    page: PageRequest = field(default_factory=PageRequest)


def named(row: type[VersionRow], key_versions: Mapping[str, Sequence[int]]) -> ColumnElement[bool]:
    """Return the condition that a version is one of those, by key and number."""
    parts = [and_(row.key == key, row.version.in_(numbers)) for key, numbers in key_versions.items()]
    return or_(false(), *parts)


def beyond_v1(card: type[RateCardRow]) -> ColumnElement[bool]:
    """Return the condition that v1 cannot show a rate card."""
    return or_(card.card["unit_conversion"].astext.is_not(None), card.card["currency"].astext.is_not(None))


def card_columns(position: int, card: RateCard) -> dict[str, Any]:
    """Return what a new row of a rate card holds."""
    return {
        "id": new_id(),
        "position": position,
        "key": card.key,
        "feature_key": card.feature_key,
        "feature_id": card.feature_id,
        "card": card.model_dump(mode="json"),
    }


class VersionStore(ABC, Generic[V, R]):
    """Keeps the versions of one kind.

    Attributes:
        kind: names the kind in locks.
        noun: names it to people.
        row: its table.
    """

    kind: str
    noun: str
    row: type[R]

    @abstractmethod
    async def _values(self, session: ReadSession, rows: Sequence[R]) -> list[V]:
        """Read rows with all that belongs to them, in a fixed number of queries."""

    @abstractmethod
    def _write(self, row: R, version: V) -> None:
        """Write the members that only this kind has, its cards apart."""

    @abstractmethod
    async def _remove_cards(self, session: WriteSession, version: V) -> None:
        """Remove the rate cards and what holds them."""

    @abstractmethod
    async def _insert_cards(self, session: WriteSession, version: V) -> None:
        """Store the rate cards and what holds them."""

    @abstractmethod
    def _beyond_v1(self) -> ColumnElement[bool]:
        """Return the condition that v1 cannot show a card of a version."""

    def columns(self) -> Mapping[str, Column]:
        """Return what lists are filtered and sorted by."""
        row = self.row
        return {
            "id": row.id,
            "key": row.key,
            "name": row.name,
            "currency": row.currency,
            "version": row.version,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }

    def has_status(self, status: str, at: datetime) -> ColumnElement[bool]:
        """Return the condition that `versions.status` gives `status`."""
        start, end = self.row.effective_from, self.row.effective_to
        return {
            VersionStatus.DRAFT: start.is_(None),
            VersionStatus.ACTIVE: self._in_force(at),
            VersionStatus.SCHEDULED: and_(start > at, or_(end.is_(None), end > at)),
            VersionStatus.ARCHIVED: end <= at,
        }[VersionStatus(status)]

    def _in_force(self, at: datetime) -> ColumnElement[bool]:
        start, end = self.row.effective_from, self.row.effective_to
        return and_(start <= at, or_(end.is_(None), end > at))

    async def find(self, session: ReadSession, namespace: str, version_id: str) -> V | None:
        """Return the version of that id, deleted or not."""
        return await self._one(session, namespace, self.row.id == version_id)

    async def find_active(self, session: ReadSession, namespace: str, key: str, at: datetime) -> V | None:
        """Return the version of the key that is active at `at`."""
        return await self._one(session, namespace, self._live(key), self._in_force(at))

    async def find_latest(self, session: ReadSession, namespace: str, key: str) -> V | None:
        """Return the highest version of the key that is not deleted."""
        return await self._one(session, namespace, self._live(key))

    async def by_ids(self, session: ReadSession, namespace: str, ids: Collection[str]) -> dict[str, V]:
        """Return the versions of those ids, deleted or not, by id."""
        query = select(self.row).where(self.row.namespace == namespace, self.row.id.in_(ids))
        return {version.id: version for version in await self._loaded(session, (await session.scalars(query)).all())}

    def _live(self, key: str) -> ColumnElement[bool]:
        return and_(self.row.key == key, self.row.deleted_at.is_(None))

    async def _one(self, session: ReadSession, namespace: str, *where: ColumnElement[bool]) -> V | None:
        query = select(self.row).where(self.row.namespace == namespace, *where).order_by(self.row.version.desc())
        query = query.limit(1).execution_options(populate_existing=True)
        found = await self._loaded(session, (await session.scalars(query)).all())
        return found[0] if found else None

    async def _loaded(self, session: ReadSession, rows: Sequence[R]) -> list[V]:
        if not rows:
            return []
        versions = await self._values(session, rows)
        configs = {card.tax_config for one in versions for _, card in one.placed_cards() if card.tax_config}
        shown = await taxcodes.filled(session, rows[0].namespace, configs)
        return [one.with_tax_configs(shown) for one in versions] if configs else versions

    async def key_of(self, session: ReadSession, namespace: str, version_id: str) -> str | None:
        """Return the key of the version of that id."""
        query = select(self.row.key).where(self.row.namespace == namespace, self.row.id == version_id)
        return (await session.scalars(query)).one_or_none()

    async def last_version(self, session: ReadSession, namespace: str, key: str) -> int:
        """Return the highest number ever given to a version of the key, deleted ones included; 0 without any."""
        query = select(func.max(self.row.version)).where(self.row.namespace == namespace, self.row.key == key)
        return await session.scalar(query) or 0

    async def has_draft(self, session: ReadSession, namespace: str, key: str) -> bool:
        """Tell whether the key has a draft that is not deleted."""
        drafts = exists().where(self.row.namespace == namespace, self._live(key), self.row.effective_from.is_(None))
        return bool(await session.scalar(select(drafts)))

    async def listed(self, session: ReadSession, namespace: str, query: VersionQuery, at: datetime) -> Page[V]:
        """Return a page of versions. `at` is the instant that statuses speak of."""
        where = self._listed(namespace, query, at)
        rows, total = await page_of(session, self.row, where, query.sorts, self.columns(), query.page, last=self.row.id)
        return Page(await self._loaded(session, rows), total, query.page)

    def _listed(self, namespace: str, query: VersionQuery, at: datetime) -> list[ColumnElement[bool]]:
        row = self.row
        where: list[ColumnElement[bool]] = [row.namespace == namespace]
        names: list[ColumnElement[bool]] = [
            column.in_(values)
            for column, values in ((row.id, query.ids), (row.key, query.keys), (row.currency, query.currencies))
            if values
        ]
        if query.key_versions:
            names.append(named(row, query.key_versions))
        where += [or_(*names)] if names and query.match_any else names
        columns = self.columns()
        where += [condition.clause(columns[name]) for name, condition in query.conditions.items()]
        if query.statuses:
            where.append(or_(false(), *(self.has_status(status, at) for status in query.statuses)))
        if not query.include_deleted:
            where.append(row.deleted_at.is_(None))
        if query.only_v1:
            where += [~self._beyond_v1(), func.char_length(row.currency) <= FIAT_LENGTH]
        return where

    async def insert(self, session: WriteSession, version: V) -> None:
        """Store a new version with its cards."""
        row = self.row(
            id=version.id,
            namespace=version.namespace,
            key=version.key,
            version=version.version,
            currency=version.currency,
            created_at=version.created_at,
        )
        self._write_all(row, version)
        session.add(row)
        await session.flush()
        await self._insert_cards(session, version)

    async def save(self, session: WriteSession, version: V) -> None:
        """Write the members of a stored version; its cards stay as they are."""
        self._write_all(await session.get_one(self.row, version.id), version)
        await session.flush()

    async def save_content(self, session: WriteSession, version: V) -> None:
        """Write a stored version and replace its cards."""
        await self.save(session, version)
        await self._remove_cards(session, version)
        await self._insert_cards(session, version)

    def _write_all(self, row: R, version: V) -> None:
        row.name = version.name
        row.description = version.description
        row.metadata_ = dict(version.metadata)
        row.effective_from = version.effective_from
        row.effective_to = version.effective_to
        row.updated_at = version.updated_at
        row.deleted_at = version.deleted_at
        self._write(row, version)


def members(row: VersionRow) -> dict[str, Any]:
    """Return what a row of any kind holds, as members of a `Version`."""
    return {
        "id": row.id,
        "namespace": row.namespace,
        "key": row.key,
        "version": row.version,
        "name": row.name,
        "description": row.description,
        "metadata": row.metadata_,
        "currency": row.currency,
        "effective_from": row.effective_from,
        "effective_to": row.effective_to,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "deleted_at": row.deleted_at,
    }
