"""Use cases of customers (customers sections 1 to 6)."""

from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy.exc import IntegrityError

from meterhouse.customers import repository, subjects
from meterhouse.customers.customer import UNSET, Address, Customer, CustomerChanges, NewCustomer, Unset
from meterhouse.customers.guards import DeletionGuard, Guards
from meterhouse.customers.models import UNIQUE_INDEXES, AttributionRow, CustomerRow
from meterhouse.customers.repository import CustomerFilter
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, DomainError, InvalidInput, Issue, NotFound, PreconditionFailed, invalid
from meterhouse.kernel.locks import lock
from meterhouse.kernel.money import is_fiat
from meterhouse.kernel.pages import Page, PageRequest

__all__ = [
    "UNSET",
    "Address",
    "Customer",
    "CustomerChanges",
    "CustomerDeleted",
    "CustomerFilter",
    "NewCustomer",
    "Unset",
    "create",
    "delete",
    "find_many",
    "get",
    "get_by_id_or_key",
    "get_live",
    "hold_live",
    "list_customers",
    "set_currency",
    "update",
]

BY_NAME = (Sort("name"),)
_NO_GUARDS = Guards()
_ALL = CustomerFilter()
_FIRST_PAGE = PageRequest()
_SUBJECT_KEYS = "$.usage_attribution.subject_keys"


