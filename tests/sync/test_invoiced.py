"""What fees still come to beside issued invoices, and fees that are owed once (charges section 11). Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.valuation import amount_after_proration
from meterhouse.billing.charges.views import ChargeState, Invoiced
from meterhouse.billing.sync.invoiced import beyond_invoiced
from meterhouse.billing.sync.issued_days import around_issued
from meterhouse.billing.sync.matching import matched
from meterhouse.billing.sync.targets import targets
from meterhouse.catalog.prices import Discounts, FlatPrice, PercentageDiscount
from meterhouse.kernel.money import plain, round_money
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions.spec import PATCH_ID
from meterhouse.subscriptions.views import ItemVersion
from tests.sync.builders import TOKENS, at, by_name, card, flat, item, phase, span, view


def fee(amount: str, start: str, end: str | None = None, version: int = 0, cadence: str | None = "P1M") -> ItemVersion:
    return item(card("fee", flat(amount), cadence), start, end, version)


def intents(*versions: ItemVersion, as_of: str = "1-20") -> tuple[ChargeIntent, ...]:
    return targets(view(phase("main", *versions)), at(as_of)).intents


def issued(intent: ChargeIntent, period: Period) -> Invoiced:
    return Invoiced(period, amount_after_proration(replace(intent, service_period=period)) or Decimal(0))


def stored(wanted: Sequence[ChargeIntent], invoiced: Mapping[str, Period]) -> list[ChargeState]:
    """Pretend that the charges exist, and what invoices bill of them by name."""
    return [
        ChargeState(
            id=name,
            unique_reference_id=intent.unique_reference_id,
            intent=intent,
            status=Status.FINAL,
            has_runs=name in invoiced,
            subscription_item_id=None,
            invoiced=issued(intent, invoiced[name]) if name in invoiced else None,
        )
        for name, intent in by_name(wanted).items()
    ]


def told(wanted: Sequence[ChargeIntent]) -> dict[str, tuple[Period, str]]:
    return {
        name: (intent.service_period, plain(intent.price.amount))
        for name, intent in by_name(wanted).items()
        if isinstance(intent.price, FlatPrice)
    }


def settled(
    wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState], replaced: Sequence[ChargeState] = ()
) -> tuple[ChargeIntent, ...]:
    return beyond_invoiced(matched(around_issued(wanted, existing), existing), existing, besides=replaced)


WHOLE = span("1-15", "2-15")
SOLD = intents(fee("62.00", "1-15"))
ISSUED = {"fee[0]": WHOLE}


def test_a_dearer_version_bills_what_it_is_more() -> None:
    wanted = intents(fee("62.00", "1-15", "2-01"), fee("93.00", "2-01", version=1))
    assert told(settled(wanted, stored(SOLD, {}))) == told(wanted)
    kept = settled(wanted, stored(SOLD, ISSUED))
    assert told(kept) == {
        "fee[0]": (WHOLE, "62"),
        "fee/v1[0]": (span("2-01", "2-15"), "31"),
        "fee/v1[1]": (span("2-15", "3-15"), "93"),
    }
    # A second sync, and one after that line was issued too, find the same.
    again = settled(wanted, stored(kept, {**ISSUED, "fee/v1[0]": span("2-01", "2-15")}))
    assert told(again) == told(kept)


def test_versions_add_up_to_the_dearest_so_far() -> None:
    first = intents(fee("62.00", "1-15", "2-01"), fee("93.00", "2-01", version=1))
    before = stored(settled(first, stored(SOLD, ISSUED)), {**ISSUED, "fee/v1[0]": span("2-01", "2-15")})
    cut = fee("93.00", "2-01", "2-08", version=1)
    for amount, rest in (("100.00", "7"), ("93.00", "0"), ("50.00", "0")):
        wanted = intents(fee("62.00", "1-15", "2-01"), cut, fee(amount, "2-08", version=2))
        assert told(settled(wanted, before))["fee/v2[0]"] == (span("2-08", "2-15"), rest), amount


def test_an_item_that_ends_is_cut_as_ever() -> None:
    wanted = intents(fee("62.00", "1-15", "2-01"), item(TOKENS))
    assert told(settled(wanted, stored(SOLD, ISSUED))) == {"fee[0]": (span("1-15", "2-01"), "62")}
    # Sold again later, the days that were paid are not paid again.
    later = intents(fee("62.00", "1-15", "2-01"), fee("62.00", "2-08", version=1))
    assert told(settled(later, stored(wanted, ISSUED)))["fee/v1[0]"] == (span("2-08", "2-15"), "0")


def test_days_that_are_shared_in_part() -> None:
    before = stored(intents(fee("62.00", "1-15", "2-01"), item(TOKENS)), {"fee[0]": span("1-15", "2-01")})
    # From 25 January on: 7 of 21 days are billed already.
    wanted = intents(fee("62.00", "1-15", "1-25"), fee("93.00", "1-25", version=1))
    kept = told(settled(wanted, before))
    assert kept["fee[0]"] == (span("1-15", "2-01"), "62")
    assert kept["fee/v1[0]"] == (span("1-25", "2-15"), "72.33")


def test_a_version_put_in_before_others_moves_none_that_was_realised() -> None:
    before = intents(fee("62.00", "1-15", "2-01"), fee("93.00", "2-01", version=1), as_of="2-02")
    states = stored(before, {"fee[0]": span("1-15", "2-01"), "fee/v1[0]": span("2-01", "2-15")})
    wanted = intents(
        fee("62.00", "1-15", "1-20"), fee("80.00", "1-20", "2-01", 1), fee("93.00", "2-01", None, 2), as_of="2-02"
    )
    kept = settled(wanted, states)
    assert told(kept) == {
        "fee[0]": (span("1-15", "2-01"), "62"),
        "fee/v1[0]": (span("2-01", "2-15"), "93"),
        "fee/v2[0]": (span("1-20", "2-01"), "18.01"),
        "fee/v2[1]": (span("2-15", "3-15"), "93"),
    }
    assert matched(kept, states) == kept
    assert matched(before, states) == before
    assert sorted(one.unique_reference_id or "" for one in matched(wanted, states)) == sorted(
        one.unique_reference_id or "" for one in wanted
    )


def test_what_is_owed_once_is_owed_once_for_all_versions() -> None:
    once = [
        fee("40", "1-15", "1-16", cadence=None),
        fee("120", "1-16", "1-17", 1, cadence=None),
        fee("80", "1-17", "1-18", 2, cadence=None),
        fee("130", "1-18", None, 3, cadence=None),
    ]
    amounts = [str(intent.price.amount) for intent in intents(*once) if isinstance(intent.price, FlatPrice)]
    assert amounts == ["40", "80", "0", "10"]
    # After a gap, or by an edit, it is sold anew.
    gap = intents(once[0], fee("40", "1-17", None, 1, cadence=None))
    edited = intents(once[0], replace(fee("40", "1-16", None, 1, cadence=None), annotations={PATCH_ID: "x"}))
    for wanted in (gap, edited):
        assert [one.price.amount for one in wanted if isinstance(one.price, FlatPrice)] == [Decimal(40)] * 2


def test_what_became_dearer_from_the_start_of_the_period_bills_the_difference() -> None:
    states = stored(SOLD, ISSUED)
    for amount, expected in (("93.00", {"fee[0]/more[1]": "31"}), ("62.00", {}), ("31.00", {})):
        wanted = intents(fee(amount, "1-15"))
        kept = settled(wanted, states)
        assert {name: said[1] for name, said in told(kept).items() if name != "fee[1]"} == {"fee[0]": "62", **expected}
        assert told(kept)["fee[1]"][1] == plain(Decimal(amount))
    more = intents(fee("93.00", "1-15"))
    # It stays while it is not issued, and is a charge of its own once it is.
    first = settled(more, states)
    assert settled(more, stored(first, ISSUED)) == first
    states = stored(first, {**ISSUED, "fee[0]/more[1]": WHOLE})
    assert settled(more, states) == first
    assert told(settled(intents(fee("100.00", "1-15")), states))["fee[0]/more[2]"] == (WHOLE, "7")
    # What follows counts both.
    wanted = intents(fee("93.00", "1-15", "2-01"), fee("124.00", "2-01", None, 1))
    assert told(settled(wanted, states)) == {
        "fee[0]": (WHOLE, "62"),
        "fee[0]/more[1]": (WHOLE, "31"),
        "fee/v1[0]": (span("2-01", "2-15"), "31"),
        "fee/v1[1]": (span("2-15", "3-15"), "124"),
    }


def test_days_that_were_not_invoiced_are_billed_when_the_end_is_taken_back() -> None:
    cut = targets(view(phase("main", fee("62.00", "1-15"), end="2-01"), end="2-01"), at("1-20")).intents
    billed = {"fee[0]": span("1-15", "2-01")}
    kept = told(settled(intents(fee("62.00", "1-15")), stored(cut, billed)))
    assert kept == {
        "fee[0]": (span("1-15", "2-01"), "62"),
        "fee[0]/more[1]": (span("2-01", "2-15"), "62"),
        "fee[1]": (span("2-15", "3-15"), "62"),
    }
    # Where a period that ends early costs as much as a whole one, it is paid.
    whole = stored(cut, billed)
    whole = [replace(whole[0], invoiced=Invoiced(span("1-15", "2-01"), Decimal("62.00")))]
    assert "fee[0]/more[1]" not in told(settled(intents(fee("62.00", "1-15")), whole))


@pytest.mark.parametrize("off", ["0", "33", "67", "99"])
@pytest.mark.parametrize("amount", ["10.00", "10.01", "10.02", "0.07", "99.99"])
def test_what_rounding_leaves_is_not_billed(amount: str, off: str) -> None:
    share = Discounts(percentage=PercentageDiscount(percentage=Decimal(off)))
    sold = intents(item(card("fee", flat(amount), discounts=share), "1-20"))
    (first,) = (one for one in sold if one.service_period == span("1-20", "2-15"))
    prorated = amount_after_proration(first) or Decimal(0)
    billed = Invoiced(first.service_period, round_money(prorated * (100 - Decimal(off)) / 100, "USD"))
    states = [replace(state, invoiced=billed) for state in stored([first], {"fee[0]": first.service_period})]
    assert sorted(told(settled(sold, states))) == ["fee[0]", "fee[1]"]


def test_what_was_changed_on_the_invoice_by_hand_stays() -> None:
    (first, *_) = stored(SOLD, ISSUED)
    lowered, raised = (replace(first, invoiced=Invoiced(WHOLE, Decimal(amount))) for amount in ("50.00", "70.00"))
    for state, rest in ((lowered, "31"), (raised, "23")):
        assert "fee[0]/more[1]" not in told(settled(intents(fee("62.00", "1-15")), [state]))
        assert told(settled(intents(fee("93.00", "1-15")), [state]))["fee[0]/more[1]"] == (WHOLE, rest)


def test_a_fee_without_days_is_paid_once() -> None:
    sold = intents(fee("62.00", "1-15T00:00:00.4", "1-15T00:00:00.9"))
    (empty,) = sold
    assert empty.service_period.is_empty()
    assert settled(sold, stored(sold, {"fee[0]": empty.service_period})) == sold


def test_a_version_that_begins_earlier_than_what_was_paid() -> None:
    sold = intents(fee("62.00", "2-01"), as_of="2-02")
    states = stored(sold, {"fee[0]": span("2-01", "2-15")})
    earlier = settled(intents(fee("62.00", "1-25"), as_of="2-02"), states)
    # 21 of 31 days, of which 14 are paid: what they were paid with stays.
    assert told(earlier) == {
        "fee[0]": (span("2-01", "2-15"), "62"),
        "fee/v1[0]": (span("1-25", "2-15"), "20.67"),
        "fee[1]": (span("2-15", "3-15"), "62"),
    }
    assert (
        settled(intents(fee("62.00", "1-25"), as_of="2-02"), stored(earlier, {"fee[0]": span("2-01", "2-15")}))
        == earlier
    )
    # Also from the period before on, and where it has ended before the paid days.
    before = told(
        settled(
            intents(fee("62.00", "1-25"), as_of="3-02"),
            stored(intents(fee("62.00", "2-20"), as_of="3-02"), {"fee[0]": span("2-20", "3-15")}),
        )
    )
    assert before["fee[0]"] == (span("2-20", "3-15"), "62")
    assert sorted(days for days, _ in before.values()) == [
        span("1-25", "2-15"),
        span("2-15", "3-15"),
        span("2-20", "3-15"),
        span("3-15", "4-15"),
    ]
    ended = told(settled(intents(fee("62.00", "1-20", "1-25"), as_of="2-02"), states))
    assert list(ended.values()) == [(span("1-20", "1-25"), "62")]
    assert "fee[0]" not in ended


def test_what_is_given_away_is_not_billed_again() -> None:
    free = Discounts(percentage=PercentageDiscount(percentage=Decimal(100)))
    wanted = intents(item(card("fee", flat("62.00"), discounts=free), "1-15"))
    nothing = [replace(state, invoiced=Invoiced(WHOLE, Decimal(0))) for state in stored(wanted, ISSUED)[:1]]
    assert sorted(told(settled(wanted, nothing))) == ["fee[0]", "fee[1]"]
    # Without the discount it costs what it costs, for the days that no invoice gave away.
    assert told(settled(intents(fee("62.00", "1-15")), nothing))["fee[0]/more[1]"] == (WHOLE, "62")


def test_what_is_owed_once_can_become_dearer_too() -> None:
    sold = intents(fee("40", "1-15", cadence=None))
    for amount, expected in (("100", {"fee": "40", "fee/more[1]": "60"}), ("40", {"fee": "40"}), ("20", {"fee": "40"})):
        assert owed_once(sold, intents(fee(amount, "1-15", cadence=None)), "fee") == expected


def owed_once(sold: Sequence[ChargeIntent], wanted: Sequence[ChargeIntent], *realised: str) -> dict[str, str]:
    """Return what each version of a fee owed once comes to, where some were paid as they were sold."""
    states = stored(sold, {name: next(one.service_period for one in sold) for name in realised})
    return {name: amount for name, (_, amount) in told(settled(wanted, states)).items()}


def test_a_version_put_in_before_one_that_was_paid_owes_the_rest() -> None:
    sold = intents(fee("40", "1-15", "1-20", cadence=None), fee("120", "1-20", None, 1, cadence=None))
    for amount, rest in (("100", "0"), ("120", "0"), ("150", "30")):
        wanted = intents(
            fee("40", "1-15", "1-18", cadence=None),
            fee(amount, "1-18", "1-20", 1, cadence=None),
            fee("120", "1-20", None, 2, cadence=None),
        )
        # What was paid keeps its identity; what was put in has the one that is free.
        expected = {"fee": "40", "fee/v1": "80", "fee/v2": rest}
        assert owed_once(sold, wanted, "fee", "fee/v1") == expected, amount
    assert owed_once(sold, wanted) == {"fee": "40", "fee/v1": "110", "fee/v2": "0"}


def following(*items: ItemVersion) -> tuple[ChargeIntent, ...]:
    """Return the charges of the subscription that takes the other's place on 1 February."""
    return targets(view(phase("other", *items, start="2-01"), id="N"), at("2-02")).intents


