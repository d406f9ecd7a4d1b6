"""Credit grants: a grant is a credit purchase charge, its id is the charge's id (ledger sections 5 and 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from meterhouse.kernel.periods import Duration

DEFAULT_PRIORITY = 100


class FundingMethod(StrEnum):
    """How a grant is paid: not at all, by an invoice, or outside of this server."""

    NONE = "none"
    INVOICE = "invoice"
    EXTERNAL = "external"


class GrantStatus(StrEnum):
    """The public status of a grant (section 10.2)."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"
    VOIDED = "voided"


class SettlementStatus(StrEnum):
    """How far the payment of a grant is."""

    PENDING = "pending"
    AUTHORIZED = "authorized"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is paid for a grant: money per unit of credit, > 0, in the currency of the grant."""

    currency: str
    per_unit_cost_basis: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class NewGrant:
    """A grant to be made. The amount is rounded to the currency's minor unit; lower priority is used first."""

    customer_id: str
    name: str
    funding_method: FundingMethod
    currency: str
    amount: Decimal
    purchase: Purchase | None = None
    description: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    tax_code_id: str | None = None
    tax_behavior: str | None = None
    features: Sequence[str] = ()
    priority: int = DEFAULT_PRIORITY
    effective_at: datetime | None = None
    expires_after: Duration | None = None
    key: str | None = None
