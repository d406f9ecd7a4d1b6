"""Invoice numbers (billing section 4.3)."""

import pytest

from meterhouse.billing.invoices.numbers import NumberScope, draw_number, number_prefix
from meterhouse.kernel.db import Database


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("Acme Rockets", "ACRO"),
        ("Jo", "JO"),
        ("P Turi", "PTU"),
        ("Northwind", "NORT"),
        ("A  B", "AB"),
        ("", "UNKN"),
        ("Ørsted Straße", "ORST"),
        ("Ångström", "ANGS"),
        ("株式会社", "UNKN"),
    ],
)
def test_prefix(name: str, prefix: str) -> None:
    assert number_prefix(name) == prefix


async def test_numbers_count_up_per_namespace_and_scope(db: Database) -> None:
    async with db.write() as session:

        async def draw(namespace: str, scope: NumberScope) -> str:
            return await draw_number(session, namespace, scope, customer_id="jo", customer_name="Jo", currency="USD")

        assert [await draw("a", NumberScope.GATHERING) for _ in range(2)] == ["GATHER-JO-USD-1", "GATHER-JO-USD-2"]
        assert await draw("a", NumberScope.DRAFT) == "DRAFT-JO-1"
        assert await draw("b", NumberScope.DRAFT) == "DRAFT-JO-1"
        assert await draw("a", NumberScope.SANDBOX) == "OM-SANDBOX-JO-1"
        assert await draw("a", NumberScope.CUSTOM_INVOICING) == "INV-JO-1"
