"""JSON that is stored with charges keeps parsing: every form ever written is in `golden`."""

from pathlib import Path

import orjson
import pytest

from meterhouse.billing.charges.layers import Override
from meterhouse.billing.rating.results import DetailedLine, UsageDiscountApplied
from meterhouse.catalog.prices import Value

GOLDEN = Path(__file__).parent / "golden"
MODELS: dict[str, type[Value]] = {
    "override": Override,
    "detail": DetailedLine,
    "usage_discount": UsageDiscountApplied,
}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_stored_form_is_read_and_written_as_it_was(path: Path) -> None:
    stored = orjson.loads(path.read_bytes())
    model = MODELS[path.stem.partition(".")[0]]
    assert model.model_validate(stored).model_dump(mode="json") == stored


def test_every_kind_has_a_golden_file() -> None:
    assert {path.stem.partition(".")[0] for path in GOLDEN.glob("*.json")} == MODELS.keys()