class CustomerDeleted(PreconditionFailed):
    """The customer was deleted: it can be read, nothing else."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"customer is deleted: {customer_id}")


def _not_found(id_or_key: str) -> NotFound:
    return NotFound(f"customer not found: {id_or_key}")


def _customer(row: CustomerRow, subject_keys: tuple[str, ...]) -> Customer:
    return Customer(
        id=row.id,
        namespace=row.namespace,
        key=row.key,
        name=row.name,
        subject_keys=subject_keys,
        currency=row.currency,
        primary_email=row.primary_email,
        billing_address=None if row.billing_address is None else Address(**row.billing_address),
        description=row.description,
        metadata=dict(row.labels),
        annotations=dict(row.annotations),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


async def _customers(session: ReadSession, rows: Collection[CustomerRow]) -> list[Customer]:
    keys = await repository.subject_keys(session, rows)
    return [_customer(row, keys[row.id]) for row in rows]


async def get(session: ReadSession, namespace: str, customer_id: str) -> Customer:
    """Return a customer by id, deleted or not.

    Raises:
        NotFound: no such id.
    """
    found = await repository.by_id_with_subject_keys(session, namespace, customer_id)
    if found is None:
        raise _not_found(customer_id)
    return _customer(*found)


async def get_by_id_or_key(session: ReadSession, namespace: str, id_or_key: str) -> Customer:
    """Return a customer by id, deleted or not, or the live one with that key.

    Raises:
        NotFound: neither matches.
    """
    row = await repository.by_id_or_key(session, namespace, id_or_key)
    if row is None:
        raise _not_found(id_or_key)
    return (await _customers(session, [row]))[0]


async def get_live(session: ReadSession, namespace: str, id_or_key: str) -> Customer:
    """Return a customer that can still be acted on, by id or key.

    Raises:
        NotFound: no such customer.
        CustomerDeleted: it was deleted.
    """
    customer = await get_by_id_or_key(session, namespace, id_or_key)
    if customer.deleted_at is not None:
        raise CustomerDeleted(customer.id)
    return customer


async def hold_live(session: WriteSession, namespace: str, customer_id: str) -> Customer:
    """Return a customer that can be acted on, and keep it from changes and deletion until the transaction ends.

    Raises:
        NotFound, CustomerDeleted: the customer is not there.
    """
    await lock(session, "customer", namespace, customer_id, "subscription")
    return (await _customers(session, [await _locked(session, namespace, customer_id)]))[0]


async def find_many(session: ReadSession, namespace: str, ids: Collection[str]) -> dict[str, Customer]:
    """Return the customers with these ids, deleted ones too, by id; unknown ids are left out."""
    rows = await repository.by_ids(session, namespace, ids)
    return {customer.id: customer for customer in await _customers(session, rows)}


async def list_customers(
    session: ReadSession,
    namespace: str,
    chosen: CustomerFilter = _ALL,
    *,
    sorts: Sequence[Sort] = BY_NAME,
    page: PageRequest = _FIRST_PAGE,
) -> Page[Customer]:
    """Return a page of customers, by name unless `sorts` says otherwise (fields: id, name, created_at)."""
    rows, total = await repository.listed(session, namespace, chosen, sorts, page)
    return Page(await _customers(session, rows), total, page)


def _check(key: str | None, name: str, subject_keys: Collection[str], currency: str | None) -> None:
    if not name:
        raise invalid("name must not be empty", field="$.name")
    if key == "":
        raise invalid("key must not be empty", field="$.key")
    if any(not subject for subject in subject_keys):
        raise invalid("a subject key must not be empty", field=_SUBJECT_KEYS)
    if any(subjects.is_too_long(subject) for subject in subject_keys):
        raise invalid(f"a subject key must have at most {subjects.MAX_KEY_BYTES} bytes", field=_SUBJECT_KEYS)
    if key is None and not subject_keys:
        raise invalid("either key or usageAttribution.subjectKeys must be provided", field="$.key")
    _check_currency(currency)


def _check_currency(currency: str | None) -> None:
    if currency is not None and not is_fiat(currency):
        raise invalid(f"invalid currency: {currency}: must be an ISO 4217 code", field="$.currency")


async def _check_unused(
    session: ReadSession, namespace: str, key: str | None, subject_keys: Collection[str], *, own_id: str | None = None
) -> None:
    """Refuse a key or subject keys that another customer holds, naming them."""
    if key is not None and await repository.id_is_taken(session, namespace, key):
        raise Conflict(f"key is the id of a customer: {key}")
    wanted = {*subject_keys, *([] if key is None else [key])}
    held = await repository.attributions(session, namespace, wanted)
    others = [row for row in held if row.customer_id != own_id]
    if not others:
        return
    for row in others:
        if row.subject == key:
            owned_as = "key" if row.is_key else "subject key"
            raise Conflict(f"key is already used as the {owned_as} of customer {row.customer_id}: {key}")
    named = ", ".join(sorted(row.subject for row in others))
    raise Conflict(f"subject keys are already used by other customers: {named}")


async def _flush(session: WriteSession) -> None:
    """Write, and turn a key that was taken in this very moment into a conflict."""
    try:
        await session.flush()
    except IntegrityError as error:
        if violated(error) in UNIQUE_INDEXES:
            raise Conflict("key or subject keys are already used by another customer") from error
        raise


async def create(session: WriteSession, namespace: str, new: NewCustomer, guards: Guards = _NO_GUARDS) -> Customer:
    """Create a customer, and a subject for each of its subject keys.

    Raises:
        InvalidInput: empty name or key, neither key nor subject keys, or a currency that is no fiat code.
        Conflict: the key or a subject key is in use.
    """
    subject_keys = sorted(set(new.subject_keys))
    _check(new.key, new.name, subject_keys, new.currency)
    await _check_unused(session, namespace, new.key, subject_keys)
    row = CustomerRow(
        namespace=namespace,
        key=new.key,
        name=new.name,
        description=new.description,
        currency=new.currency,
        primary_email=new.primary_email,
        billing_address=_stored_address(new.billing_address),
        labels=dict(new.metadata),
        annotations=dict(new.annotations),
    )
    session.add(row)
    await _flush(session)
    await _attribute(session, row, subject_keys)
    await subjects.provision(session, namespace, row.id, subject_keys)
    customer = _customer(row, tuple(subject_keys))
    for complete in guards.creation:
        await complete(session, customer)
    return customer


def _stored_address(address: Address | None) -> dict[str, str] | None:
    if address is None:
        return None
    return {part: text for part, text in asdict(address).items() if text is not None}


async def _attribute(session: WriteSession, row: CustomerRow, subject_keys: Collection[str]) -> None:
    """Bring the customer's attributions to its key and `subject_keys`; rows that stay the same are not touched."""
    wanted = {subject: (subject == row.key, True) for subject in subject_keys}
    if row.key is not None:
        wanted[row.key] = (True, row.key in wanted)
    for held in await repository.attributions_of(session, row.id):
        roles = wanted.pop(held.subject, None)
        if roles is None:
            await session.delete(held)
        else:
            held.is_key, held.is_subject_key = roles
    session.add_all(
        AttributionRow(
            namespace=row.namespace,
            customer_id=row.id,
            subject=subject,
            is_key=is_key,
            is_subject_key=is_subject_key,
        )
        # In one order for all, or two requests that want the same strings could each wait for the other.
        for subject, (is_key, is_subject_key) in sorted(wanted.items())
    )
    await _flush(session)


