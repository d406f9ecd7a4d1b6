"""Bringing everybody's prices up to date with a price list (catalog-extras section 4.5).

A price that changes is closed and a new one opened, so that what a model cost earlier stays known.
"""

from collections.abc import Iterator, Sequence
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
    present = await _present(session)
    missing = [quote for quote in shipped() if (quote.provider, quote.model) not in present]
    now = clock.now()
    session.add_all(_row(quote, quote.effective_from or now) for quote in missing)
    await session.flush()
    return len(missing)


async def refresh(session: WriteSession, quotes: Sequence[Quote], *, dry_run: bool = False) -> list[Change]:
    """Make everybody's prices those of the quotes, and tell what becomes of each; a dry run changes nothing.

    A model that no quote names keeps its price.
    """
    await _hold(session)
    present = await _present(session)
    changes = [_change(quote, present.get((quote.provider, quote.model)), clock.now()) for quote in quotes]
    if dry_run:
        return changes
    opened = list(_closed(changes, present))
    # What ends must be written before what begins: a model has one price without an end.
    await session.flush()
    session.add_all(opened)
    await session.flush()
    return changes


async def _hold(session: WriteSession) -> None:
    await lock(session, "catalog", "llm_prices")


async def _present(session: WriteSession) -> dict[tuple[str, str], LLMPriceRow]:
    return {(row.provider_key, row.model_key): row for row in await repository.open_ended(session)}


def _change(quote: Quote, row: LLMPriceRow | None, now: datetime) -> Change:
    start = quote.effective_from or now
    if row is None:
        return Change(Kind.NEW, quote, None, start)
    before = pricing_of(row)
    if before == quote.pricing:
        return Change(Kind.UNCHANGED, quote, before, row.effective_from)
    # A list that gives the old date to another price corrects it from now on: the past was costed with the old one.
    return Change(Kind.CHANGED, quote, before, start if start > row.effective_from else max(now, row.effective_from))


def _closed(changes: Sequence[Change], present: dict[tuple[str, str], LLMPriceRow]) -> Iterator[LLMPriceRow]:
    """End what changes, and return what begins."""
    for change in changes:
        row = present.get((change.quote.provider, change.quote.model))
        if row is not None and change.kind is Kind.UNCHANGED:
            row.model_name = change.quote.name
        elif row is not None and change.effective_from == row.effective_from:
            # It never was in force.
            for name, price in change.quote.pricing.members():
                setattr(row, name, price)
        else:
            if row is not None:
                row.effective_to = change.effective_from
            yield _row(change.quote, change.effective_from)


def _row(quote: Quote, effective_from: datetime) -> LLMPriceRow:
    return LLMPriceRow(
        id=new_id(),
        namespace=None,
        provider=quote.provider,
        provider_key=quote.provider,
        model_id=quote.model,
        model_key=quote.model,
        model_name=quote.name,
        **asdict(quote.pricing),
        currency="USD",
        effective_from=effective_from,
        effective_to=None,
    )
