"""A charge that is being worked on: its row and runs under its lock, with what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meterhouse.billing.charges import periods, repository, states
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.layers import effective_intent
from meterhouse.billing.charges.models import ChargeRow, ChargeRunRow
from meterhouse.billing.charges.states import Kind, Situation, Status
from meterhouse.billing.charges.valuation import booking_time
from meterhouse.billing.rating.credits import without_credits
from meterhouse.billing.rating.results import DetailedLine, Totals
from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import NotFound, PreconditionFailed
from meterhouse.kernel.locks import lock
from meterhouse.kernel.periods import Period


def counts(run: ChargeRunRow) -> bool:
    """Tell whether a run is neither taken back nor kept for audit only."""
    return run.voided_at is None and run.deleted_at is None and run.type != "invalid_due_to_unsupported_credit_note"


def details_of(run: ChargeRunRow) -> tuple[DetailedLine, ...]:
    """Return the run's lines, credits included."""
    return tuple(DetailedLine.model_validate(detail) for detail in run.details)


def totals_of(run: ChargeRunRow) -> Totals:
    """Return the run's totals."""
    return Totals(**{name: getattr(run, name) for name in Totals.model_fields})


@dataclass(slots=True)
class OpenCharge:
    """A charge with all its runs, in order of their periods."""

    row: ChargeRow
    all_runs: list[ChargeRunRow] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The charge's id."""
        return self.row.id

    @property
    def kind(self) -> Kind:
        """Flat fee or usage."""
        return Kind(self.row.kind)

    @property
    def is_flat(self) -> bool:
        """Whether it is a flat fee."""
        return self.kind is Kind.FLAT_FEE

    @property
    def by_credits_only(self) -> bool:
        """Whether it never meets an invoice."""
        return self.row.settlement_mode == SettlementMode.CREDIT_ONLY

    @property
    def status(self) -> Status:
        """The detailed status."""
        return Status(self.row.status)

    @property
    def is_due(self) -> bool:
        """Whether time may move it on now."""
        return self.row.advance_after is not None and self.row.advance_after <= clock.now()

    @property
    def intent(self) -> ChargeIntent:
        """The effective intent."""
        return effective_intent(self.row)

    @property
    def runs(self) -> list[ChargeRunRow]:
        """The runs that count, in order of their periods."""
        return sorted((run for run in self.all_runs if counts(run)), key=lambda run: (run.service_period_to, run.id))

    @property
    def current_run(self) -> ChargeRunRow | None:
        """The run that is open, None between runs."""
        return next((run for run in self.all_runs if run.id == self.row.current_run_id), None)

    def run_of_line(self, line_id: str) -> ChargeRunRow:
        """Return the run behind an invoice line.

        Raises:
            NotFound: no run has the line.
        """
        run = self.find_run(line_id)
        if run is None:
            raise NotFound(f"no run of charge {self.id} is on line {line_id}")
        return run

    def find_run(self, line_id: str) -> ChargeRunRow | None:
        """Return the run behind an invoice line, None where the line has none, or lost it."""
        bound = (run for run in self.all_runs if run.line_id == line_id)
        return next((run for run in bound if run.deleted_at is None and run.voided_at is None), None)

    def booked_before(self, run: ChargeRunRow | None) -> list[tuple[DetailedLine, ...]]:
        """Return what the other runs booked, without credits."""
        return [without_credits(details_of(one), self.row.currency) for one in self.runs if one is not run]

    def uncovered(self) -> Period | None:
        """Return the part of the service period that no run bills yet, None when there is none."""
        if self.is_flat:
            return None if self.runs else self.intent.service_period
        return periods.uncovered(self.intent.service_period, (run.service_period_to for run in self.runs))

    def situation(self) -> Situation:
        """Return what the guards of the state tables look at."""
        intent, runs, current = self.intent, self.runs, self.current_run
        end = intent.service_period.end
        reaches_end = bool(runs) and runs[-1].service_period_to >= end
        closes_at = None
        if current is not None and current.stored_at_lt is not None:
            closes_at = current.stored_at_lt + states.COLLECTION_GRACE
        return Situation(
            now=clock.now(),
            starts_at=intent.invoice_at if self.is_flat else intent.service_period.start,
            books_at=booking_time(intent),
            collection_closes_at=closes_at,
            is_free=self.row.amount_after_proration == 0,
            is_covered=current is None and reaches_end and runs[-1].type == "final_realization",
            reaches_end=reaches_end,
            is_settled=all(run.no_money_needed or run.payment == "settled" for run in runs),
        )

    def enter(self, status: Status) -> None:
        """Go to a status, and set when time may move the charge on."""
        self.row.status = status
        self.row.advance_after = states.advance_after(
            self.kind,
            SettlementMode(self.row.settlement_mode),
            status,
            self.situation(),
            self.intent.service_period.end,
        )

    def labels(self) -> Mapping[str, str]:
        """Return what ledger postings of this charge are labelled with."""
        known: dict[str, Any] = {
            "subscription_id": self.row.subscription_id,
            "subscription_phase_id": self.row.subscription_phase_id,
            "subscription_item_id": self.row.subscription_item_id,
            "feature_id": self.row.feature_id,
        }
        return {name: value for name, value in known.items() if value}

    def booked_at(self, run: ChargeRunRow) -> datetime:
        """Return when a run counts in the ledger (ledger section 6)."""
        return booking_time(self.intent) if self.is_flat else run.service_period_to


async def read(session: ReadSession, charge_id: str, namespace: str | None = None) -> OpenCharge:
    """Return a charge to look at.

    Raises:
        NotFound: there is no such charge.
    """
    row = await repository.by_id(session, charge_id, namespace)
    if row is None:
        raise NotFound(f"charge not found: {charge_id}")
    return OpenCharge(row, await repository.runs_of(session, row.namespace, [row.id]))


async def open_charge(session: WriteSession, namespace: str, charge_id: str) -> OpenCharge:
    """Return a charge to work on, locked until the transaction ends (section 8).

    Raises:
        NotFound: there is no such charge.
    """
    await session.flush()  # the charge is read anew, and what this session changed must not be lost by that
    await lock(session, "charge", namespace, charge_id)
    return await read(session, charge_id, namespace)


def unsupported(charge: OpenCharge, what: str) -> PreconditionFailed:
    """Make the refusal of a step that the charge's status does not allow."""
    return PreconditionFailed(f"unsupported operation: {what} on charge {charge.id} in status {charge.status}")
