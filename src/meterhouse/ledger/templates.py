"""The closed set of postings (ledger section 4): which legs a transaction of each kind has, and with which sign."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.routes import AuthorizationStatus

Direction = Literal["forward", "correction"]


class Template(StrEnum):
    """The code of a posting template."""

    ISSUE = "customer.receivable.issue"
    AUTHORIZE = "customer.receivable.payment.authorize"
    SETTLE = "customer.receivable.payment.settle"
    ATTRIBUTE = "customer.receivable.advance.attribute"
    COVER = "customer.receivable.cover"
    COLLECT = "customer.fbo.collect"
    ADVANCE_COLLECT = "customer.fbo.advance.collect"
    ACCRUE = "customer.receivable.collect"
    TRANSLATE = "customer.accrued.cost_basis.translate"
    RECOGNIZE = "customer.accrued.earnings.recognize"
    EXCHANGE = "customer.receivable.currency.exchange"
    BREAKAGE_PLAN = "customer.fbo.breakage.plan"
    BREAKAGE_RELEASE = "customer.fbo.breakage.release"
    BREAKAGE_REOPEN = "customer.fbo.breakage.reopen"


BREAKAGE_TEMPLATES = frozenset({Template.BREAKAGE_PLAN, Template.BREAKAGE_RELEASE, Template.BREAKAGE_REOPEN})


@dataclass(frozen=True, slots=True)
class Leg:
    """A kind of entry that a template has at least once.

    Attributes:
        sign: of the amount going forward, a correction has the other; 0 where either is right.
        status: the authorization status the receivable must have.
        known_cost_basis: True, False, or None where it does not matter.
    """

    account: AccountType
    sign: Literal[-1, 0, 1]
    status: AuthorizationStatus | None = None
    known_cost_basis: bool | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """The legs of a template and whether its postings may be corrected."""

    legs: tuple[Leg, ...]
    correctable: bool = False


_FBO, _RECEIVABLE, _ACCRUED = AccountType.FBO, AccountType.RECEIVABLE, AccountType.ACCRUED

SHAPES: Mapping[Template, Shape] = {
    Template.ISSUE: Shape((Leg(_FBO, 1), Leg(_RECEIVABLE, -1, "open")), correctable=True),
    Template.AUTHORIZE: Shape((Leg(_RECEIVABLE, -1, "authorized"), Leg(_RECEIVABLE, 1, "open"))),
    Template.SETTLE: Shape((Leg(AccountType.WASH, -1), Leg(_RECEIVABLE, 1, "authorized"))),
    Template.ATTRIBUTE: Shape(
        (Leg(_RECEIVABLE, 1, "open", known_cost_basis=False), Leg(_RECEIVABLE, -1, "open", known_cost_basis=True)),
        correctable=True,
    ),
    Template.COVER: Shape((Leg(_FBO, -1), Leg(_RECEIVABLE, 1, "open"))),
    Template.COLLECT: Shape((Leg(_FBO, -1), Leg(_ACCRUED, 1)), correctable=True),
    Template.ADVANCE_COLLECT: Shape(
        (Leg(_FBO, -1, known_cost_basis=False), Leg(_ACCRUED, 1, known_cost_basis=False)), correctable=True
    ),
    Template.ACCRUE: Shape((Leg(_RECEIVABLE, -1, "open"), Leg(_ACCRUED, 1))),
    Template.TRANSLATE: Shape(
        (Leg(_ACCRUED, -1, known_cost_basis=False), Leg(_ACCRUED, 1, known_cost_basis=True)), correctable=True
    ),
    Template.RECOGNIZE: Shape(
        (Leg(_ACCRUED, -1, known_cost_basis=True), Leg(AccountType.EARNINGS, 1)), correctable=True
    ),
    Template.EXCHANGE: Shape((Leg(_RECEIVABLE, 0, "open"), Leg(AccountType.BROKERAGE, 0))),
    Template.BREAKAGE_PLAN: Shape((Leg(_FBO, -1), Leg(AccountType.BREAKAGE, 1))),
    Template.BREAKAGE_RELEASE: Shape((Leg(_FBO, 1), Leg(AccountType.BREAKAGE, -1))),
    Template.BREAKAGE_REOPEN: Shape((Leg(_FBO, -1), Leg(AccountType.BREAKAGE, 1))),
}
