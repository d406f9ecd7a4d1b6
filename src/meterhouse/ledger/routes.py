"""Routes: the dimensions that split an account into sub-accounts, and filters over them (ledger section 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, Literal
from urllib.parse import quote

from meterhouse.kernel.money import plain

AuthorizationStatus = Literal["open", "authorized"]
TaxBehavior = Literal["inclusive", "exclusive"]


class Absent(Enum):
    """The type of `ABSENT`: a dimension that a filter does not look at, unlike None, which must be null."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


def feature_set(features: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return features as a route holds them: sorted, without repeats, None instead of empty."""
    return tuple(sorted(set(features))) if features else None


@dataclass(frozen=True, slots=True)
class Route:
    """The dimensions of a sub-account; which of them an account may carry is in `ledger.rules`.

    Attributes:
        cost_basis: money paid per unit of credit, >= 0; None is unknown (an advance).
        features: what the value may be used for, as `feature_set` makes it; None for everything.
    """

    currency: str
    cost_basis: Decimal | None = None
    features: tuple[str, ...] | None = None
    credit_priority: int | None = None
    tax_code: str | None = None
    tax_behavior: str | None = None
    authorization_status: AuthorizationStatus | None = None

    @property
    def key(self) -> str:
        """The route as canonical text: stable, and different for different routes."""
        # Feature keys are free text to the ledger; quoting keeps a separator inside one from meaning anything.
        features = ",".join(quote(key, safe="") for key in self.features) if self.features else None
        parts = {
            "currency": self.currency,
            "tax_code": self.tax_code,
            "tax_behavior": self.tax_behavior,
            "features": features,
            "cost_basis": None if self.cost_basis is None else plain(self.cost_basis),
            "credit_priority": self.credit_priority,
            "transaction_authorization_status": self.authorization_status,
        }
        return "|".join(f"{name}:{'null' if value is None else value}" for name, value in parts.items())


@dataclass(frozen=True, slots=True)
class RouteFilter:
    """Which routes to look at: per dimension ABSENT (any), None (must be null) or the value it must have.

    `match_feature` is the second form for features: a key asks for routes without features or with that one among
    them, None for routes without features. It excludes `features`, the exact set.

    Raises:
        ValueError: both forms are given.
    """

    currency: str | Absent = ABSENT
    cost_basis: Decimal | Absent | None = ABSENT
    features: tuple[str, ...] | Absent | None = ABSENT
    match_feature: str | Absent | None = ABSENT
    credit_priority: int | Absent | None = ABSENT
    tax_code: str | Absent | None = ABSENT
    tax_behavior: str | Absent | None = ABSENT
    authorization_status: AuthorizationStatus | Absent | None = ABSENT

    def __post_init__(self) -> None:
        if self.features is not ABSENT and self.match_feature is not ABSENT:
            raise ValueError("a route filter takes an exact feature set or a feature to match, not both")
