"""The transactions of credit: each function makes one draft of the ledger's templates (ledger section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.credits.models import CreditGrant
from meterhouse.ledger import postings as names
from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.postings import Draft, Posting
from meterhouse.ledger.routes import AuthorizationStatus, Route, feature_set
from meterhouse.ledger.templates import Direction, Template

ADVANCE_PRIORITY = 100

Annotations = Mapping[str, str]
_NONE: Annotations = {}


@dataclass(frozen=True, slots=True)
class Terms:
    """What kind of credit a value is. `cost_basis` None is an advance, which has no grant behind it yet."""

    currency: str
    cost_basis: Decimal | None
    features: tuple[str, ...] | None = None
    priority: int = ADVANCE_PRIORITY

    @property
    def stored(self) -> Route:
        """Where the credit is held."""
        return Route(self.currency, self.cost_basis, self.features, credit_priority=self.priority)

    def owed(self, status: AuthorizationStatus = "open") -> Route:
        """Where the debt for the credit is held."""
        return Route(self.currency, self.cost_basis, self.features, authorization_status=status)

    @property
    def plain(self) -> Route:
        """Where its counterpart is held on accounts of the namespace."""
        return Route(self.currency, self.cost_basis)


@dataclass(frozen=True, slots=True)
class Tax:
    """The tax of a consumption; a behaviour without a code says nothing and is dropped."""

    code: str | None = None
    behavior: str | None = None

    def accrued(self, currency: str, cost_basis: Decimal | None) -> Route:
        """Return where consumption of that value is held."""
        behavior = self.behavior if self.code else None
        return Route(currency, cost_basis, tax_code=self.code, tax_behavior=behavior)


def terms_of(route: Route) -> Terms:
    """Return the terms of credit held on a route of stored credit."""
    assert route.credit_priority is not None, "stored credit has a priority"
    return Terms(route.currency, route.cost_basis, route.features, route.credit_priority)


def grant_terms(grant: CreditGrant) -> Terms:
    """Return the terms of a grant's credit."""
    return Terms(grant.currency, grant.cost_basis, feature_set(grant.features), grant.priority)


def advance_terms(currency: str, feature_key: str | None) -> Terms:
    """Return the terms of an advance for a charge of that feature."""
    return Terms(currency, None, (feature_key,) if feature_key else None)


def _pair(
    template: Template,
    at: datetime,
    giver: tuple[AccountType, Route],
    taker: tuple[AccountType, Route],
    amount: Decimal,
    *,
    source: str | None = None,
    spend: str | None = None,
    direction: Direction = "forward",
    annotations: Annotations = _NONE,
) -> Draft:
    """Move `amount` from one account to another."""
    legs = (
        Posting(*giver, -amount, source_charge_id=source, spend_charge_id=spend),
        Posting(*taker, amount, source_charge_id=source, spend_charge_id=spend),
    )
    return Draft(template, at, legs, direction, annotations)


_FBO, _RECEIVABLE, _ACCRUED = AccountType.FBO, AccountType.RECEIVABLE, AccountType.ACCRUED


def issue(
    terms: Terms,
    amount: Decimal,
    at: datetime,
    *,
    source: str | None = None,
    spend: str | None = None,
    annotations: Annotations = _NONE,
) -> Draft:
    """Give credit against a debt."""
    giver, taker = (_RECEIVABLE, terms.owed()), (_FBO, terms.stored)
    return _pair(Template.ISSUE, at, giver, taker, amount, source=source, spend=spend, annotations=annotations)


def withdraw(terms: Terms, amount: Decimal, at: datetime, *, source: str, annotations: Annotations) -> Draft:
    """Take issued credit away again."""
    giver, taker = (_FBO, terms.stored), (_RECEIVABLE, terms.owed())
    return _pair(
        Template.ISSUE, at, giver, taker, amount, source=source, direction="correction", annotations=annotations
    )


def authorize(
    terms: Terms,
    amount: Decimal,
    at: datetime,
    *,
    source: str | None = None,
    spend: str | None = None,
    annotations: Annotations = _NONE,
) -> Draft:
    """Book that the payment of a debt was authorised."""
    giver, taker = (_RECEIVABLE, terms.owed("authorized")), (_RECEIVABLE, terms.owed())
    return _pair(Template.AUTHORIZE, at, giver, taker, amount, source=source, spend=spend, annotations=annotations)


def settle(
    terms: Terms,
    amount: Decimal,
    at: datetime,
    *,
    source: str | None = None,
    spend: str | None = None,
    annotations: Annotations = _NONE,
) -> Draft:
    """Book that an authorised payment arrived."""
    giver, taker = (AccountType.WASH, terms.plain), (_RECEIVABLE, terms.owed("authorized"))
    return _pair(Template.SETTLE, at, giver, taker, amount, source=source, spend=spend, annotations=annotations)


