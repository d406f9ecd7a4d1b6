"""A small world around charges: one customer, one metered feature, events, and invoices in memory."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from meterhouse.apps.registry import InstalledApps
from meterhouse.billing.charges import repository
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.jobs import due_work
from meterhouse.billing.charges.models import ChargeRow, ChargeRunRow
from meterhouse.billing.charges.service import Charges
from meterhouse.billing.charges.views import Charge
from meterhouse.billing.ports import LineProjection, LineRef
from meterhouse.billing.profiles import Profiles
from meterhouse.catalog import features
from meterhouse.catalog.features import NewFeature
from meterhouse.catalog.prices import FlatPrice, PaymentTerm, Price, SettlementMode, UnitPrice
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import PageRequest
from meterhouse.kernel.periods import Period
from meterhouse.metering import meters
from meterhouse.metering.meter import Aggregation, NewMeter
from meterhouse.metering.usage import UsageRequest

NS = "default"
FEATURE = "tokens"


def at(text: str) -> datetime:
    """`3-1` or `3-1 12:30:00` of 2025, UTC."""
    day, _, time = text.partition(" ")
    month, number = day.split("-")
    hour, minute, second = (time or "0:0:0").split(":")
    return datetime(2025, int(month), int(number), int(hour), int(minute), int(second), tzinfo=UTC)


def between(start: str, end: str) -> Period:
    return Period(at(start), at(end))


MARCH = between("3-1", "4-1")


@dataclass(frozen=True)
class Event:
    time: datetime
    stored_at: datetime
    value: Decimal


class Events:
    """Events in memory, read with the bounds that a usage request names."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def add(self, time: str | datetime, value: str | int | Decimal, *, stored: str | datetime | None = None) -> None:
        moment = at(time) if isinstance(time, str) else time
        stored_at = at(stored) if isinstance(stored, str) else stored or moment
        self.all.append(Event(moment, stored_at, Decimal(value)))

    async def quantities(self, requests: Sequence[UsageRequest]) -> list[Decimal]:
        return [await self.quantity(request) for request in requests]

    async def quantity(self, request: UsageRequest) -> Decimal:
        counted = [
            event.value
            for event in self.all
            if request.period.contains(event.time)
            and (request.stored_before is None or event.stored_at < request.stored_before)
        ]
        if request.meter.aggregation is Aggregation.MAX:
            return max(counted, default=Decimal(0))
        return sum(counted, Decimal(0))


@dataclass
class Line:
    id: str
    charge_id: str
    period: Period
    invoice_at: datetime
    invoice_id: str = "gathering"
    immutable: bool = False
    deleted: bool = False
    in_vain: Period | None = None
    refreshed: int = 0
    projection: LineProjection | None = None


