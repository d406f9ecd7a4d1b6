"""The story this product exists for (subscription-sync section 9.7), over HTTP, on a fresh install, for a year.

customer -> meter -> feature -> plan with a usage price -> subscription -> credit grant -> events -> charge -> invoice
line -> credits consumed, settled by credits first and an invoice for the rest, and by credits alone.
"""

import asyncio
from decimal import Decimal
from typing import Any

import asyncpg

from tests.scenarios.served import Server
from tests.scenarios.world import LEDGER_SUMS

UNIT_PRICE = Decimal("0.02")
MONTHS = [f"2025-{month:02d}" for month in range(2, 13)] + ["2026-01"]


class Story:
    """Two customers on the same usage: `hybrid` pays the rest by invoice, `prepaid` by credits alone."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hybrid = server.customer("hybrid")
        self.prepaid = server.customer("prepaid")
        self.patient = server.customer("patient")
        server.token_catalog()
        server.plan("prepaid", settlementMode="credit_only")
        self.used = Decimal(0)

    def use(self, when: str, tokens: str) -> None:
        """Both customers use the same tokens at the same instant."""
        for key in ("hybrid", "prepaid", "patient"):
            self.server.ingest(f"{key}-app", when, tokens, event_id=f"{key}-{when}")
        self.used += Decimal(tokens)


def booked(charge: dict[str, Any]) -> Decimal:
    return Decimal(charge["totals"]["booked"]["total"])


def usage_line(invoice: dict[str, Any]) -> dict[str, Any]:
    (line,) = invoice["lines"]
    assert isinstance(line, dict)
    return line


def a_charge_is_there_as_soon_as_the_subscription_is(story: Story) -> None:
    for customer, plan in ((story.hybrid, "pro"), (story.prepaid, "prepaid"), (story.patient, "pro")):
        story.server.subscribe(customer, plan)
        story.server.grant(customer, "100.00", effective_at="2025-01-15T00:00:10Z")
        (charge,) = story.server.charges(customer)
        assert charge["type"] == "usage_based"
        assert charge["status"] in ("created", "active")
        assert charge["service_period"] == {"from": "2025-01-15T00:00:00Z", "to": "2025-02-15T00:00:00Z"}
        assert booked(charge) == 0


def nothing_billable_yet_says_why_and_from_when(story: Story) -> None:
    refused = story.server.invoice(story.patient, status=400, progressiveBillingOverride=False)
    assert refused["extensions"]["code"] == "invoice_create_no_lines"
    assert refused["extensions"]["next_billable_at"] == "2025-02-15T00:00:00Z"
    (pending,) = refused["extensions"]["pending_lines"]
    assert pending["feature_key"] == "tokens"
    assert pending["invoice_at"] == "2025-02-15T00:00:00Z"


def usage_lowers_the_live_balance_at_once(story: Story) -> None:
    story.server.move_to("2025-01-20T11:00")
    story.use("2025-01-16T08:00", "1000")
    story.use("2025-01-20T10:30", "250")
    story.server.move_to("2025-01-20T12:00")
    for customer in (story.hybrid, story.prepaid):
        (charge,) = story.server.charges(customer, real_time=True)
        assert Decimal(charge["totals"]["realtime"]["total"]) == Decimal("25.00")
        assert booked(charge) == 0
        assert story.server.balance(customer) == {"settled": 100, "live": 75, "pending": 0}


def a_progressive_invoice_consumes_credits(story: Story) -> None:
    (invoice,) = story.server.invoice(story.hybrid, progressiveBillingOverride=True)
    line = usage_line(invoice)
    assert line["period"] == {"from": "2025-01-15T00:00:00Z", "to": "2025-01-20T12:00:00Z"}
    assert Decimal(line["quantity"]) == 1250
    assert Decimal(line["totals"]["amount"]) == 25
    assert Decimal(line["totals"]["creditsTotal"]) == 25
    assert Decimal(invoice["totals"]["total"]) == 0
    assert story.server.balance(story.hybrid) == {"settled": 75, "live": 75, "pending": 0}
    assert story.server.transactions(story.hybrid) == [("consumed", -25, 100, 75), ("funded", 100, 0, 100)]


def an_open_draft_blocks_the_next_progressive_invoice(story: Story) -> None:
    story.server.move_to("2025-01-20T12:00:01")
    (draft,) = story.server.invoices(story.hybrid)
    refused = story.server.invoice(story.hybrid, status=400, progressiveBillingOverride=True)
    assert refused["extensions"]["code"] == "active_realization_run_already_exists"
    assert refused["extensions"]["reason"] == "draft_invoice_open"
    assert refused["extensions"]["invoice_id"] == draft["id"]


def without_progressive_billing_the_line_waits_for_its_period(story: Story) -> None:
    refused = story.server.invoice(story.patient, status=400, progressiveBillingOverride=False)
    assert refused["extensions"]["next_billable_at"] == "2025-02-15T00:00:00Z"


def credit_only_charges_are_never_invoiced(story: Story) -> None:
    refused = story.server.invoice(story.prepaid, status=400, progressiveBillingOverride=True)
    assert refused["extensions"]["code"] == "invoice_create_no_lines"
    assert [one["reason"] for one in refused["extensions"]["subscriptions"]] == ["credit_only"]


def the_collector_bills_the_rest_of_the_period(story: Story) -> None:
    story.server.move_to("2025-02-10T09:00")
    story.use("2025-02-10T08:00", "4000")
    story.server.move_to("2025-02-15T00:00")
    partial, final = story.server.invoices(story.hybrid)
    assert partial["status"] == "paid"
    line = usage_line(final)
    assert line["period"] == {"from": "2025-01-20T12:00:00Z", "to": "2025-02-15T00:00:00Z"}
    assert Decimal(line["quantity"]) == 4000
    assert Decimal(line["totals"]["amount"]) == 80
    assert Decimal(line["totals"]["creditsTotal"]) == 75
    assert Decimal(final["totals"]["total"]) == 5
    assert story.server.balance(story.hybrid)["settled"] == 0
    (whole,) = story.server.invoices(story.patient)
    assert Decimal(usage_line(whole)["totals"]["amount"]) == 105
    assert Decimal(whole["totals"]["total"]) == 5


def after_the_wait_for_late_usage_everything_is_settled(story: Story) -> None:
    story.server.move_to("2025-02-15T01:00:59")
    assert story.server.charges(story.prepaid)[0]["status"] == "active"
    story.server.move_to("2025-02-15T01:01")
    charge = story.server.charges(story.prepaid)[0]
    assert charge["status"] == "final"
    assert Decimal(charge["totals"]["booked"]["credits_total"]) == 105
    assert booked(charge) == 0
    assert story.server.balance(story.prepaid)["settled"] == -5
    story.server.move_to("2025-02-15T02:00")
    assert [one["status"] for one in story.server.invoices(story.hybrid)] == ["paid", "paid"]
    assert story.server.charges(story.hybrid)[0]["status"] == "final"


def twelve_months_pass(story: Story) -> None:
    for index, month in enumerate(MONTHS[1:], start=1):
        previous = MONTHS[index - 1]
        story.server.move_to(f"{previous}-20T00:00")
        story.use(f"{previous}-18T12:00", str(1000 + 111 * index) + ".5")
        if index % 3 == 0:
            for customer in (story.hybrid, story.prepaid):
                story.server.grant(customer, "40.00")
        story.server.move_to(f"{month}-15T00:00")
    story.server.move_to("2026-01-16T00:00")


def every_month_has_one_final_charge(story: Story) -> None:
    for customer in (story.hybrid, story.prepaid, story.patient):
        charges = story.server.charges(customer)
        past = [one for one in charges if one["service_period"]["to"] <= "2026-01-15T00:00:00Z"]
        assert len(past) == 12
        assert {one["status"] for one in past} == {"final"}
        assert len({one["unique_reference_id"] for one in charges}) == len(charges)


def invoices_and_credits_equal_the_rated_usage(story: Story) -> None:
    rated = story.used * UNIT_PRICE
    invoices = story.server.invoices(story.hybrid)
    assert {one["status"] for one in invoices} == {"paid"}
    invoiced = sum(Decimal(one["totals"]["total"]) for one in invoices)
    credits = sum(Decimal(one["totals"]["creditsTotal"]) for one in invoices)
    assert invoiced + credits == rated
    assert credits == Decimal(220) - story.server.balance(story.hybrid)["settled"]
    assert story.server.balance(story.prepaid)["settled"] == Decimal(220) - rated


def the_ledger_sums_to_zero_in_every_currency(story: Story) -> None:
    async def sums() -> list[asyncpg.Record]:
        socket = str(story.server.data_dir / "postgres")
        connection = await asyncpg.connect(user="postgres", database="meterhouse", host=socket)
        try:
            return await connection.fetch(LEDGER_SUMS)
        finally:
            await connection.close()

    found = {row["currency"]: row["total"] for row in asyncio.run(sums())}
    assert found == {"USD": 0}


def running_every_job_again_changes_nothing(story: Story) -> None:
    customers = (story.hybrid, story.prepaid, story.patient)
    before = [story.server.everything(one) for one in customers]
    story.server.move_to("2026-01-16T00:00")
    assert [story.server.everything(one) for one in customers] == before


def the_clock_does_not_go_backwards(story: Story) -> None:
    story.server.call("PUT", "/api/v3/meterhouse/test-clock", {"now": "2025-12-31T00:00:00Z"}, status=400)
    assert story.server.call("GET", "/api/v3/meterhouse/test-clock") == {"now": "2026-01-16T00:00:00Z"}


def test_usage_becomes_charges_invoices_and_consumed_credits(server: Server) -> None:
    story = Story(server)
    for step in (
        a_charge_is_there_as_soon_as_the_subscription_is,
        nothing_billable_yet_says_why_and_from_when,
        usage_lowers_the_live_balance_at_once,
        a_progressive_invoice_consumes_credits,
        an_open_draft_blocks_the_next_progressive_invoice,
        without_progressive_billing_the_line_waits_for_its_period,
        credit_only_charges_are_never_invoiced,
        the_collector_bills_the_rest_of_the_period,
        after_the_wait_for_late_usage_everything_is_settled,
        twelve_months_pass,
        every_month_has_one_final_charge,
        invoices_and_credits_equal_the_rated_usage,
        the_ledger_sums_to_zero_in_every_currency,
        running_every_job_again_changes_nothing,
        the_clock_does_not_go_backwards,
    ):
        step(story)
