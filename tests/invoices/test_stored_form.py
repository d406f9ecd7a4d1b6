"""The JSON that standard invoices freeze must keep parsing (`golden/` holds every form ever written)."""

from datetime import UTC, datetime
from pathlib import Path

import orjson

from meterhouse.billing.invoices.snapshots import InvoiceWorkflow, Party, PartyAddress
from meterhouse.catalog.prices import TaxConfig
from meterhouse.kernel.periods import Duration

GOLDEN = Path(__file__).parent / "golden"

PARTY = Party(
    id="01JJJJJJJJJJJJJJJJJJJJJJJJ",
    key="acme",
    name="Acme Rockets",
    tax_id="DE123",
    address=PartyAddress(country="DE", postal_code="10115", city="Berlin", line1="Street 1"),
    subject_keys=("s1", "s2"),
)
WORKFLOW = InvoiceWorkflow(
    auto_advance=False,
    draft_period=Duration(days=3),
    due_after=Duration(months=1),
    collection_interval=Duration(hours=1),
    collection_ticks=Duration(months=1),
    collection_anchor=datetime(2025, 1, 5, tzinfo=UTC),
    progressive_billing=True,
    subscription_end_proration_mode="bill_full_period",
    default_tax_config=TaxConfig(behavior="inclusive", tax_code_id="01JJJJJJJJJJJJJJJJJJJJJJJK"),
    collection_method="send_invoice",
    tax_enabled=True,
    tax_enforced=True,
)


def _golden(name: str) -> object:
    return orjson.loads((GOLDEN / name).read_bytes())


def test_party() -> None:
    assert PARTY.model_dump(mode="json") == _golden("party.json")
    assert Party.model_validate(_golden("party.json")) == PARTY


def test_workflow() -> None:
    assert WORKFLOW.model_dump(mode="json") == _golden("workflow.json")
    assert InvoiceWorkflow.model_validate(_golden("workflow.json")) == WORKFLOW
