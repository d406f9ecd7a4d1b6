"""What a grant does in the ledger: giving the credit, and the payment for it (ledger section 5)."""

from decimal import Decimal

from meterhouse.credits import advances, breakage, steps
from meterhouse.credits.booking import Booking
from meterhouse.credits.models import CreditGrant
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import PreconditionFailed
from meterhouse.kernel.money import total
from meterhouse.ledger import accounts, journal
from meterhouse.ledger import postings as names
from meterhouse.ledger.accounts import HeldBook
from meterhouse.ledger.postings import Draft

PAYMENT_PENDING, PAYMENT_AUTHORIZED, FINAL = "active.payment.pending", "active.payment.authorized", "final"


def _annotations(grant: CreditGrant) -> dict[str, str]:
    return {names.CHARGE_NAMESPACE: grant.namespace, names.CHARGE_ID: grant.id, names.CHARGE_NAME: grant.name}


async def grant_credit(session: WriteSession, grant: CreditGrant) -> None:
    """Put the grant's value behind open advances first and issue the rest; plan the expiry of what has one.

    A promotional grant is paid at once, by nobody, so that no debt remains.
    """
    book = await accounts.hold(session, grant.namespace, grant.customer_id)
    terms = steps.grant_terms(grant)
    source, annotations = grant.id, _annotations(grant)
    booking = Booking(grant.namespace)
    waiting = await advances.open_advances(session, grant.namespace, grant.customer_id, grant.currency)
    shares = advances.distribute(waiting, grant.amount, terms.features)
    # What a promised grant covers stays open until the grant takes effect, as everything else about it.
    filled = [advances.put_behind(booking, share, terms, grant.id, grant.starts_at) for share in shares]
    attributed = total(share.amount for share in shares)
    if attributed < grant.amount:
        rest = grant.amount - attributed
        booking.add(steps.issue(terms, rest, grant.starts_at, source=source, annotations=annotations))
    if grant.funding_method == "none":
        for step in (steps.authorize, steps.settle):
            booking.add(step(terms, grant.amount, grant.starts_at, source=source, annotations=annotations))
    if grant.expires_at is not None:
        planned = breakage.plan(terms, grant)
        booking.expire(planned)
        if attributed > 0:
            booking.expire(planned.followed_by("release", "advance_backfill", attributed))
    group = await booking.post(session, book, f"credits.grant/{grant.id}")
    await advances.record(session, grant.namespace, grant.customer_id, filled, group)
    grant.granted_at, grant.group_id = group.created_at, group.id
    grant.status = FINAL if grant.funding_method == "none" else PAYMENT_PENDING
    await session.flush()


async def settle(session: WriteSession, grant: CreditGrant, *, to_the_end: bool) -> None:
    """Book that the payment of a grant was authorised and, `to_the_end`, that it arrived.

    Raises:
        PreconditionFailed: that step was taken before.
    """
    book = await accounts.hold(session, grant.namespace, grant.customer_id)
    await session.refresh(grant, with_for_update=True)
    if grant.status == FINAL or (grant.status == PAYMENT_AUTHORIZED and not to_the_end):
        raise PreconditionFailed(f"unsupported operation: the payment of credit grant {grant.id} is past this step")
    if grant.status == PAYMENT_PENDING:
        await _authorize(session, book, grant)
        grant.status = PAYMENT_AUTHORIZED
    if to_the_end:
        paid = steps.settle(
            steps.grant_terms(grant), _price(grant), clock.now(), source=grant.id, annotations=_annotations(grant)
        )
        await journal.post(session, book, f"credits.grant.settle/{grant.id}", [paid])
        grant.status = FINAL
    await session.flush()


def _price(grant: CreditGrant) -> Decimal:
    assert grant.purchase_amount is not None, "a paid grant has a price"
    return grant.purchase_amount


async def _authorize(session: WriteSession, book: HeldBook, grant: CreditGrant) -> None:
    terms, now, annotations = steps.grant_terms(grant), clock.now(), _annotations(grant)
    price = _price(grant)
    drafts: list[Draft] = []
    if price != grant.amount:
        drafts.append(steps.exchange(terms, grant.amount, price, now, source=grant.id, annotations=annotations))
    drafts.append(steps.authorize(terms, price, now, source=grant.id, annotations=annotations))
    await journal.post(session, book, f"credits.grant.authorize/{grant.id}", drafts)
