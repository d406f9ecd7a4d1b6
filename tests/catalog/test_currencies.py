"""Fiat and custom currencies, and what custom ones are worth (catalog-extras sections 2 and 3)."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meterhouse.catalog import currencies
from meterhouse.catalog.currencies import CurrencyQuery, CurrencyType, CustomCurrency, NewCostBasis, NewCurrency
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort, contains
from meterhouse.kernel.db import Database, WriteSession
from meterhouse.kernel.errors import Conflict, InvalidInput, NotFound
from meterhouse.kernel.fiat import FIAT
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import PageRequest
from tests.catalog.conftest import NS


def at(month: int, day: int = 1) -> datetime:
    """Return a day of 2032."""
    return datetime(2032, month, day, tzinfo=UTC)


async def custom(session: WriteSession, code: str = "CREDITS", namespace: str = NS) -> CustomCurrency:
    """Make a custom currency."""
    return await currencies.create(session, namespace, NewCurrency(code, code.title(), 2, ".", ",", "⚡"))


async def worth(session: WriteSession, currency: CustomCurrency, rate: str, start: datetime | None = None) -> None:
    """Say what a custom currency is worth in dollars."""
    await currencies.create_cost_basis(session, NS, currency.id, NewCostBasis("USD", Decimal(rate), start))


async def bases(session: WriteSession, currency: CustomCurrency) -> list[tuple[str, datetime, datetime | None]]:
    """Return the cost bases, the first to begin first."""
    found = await currencies.list_cost_bases(session, NS, currency.id, PageRequest())
    assert found.total_count == len(found.items)
    return [(str(one.rate), one.effective_from, one.effective_to) for one in reversed(found.items)]


def test_the_table_of_fiat_currencies() -> None:
    assert len(FIAT) == 171
    assert list(FIAT) == sorted(FIAT)
    digits = {code: FIAT[code].digits for code in ("USD", "JPY", "HUF", "KWD", "CLF", "MGA", "MRU")}
    assert digits == {"USD": 2, "JPY": 0, "HUF": 0, "KWD": 3, "CLF": 4, "MGA": 5, "MRU": 5}
    marks = {code: FIAT[code].decimal_mark + FIAT[code].thousand_separator for code in ("USD", "EUR", "SEK", "CHF")}
    assert marks == {"USD": ".,", "EUR": ",.", "SEK": ", ", "CHF": ".'"}
    assert {code for code, one in FIAT.items() if one.symbol is None} >= {"XTS", "XPT"}
    assert not {"BTC", "CNH", "GBX", "XXX"} & FIAT.keys()


@pytest.mark.parametrize(
    ("code", "precision", "field"),
    [
        ("ABC", 2, "$.code"),
        ("C" * 25, 2, "$.code"),
        (" CREDITS", 2, "$.code"),
        ("CREDITS ", 2, "$.code"),
        ("CRE|DITS", 2, "$.code"),
        ("USDC", 2, "$.code"),
        ("CREDITS", 13, "$.precision"),
        ("CREDITS", -1, "$.precision"),
    ],
)
async def test_what_no_custom_currency_can_be(db: Database, code: str, precision: int, field: str) -> None:
    async with db.write() as session:
        with pytest.raises(InvalidInput) as error:
            await currencies.create(session, NS, NewCurrency(code, "Credits", precision, ".", ","))
    assert error.value.issues[0].field == field


async def test_codes_resolve_in_their_namespace(db: Database) -> None:
    async with db.write() as session:
        made = await custom(session)
        await custom(session, namespace="other")
        assert await currencies.check(session, NS, "USD") is None
        assert await currencies.check(session, NS, "CREDITS") == made == await currencies.get(session, NS, made.id)
        assert await currencies.known(session, NS, ["USD", "CREDITS", "POINTS"]) == {"CREDITS": made}
        for code, expected in (("ABC", "currency_invalid"), ("POINTS", "currency_not_found")):
            with pytest.raises(InvalidInput) as refused:
                await currencies.check(session, NS, code, field="$.phases[0].currency")
            (issue,) = refused.value.issues
            assert (issue.code, issue.field) == (expected, "$.phases[0].currency")
        with pytest.raises(NotFound):
            await currencies.get(session, "other", made.id)


async def test_a_code_is_taken_once(db: Database) -> None:
    async def create() -> bool:
        try:
            async with db.write() as session:
                await custom(session)
        except Conflict:
            return False
        return True

    assert sorted(await asyncio.gather(*(create() for _ in range(4)))) == [False, False, False, True]


async def test_both_kinds_are_one_list(db: Database) -> None:
    async with db.write() as session:
        for code in ("ZZZZ", "POINTS"):
            await custom(session, code)
        await custom(session, "FOREIGN", namespace="other")

    async def codes(**query: object) -> tuple[list[str], int]:
        async with db.read() as session:
            found, total = await currencies.list_currencies(session, NS, CurrencyQuery(**query))  # type: ignore[arg-type]
        return [one.code for one in found], total

    assert await codes(types=[CurrencyType.CUSTOM]) == (["POINTS", "ZZZZ"], 2)
    assert await codes(types=[CurrencyType.FIAT], limit=2) == (["AED", "AFN"], 171)
    assert await codes(limit=2, sorts=[Sort("code", descending=True)]) == (["ZZZZ", "ZMW"], 173)
    assert await codes(limit=1, sorts=[Sort("name")]) == (["AFN"], 173)
    assert await codes(offset=172) == (["ZZZZ"], 173)
    assert await codes(offset=1000) == ([], 173)
    assert await codes(code=contains("oin")) == (["POINTS"], 1)


async def test_a_cost_basis_ends_where_the_next_begins(db: Database) -> None:
    with clock.frozen(at(3)) as time:
        async with db.write() as session:
            currency = await custom(session)
            await worth(session, currency, "0.05")
            assert await bases(session, currency) == [("0.05", at(3), None)]
            await worth(session, currency, "0.06", at(4))
            assert await bases(session, currency) == [("0.05", at(3), at(4)), ("0.06", at(4), None)]
            with pytest.raises(Conflict):
                await worth(session, currency, "0.07", at(4))
            time.at = at(3, 10)
            await worth(session, currency, "0.08")
            assert await bases(session, currency) == [
                ("0.05", at(3), at(3, 10)),
                ("0.08", at(3, 10), at(4)),
                ("0.06", at(4), None),
            ]
            found = await currencies.cost_basis_at(session, NS, currency.id, "USD", at(4))
            assert found.rate == Decimal("0.06")
            for fiat, when in (("USD", at(2, 28)), ("EUR", at(4))):
                with pytest.raises(NotFound):
                    await currencies.cost_basis_at(session, NS, currency.id, fiat, when)
            current = await currencies.current_cost_bases(session, [currency])
    assert [str(one.rate) for one in current[currency.id]] == ["0.06", "0.08"]


async def test_only_a_basis_in_force_counts(db: Database) -> None:
    with clock.frozen(at(3)):
        async with db.write() as session:
            credits, points = await custom(session), await custom(session, "POINTS")
            await worth(session, credits, "0.05")
            await worth(session, points, "0.05", at(4))
            codes = {"CREDITS", "POINTS"}
            assert await currencies.with_cost_basis(session, NS, codes, "USD", at(3)) == {"CREDITS"}
            assert await currencies.with_cost_basis(session, NS, codes, "EUR", at(3)) == frozenset()
            assert await currencies.with_cost_basis(session, NS, codes, "USD", at(4)) == codes
            assert await currencies.with_cost_basis(session, "other", codes, "USD", at(4)) == frozenset()


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (NewCostBasis("USD", Decimal(0)), "$.rate"),
        (NewCostBasis("USD", Decimal(-1)), "$.rate"),
        (NewCostBasis("ABC", Decimal(1)), "$.fiat_code"),
        (NewCostBasis("USD", Decimal(1), at(3)), "$.effective_from"),
        (NewCostBasis("USD", Decimal(1), at(2)), "$.effective_from"),
        (NewCostBasis("USD", Decimal(1), None, at(3)), "$.effective_to"),
        (NewCostBasis("USD", Decimal(1), at(5), at(4)), "$.effective_to"),
    ],
)
async def test_what_no_cost_basis_can_be(db: Database, new: NewCostBasis, field: str) -> None:
    with clock.frozen(at(3)):
        async with db.write() as session:
            currency = await custom(session)
            with pytest.raises(InvalidInput) as error:
                await currencies.create_cost_basis(session, NS, currency.id, new)
            with pytest.raises(NotFound):
                await currencies.create_cost_basis(session, NS, new_id(), new)
    assert error.value.issues[0].field == field
