"""Expiry as postings of the future: planned when credit is granted, released when it is used (ledger section 7).

Nothing runs when credit expires; the balance falls because a posting of that instant is already there.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from meterhouse.credits import steps
from meterhouse.credits.models import CreditBreakageRecord, CreditGrant
from meterhouse.credits.sources import Plan
from meterhouse.credits.steps import Terms
from meterhouse.kernel.ids import new_id
from meterhouse.ledger.postings import Draft
from meterhouse.ledger.templates import Template

Kind = Literal["plan", "release", "reopen"]
SourceKind = Literal["credit_purchase", "usage", "usage_correction", "credit_purchase_correction", "advance_backfill"]

_TEMPLATES = {
    "plan": Template.BREAKAGE_PLAN,
    "release": Template.BREAKAGE_RELEASE,
    "reopen": Template.BREAKAGE_REOPEN,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A plan or a change of one, before it is written."""

    record_id: str
    kind: Kind
    source_kind: SourceKind
    terms: Terms
    amount: Decimal
    expires_at: datetime
    grant_id: str
    plan_id: str | None

    def draft(self) -> Draft:
        """Return the posting at the expiry."""
        return steps.breakage(
            _TEMPLATES[self.kind],
            self.terms,
            self.amount,
            self.expires_at,
            source=self.grant_id,
            record_id=self.record_id,
            plan_id=self.plan_id or self.record_id,
        )

    def followed_by(self, kind: Literal["release", "reopen"], source_kind: SourceKind, amount: Decimal) -> "Change":
        """Return a change of this plan."""
        return replace(
            self, record_id=new_id(), kind=kind, source_kind=source_kind, amount=amount, plan_id=self.record_id
        )


def plan(terms: Terms, grant: CreditGrant) -> Change:
    """Plan that the whole grant expires."""
    assert grant.expires_at is not None, "a grant without expiry has nothing to plan"
    return Change(new_id(), "plan", "credit_purchase", terms, grant.amount, grant.expires_at, grant.id, None)


def change(
    kind: Literal["release", "reopen"],
    source_kind: SourceKind,
    terms: Terms,
    amount: Decimal,
    existing: Plan,
    grant_id: str,
) -> Change:
    """Change how much of a grant expires: less (release) or more again (reopen)."""
    return Change(new_id(), kind, source_kind, terms, amount, existing.expires_at, grant_id, existing.id)


def row(
    one: Change, namespace: str, customer_id: str, transaction_id: str, created_at: datetime
) -> CreditBreakageRecord:
    """Return the record of a change that was posted as a transaction."""
    return CreditBreakageRecord(
        id=one.record_id,
        namespace=namespace,
        customer_id=customer_id,
        kind=one.kind,
        source_kind=one.source_kind,
        amount=one.amount,
        currency=one.terms.currency,
        priority=one.terms.priority,
        expires_at=one.expires_at,
        source_charge_id=one.grant_id,
        plan_id=one.plan_id,
        transaction_id=transaction_id,
        created_at=created_at,
    )
