"""What a list of invoices can be narrowed to and ordered by (billing section 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Bounds = tuple[datetime | None, datetime | None]
Order = Literal["customer_name", "issued_at", "status", "created_at", "updated_at", "period_start"]

_OPEN: Bounds = (None, None)


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """Conditions that all must hold; bounds are inclusive, and empty lists do not narrow.

    Attributes:
        statuses: short statuses such as `draft`.
        states: whole states such as `draft.syncing`.
    """

    statuses: Sequence[str] = ()
    states: Sequence[str] = ()
    customer_ids: Sequence[str] = ()
    issued: Bounds = _OPEN
    period_start: Bounds = _OPEN
    created: Bounds = _OPEN
    include_deleted: bool = False
    include_gathering: bool = True