def test_a_subscription_in_the_place_of_another_bills_what_it_is_more() -> None:
    paid = stored(SOLD, ISSUED)
    for amount, rest in (("93.00", "31"), ("62.00", "0"), ("31.00", "0")):
        kept = told(settled(following(fee(amount, "2-01")), [], paid))
        assert kept["fee[0]"] == (span("2-01", "2-15"), rest), amount
        assert kept["fee[1]"] == (span("2-15", "3-15"), plain(Decimal(amount)))
    other = item(card("team", flat("93.00")), "2-01")
    assert told(settled(following(other), [], paid))["team[0]"] == (span("2-01", "2-15"), "93")
    # The other one keeps its days, which nothing is wrong with; where nothing takes them over, it is cut.
    cut = intents(fee("62.00", "1-15", "2-01"))
    for follower, end in ((fee("93.00", "2-01"), "2-15"), (other, "2-01")):
        (left, *_) = beyond_invoiced(cut, paid, following=following(follower))
        assert left.service_period == span("1-15", end)
    # What is owed once is sold anew.
    once = stored(intents(fee("500", "1-15", cadence=None)), {"fee": WHOLE})
    assert told(settled(following(fee("500", "2-01", cadence=None)), [], once))["fee"][1] == "500"


def test_days_billed_by_charges_that_are_gone_are_not_billed_again() -> None:
    gone = [replace(one, status=Status.DELETED, has_runs=False) for one in stored(SOLD, ISSUED)]
    half = [replace(one, invoiced=one.invoiced and replace(one.invoiced, amount=Decimal(31))) for one in gone]
    # 14 of 31 days: for 93.00 less what was to be paid for them, which is less where credits came back.
    for paid, rest in ((gone, "31"), (half, "62")):
        back = settled(intents(fee("93.00", "2-01")), [], paid)
        assert told(back)["fee[0]"] == (span("2-01", "2-15"), rest)


