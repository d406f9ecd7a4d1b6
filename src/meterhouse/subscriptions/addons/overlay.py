"""Laying add-ons over the schedule of a subscription (subscriptions section 12.2). Pure.

The schedule below is kept, and every change lays all add-ons over it anew. So what an add-on gave is gone exactly when
its quantity is 0 again, whatever happened in between.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from meterhouse.catalog.ratecards import BooleanEntitlementTemplate, RateCard
from meterhouse.kernel.periods import Duration
from meterhouse.subscriptions.addons.instances import Instance, stretches
from meterhouse.subscriptions.addons.merging import Unmergeable, merged, times
from meterhouse.subscriptions.spec import BOOLEAN_COUNT, ItemSpec, PhaseSpec, SubscriptionSpec
from meterhouse.subscriptions.timeline import item_interval, phase_ends
from meterhouse.subscriptions.validation import InvalidSchedule, item_path


@dataclass(frozen=True, slots=True)
class Layer:
    """A purchase as the overlay sees it; priced rate cards carry their currency."""

    rate_cards: tuple[RateCard, ...]
    timeline: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of time inside a phase; `end` None is the open end of the last phase."""

    start: datetime
    end: datetime | None

    def common(self, other: "_Span") -> "_Span | None":
        start = max(self.start, other.start)
        ends = [end for end in (self.end, other.end) if end is not None]
        end = min(ends) if ends else None
        return None if end is not None and end <= start else _Span(start, end)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A version of an item with the time it covers."""

    item: ItemSpec
    span: _Span

    def cut(self, phase: _Span, span: _Span) -> "_Piece":
        """Return the part in `span`; a bound that does not move keeps what is stored of it."""
        item = self.item
        if span.start != self.span.start:
            item = replace(item, active_from_override=Duration.between(phase.start, span.start))
        if span.end is not None and span.end != self.span.end:
            item = replace(item, active_to_override=Duration.between(phase.start, span.end))
        return _Piece(item, span)


def overlay(base: SubscriptionSpec, layers: Iterable[Layer]) -> SubscriptionSpec:
    """Return the schedule with the layers upon it, the first lowest.

    While an add-on has a quantity, what it gives is there that many times, in every phase that the time touches: in the
    versions of an item of the same key, and as an item of its own where there is none.

    Raises:
        InvalidSchedule: a rate card cannot be added to the item of its key.
    """
    spans = [(one, layer.rate_cards) for layer in layers for one in stretches(layer.timeline)]
    ends = phase_ends([phase.active_from for phase in base.phases], None)
    phases = []
    for phase, end in zip(base.phases, ends, strict=True):
        whole = _Span(phase.active_from, end)
        items = dict(phase.items)
        for instance, cards in spans:
            part = whole.common(_Span(instance.active_from, instance.active_to))
            if part is not None:
                for card in cards:
                    items[card.key] = _laid(phase, whole, items.get(card.key, ()), card, instance.quantity, part)
        phases.append(replace(phase, items=items))
    return replace(base, phases=tuple(phases))


def _laid(
    phase: PhaseSpec, whole: _Span, versions: Sequence[ItemSpec], card: RateCard, quantity: int, part: _Span
) -> tuple[ItemSpec, ...]:
    """Return the versions of an item with a rate card added during `part`."""
    pieces = [_piece(whole, item) for item in versions]
    laid: list[_Piece] = []
    for version, piece in enumerate(pieces):
        inside = piece.span.common(part)
        if inside is None:
            laid.append(piece)
            continue
        if piece.span.start < inside.start:
            laid.append(piece.cut(whole, _Span(piece.span.start, inside.start)))
        try:
            item = _with(piece.item, card, quantity)
        except Unmergeable as error:
            raise _refusal(phase, card.key, version, error) from error
        laid.append(_Piece(item, piece.span).cut(whole, inside))
        if inside.end is not None and inside.end != piece.span.end:
            laid.append(piece.cut(whole, _Span(inside.end, piece.span.end)))
    gaps = _gaps(pieces, part)
    if gaps:
        own = _Piece(_own(phase, card, quantity), whole)
        laid += [own.cut(whole, gap) for gap in gaps]
    return tuple(piece.item for piece in sorted(laid, key=lambda piece: piece.span.start))


def _piece(whole: _Span, item: ItemSpec) -> _Piece:
    bounds = item_interval(whole.start, whole.end, item.active_from_override, item.active_to_override)
    return _Piece(item, _Span(*bounds))


def _gaps(pieces: Sequence[_Piece], part: _Span) -> list[_Span]:
    """Return the stretches of `part` that no version covers."""
    gaps = []
    cursor = part.start
    for piece in pieces:
        gap = part.common(_Span(cursor, piece.span.start)) if cursor < piece.span.start else None
        if gap is not None:
            gaps.append(gap)
        if piece.span.end is None:
            return gaps
        cursor = max(cursor, piece.span.end)
    rest = part.common(_Span(cursor, None))
    return gaps if rest is None else [*gaps, rest]


def _with(item: ItemSpec, card: RateCard, quantity: int) -> ItemSpec:
    annotations: dict[str, Any] = dict(item.annotations)
    if isinstance(card.entitlement_template, BooleanEntitlementTemplate):
        had = annotations.get(BOOLEAN_COUNT, 0)
        annotations[BOOLEAN_COUNT] = had + quantity
    return replace(item, rate_card=merged(item.rate_card, times(card, quantity)), annotations=annotations)


def _own(phase: PhaseSpec, card: RateCard, quantity: int) -> ItemSpec:
    """Return an item that the add-on brings, which the subscription does not own."""
    try:
        item = ItemSpec(card.key, times(card, quantity))
    except Unmergeable as error:
        raise _refusal(phase, card.key, 0, error) from error
    if isinstance(card.entitlement_template, BooleanEntitlementTemplate):
        item = replace(item, annotations={BOOLEAN_COUNT: quantity})
    return item


def _refusal(phase: PhaseSpec, key: str, version: int, error: Unmergeable) -> InvalidSchedule:
    issues = [replace(issue, field=f"{item_path(phase, key, version)}{issue.field}") for issue in error.issues]
    return InvalidSchedule("the add-on does not fit the subscription: " + str(error), issues=issues)
