"""Which pending lines are billed, and the explanation when none is (billing 5.3, subscription-sync 7 and 9.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.lines import ref_of
from meterhouse.billing.invoices.models import InvoiceLineRow, InvoiceRow
from meterhouse.billing.ports import Billability, LineEngine, NotBillable
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import DomainError, Unavailable
from meterhouse.kernel.periods import Period

log = structlog.get_logger(__name__)

NO_LINES = "invoice_create_no_lines"
NOT_BILLABLE = "invoice_lines_not_billable"
RUN_OPEN = "active_realization_run_already_exists"

MAX_EXPLAINED_LINES = 20  # enough to see a pattern without making the error a list endpoint


class NothingToBill(BillingError):
    """An invoice request that found no line, with everything that explains it in the extensions."""

    def __init__(self, code: str, message: str, extra: Mapping[str, object], next_billable_at: datetime | None) -> None:
        super().__init__(code, message, extra=extra)
        self.next_billable_at = next_billable_at


@dataclass(frozen=True, slots=True)
class BillingRequest:
    """What to bill: everything billable, only listed lines, or only one gathering invoice (the collector)."""

    as_of: datetime
    progressive: bool
    line_ids: Sequence[str] | None = None
    gathering_id: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A pending line and the part of its period that is billed."""

    gathering: InvoiceRow
    line: InvoiceLineRow
    period: Period


@dataclass(frozen=True, slots=True)
class Left:
    """A pending line that stays, and why."""

    line: InvoiceLineRow
    why: Billability


async def select_lines(
    session: ReadSession, engine: LineEngine, gatherings: Sequence[InvoiceRow], request: BillingRequest
) -> tuple[list[Taken], list[Left]]:
    """Ask the engine about each candidate line.

    A line whose charge cannot be judged (its meter is gone, for example) does not keep the others from being billed,
    unless it was asked for by name.

    Raises:
        BillingError: a listed line does not exist (`invoice_lines_not_billable`).
    """
    by_id = {invoice.id: invoice for invoice in gatherings if request.gathering_id in (None, invoice.id)}
    lines = await repository.lines(session, list(by_id))
    if request.line_ids is not None:
        unknown = sorted(set(request.line_ids) - {line.id for line in lines})
        if unknown:
            raise _not_billable(unknown)
        lines = [line for line in lines if line.id in request.line_ids]
    taken: list[Taken] = []
    left: list[Left] = []
    for line in lines:
        gathering = by_id[line.invoice_id]
        try:
            part = await engine.billability(
                session, ref_of(gathering, line), as_of=request.as_of, progressive=request.progressive
            )
        except Unavailable:
            raise
        except DomainError as error:
            if request.line_ids is not None:
                raise
            log.warning("pending line passed over", line_id=line.id, charge_id=line.charge_id, error=error.message)
            continue
        if part.period is None:
            left.append(Left(line, part))
        else:
            taken.append(Taken(gathering, line, part.period))
    return taken, left


def _not_billable(line_ids: Sequence[str]) -> BillingError:
    return BillingError(
        NOT_BILLABLE, f"lines cannot be billed: {', '.join(line_ids)}", extra={"line_ids": list(line_ids)}
    )


def refusal(left: Sequence[Left], request: BillingRequest, subscriptions: Sequence[Mapping[str, Any]]) -> NothingToBill:
    """Explain why nothing is billed."""
    moments = [each.why.next_billable_at for each in left if each.why.next_billable_at is not None]
    earliest = min(moments, default=None)
    extra: dict[str, object] = {
        "next_billable_at": clock.written(earliest) if earliest else None,
        "pending_lines": [_explained(each) for each in left[:MAX_EXPLAINED_LINES]],
        "subscriptions": [dict(each) for each in subscriptions],
    }
    if any(each.why.reason is NotBillable.DRAFT_INVOICE_OPEN for each in left):
        message = "usage of this period is on an invoice that is still a draft"
        return NothingToBill(RUN_OPEN, message, extra, earliest)
    if request.line_ids is not None:
        ids = [each.line.id for each in left]
        return NothingToBill(
            NOT_BILLABLE, f"lines cannot be billed: {', '.join(ids)}", extra | {"line_ids": ids}, earliest
        )
    return NothingToBill(NO_LINES, "no pending line can be billed now", extra, earliest)


def _explained(left: Left) -> dict[str, object]:
    line = left.line
    return {
        "line_id": line.id,
        "charge_id": line.charge_id,
        "feature_key": line.feature_key,
        "period": {"from": clock.written(line.period_start), "to": clock.written(line.period_end)},
        "invoice_at": clock.written(line.invoice_at),
        "reason": left.why.reason.value if left.why.reason else None,
    }
