"""A user's edit of an invoice line, written into the user's layer of its charge (charges section 4, billing 8.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from meterhouse.billing.charges import changes
from meterhouse.billing.charges.creation import with_same_ids
from meterhouse.billing.charges.opened import open_charge
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.valuation import amount_after_proration
from meterhouse.billing.errors import BillingError
from meterhouse.billing.ports import LineRef
from meterhouse.catalog.prices import Discounts, FlatPrice
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class LineEdit:
    """All of a flat line that a user can edit, edited or not; the price is what the line shall cost.

    `invoice_at` is given for a gathering line only.
    """

    name: str
    description: str | None
    metadata: Mapping[str, str]
    period: Period
    price: FlatPrice
    discounts: Discounts
    invoice_at: datetime | None = None


async def edit_line(session: WriteSession, tools: Tools, line: LineRef, edit: LineEdit) -> None:
    """Replace what the line shows; credits follow by the difference.

    Raises:
        BillingError: codes `cannot_update_charge_managed_line`, `invoice_line_zero_amount_delete_instead`.
        PreconditionFailed: the charge's status does not allow it.
    """
    charge = await open_charge(session, line.namespace, line.charge_id)
    if not charge.is_flat:
        raise BillingError("cannot_update_charge_managed_line", "a metered line cannot be edited")
    old = charge.intent
    intent = replace(
        old,
        name=edit.name,
        description=edit.description,
        metadata=edit.metadata,
        service_period=edit.period,
        price=edit.price,
        discounts=with_same_ids(edit.discounts, old.discounts),
        # The user saw the prorated amount, and means the one that is sent.
        prorate=False,
        invoice_at=edit.invoice_at or old.invoice_at,
    )
    if amount_after_proration(intent) == 0:
        raise BillingError(
            "invoice_line_zero_amount_delete_instead", "a line of amount zero is to be deleted instead of edited"
        )
    await changes.rewrite(session, tools, charge, intent)
