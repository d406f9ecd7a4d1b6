"""What may be booked."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.postings import Draft, Posting
from meterhouse.ledger.routes import Route
from meterhouse.ledger.rules import LedgerError, check
from meterhouse.ledger.templates import SHAPES, Direction, Template

FBO, RECEIVABLE, ACCRUED = AccountType.FBO, AccountType.RECEIVABLE, AccountType.ACCRUED
T0 = datetime(2025, 6, 1, tzinfo=UTC)
VALUE = Route("USD", Decimal(0))
CREDIT = replace(VALUE, credit_priority=10)
OPEN = replace(VALUE, authorization_status="open")
AUTHORIZED = replace(VALUE, authorization_status="authorized")
ADVANCED = Route("USD")


def draft(template: Template, *legs: tuple[AccountType, Route, str], direction: Direction = "forward") -> Draft:
    postings = tuple(Posting(account, route, Decimal(amount)) for account, route, amount in legs)
    return Draft(template, T0, postings, direction)


LEGS = {
    Template.ISSUE: [(FBO, CREDIT, "5"), (RECEIVABLE, OPEN, "-5")],
    Template.AUTHORIZE: [(RECEIVABLE, AUTHORIZED, "-5"), (RECEIVABLE, OPEN, "5")],
    Template.SETTLE: [(AccountType.WASH, VALUE, "-5"), (RECEIVABLE, AUTHORIZED, "5")],
    Template.ATTRIBUTE: [(RECEIVABLE, replace(OPEN, cost_basis=None), "5"), (RECEIVABLE, OPEN, "-5")],
    Template.COVER: [(FBO, CREDIT, "-5"), (RECEIVABLE, OPEN, "5")],
    Template.COLLECT: [(FBO, CREDIT, "-3"), (FBO, replace(CREDIT, features=("a",)), "-2"), (ACCRUED, VALUE, "5")],
    Template.ADVANCE_COLLECT: [(FBO, replace(ADVANCED, credit_priority=100), "-5"), (ACCRUED, ADVANCED, "5")],
    Template.ACCRUE: [(RECEIVABLE, OPEN, "-5"), (ACCRUED, VALUE, "5")],
    Template.TRANSLATE: [(ACCRUED, ADVANCED, "-5"), (ACCRUED, VALUE, "5")],
    Template.RECOGNIZE: [(ACCRUED, VALUE, "-5"), (AccountType.EARNINGS, VALUE, "5")],
    Template.EXCHANGE: [(RECEIVABLE, OPEN, "5"), (AccountType.BROKERAGE, VALUE, "-5")],
    Template.BREAKAGE_PLAN: [(FBO, CREDIT, "-5"), (AccountType.BREAKAGE, VALUE, "5")],
    Template.BREAKAGE_RELEASE: [(FBO, CREDIT, "5"), (AccountType.BREAKAGE, VALUE, "-5")],
    Template.BREAKAGE_REOPEN: [(FBO, CREDIT, "-5"), (AccountType.BREAKAGE, VALUE, "5")],
}


def test_every_template_has_an_example() -> None:
    assert LEGS.keys() == SHAPES.keys() == set(Template)


@pytest.mark.parametrize("template", Template)
def test_every_template_may_be_booked_and_the_correctable_ones_reversed(template: Template) -> None:
    check(draft(template, *LEGS[template]))
    reversal = draft(
        template, *((a, r, str(-Decimal(amount))) for a, r, amount in LEGS[template]), direction="correction"
    )
    if SHAPES[template].correctable:
        check(reversal)
    else:
        with pytest.raises(LedgerError, match="ledger_resolution_template_unknown"):
            check(reversal)
    if template is not Template.EXCHANGE:
        with pytest.raises(LedgerError):
            check(replace(reversal, direction="forward"))


REFUSED = [
    ("invalid_transaction_total", Template.ISSUE, [(FBO, CREDIT, "5"), (RECEIVABLE, OPEN, "-4")]),
    ("ledger_transaction_amount_invalid", Template.ISSUE, [(FBO, CREDIT, "5.001"), (RECEIVABLE, OPEN, "-5.001")]),
    ("ledger_transaction_amount_invalid", Template.ISSUE, [(FBO, CREDIT, "0"), (RECEIVABLE, OPEN, "0")]),
    (
        "ledger_currency_invalid",
        Template.ISSUE,
        [(FBO, replace(CREDIT, currency="XYZW"), "5"), (RECEIVABLE, replace(OPEN, currency="XYZW"), "-5")],
    ),
    ("ledger_address_invalid", Template.ISSUE, [(FBO, VALUE, "5"), (RECEIVABLE, OPEN, "-5")]),
    ("ledger_address_invalid", Template.ISSUE, [(FBO, CREDIT, "5"), (RECEIVABLE, VALUE, "-5")]),
    ("ledger_address_invalid", Template.COLLECT, [(FBO, CREDIT, "-5"), (ACCRUED, CREDIT, "5")]),
    (
        "ledger_tax_behavior_invalid",
        Template.COLLECT,
        [(FBO, CREDIT, "-5"), (ACCRUED, replace(VALUE, tax_behavior="inclusive"), "5")],
    ),
    ("ledger_entry_invalid", Template.ISSUE, [(FBO, CREDIT, "5"), (RECEIVABLE, AUTHORIZED, "-5")]),
    ("ledger_entry_invalid", Template.ISSUE, [(FBO, CREDIT, "5"), (FBO, CREDIT, "-5")]),
    (
        "ledger_routing_rule_violated",
        Template.ISSUE,
        [(FBO, CREDIT, "5"), (RECEIVABLE, replace(OPEN, cost_basis=Decimal(1)), "-5")],
    ),
    (
        "ledger_routing_rule_violated",
        Template.ISSUE,
        [(FBO, replace(CREDIT, features=("a",)), "5"), (RECEIVABLE, OPEN, "-5")],
    ),
    (
        "ledger_routing_rule_violated",
        Template.TRANSLATE,
        [(ACCRUED, replace(ADVANCED, tax_code="t"), "-5"), (ACCRUED, VALUE, "5")],
    ),
]


@pytest.mark.parametrize(("code", "template", "legs"), REFUSED)
def test_what_must_not_be_booked(code: str, template: Template, legs: list[tuple[AccountType, Route, str]]) -> None:
    with pytest.raises(LedgerError, match=code):
        check(draft(template, *legs))


def test_the_route_key_is_canonical() -> None:
    route = Route("USD", Decimal("0.750"), ("a", "b"), 10, None, None, "open")
    assert route.key == (
        "currency:USD|tax_code:null|tax_behavior:null|features:a,b|cost_basis:0.75|credit_priority:10"
        "|transaction_authorization_status:open"
    )
    assert replace(route, cost_basis=Decimal("0.75")).key == route.key
    assert replace(route, features=("a,b",)).key != route.key
    assert replace(route, cost_basis=None).key != replace(route, cost_basis=Decimal(0)).key
