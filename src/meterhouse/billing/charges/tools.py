"""What charges work with beyond the session."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meterhouse.billing.ports import InvoiceBook
from meterhouse.metering.usage import UsageReader

if TYPE_CHECKING:
    from meterhouse.billing.profiles import Profiles


@dataclass(slots=True)
class Tools:
    """Collaborators and switches.

    Attributes:
        credits_enabled: off means that charges take no credits and book nothing in the ledger.
        late_grants: whether credit granted between the end of the usage and the end of its collection still helps.
        locked_namespaces: namespaces in which nothing new may be charged.
    """

    usage: UsageReader
    profiles: "Profiles"
    credits_enabled: bool = True
    late_grants: bool = False
    locked_namespaces: frozenset[str] = frozenset()
    connected: InvoiceBook | None = field(default=None)

    @property
    def book(self) -> InvoiceBook:
        """The invoices, which are made after the charges and connected to them."""
        assert self.connected is not None, "Charges.connect was not called"
        return self.connected
