"""What fees still come to beside issued invoices, and fees that are owed once (charges section 11). Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.sync.invoiced import beyond_invoiced
from meterhouse.billing.sync.matching import matched
from meterhouse.billing.sync.targets import targets
from meterhouse.catalog.prices import FlatPrice
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions.spec import PATCH_ID
from meterhouse.subscriptions.views import ItemVersion
from tests.sync.builders import TOKENS, at, by_name, card, flat, item, phase, span, view


def fee(amount: str, start: str, end: str | None = None, version: int = 0, cadence: str | None = "P1M") -> ItemVersion:
    return item(card("fee", flat(amount), cadence), start, end, version)


def intents(*versions: ItemVersion, as_of: str = "1-20") -> tuple[ChargeIntent, ...]:
    return targets(view(phase("main", *versions)), at(as_of)).intents


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
            invoiced=invoiced.get(name),
        )
        for name, intent in by_name(wanted).items()
    ]


def told(wanted: Sequence[ChargeIntent]) -> dict[str, tuple[Period, str]]:
    return {
        name: (intent.service_period, str(intent.price.amount))
        for name, intent in by_name(wanted).items()
        if isinstance(intent.price, FlatPrice)
    }


WHOLE = span("1-15", "2-15")
SOLD = intents(fee("62.00", "1-15"))
ISSUED = {"fee[0]": WHOLE}


def test_a_dearer_version_bills_what_it_is_more() -> None:
    wanted = intents(fee("62.00", "1-15", "2-01"), fee("93.00", "2-01", version=1))
    assert told(beyond_invoiced(wanted, stored(SOLD, {}))) == told(wanted)
    kept = beyond_invoiced(wanted, stored(SOLD, ISSUED))
    assert told(kept) == {
        "fee[0]": (WHOLE, "62.00"),
        "fee/v1[0]": (span("2-01", "2-15"), "31.00"),
        "fee/v1[1]": (span("2-15", "3-15"), "93.00"),
    }
    # A second sync, and one after that line was issued too, find the same.
    again = beyond_invoiced(wanted, stored(kept, {**ISSUED, "fee/v1[0]": span("2-01", "2-15")}))
    assert told(again) == told(kept)


def test_versions_add_up_to_the_dearest_so_far() -> None:
    first = intents(fee("62.00", "1-15", "2-01"), fee("93.00", "2-01", version=1))
    before = stored(beyond_invoiced(first, stored(SOLD, ISSUED)), {**ISSUED, "fee/v1[0]": span("2-01", "2-15")})
    cut = fee("93.00", "2-01", "2-08", version=1)
    for amount, rest in (("100.00", "7.00"), ("93.00", "0"), ("50.00", "0")):
        wanted = intents(fee("62.00", "1-15", "2-01"), cut, fee(amount, "2-08", version=2))
        assert told(beyond_invoiced(wanted, before))["fee/v2[0]"] == (span("2-08", "2-15"), rest), amount


def test_an_item_that_ends_is_cut_as_ever() -> None:
    wanted = intents(fee("62.00", "1-15", "2-01"), item(TOKENS))
    assert told(beyond_invoiced(wanted, stored(SOLD, ISSUED))) == {"fee[0]": (span("1-15", "2-01"), "62.00")}
    # Sold again later, the days that were paid are not paid again.
    later = intents(fee("62.00", "1-15", "2-01"), fee("62.00", "2-08", version=1))
    assert told(beyond_invoiced(later, stored(wanted, ISSUED)))["fee/v1[0]"] == (span("2-08", "2-15"), "0")


def test_days_that_are_shared_in_part() -> None:
    before = stored(intents(fee("62.00", "1-15", "2-01"), item(TOKENS)), {"fee[0]": span("1-15", "2-01")})
    # From 25 January on: 7 of 21 days are billed already.
    wanted = intents(fee("62.00", "1-15", "1-25"), fee("93.00", "1-25", version=1))
    kept = told(beyond_invoiced(wanted, before))
    assert kept["fee[0]"] == (span("1-15", "2-01"), "62.00")
    assert kept["fee/v1[0]"] == (span("1-25", "2-15"), "72.33")


def test_a_version_put_in_before_others_moves_none_that_was_realised() -> None:
    before = intents(fee("62.00", "1-15", "2-01"), fee("93.00", "2-01", version=1), as_of="2-02")
    states = stored(before, {"fee[0]": span("1-15", "2-01"), "fee/v1[0]": span("2-01", "2-15")})
    wanted = intents(
        fee("62.00", "1-15", "1-20"), fee("80.00", "1-20", "2-01", 1), fee("93.00", "2-01", None, 2), as_of="2-02"
    )
    kept = beyond_invoiced(matched(wanted, states), states)
    assert told(kept) == {
        "fee[0]": (span("1-15", "2-01"), "62.00"),
        "fee/v1[0]": (span("2-01", "2-15"), "93.00"),
        "fee/v2[0]": (span("1-20", "2-01"), "18.00"),
        "fee/v2[1]": (span("2-15", "3-15"), "93.00"),
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