def test_what_a_following_subscription_goes_on_with_stays() -> None:
    paid = stored(intents(fee("62.00", "1-15"), as_of="3-01"), {"fee[0]": WHOLE, "fee[1]": span("2-15", "3-15")})
    left = intents(fee("62.00", "1-15", "2-01"))
    for follower, names in ((fee("93.00", "2-01"), ["fee[0]", "fee[1]"]), (fee("93.00", "2-01", "2-10"), ["fee[0]"])):
        kept = beyond_invoiced(
            left, paid, following=targets(view(phase("other", follower), id="N"), at("3-01")).intents
        )
        assert sorted(by_name(kept)) == names
        assert kept[0].service_period == WHOLE


def test_another_cadence_shares_days_too() -> None:
    yearly = following(fee("730.00", "2-01", cadence="P1Y"))
    (kept,) = settled(yearly, [], stored(SOLD, ISSUED))
    # 348 of 365 days at 2.00 a day, less 14 of 31 days of 62.00.
    assert amount_after_proration(kept) == 348 * 2 - 28
    assert amount_after_proration(yearly[0]) == 348 * 2


def test_what_a_discount_took_off_is_not_counted_as_paid() -> None:
    half = Discounts(percentage=PercentageDiscount(percentage=Decimal(50)))
    (first, *_) = stored(intents(item(card("fee", flat("62.00"), discounts=half), "1-15")), ISSUED)
    reduced = [replace(first, invoiced=Invoiced(WHOLE, Decimal("31.00")))]
    for discounts, rest in ((Discounts(), "31"), (half, "0")):
        offered = card("fee", flat("62.00"), discounts=discounts)
        wanted = intents(fee("62.00", "1-15", "2-01"), item(offered, "2-01", version=1))
        # 14 of 31 days at the new price, less 14.00 that were paid for them; a discount comes off what is left.
        assert told(settled(wanted, reduced))["fee/v1[0]"] == (span("2-01", "2-15"), rest)


def test_without_proration_days_are_not_paid_twice_either() -> None:
    whole = view(phase("other", fee("93.00", "2-01"), start="2-01"), id="N", pro_rating_enabled=False)
    kept = told(settled(targets(whole, at("2-02")).intents, [], stored(SOLD, ISSUED)))
    assert kept["fee[0]"] == (span("2-01", "2-15"), "65")


@pytest.mark.parametrize(("amount", "rest"), [("62.00", "0"), ("31.00", "0"), ("93.00", "31")])
def test_without_proration_any_of_its_days_pays_a_fee(amount: str, rest: str) -> None:
    def of(*versions: ItemVersion) -> tuple[ChargeIntent, ...]:
        return targets(view(phase("main", *versions), pro_rating_enabled=False), at("2-02")).intents

    paid = stored(of(fee("62.00", "1-15")), ISSUED)
    kept = told(settled(of(fee("62.00", "1-15", "2-01"), fee(amount, "2-01", version=1)), paid))
    assert kept["fee/v1[0]"] == (span("2-01", "2-15"), rest)
