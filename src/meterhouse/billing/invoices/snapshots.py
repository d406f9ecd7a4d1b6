"""What a standard invoice freezes at its creation, as values stored in JSON (billing section 5.5).

The stored form is this module's JSON; old rows must keep parsing (`tests/invoices/golden`).
"""

from datetime import datetime
from typing import Literal

from meterhouse.catalog.prices import TaxConfig, Value
from meterhouse.catalog.ratecards import Cadence


class PartyAddress(Value):
    """A postal address; every part may be missing."""

    country: str | None = None
    postal_code: str | None = None
    state: str | None = None
    city: str | None = None
    line1: str | None = None
    line2: str | None = None
    phone_number: str | None = None


class Party(Value):
    """One side of an invoice: the supplier, or the customer with the subjects whose usage it pays."""

    id: str | None = None
    key: str | None = None
    name: str = ""
    tax_id: str | None = None
    address: PartyAddress | None = None
    subject_keys: tuple[str, ...] = ()


class InvoiceWorkflow(Value):
    """The workflow of a merged billing profile (billing section 2.1).

    Attributes:
        collection_ticks, collection_anchor: interval and anchor of anchored collection; None where each line has its
            own moment. Shown only: the line was collected when the invoice was made.
    """

    auto_advance: bool = True
    draft_period: Cadence
    due_after: Cadence
    collection_interval: Cadence
    collection_ticks: Cadence | None = None
    collection_anchor: datetime | None = None
    progressive_billing: bool = True
    subscription_end_proration_mode: Literal["bill_actual_period", "bill_full_period"] = "bill_actual_period"
    default_tax_config: TaxConfig | None = None
    collection_method: Literal["charge_automatically", "send_invoice"] = "charge_automatically"
    tax_enabled: bool = True
    tax_enforced: bool = False
