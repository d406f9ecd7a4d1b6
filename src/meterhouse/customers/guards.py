"""What other domains say when a customer comes, changes or goes.

Customers know nothing of credit, subscriptions or invoices, so those hand in their rules here; the composition root
collects them. Guards run inside the transaction, under the customer's locks, and refuse by raising a `DomainError`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meterhouse.customers.customer import Customer
from meterhouse.kernel.db import WriteSession

CreationGuard = Callable[[WriteSession, Customer], Awaitable[None]]
"""Completes the creation of a customer in another domain, or refuses it by raising."""

DeletionGuard = Callable[[WriteSession, Customer], Awaitable[None]]
"""Refuses the deletion of a customer by raising."""

ChangeGuard = Callable[[WriteSession, Customer, Customer], Awaitable[None]]
"""Refuses the change from the first customer to the second by raising."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The guards of all domains above."""

    creation: tuple[CreationGuard, ...] = ()
    deletion: tuple[DeletionGuard, ...] = ()
    change: tuple[ChangeGuard, ...] = ()

    def __add__(self, other: "Guards") -> "Guards":
        return Guards(self.creation + other.creation, self.deletion + other.deletion, self.change + other.change)
