"""Invoices on a real database, with a line engine that keeps its charges in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meterhouse.apps.registry import InstalledApps
from meterhouse.apps.sandbox import SandboxApp
from meterhouse.billing.collection import Collection
from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.ports import (
    Billability,
    LineOrigin,
    LineProjection,
    LineRef,
    NotBillable,
    SubscriptionReference,
)
from meterhouse.billing.profiles import Profile, Profiles, repository
from meterhouse.billing.profiles.mapping import columns_of
from meterhouse.billing.rating.results import DetailedLine, Totals
from meterhouse.catalog.prices import Discounts, FlatPrice, Price, UnitPrice
from meterhouse.customers import service as customers
from meterhouse.customers.service import Customer, NewCustomer
from meterhouse.kernel.db import Database, ReadSession, WriteSession
from meterhouse.kernel.errors import DomainError
from meterhouse.kernel.periods import Duration, Period

NS = "default"
HOUR = Duration(hours=1)
MINUTE = Duration(minutes=1)


def at(text: str) -> datetime:
    """Read an instant of 2025: `03-01T00:05:12`."""
    return datetime.fromisoformat(f"2025-{text}").replace(tzinfo=UTC)


@dataclass
class Charge:
    """A flat fee, or usage at a price per unit with `usage` units in the whole period."""

    id: str
    price: Price
    end: datetime
    name: str = "Tokens"
    usage: Decimal = Decimal(0)
    subscription: SubscriptionReference | None = None
    open_run: str | None = None
    billed: int = 0
    fails: dict[str, DomainError] = field(default_factory=dict)

    @property
    def is_flat(self) -> bool:
        return isinstance(self.price, FlatPrice)


class MemoryEngine:
    """A line engine with the rules of charges, without ledger and meters. `calls` lists what was asked of it."""

    def __init__(self) -> None:
        self.charges: dict[str, Charge] = {}
        self.calls: list[tuple[str, str]] = []

    def add(self, charge: Charge) -> Charge:
        self.charges[charge.id] = charge
        return charge

    def _note(self, call: str, line: LineRef) -> Charge:
        charge = self.charges[line.charge_id]
        if call in charge.fails:
            raise charge.fails[call]
        self.calls.append((call, line.line_id))
        return charge

    async def billability(
        self, session: ReadSession, line: LineRef, *, as_of: datetime, progressive: bool
    ) -> Billability:
        charge = self._note("billability", line)
        if charge.is_flat:
            due = line.invoice_at <= as_of
            return (
                Billability(line.period)
                if due
                else Billability(None, NotBillable.INVOICE_AT_IN_FUTURE, line.invoice_at)
            )
        if charge.open_run is not None:
            return Billability(None, NotBillable.DRAFT_INVOICE_OPEN)
        if progressive and as_of > line.period.start:
            return Billability(Period(line.period.start, min(as_of, line.period.end)))
        if as_of >= max(line.period.end, line.invoice_at):
            return Billability(line.period)
        reason = NotBillable.PERIOD_NOT_OVER if progressive else NotBillable.PROGRESSIVE_BILLING_DISABLED
        return Billability(None, reason, max(line.period.end, line.invoice_at))

    async def origin(self, session: ReadSession, charge_id: str) -> LineOrigin:
        charge = self.charges[charge_id]
        return LineOrigin(
            charge_id=charge.id,
            engine="charge_flatfee" if charge.is_flat else "charge_usagebased",
            name=charge.name,
            description=None,
            metadata={},
            managed_by="subscription" if charge.subscription else "manual",
            price=charge.price,
            feature_key=None if charge.is_flat else "tokens",
            discounts=Discounts(),
            unit_conversion=None,
            tax_config=None,
            subscription=charge.subscription,
            unique_reference_id=None,
        )

    def _project(self, charge: Charge, line: LineRef, run_id: str | None) -> LineProjection:
        quantity = Decimal(1) if isinstance(charge.price, FlatPrice) else charge.usage
        unit = charge.price.amount if isinstance(charge.price, FlatPrice | UnitPrice) else Decimal(0)
        totals = Totals(amount=quantity * unit, total=quantity * unit)
        detail = DetailedLine(child_ref="x", name=charge.name, quantity=quantity, unit_amount=unit, totals=totals)
        interval = HOUR if line.period.end == charge.end else Duration()
        return LineProjection(
            run_id=run_id,
            period=line.period,
            quantity=quantity,
            pre_line_quantity=None,
            metered_quantity=None if charge.is_flat else quantity,
            metered_pre_line_quantity=None,
            usage_discount=None,
            details=[detail],
            totals=totals,
            collection_closes_at=None if charge.is_flat else (interval + MINUTE).add_to(line.period.end),
        )

    async def preview(self, session: ReadSession, line: LineRef) -> LineProjection:
        return self._project(self._note("preview", line), line, None)

    async def invoice_created(self, session: WriteSession, line: LineRef) -> LineProjection:
        charge = self._note("invoice_created", line)
        if charge.open_run is not None:
            raise BillingError("active_realization_run_already_exists", "a run is open")
        charge.open_run = line.line_id
        charge.billed += 1
        return self._project(charge, line, f"{charge.id}-run-{charge.billed}")

    async def collection_completed(self, session: WriteSession, line: LineRef) -> LineProjection:
        charge = self._note("collection_completed", line)
        return self._project(charge, line, f"{charge.id}-run-{charge.billed}")

    async def projection(self, session: ReadSession, line: LineRef) -> LineProjection:
        charge = self._note("projection", line)
        return self._project(charge, line, f"{charge.id}-run-{charge.billed}")

    async def invoice_issued(self, session: WriteSession, line: LineRef) -> None:
        self._note("invoice_issued", line).open_run = None

    async def payment_authorized(self, session: WriteSession, line: LineRef) -> None:
        self._note("payment_authorized", line)

    async def payment_settled(self, session: WriteSession, line: LineRef) -> None:
        self._note("payment_settled", line)

    async def line_removed(self, session: WriteSession, line: LineRef, *, by_user: bool) -> None:
        self._note("line_removed", line).open_run = None


@dataclass
class World:
    """Everything a test of invoices needs."""

    db: Database
    engine: MemoryEngine
    invoices: Invoices
    profiles: Profiles
    collection: Collection
    customer: Customer

    async def pend(self, charge: Charge, period: Period, invoice_at: datetime, currency: str = "USD") -> str:
        """Put a charge on the customer's gathering invoice; return the line's id."""
        self.engine.add(charge)
        async with self.db.write() as session:
            return await self.invoices.upsert_gathering_line(
                session,
                namespace=NS,
                customer_id=self.customer.id,
                currency=currency,
                charge_id=charge.id,
                period=period,
                invoice_at=invoice_at,
            )

    async def flat(self, id: str, amount: str, invoice_at: datetime, currency: str = "USD") -> str:
        """Pend a flat fee of a month."""
        end = Duration(months=1).add_to(invoice_at)
        charge = Charge(id, FlatPrice(amount=Decimal(amount)), end, name=f"Fee {id}")
        return await self.pend(charge, Period(invoice_at, end), invoice_at, currency)

    async def usage(self, id: str, start: datetime, end: datetime, quantity: str = "1250") -> str:
        """Pend usage at 0.02 per unit, due at the end of its period."""
        charge = Charge(id, UnitPrice(amount=Decimal("0.02")), end, usage=Decimal(quantity))
        return await self.pend(charge, Period(start, end), end)

    async def adjust_workflow(self, **changes: object) -> None:
        """Change the workflow of the default profile."""
        async with self.db.write() as session:
            profile = await self.profiles.default(session, NS)
            changed = replace(profile.workflow, **changes)  # type: ignore[arg-type]
            await _store(session, replace(profile, workflow=changed))


async def _store(session: WriteSession, profile: Profile) -> None:
    row = await repository.default(session, NS)
    for name, value in columns_of(profile).items():
        setattr(row, name, value)
    await session.flush()


@pytest.fixture
def build_world(db: Database) -> Callable[[Customer], World]:
    """Give a builder of the world around a customer."""

    def build(customer: Customer) -> World:
        engine, registry = MemoryEngine(), InstalledApps()
        profiles = Profiles(registry)
        invoices = Invoices(engine, profiles, registry, {"sandbox": SandboxApp()})
        return World(db, engine, invoices, profiles, Collection(db, invoices), customer)

    return build


@pytest.fixture
async def world(db: Database, build_world: Callable[[Customer], World]) -> World:
    """Give a customer `Acme Rockets` and invoices around an in-memory engine."""
    async with db.write() as session:
        customer = await customers.create(session, NS, NewCustomer(name="Acme Rockets", key="acme", currency="USD"))
    return build_world(customer)
