"""Tax codes (catalog-extras section 1)."""

import asyncio

import pytest
from sqlalchemy import text

from meterhouse.catalog import taxcodes
from meterhouse.catalog.prices import TaxConfig
from meterhouse.kernel.clock import now
from meterhouse.kernel.db import Database, ReadSession
from meterhouse.kernel.errors import Conflict, InvalidInput, NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import PageRequest
from tests.fixtures.waiting import waiting

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


@pytest.mark.parametrize("code", ["txcd_123", "TXCD_20030000", "txcd_200300001", "txcd_２0030000", "\n"])
async def test_a_code_that_is_none_of_stripes(db: Database, code: str) -> None:
    async with db.write() as session:
        with pytest.raises(InvalidInput) as error:
            await taxcodes.resolved(session, NS, TaxConfig(stripe_code=code))
    (issue,) = error.value.issues
    assert (issue.code, issue.field) == ("tax_code_stripe_invalid", "$.taxConfig.stripe.code")


async def test_a_code_that_comes_later_is_shown(db: Database) -> None:
    async with db.write() as session:
        made = await taxcodes.create(session, NS, taxcodes.NewTaxCode("goods", "Goods"))
        stored = TaxConfig(behavior="exclusive", tax_code_id=made.id)
        bare, full = TaxConfig(behavior="inclusive"), TaxConfig(tax_code_id=made.id, stripe_code=B)
        assert await taxcodes.filled(session, NS, [stored, bare]) == {stored: stored, bare: bare}
        mapped = [("stripe", A)]
        await taxcodes.update(session, NS, made.id, name="Goods", description=None, metadata={}, app_mappings=mapped)
        await taxcodes.delete(session, NS, made.id, uses=[])
        shown = TaxConfig(behavior="exclusive", tax_code_id=made.id, stripe_code=A)
        assert await taxcodes.filled(session, NS, [stored, bare, full]) == {stored: shown, bare: bare, full: full}
        assert await taxcodes.resolved(session, NS, stored, kept=True) == shown
        with pytest.raises(InvalidInput):
            await taxcodes.resolved(session, NS, stored)


async def test_seeds_leave_alone_what_is_there(db: Database) -> None:
    seeds = [
        taxcodes.Seed("standard", "Standard", "Everything", {"stripe": A}, default_invoicing=True),
        taxcodes.Seed("credits", "Credits", default_credit_grant=True),
    ]
    async with db.write() as session:
        own = await taxcodes.create(session, NS, taxcodes.NewTaxCode("standard", "My own"))
        for _ in range(2):
            await taxcodes.provision(session, NS, seeds)
        listed = await taxcodes.list_tax_codes(session, NS, PageRequest(), include_deleted=True)
        defaults = await taxcodes.get_defaults(session, NS)
        assert listed.total_count == 2
        found = listed.items
        assert found[0] == own
        assert (found[1].key, found[1].managed_by_system) == ("credits", True)
        assert (defaults.invoicing_tax_code_id, defaults.credit_grant_tax_code_id) == (own.id, found[1].id)
        await taxcodes.set_defaults(session, NS, invoicing=found[1].id, credit_grant=found[1].id)
        await taxcodes.provision(session, NS, [*seeds, taxcodes.Seed("third", "Third")])
        assert (await taxcodes.get_defaults(session, NS)).invoicing_tax_code_id == found[1].id
        assert await taxcodes.default_credit_grant(session, NS) == found[1].id


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


async def test_selling_and_changing_never_wait_for_each_other(db: Database) -> None:
    """Whoever sells something takes rows and the namespace's lock in any order."""
    async with db.write() as session:
        known = (await taxcodes.create(session, NS, taxcodes.NewTaxCode("goods", "Goods"))).id

    async def sell(*configs: TaxConfig) -> list[TaxConfig]:
        async with db.write() as session:
            return [await taxcodes.resolved(session, NS, config) for config in configs]

    async def rename() -> str:
        async with db.write() as session:
            members = {"name": "Wares", "description": None, "metadata": {}, "app_mappings": []}
            return (await taxcodes.update(session, NS, known, **members)).name  # type: ignore[arg-type]

    async def delete() -> None:
        async with db.write() as session:
            await taxcodes.delete(session, NS, known, uses=[])

    async with db.write() as session:
        await taxcodes.create(session, NS, taxcodes.NewTaxCode("other", "Other"))
        renaming = await waiting(db, rename())
        sale = await waiting(db, sell(TaxConfig(tax_code_id=known), TaxConfig(stripe_code=A)))
    assert await renaming == "Wares"
    assert (await sale)[0].tax_code_id == known

    async with db.write() as session:
        await taxcodes.create(session, NS, taxcodes.NewTaxCode("another", "Another"))
        sale = await waiting(db, sell(TaxConfig(stripe_code=B), TaxConfig(tax_code_id=known)))
        deletion = await waiting(db, delete())
    await deletion
    with pytest.raises(InvalidInput, match="not found"):
        await sale


async def test_a_code_stays_while_something_comes_to_need_it(db: Database) -> None:
    async with db.write() as session:
        found = await taxcodes.for_provider_code(session, NS, "stripe", A)
        default = await taxcodes.default_invoicing(session, NS)
    sold: list[str] = []

    async def use(_: ReadSession, __: str, tax_code_id: str) -> str | None:
        return "sold" if tax_code_id in sold else None

    async def delete() -> None:
        async with db.write() as session:
            await taxcodes.delete(session, NS, found.id, uses=[use])

    async def resolve() -> TaxConfig:
        async with db.write() as session:
            return await taxcodes.resolved(session, NS, TaxConfig(stripe_code=A))

    async with db.write() as session:
        await taxcodes.resolved(session, NS, TaxConfig(stripe_code=A))
        deletion = await waiting(db, delete())
        sold.append(found.id)
    with pytest.raises(Conflict, match="sold"):
        await deletion
    sold.clear()

    async with db.write() as session:
        await taxcodes.set_defaults(session, NS, invoicing=found.id, credit_grant=default)
        deletion = await waiting(db, delete())
    with pytest.raises(Conflict, match="default of the organization"):
        await deletion
    async with db.write() as session:
        await taxcodes.set_defaults(session, NS, invoicing=default, credit_grant=default)

    async def promote() -> None:
        async with db.write() as session:
            await taxcodes.set_defaults(session, NS, invoicing=default, credit_grant=found.id)

    async with db.write() as session:
        await taxcodes.delete(session, NS, found.id, uses=[use])
        promotion, resolution = await waiting(db, promote()), await waiting(db, resolve())
    with pytest.raises(InvalidInput, match="not found"):
        await promotion
    assert (await resolution).tax_code_id not in (found.id, None)


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