class Book:
    """Invoices in memory: lines are pending until they are moved, and change until they are immutable."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def pending(self, charge_id: str) -> Line | None:
        found = [
            line
            for line in self.lines
            if line.charge_id == charge_id and line.invoice_id == "gathering" and not line.deleted
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def line(self, line_id: str) -> Line:
        return next(line for line in self.lines if line.id == line_id)

    def gathering_lines_together(self, session: WriteSession) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def upsert_gathering_line(
        self, session: WriteSession, *, charge_id: str, period: Period, invoice_at: datetime, **_: Any
    ) -> str:
        line = self.pending(charge_id)
        if line is None:
            line = Line(new_id(), charge_id, period, invoice_at)
            self.lines.append(line)
        line.period, line.invoice_at = period, invoice_at
        return line.id

    async def delete_gathering_line(self, session: WriteSession, *, namespace: str, charge_id: str) -> None:
        line = self.pending(charge_id)
        if line is not None:
            line.deleted = True

    async def delete_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> bool:
        line = self.line(line_id)
        line.deleted = not line.immutable
        return line.deleted

    async def note_end_of_line(
        self, session: WriteSession, *, namespace: str, line_id: str, until: datetime | None
    ) -> None:
        line = self.line(line_id)
        beyond = line.period.clipped(until, None)
        line.in_vain = beyond if line.immutable and not beyond.is_empty() else None

    async def refresh_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> None:
        self.line(line_id).refreshed += 1


class World:
    """Everything a test of charges needs, with time in its hands."""

    def __init__(self, db: Database, time: FrozenClock, *, credits_enabled: bool) -> None:
        self.db, self.time = db, time
        self.events, self.book = Events(), Book()
        self.profiles = Profiles(InstalledApps())
        self.charges = Charges(self.events, self.profiles, credits_enabled=credits_enabled)
        self.charges.connect(self.book)
        self.customer_id = ""

    async def furnish(self, aggregation: Aggregation = Aggregation.SUM) -> None:
        async with self.db.write() as session:
            customer = await customers.create(session, NS, NewCustomer(name="Acme", key="acme"))
            meter = await meters.create(
                session, NS, NewMeter("tokens", "Tokens", "prompt", aggregation, value_property="$.tokens")
            )
            if aggregation is Aggregation.SUM:
                await features.create(session, NS, NewFeature(FEATURE, "Tokens", meter_id=meter.id))
        self.customer_id = customer.id

    def intent(self, price: Price, period: Period = MARCH, **changes: Any) -> ChargeIntent:
        flat = isinstance(price, FlatPrice)
        in_advance = isinstance(price, FlatPrice) and price.payment_term is PaymentTerm.IN_ADVANCE
        base = ChargeIntent(
            namespace=NS,
            customer_id=self.customer_id,
            currency="USD",
            managed_by="subscription",
            settlement_mode=SettlementMode.CREDIT_THEN_INVOICE,
            name="Tokens",
            price=price,
            service_period=period,
            full_service_period=period,
            billing_period=period,
            invoice_at=period.start if in_advance else period.end,
            feature_key=None if flat else FEATURE,
        )
        return replace(base, **changes)

    async def create(self, intent: ChargeIntent, **options: Any) -> Charge:
        async with self.db.write() as session:
            return (await self.charges.create(session, [intent], **options))[0]

    async def advance(self, charge_id: str, when: str | None = None) -> None:
        if when is not None:
            self.time.at = at(when)
        async with self.db.write() as session:
            await self.charges.advance(session, NS, charge_id)

    async def run_due(self, when: str) -> int:
        self.time.at = at(when)
        return await due_work(self.db, self.charges)[0].run_due()

    async def next_due(self) -> datetime | None:
        return await due_work(self.db, self.charges)[0].next_due()

    async def row(self, charge_id: str) -> ChargeRow:
        async with self.db.read() as session:
            row = await repository.by_id(session, charge_id)
            assert row is not None
            return row

    async def runs(self, charge_id: str) -> list[ChargeRunRow]:
        async with self.db.read() as session:
            return await repository.runs_of(session, NS, [charge_id])

    async def run(self, charge_id: str) -> ChargeRunRow:
        (run,) = await self.runs(charge_id)
        return run

    async def listed(self, **options: Any) -> list[Charge]:
        async with self.db.read() as session:
            page = await self.charges.list_charges(session, NS, self.customer_id, PageRequest(), **options)
            return list(page.items)

    async def state(self, charge_id: str) -> tuple[str, datetime | None]:
        row = await self.row(charge_id)
        return row.status, row.advance_after

    def ref(self, line: Line) -> LineRef:
        return LineRef(
            NS, self.customer_id, "USD", line.invoice_id, line.id, line.charge_id, line.period, line.invoice_at
        )

    async def invoice(self, charge_id: str, until: str | None = None) -> Line:
        """Move the pending line, or its part up to `until`, to a draft."""
        line = self.book.pending(charge_id)
        assert line is not None
        cut = line.period.end if until is None else min(at(until), line.period.end)
        rest = Period(cut, line.period.end)
        moved = Line(line.id, charge_id, Period(line.period.start, cut), line.invoice_at, invoice_id=new_id())
        async with self.db.write() as session:
            moved.projection = await self.charges.invoice_created(session, self.ref(moved))
        self.book.lines.remove(line)
        self.book.lines.append(moved)
        if not rest.is_empty():
            self.book.lines.append(Line(new_id(), charge_id, rest, line.invoice_at))
        return moved

    async def collect(self, line: Line) -> LineProjection:
        async with self.db.write() as session:
            line.projection = await self.charges.collection_completed(session, self.ref(line))
            return line.projection

    async def issue(self, line: Line) -> None:
        line.immutable = True
        async with self.db.write() as session:
            await self.charges.invoice_issued(session, self.ref(line))

    async def pay(self, line: Line) -> None:
        async with self.db.write() as session:
            await self.charges.payment_settled(session, self.ref(line))

    async def bill(self, charge_id: str, until: str | None = None) -> Line:
        """Invoice, collect and issue."""
        line = await self.invoice(charge_id, until)
        await self.collect(line)
        await self.issue(line)
        return line

    async def change_end(self, charge_id: str, end: str, *, invoice_at: str | None = None) -> None:
        async with self.db.write() as session:
            await self.charges.change_periods(
                session,
                NS,
                charge_id,
                service_end=at(end),
                full_service_end=at(end),
                billing_end=at(end),
                invoice_at=at(invoice_at or end),
            )

    async def delete(self, charge_id: str) -> None:
        async with self.db.write() as session:
            await self.charges.delete(session, NS, charge_id)

    async def remove(self, line: Line, *, by_user: bool) -> None:
        async with self.db.write() as session:
            await self.charges.line_removed(session, self.ref(line), by_user=by_user)


def unit(amount: str, **limits: str) -> UnitPrice:
    return UnitPrice(amount=Decimal(amount), **{name: Decimal(value) for name, value in limits.items()})


def flat(amount: str, term: PaymentTerm = PaymentTerm.IN_ADVANCE) -> FlatPrice:
    return FlatPrice(amount=Decimal(amount), payment_term=term)
