"""Prices of language models: names, price lists, refreshing, and what holds when (catalog-extras section 4)."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from meterhouse.catalog import llmcost
from meterhouse.catalog.llmcost import NewOverride, PriceQuery, Pricing, Source, refresh
from meterhouse.catalog.llmcost.names import model_key, provider_key, provider_title
from meterhouse.catalog.llmcost.quotes import Quote, agree, read, reconciled
from meterhouse.catalog.llmcost.refresh import Kind
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database, ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.money import plain
from tests.catalog.conftest import NS
from tests.catalog.test_currencies import at

MODEL = ("openai", "gpt-4o")


def pricing(input_price: str, output: str = "0.00001", **others: str) -> Pricing:
    """Make prices per token."""
    more = {f"{name}_per_token": Decimal(price) for name, price in others.items()}
    return Pricing(Decimal(input_price), Decimal(output), **more)


def quote(input_price: str, start: datetime | None = None, name: str = "GPT-4o") -> Quote:
    """Make a quote of one model."""
    return Quote(*MODEL, name, pricing(input_price), start)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        (" Azure_AI ", "GPT-4.1-2025-04-14", ("azure", "gpt-4-1")),
        ("amazon-bedrock", "eu.anthropic.claude-3-7-sonnet-20250219-v1:0", ("bedrock", "anthropic.claude-3-7-sonnet")),
        ("gemini", "gemini-2.5-pro", ("google", "gemini-2-5-pro")),
        ("DeepSeek", "deepseek-reasoner", ("deepseek", "deepseek-r1")),
        ("vertex_ai-chat-models", "chat-bison-20231115-preview", ("vertex_ai", "chat-bison-20231115-preview")),
        ("x-ai", "grok-2-1212", ("xai", "grok-2-1212")),
        ("acme", "llama-3.1.2", ("acme", "llama-3-1.2")),
        ("mistralai", "Mistral-Large-20240229", ("mistral", "mistral-large")),
    ],
)
def test_one_name_for_what_is_called_in_many_ways(provider: str, model: str, expected: tuple[str, str]) -> None:
    assert (provider_key(provider), model_key(model)) == expected


@pytest.mark.parametrize(
    ("provider", "title"),
    [
        ("openai", "OpenAI"),
        ("OpenAI", "OpenAI"),
        ("gemini", "Google"),
        ("vertex_ai", "Google Vertex AI"),
        ("meta", "Meta"),
        ("fire-works_ai", "Fire Works Ai"),
    ],
)
def test_titles_of_providers(provider: str, title: str) -> None:
    assert provider_title(provider) == title


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("0.0000025", "0.00000252", True), ("0.0000025", "0.0000026", False), ("0", "0.0000025", False), ("0", "0", True)],
)
def test_prices_agree_within_the_tolerance(one: str, other: str, expected: bool) -> None:
    assert agree(pricing(one), pricing(other), Decimal("0.01")) is expected


def test_two_lists_must_agree() -> None:
    (mean,) = reconciled([[quote("0.0000025")], [quote("0.00000252", name="Other")]])
    assert (mean.pricing.input_per_token, mean.name) == (Decimal("0.00000251"), "GPT-4o")
    assert reconciled([[quote("0.0000025")], [quote("0.0000026")]]) == []
    (two_of_three,) = reconciled([[quote("0.0000026")], [quote("0.0000025")], [quote("0.0000025")]])
    assert two_of_three.pricing == pricing("0.0000025")
    assert reconciled([[quote("0.0000025")]]) == [quote("0.0000025")]
    assert reconciled([[quote("0.0000025")]], needed=2) == []
    named = [quote("1", name="openai/GPT"), quote("2", name="GPT b"), quote("3", name="GPT a")]
    assert reconciled([named]) == [quote("3", name="GPT a")]


CATALOGUE: dict[str, Any] = {
    "gemini": {
        "models": {
            "google/gemini-2.5-pro": {"name": "Gemini", "cost": {"input": 1.25, "output": 10, "cache_read": 0.31}},
            "free": {"cost": {"input": 0, "output": 0.0}},
            "no-output": {"cost": {"input": 1}},
            "no-cost": {},
            "odd": {"cost": {"input": "NaN", "output": -1}},
            "worse": None,
            "not storable\0": {"cost": {"input": 1, "output": 1}},
            "long" * 65: {"cost": {"input": 1, "output": 1}},
        }
    },
    "empty": {"models": None},
}


def test_the_catalogue_form() -> None:
    first, free = read(json.dumps(CATALOGUE), origin="a.json")
    assert (first.key, first.name) == (("google", "gemini-2-5-pro"), "Gemini")
    assert first.pricing == pricing("0.00000125", cache_read="0.00000031")
    assert (free.model, free.name, free.pricing) == ("free", "free", pricing("0", "0"))


def test_the_form_of_this_project() -> None:
    document = """
        format: 1
        prices:
          - {provider: openai, model: gpt-4o, effective_from: 2024-10-02, input: 3.75, output: "10"}
    """
    (found,) = read(document, origin="a.yaml")
    assert found == Quote(*MODEL, "gpt-4o", pricing("0.00000375"), datetime(2024, 10, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "a: [",
        "{}",
        '{"prices": []}',
        '{"format": 2, "prices": []}',
        '{"format": 1, "prices": [{"provider": "a", "model": "b", "input": "1"}]}',
        '{"format": 1, "prices": [{"provider": "a", "model": "b", "input": "-1", "output": "1"}]}',
        '{"format": 1, "prices": [{"provider": "a", "model": "b", "input": 1e999999, "output": "1"}]}',
        '{"format": 1, "prices": [{"provider": "a", "model": "b", "input": "1", "output": "1", "x": "1"}]}',
        '{"format": 1, "prices": [{"provider": "a", "model": "b\\u0000", "input": "1", "output": "1"}]}',
        json.dumps({"format": 1, "prices": [{"provider": "a", "model": "b" * 257, "input": "1", "output": "1"}]}),
        "[" * 100_000,
    ],
)
def test_what_is_no_price_list(document: str) -> None:
    with pytest.raises(InvalidInput, match=r"a\.yaml"):
        read(document, origin="a.yaml")


async def history(session: ReadSession) -> list[tuple[Decimal, datetime, datetime | None]]:
    """Return everybody's prices of the model."""
    statement = text(
        "SELECT input_per_token, effective_from, effective_to FROM llm_prices"
        " WHERE namespace IS NULL AND model_key = 'gpt-4o' ORDER BY effective_from"
    )
    return [tuple(row) for row in await session.execute(statement)]  # type: ignore[misc]


