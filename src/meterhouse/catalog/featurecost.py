"""What the usage of a feature cost the seller (catalog-extras section 5)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Context, Decimal
from enum import StrEnum
from itertools import pairwise

from meterhouse.catalog import llmcost
from meterhouse.catalog.features import Feature
from meterhouse.catalog.llmcost import LLMPrice
from meterhouse.catalog.unitcost import LLMUnitCost, ManualUnitCost, TokenType
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database, ReadSession
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.money import ZERO
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.meter import Aggregation
from meterhouse.metering.query import CUSTOMER, SUBJECT, MeterQueries, MeterQuery, UsageRow

USD = "USD"  # the currency of manual unit costs, and of rows that nothing tells the price of

# Wide enough for the products and sums of stored numbers and prices: costs are not rounded.
_EXACT = Context(prec=1000)

Model = tuple[str, str]

# How often prices may change within one question by the time of usage: each change is a query of its own.
MAX_PRICE_CHANGES = 100
# How many reasons one row tells: events can name any number of models that have no price.
MAX_DETAILS = 20
# What of usage adds up over parts of its range.
_ADDITIVE = frozenset({Aggregation.SUM, Aggregation.COUNT})


class PriceTime(StrEnum):
    """Which prices of models count: those of now, or those that held when the usage happened."""

    NOW = "now"
    USAGE = "usage"


@dataclass(frozen=True, slots=True)
class CostRow:
    """One line of an answer.

    Attributes:
        cost: exact, not rounded; None when no part of the usage has a price.
        detail: why some of the usage has no price.
        start, end: the window, or the whole range.
        dimensions: what the answer is split by, without what the events lack.
    """

    usage: Decimal
    cost: Decimal | None
    currency: str
    detail: str | None
    start: datetime
    end: datetime
    dimensions: Mapping[str, str]


# --- the price of a row -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Charge:
    """The price of one unit of a row, or why there is none."""

    price: Decimal | None
    currency: str = USD
    detail: str | None = None


def _facts(unit_cost: LLMUnitCost, groups: Mapping[str, str | None]) -> dict[str, str]:
    """Return provider, model and token type of a row; what the events lack is empty."""
    return {
        name: (fixed or (groups.get(dimension) if dimension else None) or "").strip()
        for name, (fixed, dimension) in unit_cost.sources().items()
    }


def _model(unit_cost: LLMUnitCost, groups: Mapping[str, str | None]) -> Model | None:
    facts = _facts(unit_cost, groups)
    return (facts["provider"], facts["model"]) if facts["provider"] and facts["model"] else None


def _charge(
    unit_cost: ManualUnitCost | LLMUnitCost, groups: Mapping[str, str | None], prices: Mapping[Model, LLMPrice]
) -> Charge:
    if isinstance(unit_cost, ManualUnitCost):
        return Charge(unit_cost.amount)
    facts = _facts(unit_cost, groups)
    lacking = [name for name, fact in facts.items() if not fact]
    if lacking:
        return Charge(None, detail=f"events without {' and '.join(lacking)}")
    provider, model, named = facts.values()
    if named.lower() not in TokenType.__members__.values():
        return Charge(None, detail=f"unknown token type: {named}")
    found = prices.get((provider, model))
    if found is None:
        return Charge(None, detail=f"no price for {provider}/{model}")
    price = found.pricing.of(TokenType(named.lower()))
    if price is None:
        return Charge(None, found.currency, f"no {named.lower()} price for {provider}/{model}")
    return Charge(price, found.currency)


# --- rows of the answer -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sum:
    start: datetime
    end: datetime
    dimensions: Mapping[str, str]
    usage: Decimal = ZERO
    cost: Decimal | None = None
    details: dict[str, None] = field(default_factory=dict)  # a set that keeps its order

    def add(self, row: UsageRow, charge: Charge) -> None:
        self.start, self.end = min(self.start, row.start), max(self.end, row.end)
        self.usage = _EXACT.add(self.usage, row.value)
        if charge.price is not None:
            self.cost = _EXACT.add(self.cost or ZERO, _EXACT.multiply(row.value, charge.price))
        if charge.detail is not None:
            self.details[charge.detail] = None

    def detail(self) -> str | None:
        named, more = list(self.details)[:MAX_DETAILS], len(self.details) - MAX_DETAILS
        return "; ".join([*named, *([f"and {more} more"] if more > 0 else [])]) or None


def merged(query: MeterQuery, charged: Iterable[tuple[UsageRow, Charge]]) -> list[CostRow]:
    """Add up rows that differ only in what the caller did not ask to split by, the most expensive first.

    Costs in different currencies do not add up: each currency has a row of its own.
    """
    sums: dict[tuple[object, ...], _Sum] = {}
    for row, charge in charged:
        split = {SUBJECT: row.subject, CUSTOMER: row.customer_id, **row.groups}
        shown = {name: text for name in query.groups() if (text := split[name]) is not None}
        # Without windows the ends of a row's range may be those of its own events.
        window = row.start if query.window else None
        key = (window, charge.currency, *shown.items())
        sums.setdefault(key, _Sum(row.start, row.end, shown)).add(row, charge)
    start, end = (None, None) if query.window else (query.start, query.end)
    rows = [
        CostRow(
            one.usage,
            one.cost,
            str(key[1]),
            one.detail(),
            start or one.start,
            end or one.end,
            one.dimensions,
        )
        for key, one in sums.items()
    ]
    return sorted(rows, key=_order)


def _order(row: CostRow) -> tuple[bool, Decimal, datetime, list[tuple[str, str]]]:
    return row.cost is None, (row.cost or ZERO).copy_negate(), row.start, sorted(row.dimensions.items())


# --- the question -----------------------------------------------------------------------------------------------------


async def cost(
    db: Database,
    queries: MeterQueries,
    namespace: str,
    feature: Feature,
    query: MeterQuery,
    *,
    prices_of: PriceTime = PriceTime.NOW,
) -> list[CostRow]:
    """Price the usage of a feature, the most expensive first.

    The conditions of the query and those of the feature must both hold. Prices are read after the usage, so that no
    transaction waits for the usage.

    Raises:
        InvalidInput: the answer would be too large, the meter has lost a dimension that is needed, or usage cannot be
            priced by its time: its parts do not add up, or prices changed too often meanwhile.
    """
    unit_cost = feature.unit_cost
    assert unit_cost is not None
    pricer = _Pricer(db, queries, namespace, unit_cost)
    asked = _with_facts(query, feature, unit_cost)
    if prices_of is PriceTime.NOW or isinstance(unit_cost, ManualUnitCost):
        return merged(query, await pricer.charged(asked, clock.now()))
    if asked.meter.aggregation not in _ADDITIVE:
        raise invalid(f"usage by {asked.meter.aggregation} cannot be priced by its time", field="$.prices_of")
    rows = await queries.usage(asked)
    if not rows:
        return []
    start, end = query.start or min(row.start for row in rows), query.end or max(row.end for row in rows)
    parts = await pricer.parts(replace(asked, start=start, end=end), rows)
    # A part lies between two changes of prices, so what holds at its start holds all along.
    charged = [one for part in parts for one in await pricer.charged(part, part.start or start)]
    return merged(replace(query, start=start, end=end), charged)


@dataclass(frozen=True, slots=True)
class _Pricer:
    """Asks for the usage of one feature, and for its prices."""

    db: Database
    queries: MeterQueries
    namespace: str
    unit_cost: ManualUnitCost | LLMUnitCost

    async def charged(self, query: MeterQuery, at: datetime) -> list[tuple[UsageRow, Charge]]:
        """Return the rows of an answer, each with its price at an instant."""
        rows = await self.queries.usage(query)
        prices: Mapping[Model, LLMPrice] = {}
        if isinstance(self.unit_cost, LLMUnitCost):
            async with self.db.read() as session:
                prices = await llmcost.resolve(session, self.namespace, _models(self.unit_cost, rows), at)
        return [(row, _charge(self.unit_cost, row.groups, prices)) for row in rows]

    async def parts(self, query: MeterQuery, rows: Iterable[UsageRow]) -> list[MeterQuery]:
        """Divide a query with these rows where prices of their models change."""
        assert isinstance(self.unit_cost, LLMUnitCost)
        models = _models(self.unit_cost, rows)
        async with self.db.read() as session:
            changes = await llmcost.changes(session, self.namespace, models, query.start, query.end)
        if len(changes) > MAX_PRICE_CHANGES:
            message = f"prices changed more than {MAX_PRICE_CHANGES} times; ask for a shorter range"
            raise invalid(message, field="$.prices_of")
        return [replace(query, start=start, end=end) for start, end in pairwise([query.start, *changes, query.end])]


def _models(unit_cost: LLMUnitCost, rows: Iterable[UsageRow]) -> set[Model]:
    return {model for row in rows if (model := _model(unit_cost, row.groups)) is not None}


def check_costed(feature: Feature) -> str:
    """Return the id of the feature's meter.

    Raises:
        InvalidInput: the feature has no meter or no unit cost.
    """
    if feature.meter_id is None:
        raise invalid(f"feature {feature.key} has no meter", code="feature_has_no_meter")
    if feature.unit_cost is None:
        raise invalid(f"feature {feature.key} has no unit cost", code="feature_has_no_unit_cost")
    return feature.meter_id


def _with_facts(query: MeterQuery, feature: Feature, unit_cost: ManualUnitCost | LLMUnitCost) -> MeterQuery:
    """Return what to ask the meter: with the feature's filters, split by what its prices depend on."""
    filters = dict(query.filters)
    for name, condition in feature.meter_filters.items():
        both = [condition, filters[name]] if name in filters else [condition]
        filters[name] = both[0] if len(both) == 1 else Filter(Operator.AND, filters=tuple(both))
    return replace(query, filters=filters, group_by=tuple(dict.fromkeys([*query.group_by, *unit_cost.dimensions()])))


# --- the price of a feature -------------------------------------------------------------------------------------------


async def pricing(session: ReadSession, namespace: str, feature: Feature) -> LLMPrice | None:
    """Return the price in USD of the feature's model now, where the unit cost or a filter names one."""
    named = _named_model(feature)
    if named is None:
        return None
    price = (await llmcost.resolve(session, namespace, [named], clock.now())).get(named)
    return price if price is not None and price.currency == USD else None


def _named_model(feature: Feature) -> Model | None:
    if not isinstance(feature.unit_cost, LLMUnitCost):
        return None
    equalities = {
        name: condition.value for name, condition in feature.meter_filters.items() if condition.operator is Operator.EQ
    }
    return _model(feature.unit_cost, equalities)
