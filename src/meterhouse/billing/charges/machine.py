"""Moving a charge through its state table: fire a trigger, carry out the effect, go on until nothing more holds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meterhouse.billing.charges import realization, states, usage
from meterhouse.billing.charges.opened import OpenCharge, unsupported
from meterhouse.billing.charges.states import Effect, Trigger
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.ports import LineRef
from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession

# No walk through a table is nearly as long; more rounds mean that the tables lead in a circle.
MAX_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class _Step:
    session: WriteSession
    tools: Tools
    charge: OpenCharge
    line: LineRef | None


async def _snapshot_feature(step: _Step) -> None:
    row = step.charge.row
    if row.feature_key is not None:
        feature = await usage.feature_of(step.session, row)
        row.feature_id = feature.id if feature else None


async def _start_run(step: _Step) -> None:
    run = await realization.start(step.session, step.tools, step.charge, step.line)
    if step.line is None and step.charge.is_flat:
        # Nothing is waited for: what credits paid is final at once.
        run.sealed_at = clock.now()
        step.charge.row.current_run_id = None


async def _rerate(step: _Step) -> None:
    run = step.charge.current_run
    assert run is not None
    await realization.revalue(step.session, step.tools, step.charge, run)


async def _seal(step: _Step) -> None:
    assert step.line is not None
    run = step.charge.run_of_line(step.line.line_id)
    await realization.seal(step.session, step.tools, step.charge, run)


async def _clear_run(step: _Step) -> None:
    run = step.charge.current_run
    assert run is not None
    run.sealed_at, run.no_money_needed = clock.now(), True
    step.charge.row.current_run_id = None


_EFFECTS: dict[Effect, Callable[[_Step], Awaitable[None]]] = {
    Effect.SNAPSHOT_FEATURE: _snapshot_feature,
    Effect.REALIZE: _start_run,
    Effect.START_RUN: _start_run,
    Effect.RERATE: _rerate,
    Effect.SEAL: _seal,
    Effect.CLEAR_RUN: _clear_run,
}


async def _try(
    session: WriteSession, tools: Tools, charge: OpenCharge, trigger: Trigger, line: LineRef | None = None
) -> bool:
    mode = SettlementMode(charge.row.settlement_mode)
    transition = states.find(charge.kind, mode, charge.status, trigger, charge.situation())
    if transition is None:
        return False
    if transition.effect is not None:
        await _EFFECTS[transition.effect](_Step(session, tools, charge, line))
    charge.enter(transition.next)
    await session.flush()
    return True


async def fire(session: WriteSession, tools: Tools, charge: OpenCharge, trigger: Trigger, line: LineRef) -> None:
    """Fire an invoice event, then take every step that follows.

    Raises:
        PreconditionFailed: the status does not allow the event.
    """
    if not await _try(session, tools, charge, trigger, line):
        raise unsupported(charge, trigger.value)
    await settle(session, tools, charge)


async def settle(session: WriteSession, tools: Tools, charge: OpenCharge) -> None:
    """Take every step that time allows, until none is left."""
    for _ in range(MAX_ROUNDS):
        if not await _try(session, tools, charge, Trigger.NEXT):
            break
    else:
        raise RuntimeError(f"charge {charge.id} does not come to rest")
    if charge.is_due:
        # Time has done its part; what comes next is an invoice's business.
        charge.row.advance_after = None
    await session.flush()
