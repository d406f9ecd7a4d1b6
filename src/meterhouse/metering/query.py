"""Meter queries: a meter applied to the raw events (metering sections 8 to 10).

Most answers come out of one statement. It reads slots alone and leaves no event out, and says itself whether that was
right: whether it met a row without slots, and whether any event of the type was ever voided. Only then it is asked
again, in a form that is right in any case.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from operator import itemgetter

from meterhouse.kernel.errors import InvalidInput
from meterhouse.metering import answer, sql, statement
from meterhouse.metering.answer import UsageRow
from meterhouse.metering.clickhouse import ClickHouse, Row
from meterhouse.metering.meter import Meter, SlotKind
from meterhouse.metering.question import CUSTOMER, SUBJECT, MeterQuery, Window
from meterhouse.metering.sql import Bound
from meterhouse.metering.statement import Distinct, Form, Select, Usage

__all__ = ["CUSTOMER", "DEFAULT_MAX_ROWS", "SUBJECT", "MeterQueries", "MeterQuery", "UsageRow", "Window"]

# Rows of one answer: each is a few hundred bytes of JSON, and all of them are held in memory at once.
DEFAULT_MAX_ROWS = 100_000
# Totals of one statement: the engine plans them one after the other, and bounds the size of what it plans.
TOTALS_AT_ONCE = 32


class MeterQueries:
    """Answers meter queries from ClickHouse. Events that are voided do not count in any of them.

    Args:
        max_rows: rows that one answer may have.
    """

    def __init__(self, clickhouse: ClickHouse, *, max_rows: int = DEFAULT_MAX_ROWS) -> None:
        self._clickhouse = clickhouse
        self._max_rows = max_rows
        # Namespaces and types that have voids. Records of voids are only ever added, so this never becomes untrue.
        self._with_voids: set[tuple[str, str]] = set()

    async def usage(self, query: MeterQuery, *, mark: str | None = None) -> list[UsageRow]:
        """Return the rows of the answer in their fixed order (section 10.7).

        Args:
            mark: an id under which `rows_read` finds the query while it runs.

        Raises:
            InvalidInput: there are more rows than one answer may have, or the meter lacks a dimension of the query.
        """
        (rows,) = await self._ask([Usage(query)], mark)
        if len(rows) > self._max_rows:
            raise InvalidInput(
                f"the answer would have more than {self._max_rows} rows; ask for a shorter range, larger windows or "
                "fewer groups"
            )
        return answer.rows(query, rows)

    async def totals(self, queries: Sequence[MeterQuery]) -> list[Decimal | None]:
        """Return the one value of each of the queries, out of as few statements as it takes; None where there is none.

        Args:
            queries: without windows, and split by nothing of which there is more than one.
        """
        totals: list[Decimal | None] = []
        for start in range(0, len(queries), TOTALS_AT_ONCE):
            asked = queries[start : start + TOTALS_AT_ONCE]
            found = await self._ask([Usage(query) for query in asked])
            for query, rows in zip(asked, found, strict=True):
                totals.append(answer.number(query, *rows[0][:2]) if rows else None)
        return totals

    async def _ask(self, selects: Sequence[Select], mark: str | None = None) -> list[list[Row]]:
        """Return the rows of each select without its checks, each in the cheapest form that turns out right.

        One row more than allowed tells that there are too many.
        """
        forms = [self._first_form(select) for select in selects]
        found: list[list[Row]] = [[] for _ in selects]
        pending = list(range(len(selects)))
        while pending:
            bound = Bound()
            texts = [selects[place].text(place, forms[place], bound) for place in pending]
            asked = " UNION ALL ".join(f"{text} LIMIT {self._max_rows + 1}" for text in texts)
            rows = await self._clickhouse.query(
                asked + (f" SETTINGS log_comment = '{mark}'" if mark else ""), bound.parameters
            )
            again = []
            for place in pending:
                found[place] = [row for row in rows if row[0] == place]
                needed = self._needed_form(selects[place], forms[place], found[place])
                if needed != forms[place]:
                    again.append(place)
                forms[place] = needed
            pending = again
        return [[row[3:] for row in rows] for rows in found]

    def _first_form(self, select: Select) -> Form:
        form = select.cheapest()
        return replace(form, all_count=False) if select.scope in self._with_voids else form

    def _needed_form(self, select: Select, form: Form, rows: Sequence[Row]) -> Form:
        """Return the form in which the answer is right: the same if it was. An empty answer always was."""
        # Beyond the limit any row may hide: then the message must not come from empty slots.
        if any(map(itemgetter(1), rows)) or len(rows) > self._max_rows:
            form = replace(form, slots_only=False)
        if rows and rows[0][2]:
            self._with_voids.add(select.scope)
            form = replace(form, all_count=False)
        return form

    async def count(self, query: MeterQuery) -> int:
        """Return how many events are in question, whatever the filters on dimensions say."""
        bound = Bound()
        where = " AND ".join(statement.in_question(query, bound))
        ((found,),) = await self._clickhouse.query(f"SELECT count() FROM om_events WHERE {where}", bound.parameters)
        return int(found)

    async def rows_read(self, mark: str) -> int:
        """Return how many rows a running query has read; 0 when none runs under this mark."""
        bound = Bound()
        rows = await self._clickhouse.query(
            f"SELECT sum(read_rows) FROM system.processes WHERE Settings['log_comment'] = {bound.text(mark)}",
            bound.parameters,
        )
        return int(rows[0][0])

    async def subjects(self, meter: Meter, start: datetime | None, end: datetime | None) -> list[str]:
        """Return the different subjects with events of the meter's type, ascending (section 12.6)."""
        return await self._distinct(Distinct(MeterQuery(meter, start, end), None))

    async def dimension_values(
        self, meter: Meter, dimension: str, start: datetime | None, end: datetime | None
    ) -> list[str]:
        """Return the different texts of a dimension, ascending; "" for events without it (section 12.6)."""
        value = sql.locate(meter.slots, SlotKind.DIMENSION, meter.group_by[dimension])
        return await self._distinct(Distinct(MeterQuery(meter, start, end), value))

    async def _distinct(self, select: Distinct) -> list[str]:
        (rows,) = await self._ask([select])
        if len(rows) > self._max_rows:
            raise InvalidInput(f"there are more than {self._max_rows} different values; ask for a shorter range")
        return [found for (found,) in rows]
