"""Customers as values, and what a caller may ask to change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""Marks a member that a request left out, where that differs from null: it stays as it is."""


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address; `country` is an ISO 3166-1 alpha-2 code. Every part is optional."""

    country: str | None = None
    postal_code: str | None = None
    state: str | None = None
    city: str | None = None
    line1: str | None = None
    line2: str | None = None
    phone_number: str | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer as stored.

    Attributes:
        key: the caller's own name for it, unique among live customers, or None.
        subject_keys: event subjects counted for it beside its key, ascending. A deleted customer shows those it had.
        currency: fiat code of its invoices; None until the caller or its first paid subscription sets it.
        deleted_at: None while live.
    """

    id: str
    namespace: str
    key: str | None
    name: str
    subject_keys: tuple[str, ...]
    currency: str | None
    primary_email: str | None
    billing_address: Address | None
    description: str | None
    metadata: dict[str, str]
    annotations: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    def usage_subjects(self) -> tuple[str, ...]:
        """Return the event subjects that count for this customer: its key first, then its subject keys."""
        key = () if self.key is None else (self.key,)
        return key + tuple(subject for subject in self.subject_keys if subject != self.key)


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """What a customer is created from. Repeated subject keys count once."""

    name: str
    key: str | None = None
    subject_keys: tuple[str, ...] = ()
    currency: str | None = None
    primary_email: str | None = None
    billing_address: Address | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CustomerChanges:
    """A replacing update (customers section 3).

    Members without `UNSET` are replaced as given. `billing_address` None clears the address; a mapping, by the names of
    `Address`, changes the parts it names and leaves the others. The wire has no annotations; they stay.
    """

    name: str
    key: str | Unset | None
    subject_keys: tuple[str, ...] = ()
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    billing_address: Mapping[str, str | None] | None = None
    primary_email: str | Unset | None = UNSET
    currency: str | Unset | None = UNSET
    annotations: Mapping[str, Any] | Unset = UNSET
