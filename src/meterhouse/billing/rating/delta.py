"""Delta rating: what a run of a charge adds to what earlier runs booked (charges section 6)."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from meterhouse.billing.rating.pricing import Rated
from meterhouse.billing.rating.results import AmountDiscount, DetailedLine
from meterhouse.billing.rating.totals import with_totals
from meterhouse.kernel.money import ZERO, minor_unit, plain, total
from meterhouse.kernel.precision import exact

_REVERSAL = "/reversal="


class _Key(NamedTuple):
    """What makes two detailed lines the same component at the same price."""

    child_ref: str
    category: str
    payment_term: str
    unit_amount: Decimal


def _key(detail: DetailedLine) -> _Key:
    return _Key(detail.child_ref.partition(_REVERSAL)[0], detail.category, detail.payment_term, detail.unit_amount)


@exact
def delta(cumulative: Rated, booked: Sequence[Sequence[DetailedLine]], currency: str) -> tuple[DetailedLine, ...]:
    """Return the cumulative rating less the lines that earlier runs booked; their credits do not count.

    A component that was booked at the same unit price gives the difference in quantity and in discounts. One that was
    booked at another price gives the whole line at the new price and a negative line for the old one, so that a volume
    price moving to another tier, or usage that decreased, corrects what was billed.

    The new lines round by themselves, so with prices finer than the minor unit the amounts of many runs drift from the
    amount of the whole. Where there are discounts they take the drift up: what is fully discounted stays free, a
    maximum is not exceeded, and a run whose usage grew is never negative.
    """
    before: dict[_Key, list[DetailedLine]] = {}
    for detail in (detail for run in booked for detail in run):
        before.setdefault(_key(detail), []).append(detail)
    due = cumulative.totals.total - _worth(detail for details in before.values() for detail in details)
    added = [_difference(detail, before.pop(_key(detail), []), currency) for detail in cumulative.details]
    reversed_lines = [_reversal(details, currency) for details in before.values()]
    found = [detail for detail in (*added, *reversed_lines) if detail is not None]
    if all(detail.quantity >= 0 for detail in found):
        rounded = len(cumulative.details) + sum(map(len, booked))
        due = _without_rounding(due, rounded, currency)
    return _settled(found, due, currency)


def _without_rounding(due: Decimal, rounded: int, currency: str) -> Decimal:
    """Return 0 for what is negative by no more than so many rounded lines can make it: nothing of it was given up."""
    return ZERO if -rounded * minor_unit(currency) <= due < 0 else due


def _worth(details: Iterable[DetailedLine]) -> Decimal:
    """Add up what lines are worth before credits."""
    return total(detail.totals.total + detail.totals.credits_total for detail in details)


def _settled(details: list[DetailedLine], due: Decimal, currency: str) -> tuple[DetailedLine, ...]:
    """Change discounts, the last first, by what the lines' worth drifts from `due` through rounding."""
    drift = _worth(details) - due
    places = [(index, place) for index, detail in enumerate(details) for place in range(len(detail.discounts))]
    for index, place in reversed(places):
        if not drift:
            break
        detail, discounts = details[index], list(details[index].discounts)
        given = discounts[place].amount
        change = min(drift, max(detail.totals.total, ZERO)) if drift > 0 else max(drift, min(-given, ZERO))
        discounts[place] = discounts[place].model_copy(update={"amount": given + change})
        details[index] = with_totals(detail.model_copy(update={"discounts": tuple(discounts)}), currency)
        drift -= change
    return tuple(details)


def _difference(now: DetailedLine, before: list[DetailedLine], currency: str) -> DetailedLine | None:
    if not before:
        return now
    quantity = now.quantity - total(detail.quantity for detail in before)
    discounts = _without(now.discounts, (discount for detail in before for discount in detail.discounts))
    if quantity == 0 and not any(discount.amount for discount in discounts):
        return None
    return with_totals(now.model_copy(update={"quantity": quantity, "discounts": discounts}), currency)


def _reversal(before: list[DetailedLine], currency: str) -> DetailedLine | None:
    first = before[0]
    quantity = -total(detail.quantity for detail in before)
    discounts = _without((), (discount for detail in before for discount in detail.discounts))
    if quantity == 0 and not any(discount.amount for discount in discounts):
        return None
    # A reference is unique on an invoice line, where the component may stand at its new price as well.
    child_ref = f"{_key(first).child_ref}{_REVERSAL}{plain(first.unit_amount)}"
    changes = {"child_ref": child_ref, "quantity": quantity, "discounts": discounts, "credits": ()}
    return with_totals(first.model_copy(update=changes), currency)


def _without(now: Iterable[AmountDiscount], before: Iterable[AmountDiscount]) -> tuple[AmountDiscount, ...]:
    """Subtract discounts by their reference; what was given before and is not now comes out negative."""
    amounts: dict[str, Decimal] = {}
    shown: dict[str, AmountDiscount] = {}
    for sign, discounts in ((1, now), (-1, before)):
        for discount in discounts:
            shown.setdefault(discount.child_ref, discount)
            amounts[discount.child_ref] = amounts.get(discount.child_ref, ZERO) + sign * discount.amount
    return tuple(discount.model_copy(update={"amount": amounts[reference]}) for reference, discount in shown.items())
