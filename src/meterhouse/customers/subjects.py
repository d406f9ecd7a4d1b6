"""Subjects: event subjects with a name and metadata of their own (customers section 10, metering section 14).

They enrich what usage is reported by; usage itself needs none. Every subject key of a customer has one.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from meterhouse.customers import repository
from meterhouse.customers.customer import UNSET, Unset
from meterhouse.customers.models import SubjectRow
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Conflict, InvalidInput, NotFound

MAX_KEY_BYTES = 2048  # an index of Postgres takes no longer text
PROVISIONER = "subject.provisioner"  # in the metadata of a subject that its customer brought
STRIPE_PREFIX = "cus_"  # what every id of a Stripe customer starts with


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject as stored.

    Attributes:
        key: what events carry as their subject; unique among live subjects.
        metadata: any JSON by name.
        deleted_at: None while live. Its usage stays.
    """

    id: str
    namespace: str
    key: str
    display_name: str | None
    metadata: Mapping[str, Any]
    stripe_customer_id: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class SubjectUpsert:
    """A subject to create or to change. `UNSET` keeps a member as it is, None clears it."""

    key: str
    display_name: str | Unset | None = UNSET
    metadata: Mapping[str, Any] | Unset | None = UNSET
    stripe_customer_id: str | Unset | None = UNSET


class SubjectFollower(Protocol):
    """What follows from subjects in the same transaction; implemented by `provisioning.SubjectCustomers`."""

    async def upserted(self, session: WriteSession, namespace: str, subjects: Sequence[Subject]) -> None:
        """Subjects were created or changed."""
        ...

    async def deleted(self, session: WriteSession, namespace: str, subject: Subject) -> None:
        """A subject was deleted."""
        ...


def _subject(row: SubjectRow) -> Subject:
    return Subject(
        id=row.id,
        namespace=row.namespace,
        key=row.key,
        display_name=row.display_name,
        metadata=dict(row.attributes),
        stripe_customer_id=row.stripe_customer_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


async def get_by_id_or_key(session: ReadSession, namespace: str, id_or_key: str) -> Subject:
    """Return a subject by id, deleted or not, or the live one with that key.

    Raises:
        NotFound: neither matches.
    """
    return _subject(await _row(session, namespace, id_or_key))


async def _row(session: ReadSession, namespace: str, id_or_key: str) -> SubjectRow:
    row = await repository.subject_by_id_or_key(session, namespace, id_or_key)
    if row is None:
        raise NotFound(f"subject not found: {id_or_key}")
    return row


async def list_subjects(session: ReadSession, namespace: str) -> list[Subject]:
    """Return all live subjects, oldest first."""
    return [_subject(row) for row in await repository.live_subjects(session, namespace)]


async def display_names(session: ReadSession, namespace: str, keys: Collection[str]) -> dict[str, str | None]:
    """Return the display names of those of the keys that are live subjects; None for one without a name."""
    return await repository.display_names(session, namespace, keys)


async def upsert(
    session: WriteSession, namespace: str, items: Sequence[SubjectUpsert], follower: SubjectFollower | None = None
) -> list[Subject]:
    """Create or change subjects, in order, all or none; returns each as it stood after its item.

    Raises:
        InvalidInput: an empty or endless key, a Stripe customer id of another form, or a new key that is the id of a
            subject.
        Conflict: a new key is given twice, or a subject is deleted by another request at this moment.
    """
    for item in items:
        _check(item)
    keys = [item.key for item in items]
    known = await repository.subject_keys_among(session, namespace, keys)
    new = [key for key in keys if key not in known]
    if repeated := sorted(key for key, times in Counter(new).items() if times > 1):
        raise Conflict(f"the same new subject is given more than once: {', '.join(repeated)}")
    await _refuse_ids(session, namespace, new)
    await repository.add_subjects(session, namespace, sorted(new), {})
    rows = await repository.hold_subjects(session, namespace, keys)
    if missing := sorted(set(keys) - rows.keys()):
        raise Conflict(f"subjects are being deleted by another request: {', '.join(missing)}")
    changed = [_apply(rows[item.key], item) for item in items]
    await session.flush()
    if follower is not None:
        await follower.upserted(session, namespace, list({subject.key: subject for subject in changed}.values()))
    return changed


def is_too_long(key: str) -> bool:
    """Tell whether a key is too long to be found by."""
    return len(key.encode()) > MAX_KEY_BYTES


def _check(item: SubjectUpsert) -> None:
    if not item.key:
        raise InvalidInput("the key of a subject must not be empty")
    if is_too_long(item.key):
        raise InvalidInput(f"the key of a subject must have at most {MAX_KEY_BYTES} bytes")
    stripe_id = item.stripe_customer_id
    if isinstance(stripe_id, str) and not stripe_id.startswith(STRIPE_PREFIX):
        raise InvalidInput(f"invalid Stripe customer id: {stripe_id}: must start with {STRIPE_PREFIX}")


def _apply(row: SubjectRow, item: SubjectUpsert) -> Subject:
    if item.display_name is not UNSET:
        row.display_name = item.display_name
    if item.metadata is not UNSET:
        row.attributes = dict(item.metadata or {})
    if item.stripe_customer_id is not UNSET:
        row.stripe_customer_id = item.stripe_customer_id
    row.updated_at = clock.now()
    return _subject(row)


async def delete(
    session: WriteSession, namespace: str, id_or_key: str, follower: SubjectFollower | None = None
) -> None:
    """Delete a subject, found as by `get_by_id_or_key`; deleting it again by its id changes nothing.

    Raises:
        NotFound: neither an id nor a live key matches.
    """
    row = await _row(session, namespace, id_or_key)
    if row.deleted_at is None:
        row.deleted_at = row.updated_at = clock.now()
        await session.flush()
        if follower is not None:
            await follower.deleted(session, namespace, _subject(row))


async def provision(session: WriteSession, namespace: str, customer_id: str, keys: Sequence[str]) -> None:
    """Make the subjects that are missing for a customer's subject keys.

    Raises:
        InvalidInput: a key is the id of a subject, which would make that subject unreachable by id or key.
    """
    if not keys:
        return
    await _refuse_ids(session, namespace, keys)
    made_by = {"createdBy": PROVISIONER, "customerId": customer_id}
    await repository.add_subjects(session, namespace, keys, made_by)


async def _refuse_ids(session: ReadSession, namespace: str, keys: Sequence[str]) -> None:
    if taken := await repository.subject_ids_among(session, namespace, keys):
        raise InvalidInput(f"use subject key instead of id: {', '.join(taken)}")
