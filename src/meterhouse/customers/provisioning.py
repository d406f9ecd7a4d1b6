"""Customers that come with subjects, for those who still begin with subjects (customers section 11)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import structlog

from meterhouse.customers import attribution, service
from meterhouse.customers.customer import UNSET, Customer, CustomerChanges, NewCustomer
from meterhouse.customers.guards import Guards
from meterhouse.customers.subjects import PROVISIONER, Subject
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import DomainError
from meterhouse.kernel.money import plain

log = structlog.get_logger(__name__)

MAX_NAME = 256  # what the API takes for names and keys of customers; subjects may be longer


class SubjectCustomers:
    """Makes sure that a customer holds every subject (implements `SubjectFollower`).

    Args:
        guards: as for customers that are made and changed otherwise.
        ignore_errors: whether subjects are kept where their customers cannot be. Deletions fail all the same.
    """

    def __init__(self, guards: Guards, *, ignore_errors: bool = False) -> None:
        self._guards = guards
        self._ignore_errors = ignore_errors

    async def upserted(self, session: WriteSession, namespace: str, subjects: Sequence[Subject]) -> None:
        """Make the customers that are missing, and lay name and metadata of the subjects over the others.

        What is changed in this way keeps its subject keys: a customer that holds a subject by its key needs no more.

        Raises:
            DomainError: as for the creation or change of a customer, unless errors are ignored.
        """
        if not subjects:
            return
        holders = await attribution.resolve(session, namespace, [subject.key for subject in subjects])
        for subject in subjects:
            holder = holders[subject.key]
            await self._attempt(session, subject, partial(self._hold, session, namespace, subject, holder))

    async def _attempt(self, session: WriteSession, subject: Subject, hold: Callable[[], Awaitable[None]]) -> None:
        if not self._ignore_errors:
            return await hold()
        try:
            async with session.begin_nested():
                await hold()
        except DomainError as error:
            log.warning("no customer for subject", subject=subject.key, error=error.message)

    async def _hold(self, session: WriteSession, namespace: str, subject: Subject, holder: Customer | None) -> None:
        if holder is None:
            await service.create(session, namespace, _new_customer(subject), self._guards)
        elif _differs(holder, subject):
            # Several subjects of one request may belong to one customer, so what was read before may be old.
            holder = await service.get(session, namespace, holder.id)
            await service.update(session, namespace, holder.id, _changes(holder, subject), self._guards)
        if subject.stripe_customer_id is not None:
            log.info("Stripe customer id is kept on the subject alone", subject=subject.key)

    async def deleted(self, session: WriteSession, namespace: str, subject: Subject) -> None:
        """Take a deleted subject out of its customer's subject keys.

        Raises:
            InvalidInput: a subscription runs, or the customer would have neither key nor subject keys.
        """
        holder = (await attribution.resolve(session, namespace, [subject.key]))[subject.key]
        if holder is None or subject.key not in holder.subject_keys:
            return
        left = tuple(key for key in holder.subject_keys if key != subject.key)
        await service.update(session, namespace, holder.id, _same(holder, subject_keys=left), self._guards)


def _new_customer(subject: Subject) -> NewCustomer:
    return NewCustomer(
        key=subject.key if len(subject.key) <= MAX_NAME else None,
        name=(subject.display_name or subject.key)[:MAX_NAME],
        subject_keys=(subject.key,),
        metadata=_metadata(subject),
        annotations=_annotations(subject),
    )


def _annotations(subject: Subject) -> dict[str, str]:
    stripe_id = subject.stripe_customer_id
    known = {"createdBy": "customer.provisioner", "subjectId": subject.id}
    return known if stripe_id is None else {**known, "stripeCustomerId": stripe_id}


def _differs(customer: Customer, subject: Subject) -> bool:
    renamed = subject.display_name is not None and subject.display_name[:MAX_NAME] != customer.name
    return renamed or not _metadata(subject).items() <= customer.metadata.items()


def _changes(customer: Customer, subject: Subject) -> CustomerChanges:
    return _same(
        customer,
        name=(subject.display_name or customer.name)[:MAX_NAME],
        metadata={**customer.metadata, **_metadata(subject)},
        annotations={**customer.annotations, **_annotations(subject)},
    )


def _same(customer: Customer, **changed: Any) -> CustomerChanges:
    """Return the change that changes nothing about a customer but what is given."""
    kept: dict[str, Any] = {
        "name": customer.name,
        "key": UNSET,
        "subject_keys": customer.subject_keys,
        "description": customer.description,
        "metadata": customer.metadata,
        "billing_address": None if customer.billing_address is None else {},
    }
    return CustomerChanges(**{**kept, **changed})


def _metadata(subject: Subject) -> dict[str, str]:
    """Return what is said about a subject; a note that its customer brought it is of no use to the customer."""
    given = dict(subject.metadata)
    if given.get("createdBy") == PROVISIONER:
        given = {name: value for name, value in given.items() if name not in ("createdBy", "customerId")}
    return texts(given)


def texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return free JSON as the texts that metadata of customers are; what has no text form is left out."""
    read = {name: _text(value) for name, value in metadata.items()}
    return {name: text for name, text in read.items() if text}


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f'"{name}"="{text}"' for name, part in sorted(value.items()) if (text := _scalar(part)))
    if isinstance(value, list):
        return ",".join(f'"{text}"' for part in value if (text := _scalar(part)))
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return plain(Decimal(str(value)))
    return value if isinstance(value, str) else ""
