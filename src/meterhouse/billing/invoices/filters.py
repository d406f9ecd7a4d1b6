"""What a list of invoices can be narrowed to and ordered by (billing section 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from meterhouse.kernel.conditions import Condition, Sort

BY_CREATION = Sort("created_at")


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """What to list.

    Attributes:
        conditions: by field, all must hold: `status` (short, such as `draft`), `state` (whole, such as
            `draft.syncing`), `customer_id`, `issued_at`, `service_period_start`, `created_at`.
    """

    conditions: Mapping[str, Condition] = field(default_factory=dict)
    include_deleted: bool = False
    include_gathering: bool = True