async def test_a_price_that_changes_is_kept_as_history(db: Database) -> None:
    async def run(session: WriteSession, price: str, start: datetime | None = None, **options: bool) -> Kind:
        (change,) = await refresh.refresh(session, [quote(price, start)], **options)
        return change.kind

    with clock.frozen(at(3)) as time:
        async with db.write() as session:
            assert await run(session, "0.1", dry_run=True) is Kind.NEW
            assert await history(session) == []
            assert await run(session, "0.1", at(1)) is Kind.NEW
            assert await run(session, "0.1") is Kind.UNCHANGED
            assert await run(session, "0.2", dry_run=True) is Kind.CHANGED
            assert await history(session) == [(Decimal("0.1"), at(1), None)]
            assert await run(session, "0.2", at(1)) is Kind.CHANGED
            assert await run(session, "0.3") is Kind.CHANGED  # within the same instant
            assert await run(session, "0.4", at(5)) is Kind.CHANGED
            assert await history(session) == [
                (Decimal("0.1"), at(1), at(3)),
                (Decimal("0.3"), at(3), at(5)),
                (Decimal("0.4"), at(5), None),
            ]
            time.at = at(4)
            # A list of today's prices does not speak of what is known of May.
            assert await run(session, "0.3") is Kind.UNCHANGED
            assert await run(session, "0.4") is Kind.CHANGED
            assert (await history(session))[1:] == [
                (Decimal("0.3"), at(3), at(4)),
                (Decimal("0.4"), at(4), at(5)),
                (Decimal("0.4"), at(5), None),
            ]
            assert await run(session, "0.5", at(5)) is Kind.CHANGED  # it has not begun
            assert (await history(session))[-1] == (Decimal("0.5"), at(5), None)
            for month, price in ((2, "0.1"), (3, "0.3"), (4, "0.4"), (6, "0.5")):
                found = await llmcost.resolve(session, NS, [("OpenAI ", "GPT-4o-2024-08-06")], at(month))
                assert found["OpenAI ", "GPT-4o-2024-08-06"].pricing.input_per_token == Decimal(price)


async def test_a_model_whose_price_is_yet_to_begin_gets_one_until_then(db: Database) -> None:
    with clock.frozen(at(3)):
        async with db.write() as session:
            await refresh.refresh(session, [quote("0.2", at(5))])
            (change,) = await refresh.refresh(session, [quote("0.1")])
            assert (change.kind, change.before, change.effective_from) == (Kind.NEW, None, at(3))
            assert await history(session) == [(Decimal("0.1"), at(3), at(5)), (Decimal("0.2"), at(5), None)]


