"""The steps that versions of every kind go through (catalog sections 1.3, 3.2 and 4.1).

Whoever changes a version of a key holds the key's lock, so versions are counted, drafts are single and at most one
version is active without a race.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog import currencies, features, taxcodes
from meterhouse.catalog.prices import TaxConfig
from meterhouse.catalog.versions import rules
from meterhouse.catalog.versions.models import VersionRow
from meterhouse.catalog.versions.repository import VersionQuery, VersionStore
from meterhouse.catalog.versions.version import Version, card_path
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, InvalidInput, Issue, NotFound
from meterhouse.kernel.locks import lock
from meterhouse.kernel.pages import Page

V = TypeVar("V", bound=Version)
R = TypeVar("R", bound=VersionRow)

# Refuses a version that the caller's API could not show; called at the places that section 8.4 names.
Guard = Callable[[Version], None]


def anything(_: Version) -> None:
    """Refuse nothing."""


def deletion(kind: str, member: str, version: Version) -> list[str]:
    """Return that a version is deleted, in the words that clients match on, or nothing where it is not."""
    at = version.deleted_at
    return [f"{kind} is deleted [{member}={at.isoformat()}]"] if at is not None else []


def refuse(faults: Sequence[str]) -> None:
    """Refuse the request for its faults.

    Raises:
        InvalidInput: there are some.
    """
    if faults:
        raise InvalidInput("; ".join(faults))


class Lifecycle(Generic[V, R]):
    """The steps of one kind of version."""

    def __init__(self, store: VersionStore[V, R]) -> None:
        self._store = store

    def not_found(self, what: str) -> NotFound:
        """Make the error that there is no such version."""
        return NotFound(f"{self._store.noun.lower()} not found: {what}")

    async def get(self, session: ReadSession, namespace: str, version_id: str) -> V:
        """Return the version of that id, deleted or not.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.find(session, namespace, version_id)
        if found is None:
            raise self.not_found(version_id)
        return found

    async def get_many(self, session: ReadSession, namespace: str, ids: Collection[str]) -> dict[str, V]:
        """Return the versions of these ids, deleted or not, by id; unknown ids are left out."""
        return await self._store.by_ids(session, namespace, ids)

    async def get_active(self, session: ReadSession, namespace: str, key: str, at: datetime | None = None) -> V:
        """Return the version of the key that is active at `at` (default: now).

        Raises:
            NotFound: none is.
        """
        found = await self._store.find_active(session, namespace, key, at or clock.now())
        if found is None:
            raise self.not_found(key)
        return found

    async def get_by_id_or_key(
        self, session: ReadSession, namespace: str, id_or_key: str, *, include_latest: bool = False
    ) -> V:
        """Return the version of that id, else the key's active one, or with `include_latest` its highest.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.find(session, namespace, id_or_key)
        if found is None and include_latest:
            found = await self._store.find_latest(session, namespace, id_or_key)
        return found or await self.get_active(session, namespace, id_or_key)

    async def listed(self, session: ReadSession, namespace: str, query: VersionQuery) -> Page[V]:
        """Return a page of versions."""
        return await self._store.listed(session, namespace, query, clock.now())

    async def lock_key(self, session: WriteSession, namespace: str, key: str) -> None:
        """Keep all other requests from changing versions of the key until the transaction ends."""
        await lock(session, "catalog", self._store.kind, namespace, key)

    async def locked(self, session: WriteSession, namespace: str, version_id: str) -> V:
        """Return the version of that id with its key locked.

        Whoever makes the new content of a version from what is there asks for it here, before replacing it.

        Raises:
            NotFound: there is none.
        """
        key = await self._store.key_of(session, namespace, version_id)
        if key is None:
            raise self.not_found(version_id)
        await self.lock_key(session, namespace, key)
        return await self.get(session, namespace, version_id)

    async def numbered(self, session: ReadSession, version: V) -> V:
        """Return a new draft with the next number of its key, which is locked.

        Raises:
            InvalidInput: the key has a draft already.
        """
        namespace, key = version.namespace, version.key
        if await self._store.has_draft(session, namespace, key):
            raise InvalidInput(f"only a single draft version is allowed for {self._store.noun}: {key}")
        return replace(version, version=await self._store.last_version(session, namespace, key) + 1)

    async def activate(self, session: WriteSession, version: V, *, guard: Guard) -> V:
        """Make a version active now; the one that was active until now is archived at the same instant.

        Raises:
            Conflict: another version without an end is scheduled.
        """
        now = clock.now()
        active = await self._store.find_active(session, version.namespace, version.key, now)
        if active is not None:
            guard(active)
            await self._store.save(session, replace(active, effective_to=now, updated_at=now))
        version = replace(version, effective_from=now, effective_to=None, updated_at=now)
        try:
            await self._store.save(session, version)
        except IntegrityError as error:
            if violated(error) != f"uq_{self._store.row.__tablename__}_open_ended":
                raise
            what = f"{self._store.noun.lower()} {version.key}"
            raise Conflict(f"another version of {what} is scheduled without an end") from None
        return version


async def resolved(session: WriteSession, noun: str, version: V) -> V:
    """Return the version with features and tax codes of its cards resolved (sections 2.5 and 6.6).

    Raises:
        InvalidVersion: a card names a feature that does not exist, or two different ones.
        InvalidInput: a card names a tax code that does not exist.
    """
    cards = [card for _, card in version.placed_cards()]
    found = await features.named(
        session,
        version.namespace,
        ids={card.feature_id for card in cards if card.feature_id is not None},
        keys={card.feature_key for card in cards if card.feature_key is not None},
    )
    version = rules.with_features(noun, version, [feature for feature in found if feature.archived_at is None])
    return await taxed(session, version)


async def taxed(session: WriteSession, version: V) -> V:
    """Return the version with the tax codes of its cards resolved (section 6.6).

    Raises:
        InvalidInput: a card names a tax code that does not exist, or was deleted.
    """
    configs: dict[TaxConfig, TaxConfig] = {}
    for holder, card in version.placed_cards():
        if card.tax_config is not None and card.tax_config not in configs:
            configs[card.tax_config] = await taxcodes.resolved(
                session, version.namespace, card.tax_config, field=f"{card_path(holder, card)}.taxConfig"
            )
    return version.with_tax_configs(configs)


async def custom_currencies(session: ReadSession, namespace: str, versions: Sequence[Version]) -> frozenset[str]:
    """Return the codes of custom currencies that exist, of all that the versions name."""
    codes = {code for version in versions for code in rules.codes_of(version)}
    return frozenset(await currencies.known(session, namespace, codes))


async def held_feature_issues(session: WriteSession, version: Version) -> list[Issue]:
    """Return what stands against the version's features now, and keep them from being archived meanwhile."""
    found = await features.held(session, version.namespace, rules.feature_ids(version))
    return rules.feature_issues(version, found)


async def feature_issues(session: ReadSession, version: Version) -> list[Issue]:
    """Return what stands against the version's features now."""
    ids = rules.feature_ids(version)
    return rules.feature_issues(version, await features.named(session, version.namespace, ids=ids) if ids else [])
