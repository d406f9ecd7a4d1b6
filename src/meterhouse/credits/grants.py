"""Credit grants: a grant is a credit purchase charge, its id is the charge's id (ledger sections 5 and 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog import taxcodes
from meterhouse.credits import funding, repository
from meterhouse.credits.models import CreditGrant
from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Condition
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, FeatureDisabled, InvalidInput, Issue, NotFound, invalid
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import is_fiat, round_money
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.kernel.periods import Duration

DEFAULT_PRIORITY = 100
MAX_KEY_LENGTH = 256
# Far above any real grant; products and sums of such amounts stay exact in 28 digits.
MAX_AMOUNT = Decimal(10) ** 12


class FundingMethod(StrEnum):
    """How a grant is paid: not at all, outside of this server, or by an invoice, which is not offered yet."""

    NONE = "none"
    INVOICE = "invoice"
    EXTERNAL = "external"


class GrantStatus(StrEnum):
    """The public status of a grant (section 10.2)."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"
    VOIDED = "voided"


class SettlementStatus(StrEnum):
    """How far the payment of a grant is."""

    PENDING = "pending"
    AUTHORIZED = "authorized"
    SETTLED = "settled"


_SETTLEMENTS = {
    "created": SettlementStatus.PENDING,
    funding.PAYMENT_PENDING: SettlementStatus.PENDING,
    funding.PAYMENT_AUTHORIZED: SettlementStatus.AUTHORIZED,
    funding.FINAL: SettlementStatus.SETTLED,
}


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is paid for a grant: money per unit of credit, > 0, in the currency of the grant."""

    currency: str
    per_unit_cost_basis: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class NewGrant:
    """A grant to be made. The amount is rounded to the currency's minor unit; lower priority is used first."""

    customer_id: str
    name: str
    funding_method: FundingMethod
    currency: str
    amount: Decimal
    purchase: Purchase | None = None
    description: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    tax_code_id: str | None = None
    tax_behavior: str | None = None
    features: Sequence[str] = ()
    priority: int = DEFAULT_PRIORITY
    effective_at: datetime | None = None
    expires_after: Duration | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A credit grant.

    Attributes:
        purchase: what is paid for it, None for a promotional grant; `purchase_amount` is the whole price.
        effective_at: as it was asked for, None if it was not.
        starts_at: from when the credit counts.
        status: as of the instant at which the grant was read.
    """

    id: str
    namespace: str
    customer_id: str
    key: str | None
    name: str
    description: str | None
    labels: Mapping[str, str]
    funding_method: FundingMethod
    currency: str
    amount: Decimal
    purchase: Purchase | None
    purchase_amount: Decimal | None
    settlement_status: SettlementStatus | None
    priority: int
    features: tuple[str, ...]
    tax_code_id: str
    tax_behavior: str | None
    effective_at: datetime | None
    starts_at: datetime
    expires_at: datetime | None
    voided_at: datetime | None
    status: GrantStatus
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


def of_row(row: CreditGrant) -> Grant:
    """Return a stored grant with its present status."""
    method = FundingMethod(row.funding_method)
    paid = method is not FundingMethod.NONE
    return Grant(
        id=row.id,
        namespace=row.namespace,
        customer_id=row.customer_id,
        key=row.key,
        name=row.name,
        description=row.description,
        labels=row.labels,
        funding_method=method,
        currency=row.currency,
        amount=row.amount,
        purchase=Purchase(row.currency, row.cost_basis) if paid else None,
        purchase_amount=row.purchase_amount,
        settlement_status=_SETTLEMENTS[row.status] if paid else None,
        priority=row.priority,
        features=tuple(row.features or ()),
        tax_code_id=row.tax_code_id,
        tax_behavior=row.tax_behavior,
        effective_at=row.effective_at,
        starts_at=row.starts_at,
        expires_at=row.expires_at,
        voided_at=row.voided_at,
        status=_status(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


def _status(row: CreditGrant) -> GrantStatus:
    now = clock.now()
    if row.voided_at is not None or row.deleted_at is not None:
        return GrantStatus.VOIDED
    if row.expires_at is not None and row.expires_at <= now:
        return GrantStatus.EXPIRED
    # The reference calls a promised grant active; the contract says pending until it takes effect.
    return GrantStatus.PENDING if row.status == "created" or row.starts_at > now else GrantStatus.ACTIVE


async def create(session: WriteSession, namespace: str, new: NewGrant) -> Grant:
    """Make a grant and, unless an invoice has to pay for it first, give the credit.

    Raises:
        NotFound: the customer does not exist.
        InvalidInput: a rule of ledger section 10.1 is broken.
        Conflict: the customer is deleted, or has a live grant with the same key; its id is in the extensions.
        FeatureDisabled: funding by invoice, which this server does not offer.
    """
    customer = await customers.get(session, namespace, new.customer_id)
    if customer.deleted_at is not None:
        raise Conflict(f"customer {customer.id} is deleted")
    amount, purchase_amount = _check(new)
    if new.funding_method is FundingMethod.INVOICE:
        raise FeatureDisabled("credit grants paid by an invoice are not offered, use external funding or none")
    tax_code_id = await _tax_code(session, namespace, new)
    now = clock.now()
    starts_at = now if new.effective_at is None else clock.whole_seconds(new.effective_at)
    cost_basis = new.purchase.per_unit_cost_basis if new.purchase else Decimal(0)
    row = CreditGrant(
        id=new_id(),
        namespace=namespace,
        customer_id=new.customer_id,
        key=new.key,
        name=new.name,
        description=new.description,
        labels=dict(new.labels),
        funding_method=new.funding_method.value,
        currency=new.currency,
        amount=amount,
        cost_basis=cost_basis,
        purchase_amount=purchase_amount,
        priority=new.priority,
        features=sorted(new.features) or None,
        tax_code_id=tax_code_id,
        tax_behavior=new.tax_behavior,
        effective_at=None if new.effective_at is None else starts_at,
        starts_at=starts_at,
        expires_at=_expiry(new.expires_after, starts_at),
        status="created",
        created_at=now,
        updated_at=now,
    )
    await _insert(session, row)
    await funding.grant_credit(session, row)
    return of_row(row)


def _check(new: NewGrant) -> tuple[Decimal, Decimal | None]:
    """Check what needs no look-up; return the rounded amount and what is paid for it."""
    if not is_fiat(new.currency):
        raise invalid("currency must be an ISO 4217 code", field="$.currency")
    amount = round_money(max(min(new.amount, MAX_AMOUNT + 1), Decimal(-1)), new.currency)
    if not 0 < amount <= MAX_AMOUNT:
        raise invalid(f"amount must be positive and at most {MAX_AMOUNT}", field="$.amount")
    if new.priority < 1:
        raise invalid("priority must be at least 1", field="$.priority")
    if new.key is not None and not 1 <= len(new.key) <= MAX_KEY_LENGTH:
        raise invalid(f"key must have 1 to {MAX_KEY_LENGTH} characters", field="$.key")
    if any(not feature for feature in new.features) or len(set(new.features)) != len(new.features):
        raise invalid("features must be keys without repeats", field="$.filters.features")
    if new.expires_after is not None and not new.expires_after.is_positive():
        raise invalid("expires_after must be a positive duration", field="$.expires_after")
    if new.funding_method is FundingMethod.NONE:
        if new.purchase is not None:
            raise invalid("purchase is not allowed without funding", field="$.purchase")
        return amount, None
    if new.purchase is None:
        raise invalid("purchase is required for this funding method", field="$.purchase")
    if new.purchase.currency != new.currency:
        raise invalid("the purchase must be in the currency of the grant", field="$.purchase.currency")
    if not 0 < new.purchase.per_unit_cost_basis <= MAX_AMOUNT:
        message = f"per_unit_cost_basis must be positive and at most {MAX_AMOUNT}"
        raise invalid(message, field="$.purchase.per_unit_cost_basis")
    purchase_amount = round_money(amount * new.purchase.per_unit_cost_basis, new.currency)
    if purchase_amount <= 0:
        raise invalid("the price of the grant rounds to zero", field="$.purchase.per_unit_cost_basis")
    return amount, purchase_amount


def _expiry(expires_after: Duration | None, starts_at: datetime) -> datetime | None:
    if expires_after is None:
        return None
    try:
        expires_at = expires_after.add_to(starts_at)
    except (OverflowError, ValueError):
        raise invalid("expires_after leads beyond the last year there is", field="$.expires_after") from None
    if expires_at <= starts_at:
        raise invalid("expires_after must be a positive duration", field="$.expires_after")
    return expires_at


async def _tax_code(session: WriteSession, namespace: str, new: NewGrant) -> str:
    if new.tax_code_id is None:
        return await taxcodes.default_credit_grant(session, namespace)
    if not await taxcodes.exists(session, namespace, new.tax_code_id):
        raise invalid(
            f"tax code not found: {new.tax_code_id}", code="tax_code_not_found", field="$.tax_config.tax_code"
        )
    return new.tax_code_id


async def _insert(session: WriteSession, row: CreditGrant) -> None:
    """Insert a grant, or say which one has its key already."""
    try:
        async with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if row.key is None or violated(error) != "uq_credit_grants_customer_key":
            raise
        existing = await repository.grant_of_key(session, row.namespace, row.customer_id, row.key)
        raise Conflict(
            f"a credit grant with the key {row.key!r} already exists: {existing}",
            extensions={"credit_grant_id": existing},
        ) from error


async def find_row(session: ReadSession, namespace: str, customer_id: str, grant_id: str) -> CreditGrant:
    """Return a customer's live grant as it is stored.

    Raises:
        NotFound: no such grant, or one of another customer.
    """
    row = await repository.grant(session, namespace, grant_id)
    if row is None or row.customer_id != customer_id:
        raise NotFound(f"credit grant not found: {grant_id}")
    return row


async def get(session: ReadSession, namespace: str, customer_id: str, grant_id: str) -> Grant:
    """Return a customer's grant.

    Raises:
        NotFound: no such grant, or one of another customer.
    """
    return of_row(await find_row(session, namespace, customer_id, grant_id))


async def list_grants(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    page: PageRequest,
    *,
    status: GrantStatus | None = None,
    currency: str | None = None,
    key: Condition | None = None,
) -> Page[Grant]:
    """Return a page of a customer's grants, newest first.

    Raises:
        NotFound: the customer does not exist.
    """
    await customers.get(session, namespace, customer_id)
    rows = await repository.list_grants(
        session, namespace, customer_id, page, status=status, at=clock.now(), currency=currency, key=key
    )
    return rows.map(of_row)


async def settle_externally(
    session: WriteSession, namespace: str, customer_id: str, grant_id: str, target: SettlementStatus
) -> Grant:
    """Book that a grant's external payment was authorised or has arrived (section 10.3).

    Raises:
        NotFound: no such grant, or one of another customer.
        InvalidInput: the grant is not funded externally (code `credit_grant_external_settlement_not_supported`), or
            the target is none (code `credit_grant_external_settlement_status_invalid`).
        PreconditionFailed: the payment is past that step.
    """
    row = await find_row(session, namespace, customer_id, grant_id)
    if row.funding_method != FundingMethod.EXTERNAL:
        raise _refused("credit_grant_external_settlement_not_supported", "the grant is not funded externally")
    if target is SettlementStatus.PENDING:
        raise _refused("credit_grant_external_settlement_status_invalid", "the status must be authorized or settled")
    await funding.settle(session, row, to_the_end=target is SettlementStatus.SETTLED)
    return of_row(row)


def _refused(code: str, message: str) -> InvalidInput:
    return InvalidInput(message, issues=[Issue(code, message, "$.status")])
