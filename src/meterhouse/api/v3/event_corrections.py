"""Correcting events: voiding, taking that back, and amending; no part of the contract."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints, model_validator

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.services import Services
from meterhouse.api.v3.events import MeteringEvent
from meterhouse.api.wire import Instant, Numeric, Opt, Ulid, V3EventModel
from meterhouse.kernel import clock
from meterhouse.kernel.errors import FeatureDisabled, InvalidInput
from meterhouse.kernel.periods import Period
from meterhouse.metering.corrections import MAX_EVENTS, Correction, Corrections, Outcome
from meterhouse.metering.events import event as events
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.listing import EventQuery, Instants, InstantTest, StoredEvent

router = APIRouter(tags=["Event corrections"])

PATH = "/api/v3/meterhouse/events"
MAX_KEYS = 1000  # events named one by one; more are better chosen by conditions
MAX_LISTED = 100  # texts of one condition

Text = Annotated[str, StringConstraints(min_length=1)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Actor = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class EventReference(V3EventModel):
    """The source and id of an event."""

    source: Text
    id: Text


class CorrectionFilter(V3EventModel):
    """Which events to correct; all that is given must hold, and something must be given."""

    type: Opt[Text] = None
    source: Opt[Text] = None
    subject: Opt[list[Text]] = Field(None, min_length=1, max_length=MAX_LISTED, description="Any of these subjects.")
    ids: Opt[list[Text]] = Field(None, min_length=1, max_length=MAX_LISTED, description="Any of these ids.")
    from_: Opt[Instant] = Field(None, alias="from", description="Earliest event time, included.")
    to: Opt[Instant] = Field(None, description="Event time to stop before.")
    ingested_from: Opt[Instant] = Field(None, description="Earliest receive time, included.")
    ingested_to: Opt[Instant] = Field(None, description="Receive time to stop before.")

    @model_validator(mode="after")
    def _some(self) -> "CorrectionFilter":
        if all(value is None for value in self.__dict__.values()):
            raise ValueError("give at least one condition")
        return self


class UsageWindow(V3EventModel):
    """Event times over which changes of usage are measured."""

    from_: Instant = Field(alias="from", description="Earliest event time, included.")
    to: Instant = Field(description="Event time to stop before.")


class CorrectionRequest(V3EventModel):
    """Which events to correct, and why. Give either `events` or `filter`."""

    events: Opt[list[EventReference]] = Field(
        None, min_length=1, max_length=MAX_KEYS, description="These events. All must be stored, or none is changed."
    )
    filter: Opt[CorrectionFilter] = Field(
        None, description=f"All events like this, {MAX_EVENTS} at most, which are not yet what they shall be."
    )
    dry_run: bool = Field(False, description="Answer what would happen, and do nothing.")
    window: Opt[UsageWindow] = Field(
        None, description="For the changes of usage in the answer; the months (UTC) of the events when absent."
    )
    reason: Reason = Field(description="Kept with the record for good.")
    actor: Actor = Field(description="Who wants it. Kept with the record for good.")

    @model_validator(mode="after")
    def _one_of(self) -> "CorrectionRequest":
        if (self.events is None) is (self.filter is None):
            raise ValueError("give either events or filter")
        return self


class CorrectedEvent(EventReference):
    """A stored event, in short."""

    type: str
    subject: str
    time: Instant

    @classmethod
    def of(cls, event: StoredEvent) -> "CorrectedEvent":
        """Show a stored event."""
        return cls(source=event.source, id=event.id, type=event.type, subject=event.subject, time=event.time)


class UsageChange(V3EventModel):
    """How the usage of one subject changes over the window. A value is null where no event counts."""

    meter_id: Ulid
    meter_key: str
    subject: str
    before: Numeric | None
    after: Numeric | None


class CorrectionResult(V3EventModel):
    """What a correction did, or would do.

    Attributes:
        usage: what changes, by meter and subject.
    """

    dry_run: bool
    events: list[CorrectedEvent] = Field(description="The events that change, the latest first.")
    unchanged: list[CorrectedEvent] = Field(description="Events that were asked for and are so already.")
    window: Opt[UsageWindow] = None
    usage: list[UsageChange]

    @classmethod
    def of(cls, outcome: Outcome, *, dry_run: bool) -> "CorrectionResult":
        """Show an outcome."""
        period = outcome.window
        return cls(
            dry_run=dry_run,
            events=[CorrectedEvent.of(event) for event in outcome.events],
            unchanged=[CorrectedEvent.of(event) for event in outcome.unchanged],
            window=None if period is None else UsageWindow.model_validate({"from": period.start, "to": period.end}),
            usage=[
                UsageChange(
                    meter_id=change.meter.id,
                    meter_key=change.meter.key,
                    subject=change.subject,
                    before=change.before,
                    after=change.after,
                )
                for change in outcome.usage
            ],
        )


class AmendRequest(V3EventModel):
    """An event to replace, and what stands for it from now on."""

    source: Text
    id: Text
    event: MeteringEvent = Field(description="The new event. Its source and id must not have been used before.")
    reason: Reason = Field(description="Kept with the record for good.")
    actor: Actor = Field(description="Who wants it. Kept with the record for good.")


class _GivenEvent(msgspec.Struct):
    event: msgspec.Raw


class AmendResult(V3EventModel):
    """Which event does not count any more, and which one stands for it."""

    voided: EventReference
    event: EventReference


def _service(services: Services) -> Corrections:
    if services.corrections is None:
        raise FeatureDisabled("events are not corrected by this process")
    return services.corrections


_ERRORS = errors("v3", 400, 401, 403, 404, 503)


@router.post(
    PATH + "/void",
    operation_id="voidEvents",
    summary="Void events",
    status_code=200,
    responses=_ERRORS,
)
async def void_events(body: CorrectionRequest, namespace: Namespace, services: ServicesDep) -> CorrectionResult:
    """Let events not count any more. They stay stored, and every query from the answer on leaves them out."""
    return await _correct(body, namespace, services, voided=True)


@router.post(
    PATH + "/unvoid",
    operation_id="unvoidEvents",
    summary="Let voided events count again",
    status_code=200,
    responses=_ERRORS,
)
async def unvoid_events(body: CorrectionRequest, namespace: Namespace, services: ServicesDep) -> CorrectionResult:
    """Take voids back. The records of both stay."""
    return await _correct(body, namespace, services, voided=False)


@router.post(
    PATH + "/amend",
    operation_id="amendEvent",
    summary="Replace an event",
    status_code=200,
    responses=errors("v3", 400, 401, 403, 404, 409, 503),
)
async def amend_event(request: Request, body: AmendRequest, namespace: Namespace, services: ServicesDep) -> AmendResult:
    """Void an event and take in another one for it. The new one is durable with the answer, and counts once it is
    stored, seconds later. The same call again does no harm.
    """
    # From the text itself, by the rules of ingest: the parsed body went through doubles.
    given = msgspec.json.decode(await request.body(), type=_GivenEvent)
    (replacement,) = events.decode(
        bytes(given.event),
        events.CLOUDEVENT,
        namespace=namespace,
        received_at=clock.now(),
        extensions=False,
    )
    await _service(services).amend((body.source, body.id), replacement, reason=body.reason, actor=body.actor)
    return AmendResult(
        voided=EventReference(source=body.source, id=body.id),
        event=EventReference(source=replacement.source, id=replacement.id),
    )


async def _correct(body: CorrectionRequest, namespace: str, services: Services, *, voided: bool) -> CorrectionResult:
    if body.window is not None and body.window.from_ >= body.window.to:
        raise InvalidInput("window: from must be before to")
    wish = Correction(
        _chosen(body, namespace, voided=voided),
        voided=voided,
        window=None if body.window is None else Period(body.window.from_, body.window.to),
        reason=body.reason,
        actor=body.actor,
    )
    service = _service(services)
    outcome = await (service.preview(wish) if body.dry_run else service.apply(wish))
    return CorrectionResult.of(outcome, dry_run=body.dry_run)


def _chosen(body: CorrectionRequest, namespace: str, *, voided: bool) -> EventQuery:
    # One more than may be corrected at once, to tell that there are more.
    limit = MAX_EVENTS + 1
    if body.filter is None:
        return EventQuery(namespace, limit, keys=[(one.source, one.id) for one in body.events or ()])
    asked = body.filter
    texts: dict[str, Sequence[str] | None] = {
        "type": [asked.type] if asked.type else None,
        "source": [asked.source] if asked.source else None,
        "subject": asked.subject,
        "id": asked.ids,
    }
    bounds = {
        Instants.TIME: (asked.from_, asked.to),
        Instants.INGESTED_AT: (asked.ingested_from, asked.ingested_to),
    }
    tests = {
        column: [
            *([InstantTest(Operator.GTE, start)] if start else []),
            *([InstantTest(Operator.LT, end)] if end else []),
        ]
        for column, (start, end) in bounds.items()
    }
    return EventQuery(
        namespace,
        limit,
        filters={column: Filter(Operator.IN, tuple(wanted)) for column, wanted in texts.items() if wanted},
        instants={column: InstantTest(Operator.AND, parts=tuple(found)) for column, found in tests.items() if found},
        voided=not voided,
    )
