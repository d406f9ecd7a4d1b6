"""Customers through their service (customers sections 1 to 6)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from meterhouse.customers import attribution, service
from meterhouse.customers.customer import UNSET, Address, Customer, CustomerChanges, NewCustomer
from meterhouse.customers.guards import Guards
from meterhouse.customers.models import CustomerRow, SubjectRow
from meterhouse.customers.service import CustomerDeleted, CustomerFilter
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort, contains, equals
from meterhouse.kernel.db import Database, WriteSession
from meterhouse.kernel.errors import Conflict, DomainError, InvalidInput, NotFound
from meterhouse.kernel.pages import PageRequest

NS = "default"
NO_GUARDS = Guards()
FIRST_PAGE = PageRequest()
T0 = datetime(2025, 3, 1, 10, tzinfo=UTC)


async def create(db: Database, key: str | None = None, *subjects: str, name: str = "Acme", ns: str = NS) -> Customer:
    async with db.write() as session:
        return await service.create(session, ns, NewCustomer(name=name, key=key, subject_keys=subjects))


async def update(db: Database, customer: Customer, changes: CustomerChanges, guards: Guards = NO_GUARDS) -> Customer:
    async with db.write() as session:
        return await service.update(session, NS, customer.id, changes, guards)


async def delete(db: Database, customer: Customer) -> Customer:
    async with db.write() as session:
        return await service.delete(session, NS, customer.id)


async def resolved(db: Database, *subjects: str) -> dict[str, str | None]:
    async with db.read() as session:
        found = await attribution.resolve(session, NS, subjects)
        return {subject: customer and customer.id for subject, customer in found.items()}


async def stored(db: Database, id_or_key: str) -> Customer:
    async with db.read() as session:
        return await service.get_by_id_or_key(session, NS, id_or_key)


async def test_a_customer_is_read_back_as_it_was_created(db: Database) -> None:
    new = NewCustomer(
        name="Acme",
        key="acme",
        subject_keys=("b", "a", "a"),
        currency="EUR",
        primary_email="x@acme.test",
        billing_address=Address(country="AT", city="Graz"),
        description="the first",
        metadata={"team": "x"},
        annotations={"n": 1},
    )
    with clock.frozen(T0):
        async with db.write() as session:
            created = await service.create(session, NS, new)
    assert created.subject_keys == ("a", "b")
    assert created.usage_subjects() == ("acme", "a", "b")
    assert created.created_at == created.updated_at == T0
    assert created.billing_address == Address(country="AT", city="Graz")
    assert await stored(db, "acme") == created
    assert await stored(db, created.id) == created
    async with db.read() as session:
        address = await session.scalar(select(CustomerRow.billing_address))
        subjects = (await session.scalars(select(SubjectRow).order_by(SubjectRow.key))).all()
    assert address == {"country": "AT", "city": "Graz"}
    assert [subject.key for subject in subjects] == ["a", "b"]
    assert subjects[0].attributes == {"createdBy": "subject.provisioner", "customerId": created.id}


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (NewCustomer(name="", key="k"), "name must not be empty"),
        (NewCustomer(name="n", key=""), "key must not be empty"),
        (NewCustomer(name="n"), "either key or usageAttribution.subjectKeys must be provided"),
        (NewCustomer(name="n", subject_keys=("",)), "a subject key must not be empty"),
        (NewCustomer(name="n", key="k", currency="XYZ"), "invalid currency: XYZ: must be an ISO 4217 code"),
        (NewCustomer(name="n", key="k", currency="CRED"), "invalid currency: CRED: must be an ISO 4217 code"),
    ],
)
async def test_invalid_customers_are_refused(db: Database, new: NewCustomer, message: str) -> None:
    async with db.write() as session:
        with pytest.raises(InvalidInput, match=message):
            await service.create(session, NS, new)


async def test_keys_and_subject_keys_belong_to_one_customer(db: Database) -> None:
    north = await create(db, "north", "n-1")
    for key, subjects in [
        ("north", ()),
        ("n-1", ()),
        ("south", ("n-1",)),
        ("south", ("north",)),
        (north.id, ()),
    ]:
        with pytest.raises(Conflict):
            await create(db, key, *subjects)
    with pytest.raises(Conflict, match="subject keys are already used by other customers: n-1, north"):
        await create(db, None, "n-1", "x", "north")
    assert (await create(db, "own", "own", "o-1")).usage_subjects() == ("own", "o-1")
    assert (await create(db, "north", "n-1", ns="other")).key == "north"


async def test_any_number_of_customers_may_have_no_key(db: Database) -> None:
    assert (await create(db, None, "x")).key is None
    assert (await create(db, None, "y")).key is None


async def test_a_deleted_customer_frees_its_strings_and_keeps_showing_them(db: Database) -> None:
    first = await create(db, "north", "n-1", "n-2")
    with clock.frozen(T0 + timedelta(days=400)):
        await update(db, first, CustomerChanges(name="Acme", key="north", subject_keys=("n-1",)))
    with clock.frozen(T0 + timedelta(days=401)):
        deleted = await delete(db, first)
    second = await create(db, "z", "n-1", "north")
    assert await resolved(db, "n-1", "north", "n-2") == {"n-1": second.id, "north": second.id, "n-2": None}
    shown = await stored(db, first.id)
    assert shown == deleted
    assert (shown.key, shown.subject_keys) == ("north", ("n-1",))
    with pytest.raises(NotFound):
        await stored(db, "north")
    with pytest.raises(CustomerDeleted):
        await delete(db, first)
    with pytest.raises(CustomerDeleted):
        await update(db, first, CustomerChanges(name="Acme", key="north"))


async def test_resolution_of_keys_and_subject_keys(db: Database) -> None:
    a = await create(db, "k1", "n-1")
    b = await create(db, None, "x", "y")
    assert await resolved(db, "k1", "n-1", "y", "?") == {"k1": a.id, "n-1": a.id, "y": b.id, "?": None}
    async with db.read() as session:
        assert (await attribution.resolve_one(session, NS, "x")).id == b.id
        with pytest.raises(NotFound):
            await attribution.resolve_one(session, NS, "?")
        for subjects in ([], [""]):
            with pytest.raises(InvalidInput):
                await attribution.resolve(session, NS, subjects)


async def acme(db: Database) -> Customer:
    new = NewCustomer(
        name="Acme",
        key="acme",
        subject_keys=("a", "b"),
        primary_email="x@acme.test",
        currency="EUR",
        billing_address=Address(city="Graz", line1="Main 1"),
        annotations={"kept": True},
    )
    async with db.write() as session:
        return await service.create(session, NS, new)


async def test_update_replaces_with_the_documented_exceptions(db: Database) -> None:
    customer = await acme(db)
    changed = await update(db, customer, CustomerChanges(name="New", key="acme", subject_keys=("b", "c")))
    assert changed.subject_keys == ("b", "c")
    assert changed.billing_address is None
    assert (changed.primary_email, changed.currency, changed.annotations) == ("x@acme.test", "EUR", {"kept": True})
    assert await resolved(db, "a", "c") == {"a": None, "c": customer.id}
    assert await stored(db, "acme") == changed
    assert (await update(db, customer, CustomerChanges(name="New", key="acme"))).subject_keys == ()


async def test_update_may_drop_the_key_but_not_everything(db: Database) -> None:
    customer = await acme(db)
    with pytest.raises(InvalidInput, match="either key or"):
        await update(db, customer, CustomerChanges(name="Acme", key=None))
    changed = await update(db, customer, CustomerChanges(name="Acme", key=None, subject_keys=("a", "b", "a")))
    assert (changed.key, changed.subject_keys) == (None, ("a", "b"))
    assert (await create(db, "acme")).key == "acme"


async def test_the_key_may_become_an_own_subject_key_and_back(db: Database) -> None:
    customer = await acme(db)
    changed = await update(db, customer, CustomerChanges(name="Acme", key="a", subject_keys=("acme",)))
    assert changed.usage_subjects() == ("a", "acme")
    changed = await update(db, customer, CustomerChanges(name="Acme", key=UNSET, subject_keys=("a",)))
    assert changed.usage_subjects() == ("a",)
    assert await resolved(db, "acme", "a") == {"acme": None, "a": customer.id}


async def test_parts_of_an_address_change_alone_and_null_clears(db: Database) -> None:
    customer = await acme(db)
    base = CustomerChanges(name="Acme", key=UNSET)
    changed = await update(db, customer, replace(base, billing_address={"city": "Linz"}))
    assert changed.billing_address == Address(city="Linz", line1="Main 1")
    changed = await update(db, customer, replace(base, billing_address={"line1": None}))
    assert changed.billing_address == Address(city="Linz")
    changed = await update(db, customer, replace(base, primary_email=None, currency=None))
    assert (changed.primary_email, changed.currency) == (None, None)


async def test_update_conflicts(db: Database) -> None:
    customer, other = await acme(db), await create(db, "other", "o-1")
    for key, subjects in [(other.id, ()), ("other", ()), ("o-1", ()), ("acme", ("o-1",)), ("acme", ("other",))]:
        with pytest.raises(Conflict):
            await update(db, customer, CustomerChanges(name="Acme", key=key, subject_keys=subjects))


async def test_a_deleted_customer_shows_the_subject_keys_that_it_had_then(db: Database) -> None:
    with clock.frozen(T0):
        customer = await create(db, "acme", "a", "b")
        await update(db, customer, CustomerChanges(name="Acme", key="acme", subject_keys=("b", "c")))
        await update(db, customer, CustomerChanges(name="Acme", key="acme", subject_keys=("c", "a")))
        async with db.write() as session:
            await service.delete(session, NS, customer.id)
    async with db.read() as session:
        assert (await service.get(session, NS, customer.id)).subject_keys == ("a", "c")


async def test_update_always_moves_updated_at(db: Database) -> None:
    with clock.frozen(T0) as at:
        customer = await create(db, "acme", "a")
        at.at = T0 + timedelta(hours=1)
        await update(db, customer, CustomerChanges(name="Acme", key="acme", subject_keys=("a",)))
    shown = await stored(db, "acme")
    assert (shown.created_at, shown.updated_at) == (T0, T0 + timedelta(hours=1))


async def test_simultaneous_creates_of_one_string_give_one_customer(db: Database) -> None:
    attempts = [create(db, "k", f"s{n}") if n % 2 else create(db, None, "k") for n in range(8)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, Customer) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 7
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(CustomerRow)) == 1


async def test_a_subject_key_may_not_be_the_id_of_a_subject(db: Database) -> None:
    await create(db, None, "s")
    async with db.read() as session:
        subject_id = await session.scalar(select(SubjectRow.id))
    assert subject_id
    with pytest.raises(InvalidInput, match="use subject key instead of id"):
        await create(db, None, subject_id)


async def test_currency_is_set_once_asked(db: Database) -> None:
    customer = await create(db, "acme")
    async with db.write() as session:
        assert (await service.set_currency(session, NS, customer.id, "USD")).currency == "USD"
    assert (await stored(db, "acme")).currency == "USD"
    async with db.write() as session:
        with pytest.raises(InvalidInput):
            await service.set_currency(session, NS, customer.id, "CRED")


def refusing(error: DomainError):  # type: ignore[no-untyped-def]
    async def guard(session: WriteSession, *customers: Customer) -> None:
        raise error

    return guard


async def test_guards_decide_about_deletion_and_change(db: Database) -> None:
    customer = await create(db, "acme", "a")
    invoices, entitled = refusing(InvalidInput("invoice open")), refusing(Conflict("entitled"))
    async with db.write() as session:
        with pytest.raises(InvalidInput, match="invoice open"):
            await service.delete(session, NS, customer.id, Guards(deletion=(invoices,)))
    async with db.write() as session:
        with pytest.raises(Conflict, match="invoice open\nentitled"):
            await service.delete(session, NS, customer.id, Guards(deletion=(invoices, entitled)))
    with pytest.raises(Conflict, match="entitled"):
        await update(db, customer, CustomerChanges(name="New", key="x"), Guards(change=(entitled,)))
    assert await stored(db, "acme") == customer


async def test_lists_filter_sort_and_page(db: Database) -> None:
    with clock.frozen(T0) as at:
        for n, name in enumerate(["beta", "alpha_1", "beta", "gamma"]):
            at.at = T0 + timedelta(minutes=n)
            await create(db, f"key{n}", f"sub_{n}", name=name)
    gone = await create(db, "gone", "sub_gone", name="gone")
    await delete(db, gone)

    async def keys(*sorts: Sort, page: PageRequest = FIRST_PAGE, **chosen: object) -> list[str | None]:
        async with db.read() as session:
            given = CustomerFilter(**chosen)  # type: ignore[arg-type]
            found = await service.list_customers(session, NS, given, sorts=sorts or service.BY_NAME, page=page)
            return [customer.key for customer in found.items]

    assert await keys() == ["key1", "key0", "key2", "key3"]
    assert await keys(Sort("created_at", True)) == ["key3", "key2", "key1", "key0"]
    assert await keys(name=contains("BETA")) == ["key0", "key2"]
    assert await keys(Sort("name", True), name=contains("BETA")) == ["key2", "key0"]
    assert await keys(name=contains("_")) == ["key1"]
    assert await keys(subject=equals("sub_2")) == ["key2"]
    assert await keys(subject=equals("key2")) == []
    assert await keys(key=equals("gone")) == []
    assert await keys(key=equals("gone"), include_deleted=True) == ["gone"]
    assert await keys(Sort("id"), page=PageRequest(2, 3)) == ["key3"]
    among = select(CustomerRow.id).where(CustomerRow.key == "key1")
    assert await keys(among=(among,)) == ["key1"]
