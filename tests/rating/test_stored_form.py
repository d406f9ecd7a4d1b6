"""Detailed lines are stored as JSON on the runs of charges; every form ever written must keep parsing."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from meterhouse.billing.rating.credits import apply_credits
from meterhouse.billing.rating.results import DetailedLine, UsageDiscountApplied
from tests.rating.builders import d, rated, unit

GOLDEN = Path(__file__).parent / "golden"
LINES = TypeAdapter(tuple[DetailedLine, ...])


def test_a_rated_line_is_written_like_the_golden_file() -> None:
    result = rated(unit("3", "150", "160"), "60", pct="10", usage="20")
    details = apply_credits(result.details, [("01JBBBBBBBBBBBBBBBBBBBBBBB", d("110.5"), "promotion")], "USD")
    written = {
        "details": LINES.dump_python(details, mode="json"),
        "usage_discount": result.usage_discount.model_dump(mode="json") if result.usage_discount else None,
    }
    assert written == json.loads((GOLDEN / "rated_line_v1.json").read_text())


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_form_parses(path: Path) -> None:
    stored = json.loads(path.read_text())
    details = LINES.validate_python(stored["details"])
    assert LINES.dump_python(details, mode="json") == stored["details"]
    discount = UsageDiscountApplied.model_validate(stored["usage_discount"])
    assert discount.model_dump(mode="json") == stored["usage_discount"]