async def test_prices_are_shown_as_a_list_calls_their_models(db: Database) -> None:
    with clock.frozen(at(3)):
        async with db.write() as session:
            given = Quote("acme", "lam-1.2.3", "Lam", pricing("0.1"))
            await refresh.refresh(session, [given])
            (shown,) = (await llmcost.list_prices(session, NS, PriceQuery())).items
            assert (shown.provider, shown.model_id) == ("acme", "lam-1.2.3")
            # So that what is shown names the same model when it is given back.
            new = NewOverride(shown.provider, shown.model_id, pricing("0.2"), "USD", at(1))
            await llmcost.create_override(session, NS, new)
            (own,) = (await llmcost.list_prices(session, NS, PriceQuery())).items
            assert (own.source, own.pricing) == (Source.MANUAL, pricing("0.2"))
            (change,) = await refresh.refresh(session, [replace(given, model="Lam-1.2.3")])
            assert change.kind is Kind.UNCHANGED
            (shown,) = (await llmcost.list_prices(session, "other", PriceQuery())).items
            assert shown.model_id == "Lam-1.2.3"


async def test_the_shipped_list_fills_gaps_only(db: Database) -> None:
    quotes = refresh.shipped()
    assert len({(one.provider, one.model) for one in quotes}) == len(quotes) > 40
    assert all(one.effective_from is not None for one in quotes)
    with clock.frozen(at(3)):
        async with db.write() as session:
            await refresh.refresh(session, [quote("0.1")])
            assert await refresh.provision(session) == len(quotes) - 1
            assert await refresh.provision(session) == 0
            found = await llmcost.resolve(session, NS, [MODEL, ("openai", "gpt-4o-mini")], at(3))
            assert found[MODEL].pricing.input_per_token == Decimal("0.1")
            assert found["openai", "gpt-4o-mini"].pricing == pricing(
                "0.00000015", "0.0000006", cache_read="0.000000075"
            )
            changes = await refresh.refresh(session, quotes)
            assert [change.quote.model for change in changes if change.kind is not Kind.UNCHANGED] == ["gpt-4o"]


async def test_an_override_is_before_everybodys_price_while_it_holds(db: Database) -> None:
    async def price(session: ReadSession, namespace: str, month: int) -> Decimal:
        found = await llmcost.resolve(session, namespace, [MODEL], at(month))
        return found[MODEL].pricing.input_per_token

    with clock.frozen(at(3)):
        async with db.write() as session:
            await refresh.refresh(session, [quote("0.1", at(1))])
            new = NewOverride("OPENAI", "GPT-4o-20240806", pricing("0.2"), "USD", at(4), at(6))
            first = await llmcost.create_override(session, NS, new)
            assert (first.provider, first.model_id, first.model_name) == (
                "OPENAI",
                "GPT-4o-20240806",
                "GPT-4o-20240806",
            )
            assert [await price(session, NS, month) for month in (3, 4, 5, 6)] == [
                Decimal(text) for text in ("0.1", "0.2", "0.2", "0.1")
            ]
            assert await price(session, "other", 4) == Decimal("0.1")
            await llmcost.create_override(session, NS, NewOverride(*MODEL, pricing("0"), "USD", at(5)))
            assert [await price(session, NS, month) for month in (4, 5)] == [Decimal("0.1"), Decimal(0)]
            many = [*(("a", f"model {n}") for n in range(40_000)), ("a\x00", "\ud800"), MODEL]
            assert list(await llmcost.resolve(session, NS, many, at(3))) == [MODEL]


async def test_an_override_that_was_replaced_or_deleted_held_until_then(db: Database) -> None:
    async def prices(session: ReadSession) -> str:
        found = [await llmcost.resolve(session, NS, [MODEL], at(month)) for month in range(2, 10)]
        return " ".join(plain(one[MODEL].pricing.input_per_token) for one in found)

    with clock.frozen(at(3)) as time:
        async with db.write() as session:
            await refresh.refresh(session, [quote("0.1", at(1))])
            await llmcost.create_override(session, NS, NewOverride(*MODEL, pricing("0.2"), "USD", at(2)))
            time.at = at(5)
            later = await llmcost.create_override(session, NS, NewOverride(*MODEL, pricing("0.3"), "USD", at(6)))
            assert await prices(session) == "0.2 0.2 0.2 0.1 0.3 0.3 0.3 0.3"
            assert await llmcost.changes(session, NS, [MODEL], at(1), at(9)) == [at(2), at(5), at(6)]
            time.at = at(8)
            await llmcost.delete_override(session, NS, later.id)
            assert await prices(session) == "0.2 0.2 0.2 0.1 0.3 0.3 0.1 0.1"
            assert await llmcost.changes(session, NS, [MODEL], at(1), at(9)) == [at(2), at(5), at(6), at(8)]
            # What was wrong from the start is corrected by one that begins as early.
            await llmcost.create_override(session, NS, NewOverride(*MODEL, pricing("0"), "USD", at(1)))
            assert await prices(session) == "0 0 0 0 0 0 0 0"


def test_every_price_has_a_kind_of_token() -> None:
    kinds = {one.name.removesuffix("_per_token") for one in fields(Pricing)}
    assert kinds == {"input", "output", "cache_read", "cache_write", "reasoning"}
