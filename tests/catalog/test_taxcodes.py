"""Tax codes (catalog-extras section 1)."""

import asyncio

import pytest
from sqlalchemy import text

from meterhouse.catalog import taxcodes
from meterhouse.catalog.prices import TaxConfig
from meterhouse.kernel.clock import now
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import InvalidInput, NotFound
from meterhouse.kernel.ids import new_id

NS = "default"
A, B = "txcd_20030000", "txcd_10103001"


async def test_defaults_are_seeded_once_whoever_comes_first(db: Database) -> None:
    async def both() -> tuple[str, str]:
        async with db.write() as session:
            return await taxcodes.default_invoicing(session, NS), await taxcodes.default_credit_grant(session, NS)

    answers = await asyncio.gather(*(both() for _ in range(4)))
    assert len(set(answers)) == 1
    invoicing, credit_grant = answers[0]
    async with db.read() as session:
        first = await taxcodes.get(session, NS, invoicing)
        second = await taxcodes.get(session, NS, credit_grant)
        assert not await taxcodes.exists(session, "other", invoicing)
    assert (first.key, first.name, first.app_mappings, first.managed_by_system) == (
        "default",
        "Provider default",
        {},
        True,
    )
    assert (second.key, second.name, second.app_mappings) == ("nontaxable", "Nontaxable", {"stripe": "txcd_00000000"})


async def test_one_provider_code_gives_one_tax_code(db: Database) -> None:
    async def find() -> str:
        async with db.write() as session:
            return (await taxcodes.for_provider_code(session, NS, "stripe", A)).id

    ids = await asyncio.gather(*(find() for _ in range(4)))
    assert len(set(ids)) == 1
    async with db.read() as session:
        found = await taxcodes.get(session, NS, ids[0])
    assert (found.key, found.name, found.managed_by_system) == (f"stripe_{A}", A, False)


async def test_the_id_wins_and_brings_its_own_code(db: Database) -> None:
    async with db.write() as session:
        known = await taxcodes.resolved(session, NS, TaxConfig(stripe_code=A))
        assert known.stripe_code == A
        both = TaxConfig(tax_code_id=known.tax_code_id, stripe_code="txcd_99999999")
        assert await taxcodes.resolved(session, NS, both) == known
        unmapped = await taxcodes.default_invoicing(session, NS)
        config = TaxConfig(tax_code_id=unmapped, stripe_code=A)
        assert await taxcodes.resolved(session, NS, config) == TaxConfig(tax_code_id=unmapped)
        only_behavior = TaxConfig(behavior="inclusive")
        assert await taxcodes.resolved(session, NS, only_behavior) == only_behavior


async def test_a_deleted_code_is_not_found_again(db: Database) -> None:
    async with db.write() as session:
        first = await taxcodes.for_provider_code(session, NS, "stripe", A)
        await session.execute(text("UPDATE tax_codes SET deleted_at = :now"), {"now": now()})
    async with db.write() as session:
        second = await taxcodes.for_provider_code(session, NS, "stripe", A)
        assert second.id != first.id
        with pytest.raises(NotFound) as error:
            await taxcodes.get(session, NS, first.id)
    assert error.value.issues[0].code == "tax_code_not_found"


@pytest.mark.parametrize(("mapping", "key"), [("{}", f"stripe_{A}"), ('{"stripe": "txcd_1"}', f"stripe_{A}_2")])
async def test_a_key_whose_mapping_was_edited(db: Database, mapping: str, key: str) -> None:
    async with db.write() as session:
        await taxcodes.for_provider_code(session, NS, "stripe", A)
        await session.execute(text("UPDATE tax_codes SET app_mappings = CAST(:m AS jsonb)"), {"m": mapping})
    async with db.write() as session:
        found = await taxcodes.for_provider_code(session, NS, "stripe", A)
    assert (found.key, found.app_mappings) == (key, {"stripe": A})


async def test_a_code_of_another_namespace_is_refused(db: Database) -> None:
    async with db.write() as session:
        foreign = await taxcodes.default_invoicing(session, "other")
        for tax_code_id in (foreign, new_id()):
            with pytest.raises(InvalidInput):
                await taxcodes.resolved(session, NS, TaxConfig(tax_code_id=tax_code_id))


IA, IB = "01JNX8T00000000000000000AA", "01JNX8T00000000000000000BB"
BASE = TaxConfig(behavior="inclusive", stripe_code=A, tax_code_id=IA)


@pytest.mark.parametrize(
    ("base", "override", "expected"),
    [
        (BASE, TaxConfig(behavior="exclusive"), TaxConfig(behavior="exclusive", stripe_code=A, tax_code_id=IA)),
        (BASE, TaxConfig(stripe_code=B), TaxConfig(behavior="inclusive", stripe_code=B)),
        (BASE, TaxConfig(tax_code_id=IB), TaxConfig(behavior="inclusive", tax_code_id=IB)),
        (None, TaxConfig(behavior="exclusive"), TaxConfig(behavior="exclusive")),
        (BASE, None, BASE),
    ],
)
def test_code_and_id_are_overridden_as_one(
    base: TaxConfig | None, override: TaxConfig | None, expected: TaxConfig
) -> None:
    assert taxcodes.merged(base, override) == expected