def exchange(
    terms: Terms, credit: Decimal, paid: Decimal, at: datetime, *, source: str, annotations: Annotations
) -> Draft:
    """Bring the debt for `credit` to what is paid for it; the difference is the namespace's brokerage."""
    giver, taker = (AccountType.BROKERAGE, terms.plain), (_RECEIVABLE, terms.owed())
    return _pair(Template.EXCHANGE, at, giver, taker, credit - paid, source=source, annotations=annotations)


def advance(
    terms: Terms, tax: Tax, amount: Decimal, at: datetime, *, spend: str, annotations: Annotations
) -> tuple[Draft, Draft]:
    """Consume credit there is not: lend it, then take it. Stored credit stays as it was, the debt grows."""
    taker = (_ACCRUED, tax.accrued(terms.currency, None))
    return (
        issue(terms, amount, at, spend=spend, annotations=annotations),
        _pair(Template.ADVANCE_COLLECT, at, (_FBO, terms.stored), taker, amount, spend=spend, annotations=annotations),
    )


def accrue(terms: Terms, tax: Tax, amount: Decimal, at: datetime, *, spend: str, annotations: Annotations) -> Draft:
    """Book consumption that goes to an invoice."""
    taker = (_ACCRUED, tax.accrued(terms.currency, terms.cost_basis))
    return _pair(Template.ACCRUE, at, (_RECEIVABLE, terms.owed()), taker, amount, spend=spend, annotations=annotations)


def backfill(
    lent: Terms,
    terms: Terms,
    tax: Tax,
    amount: Decimal,
    at: datetime,
    *,
    source: str,
    spend: str,
    annotations: Annotations,
) -> tuple[Draft, Draft]:
    """Put a grant's value behind an advance: its debt becomes the grant's, its consumption gets the grant's cost basis.

    The legs of unknown cost basis name no source: that is what tells an open advance.
    """
    debt = (
        Posting(_RECEIVABLE, lent.owed(), amount, spend_charge_id=spend),
        Posting(_RECEIVABLE, terms.owed(), -amount, source_charge_id=source, spend_charge_id=spend),
    )
    consumption = (
        Posting(_ACCRUED, tax.accrued(lent.currency, None), -amount, spend_charge_id=spend),
        Posting(
            _ACCRUED,
            tax.accrued(terms.currency, terms.cost_basis),
            amount,
            source_charge_id=source,
            spend_charge_id=spend,
        ),
    )
    return (
        Draft(Template.ATTRIBUTE, at, debt, annotations=annotations),
        Draft(Template.TRANSLATE, at, consumption, annotations=annotations),
    )


def cover(terms: Terms, amount: Decimal, at: datetime, *, source: str, annotations: Annotations) -> Draft:
    """Pay a debt of the same terms with stored credit."""
    giver, taker = (_FBO, terms.stored), (_RECEIVABLE, terms.owed())
    return _pair(Template.COVER, at, giver, taker, amount, source=source, annotations=annotations)


def recognize(
    currency: str, cost_basis: Decimal, tax: Tax, amount: Decimal, at: datetime, *, source: str, spend: str
) -> Draft:
    """Turn the value of consumption into revenue."""
    route = tax.accrued(currency, cost_basis)
    giver, taker = (_ACCRUED, route), (AccountType.EARNINGS, route)
    return _pair(Template.RECOGNIZE, at, giver, taker, amount, source=source, spend=spend)


_EXPIRING = {
    Template.BREAKAGE_PLAN: "plan",
    Template.BREAKAGE_RELEASE: "release",
    Template.BREAKAGE_REOPEN: "reopen",
}


def breakage(
    template: Template,
    terms: Terms,
    amount: Decimal,
    expires_at: datetime,
    *,
    source: str,
    record_id: str,
    plan_id: str,
) -> Draft:
    """Let credit expire at `expires_at`, or no longer (release), or again (reopen)."""
    stored, gone = (_FBO, terms.stored), (AccountType.BREAKAGE, terms.plain)
    giver, taker = (gone, stored) if template is Template.BREAKAGE_RELEASE else (stored, gone)
    annotations = {
        names.BREAKAGE_KIND: _EXPIRING[template],
        names.BREAKAGE_RECORD_ID: record_id,
        names.BREAKAGE_PLAN_ID: plan_id,
    }
    return _pair(template, expires_at, giver, taker, amount, source=source, annotations=annotations)
