"""Bringing everybody's prices up to date with a price list (catalog-extras section 4.5).

A price that changes is closed and a new one opened, so that what a model cost earlier stays known.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from importlib import resources

from meterhouse.catalog.llmcost import repository
from meterhouse.catalog.llmcost.models import LLMPriceRow
from meterhouse.catalog.llmcost.price import Pricing, pricing_of
from meterhouse.catalog.llmcost.quotes import Quote, read
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.locks import lock

SHIPPED = "prices.yaml"


class Kind(StrEnum):
    """What becomes of a model's price."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a model's price: `before` is None for a model that had none."""

    kind: Kind
    quote: Quote
    before: Pricing | None
    effective_from: datetime


def shipped() -> list[Quote]:
    """Return the price list that comes with this package."""
    text = resources.files(__package__).joinpath(SHIPPED).read_text(encoding="utf-8")
    return read(text, origin=SHIPPED)


async def provision(session: WriteSession) -> int:
    """Add the shipped prices of models that have none; tell how many."""
    await _hold(session)
    now = clock.now()
    known = await _known(session, now)
    missing = [quote for quote in shipped() if quote.key not in known]
    session.add_all(_row(quote, quote.effective_from or now, None) for quote in missing)
    await session.flush()
    return len(missing)


async def refresh(session: WriteSession, quotes: Sequence[Quote], *, dry_run: bool = False) -> list[Change]:
    """Make everybody's prices those of the quotes, and tell what becomes of each; a dry run changes nothing.

    A quote without a date holds from now on. It holds until a later price that is known already: a list of today's
    prices does not speak of tomorrow's. A model that no quote names keeps its price.
    """
    await _hold(session)
    now = clock.now()
    known = await _known(session, now)
    plans = [_planned(quote, known.get(quote.key, []), now) for quote in quotes]
    if not dry_run:
        opened = [row for plan in plans if (row := _carried_out(plan)) is not None]
        # What ends must be written before what begins: a model has one price without an end.
        await session.flush()
        session.add_all(opened)
        await session.flush()
    return [plan.change for plan in plans]


async def _hold(session: WriteSession) -> None:
    await lock(session, "catalog", "llm_prices")


async def _known(session: WriteSession, now: datetime) -> dict[tuple[str, str], list[LLMPriceRow]]:
    """Return the prices that hold now or later by model, in order of time."""
    found: defaultdict[tuple[str, str], list[LLMPriceRow]] = defaultdict(list)
    for row in await repository.not_over(session, now):
        found[row.provider_key, row.model_key].append(row)
    return found


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of a model's price, and the row that holds when it does, with the end of what begins."""

    change: Change
    row: LLMPriceRow | None
    until: datetime | None


def _planned(quote: Quote, rows: Sequence[LLMPriceRow], now: datetime) -> _Plan:
    start = quote.effective_from or now
    at = start
    if rows and start <= rows[0].effective_from:
        # A list that gives the old date to another price corrects it from now on: the past was costed with the old one.
        at = max(start, now)
    row = next((one for one in rows if one.effective_from <= at and _holds_after(one, at)), None)
    if row is None:
        until = next((one.effective_from for one in rows if one.effective_from > at), None)
        return _Plan(Change(Kind.NEW, quote, None, at), None, until)
    before = pricing_of(row)
    if before == quote.pricing:
        return _Plan(Change(Kind.UNCHANGED, quote, before, row.effective_from), row, row.effective_to)
    return _Plan(Change(Kind.CHANGED, quote, before, at), row, row.effective_to)


def _holds_after(row: LLMPriceRow, at: datetime) -> bool:
    return row.effective_to is None or row.effective_to > at


def _carried_out(plan: _Plan) -> LLMPriceRow | None:
    """End what changes, or change it where it never was in force; return what begins."""
    change, row = plan.change, plan.row
    if row is None:
        return _row(change.quote, change.effective_from, plan.until)
    if change.kind is Kind.CHANGED and change.effective_from > row.effective_from:
        row.effective_to = change.effective_from
        return _row(change.quote, change.effective_from, plan.until)
    row.provider, row.model_id, row.model_name = change.quote.provider, change.quote.model, change.quote.name
    for name, price in change.quote.pricing.members():
        setattr(row, name, price)
    return None


def _row(quote: Quote, effective_from: datetime, effective_to: datetime | None) -> LLMPriceRow:
    provider_key, model_key = quote.key
    return LLMPriceRow(
        id=new_id(),
        namespace=None,
        provider=quote.provider,
        provider_key=provider_key,
        model_id=quote.model,
        model_key=model_key,
        model_name=quote.name,
        **asdict(quote.pricing),
        currency="USD",
        effective_from=effective_from,
        effective_to=effective_to,
    )
