"""Transactions before they are written, and the annotations they carry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.routes import Route
from meterhouse.ledger.templates import Direction, Template

# Names of annotations (ledger section 2); the transaction list reads them.
CHARGE_NAMESPACE = "ledger.charge.namespace"
CHARGE_ID = "ledger.charge.id"
CHARGE_NAME = "ledger.charge.name"
SUBSCRIPTION_ID = "ledger.subscription.id"
SUBSCRIPTION_PHASE_ID = "ledger.subscription.phase.id"
SUBSCRIPTION_ITEM_ID = "ledger.subscription.item.id"
FEATURE_ID = "ledger.feature.id"
TEMPLATE_CODE = "ledger.transaction.template_code"
DIRECTION = "ledger.transaction.direction"
SOURCE_ORDER = "ledger.collection.source_order"
BREAKAGE_KIND = "ledger.breakage.kind"
BREAKAGE_RECORD_ID = "ledger.breakage.record_id"
BREAKAGE_PLAN_ID = "ledger.breakage.plan_id"
VOID_RECORD_ID = "ledger.credit_void.record_id"


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg: a signed amount at the currency's precision, on a route of one of the customer's book's accounts.

    Attributes:
        source_order: place in the order in which a collection took its sources.
        corrects_entry_id: the entry that this leg takes back, in whole or in part.
    """

    account: AccountType
    route: Route
    amount: Decimal
    source_charge_id: str | None = None
    spend_charge_id: str | None = None
    source_order: int | None = None
    corrects_entry_id: str | None = None

    @property
    def identity(self) -> str:
        """What tells two legs on one sub-account apart (ledger section 2)."""
        parts = (self.source_order, self.corrects_entry_id, self.source_charge_id, self.spend_charge_id)
        return "|".join("" if part is None else str(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction to be written: its template, when it counts, its legs."""

    template: Template
    booked_at: datetime
    postings: tuple[Posting, ...]
    direction: Direction = "forward"
    annotations: Mapping[str, str] = field(default_factory=dict)

    def all_annotations(self) -> dict[str, str]:
        """Return the annotations with those that every transaction carries."""
        return {**self.annotations, TEMPLATE_CODE: self.template.value, DIRECTION: self.direction}
