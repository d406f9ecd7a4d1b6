"""What extending or shrinking a charge does to its runs (charges section 3.1). Pure.

Days that an invoice already bills are never billed again: what is left to bill starts where the last run that stays
ends, also where that run cannot be taken back and reaches beyond the new end (section 11).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class RunSpan:
    """A run as planning sees it. `sealed`: its invoice was issued, so it cannot be changed any more."""

    id: str
    end: datetime
    sealed: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Which runs to take back, and which is no longer (or has become) the last of its charge.

    Attributes:
        remove: runs whose lines are to be deleted; one that turns out to be on an immutable invoice stays.
        relabel_partial: the former final run after an extension.
        relabel_final: a run that ends exactly at the new end.
    """

    remove: tuple[str, ...] = ()
    relabel_partial: str | None = None
    relabel_final: str | None = None


def extended(runs: Sequence[RunSpan], old_end: datetime) -> Plan:
    """Plan a later end: an open final run is billed anew as a whole, an issued one becomes a partial run."""
    last = next((run for run in runs if run.end == old_end), None)
    if last is None:
        return Plan()
    return Plan(relabel_partial=last.id) if last.sealed else Plan(remove=(last.id,))


def shrunk(runs: Sequence[RunSpan], new_end: datetime) -> Plan:
    """Plan an earlier end: runs that reach beyond it are taken back."""
    last = next((run.id for run in runs if run.end == new_end), None)
    return Plan(remove=tuple(run.id for run in runs if run.end > new_end), relabel_final=last)


def uncovered(period: Period, run_ends: Iterable[datetime]) -> Period | None:
    """Return the part of `period` after the last run, None when nothing is left to bill."""
    rest = period.clipped(max(run_ends, default=period.start), None)
    return None if rest.is_empty() else rest


def with_ends(
    intent: ChargeIntent,
    *,
    service_end: datetime,
    full_service_end: datetime,
    billing_end: datetime,
    invoice_at: datetime,
) -> ChargeIntent:
    """Return the intent with new ends.

    Raises:
        InvalidInput: the service end is the old one or not after its start, or another period would end before it
            starts (a shrunk one: at its start).
    """
    old, full, billing = intent.service_period, intent.full_service_period, intent.billing_period
    if service_end == old.end:
        raise InvalidInput("the new service period ends where the old one does")
    if service_end <= old.start:
        raise InvalidInput("the service period must end after its start")
    shrinks = service_end < old.end
    for period, end, name in ((full, full_service_end, "full service"), (billing, billing_end, "billing")):
        if end < period.start or (shrinks and end == period.start):
            raise InvalidInput(f"the {name} period must end after its start")
    return replace(
        intent,
        service_period=Period(old.start, service_end),
        full_service_period=Period(full.start, full_service_end),
        billing_period=Period(billing.start, billing_end),
        invoice_at=invoice_at,
    )
