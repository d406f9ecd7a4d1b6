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
"""Refuses the deletion of a customer by raising, with one issue for each thing in the way."""

DeletionFollower = Callable[[WriteSession, Customer], Awaitable[None]]
"""Deletes what another domain keeps of a customer, with the customer's `deleted_at`."""

ChangeGuard = Callable[[WriteSession, Customer, Customer], Awaitable[None]]
"""Refuses the change from the first customer to the second by raising."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The guards of all domains above, in the order they run in. Deletion guards all run, so that all refusals show."""

    creation: tuple[CreationGuard, ...] = ()
    deletion: tuple[DeletionGuard, ...] = ()
    change: tuple[ChangeGuard, ...] = ()
    deleted: tuple[DeletionFollower, ...] = ()

    def __add__(self, other: "Guards") -> "Guards":
        return Guards(
            self.creation + other.creation,
            self.deletion + other.deletion,
            self.change + other.change,
            self.deleted + other.deleted,
        )
