"""What may be booked (ledger sections 2 to 4): the allow list of routes and the checks before a transaction is written.

A violation is a mistake of the code that made the transaction, never of a request: it surfaces as an internal error.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from meterhouse.kernel.money import is_fiat, is_rounded, total
from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.postings import Draft, Posting
from meterhouse.ledger.routes import Route
from meterhouse.ledger.templates import SHAPES, Leg

_FBO, _RECEIVABLE, _ACCRUED = AccountType.FBO, AccountType.RECEIVABLE, AccountType.ACCRUED
_WASH, _EARNINGS, _BROKERAGE = AccountType.WASH, AccountType.EARNINGS, AccountType.BROKERAGE
_BREAKAGE = AccountType.BREAKAGE


class LedgerError(Exception):
    """A transaction that must not be written. `code` is one of ledger section 9."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


# Which dimensions a route of each account may carry besides currency and cost basis.
DIMENSIONS: Mapping[AccountType, frozenset[str]] = {
    _FBO: frozenset({"features", "credit_priority"}),
    _RECEIVABLE: frozenset({"features", "authorization_status"}),
    _ACCRUED: frozenset({"tax_code", "tax_behavior"}),
    _EARNINGS: frozenset({"tax_code", "tax_behavior"}),
    _WASH: frozenset(),
    _BROKERAGE: frozenset(),
    _BREAKAGE: frozenset(),
}
_REQUIRED: Mapping[AccountType, str] = {_FBO: "credit_priority", _RECEIVABLE: "authorization_status"}
_OPTIONAL_DIMENSIONS = frozenset().union(*DIMENSIONS.values())


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the allow list.

    Attributes:
        agree: dimensions in which value may not change: per combination of them the amounts add up to zero.
        giver: the account whose legs are negative going forward; None where either direction is right.
        status: what the receivable must be.
        differ: for sets of one account, the dimension in which its two sides differ.
    """

    agree: tuple[str, ...]
    giver: AccountType | None = None
    status: Literal["authorized"] | None = None
    differ: Literal["authorization_status", "cost_basis"] | None = None


_VALUE = ("currency", "cost_basis")

ROUTING: Mapping[frozenset[AccountType], tuple[Rule, ...]] = {
    frozenset({_FBO, _RECEIVABLE}): (Rule(("currency", "features", "cost_basis")),),
    frozenset({_FBO, _ACCRUED}): (Rule(_VALUE, giver=_FBO),),
    frozenset({_RECEIVABLE, _ACCRUED}): (Rule(_VALUE, giver=_RECEIVABLE),),
    frozenset({_RECEIVABLE, _WASH}): (Rule(_VALUE, giver=_WASH, status="authorized"),),
    frozenset({_ACCRUED, _EARNINGS}): (Rule((*_VALUE, "tax_code", "tax_behavior"), giver=_ACCRUED),),
    frozenset({_FBO, _BREAKAGE}): (Rule(_VALUE, giver=_FBO),),
    frozenset({_RECEIVABLE, _BROKERAGE}): (Rule(_VALUE),),
    frozenset({_FBO, _BROKERAGE}): (Rule(_VALUE),),
    frozenset({_RECEIVABLE}): (
        Rule(("currency", "features", "cost_basis"), differ="authorization_status"),
        Rule(("currency", "authorization_status"), differ="cost_basis"),
    ),
    frozenset({_FBO}): (Rule(("currency", "features", "credit_priority"), differ="cost_basis"),),
    frozenset({_ACCRUED}): (Rule(("currency", "tax_code", "tax_behavior"), differ="cost_basis"),),
}


def check(draft: Draft) -> None:
    """Check one transaction.

    Raises:
        LedgerError: a leg has no amount, too many digits or a route its account cannot have; the legs do not add up
            to zero per currency, are not those of the template, or move value where the allow list has no way.
    """
    if draft.direction == "correction" and not SHAPES[draft.template].correctable:
        raise LedgerError("ledger_resolution_template_unknown", f"{draft.template} cannot be corrected")
    for posting in draft.postings:
        _check_posting(posting)
    if any(amount != 0 for amount in _sums(draft.postings, lambda posting: posting.route.currency)):
        raise LedgerError("invalid_transaction_total", f"{draft.template} does not add up to zero")
    addresses = [(posting.account, posting.route.key, posting.identity) for posting in draft.postings]
    if len(set(addresses)) != len(addresses):
        raise LedgerError("ledger_entry_invalid", "two legs with one identity on one sub-account")
    _check_shape(draft)
    _check_routing(draft)


def _sums(postings: Iterable[Posting], by: Callable[[Posting], object]) -> list[Decimal]:
    sums: dict[object, list[Decimal]] = defaultdict(list)
    for posting in postings:
        sums[by(posting)].append(posting.amount)
    return [total(amounts) for amounts in sums.values()]


def _check_posting(posting: Posting) -> None:
    route = posting.route
    if not is_fiat(route.currency):
        raise LedgerError("ledger_currency_invalid", route.currency)
    if posting.amount == 0 or not is_rounded(posting.amount, route.currency):
        raise LedgerError("ledger_transaction_amount_invalid", f"{posting.amount} {route.currency}")
    if route.cost_basis is not None and route.cost_basis < 0:
        raise LedgerError("ledger_cost_basis_invalid", str(route.cost_basis))
    if route.credit_priority is not None and route.credit_priority < 1:
        raise LedgerError("ledger_credit_priority_invalid", str(route.credit_priority))
    if route.tax_behavior is not None and route.tax_code is None:
        raise LedgerError("ledger_tax_behavior_invalid", "tax behavior without a tax code")
    for name in _OPTIONAL_DIMENSIONS - DIMENSIONS[posting.account]:
        if getattr(route, name) is not None:
            raise LedgerError("ledger_address_invalid", f"{name} on {posting.account}")
    required = _REQUIRED.get(posting.account)
    if required is not None and getattr(route, required) is None:
        raise LedgerError("ledger_address_invalid", f"{posting.account} without {required}")


def _fits(posting: Posting, leg: Leg, turn: int) -> bool:
    return (
        posting.account == leg.account
        and (leg.sign == 0 or posting.amount * leg.sign * turn > 0)
        and leg.status in (None, posting.route.authorization_status)
        and leg.known_cost_basis in (None, posting.route.cost_basis is not None)
    )


def _check_shape(draft: Draft) -> None:
    legs = SHAPES[draft.template].legs
    turn = -1 if draft.direction == "correction" else 1
    each_fits = all(any(_fits(posting, leg, turn) for leg in legs) for posting in draft.postings)
    each_present = all(any(_fits(posting, leg, turn) for posting in draft.postings) for leg in legs)
    if not (each_fits and each_present):
        raise LedgerError("ledger_entry_invalid", f"the legs are not those of {draft.template}")


def _check_routing(draft: Draft) -> None:
    accounts = frozenset(posting.account for posting in draft.postings)
    if not any(_allows(rule, draft.postings) for rule in ROUTING.get(accounts, ())):
        raise LedgerError("ledger_routing_rule_violated", f"{draft.template} over {sorted(accounts)}")


def _allows(rule: Rule, postings: tuple[Posting, ...]) -> bool:
    def agreeing(posting: Posting) -> tuple[object, ...]:
        return tuple(getattr(posting.route, name) for name in rule.agree)

    if any(amount != 0 for amount in _sums(postings, agreeing)):
        return False
    if rule.status is not None and any(
        posting.account is _RECEIVABLE and posting.route.authorization_status != rule.status for posting in postings
    ):
        return False
    side = _side_of(rule)
    if side is None:
        return True
    # Each side is of one sign: all forward, or all of it the other way round.
    given = {posting.amount < 0 for posting in postings if side(posting)}
    taken = {posting.amount < 0 for posting in postings if not side(posting)}
    return len(given) == 1 and len(taken) == 1 and given != taken


def _side_of(rule: Rule) -> Callable[[Posting], bool] | None:
    """Return what tells the two sides of a transaction apart, None where the rule does not care."""
    if rule.differ == "authorization_status":
        return lambda posting: posting.route.authorization_status == "authorized"
    if rule.differ == "cost_basis":
        return lambda posting: posting.route.cost_basis is None
    if rule.giver is not None:
        return lambda posting: posting.account is rule.giver
    return None


def normalized(account: AccountType, route: Route) -> Route:
    """Return the route cut down to what the account carries."""
    kept = DIMENSIONS[account] | {"currency", "cost_basis"}
    return Route(**{name: getattr(route, name) for name in kept})
