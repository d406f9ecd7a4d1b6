"""Stored JSON: every form ever written must keep parsing, and writing it again must not change it."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.unitcost import UNIT_COST

GOLDEN = Path(__file__).parent / "golden"
ADAPTERS: dict[str, TypeAdapter[Any]] = {"rate_card": TypeAdapter(RateCard), "unit_cost": UNIT_COST}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_stored_form_reads_and_writes_the_same(path: Path) -> None:
    document = json.loads(path.read_text())
    adapter = ADAPTERS[path.parent.name]
    assert adapter.dump_python(adapter.validate_python(document), mode="json") == document


def test_every_form_has_a_golden_file() -> None:
    def members(name: str) -> set[str]:
        cards = [json.loads(path.read_text()) for path in (GOLDEN / "rate_card").glob("*.json")]
        return {card[name]["type"] for card in cards if card[name] is not None}

    assert members("price") == {"flat", "unit", "tiered", "dynamic", "package"}
    assert members("entitlement_template") == {"metered", "static", "boolean"}
    assert {path.stem for path in (GOLDEN / "unit_cost").glob("*.json")} == {"manual", "llm"}