async def _locked(session: WriteSession, namespace: str, customer_id: str) -> CustomerRow:
    row = await repository.by_id(session, namespace, customer_id)
    if row is None:
        raise _not_found(customer_id)
    if row.deleted_at is not None:
        raise CustomerDeleted(customer_id)
    return row


def _apply(row: CustomerRow, changes: CustomerChanges) -> None:
    row.name = changes.name
    row.description = changes.description
    row.labels = dict(changes.metadata)
    if changes.key is not UNSET:
        row.key = changes.key
    if changes.primary_email is not UNSET:
        row.primary_email = changes.primary_email
    if changes.currency is not UNSET:
        row.currency = changes.currency
    if changes.annotations is not UNSET:
        row.annotations = dict(changes.annotations)
    if changes.billing_address is None:
        row.billing_address = None
    else:
        merged = {**(row.billing_address or {}), **changes.billing_address}
        row.billing_address = {part: text for part, text in merged.items() if text is not None}
    row.updated_at = clock.now()


async def update(
    session: WriteSession, namespace: str, customer_id: str, changes: CustomerChanges, guards: Guards = _NO_GUARDS
) -> Customer:
    """Replace a customer.

    Raises:
        NotFound: no such customer.
        CustomerDeleted: it was deleted.
        InvalidInput, Conflict: as for `create`, or as a guard says.
    """
    await lock(session, "customer", namespace, customer_id, "subscription")
    row = await _locked(session, namespace, customer_id)
    before = (await _customers(session, [row]))[0]
    subject_keys = tuple(sorted(set(changes.subject_keys)))
    key = before.key if changes.key is UNSET else changes.key
    currency = before.currency if changes.currency is UNSET else changes.currency
    _check(key, changes.name, subject_keys, currency)
    await _check_unused(session, namespace, key, subject_keys, own_id=customer_id)
    with session.no_autoflush:
        _apply(row, changes)
        after = _customer(row, subject_keys)
        for guard in guards.change:
            await guard(session, before, after)
    await _flush(session)
    await _attribute(session, row, subject_keys)
    await subjects.provision(session, namespace, customer_id, subject_keys)
    return after


async def set_currency(session: WriteSession, namespace: str, customer_id: str, currency: str) -> Customer:
    """Set the currency of a customer's invoices.

    Raises:
        NotFound, CustomerDeleted: the customer is not there.
        InvalidInput: no fiat code.
    """
    _check_currency(currency)
    row = await _locked(session, namespace, customer_id)
    if row.currency != currency:
        row.currency = currency
        await session.flush()
    return (await _customers(session, [row]))[0]


async def delete(session: WriteSession, namespace: str, customer_id: str, guards: Guards = _NO_GUARDS) -> Customer:
    """Delete a customer: its key and subject keys become free, the rest stays readable by id.

    Raises:
        NotFound: no such customer.
        CustomerDeleted: it was deleted before.
        InvalidInput, Conflict: guards refuse, with one issue for each thing in the way. A conflict decides the status.
    """
    await lock(session, "customer", namespace, customer_id, "billing")
    await lock(session, "customer", namespace, customer_id, "subscription")
    row = await _locked(session, namespace, customer_id)
    customer = (await _customers(session, [row]))[0]
    await _ask(session, customer, guards.deletion)
    at = clock.now()
    row.deleted_at = row.updated_at = at
    await session.flush()
    await repository.close_attributions(session, customer_id, at)
    deleted = _customer(row, customer.subject_keys)
    for follow in guards.deleted:
        await follow(session, deleted)
    return deleted


async def _ask(session: WriteSession, customer: Customer, guards: Sequence[DeletionGuard]) -> None:
    refusals: list[DomainError] = []
    for guard in guards:
        try:
            await guard(session, customer)
        except DomainError as refusal:
            refusals.append(refusal)
    if not refusals:
        return
    if len(refusals) == 1:
        raise refusals[0]
    kind = Conflict if any(isinstance(refusal, Conflict) for refusal in refusals) else InvalidInput
    issues = [issue for refusal in refusals for issue in refusal.issues or [Issue("", refusal.message)]]
    raise kind("\n".join(refusal.message for refusal in refusals), issues=issues)
