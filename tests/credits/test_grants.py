"""Grants: making, paying, voiding."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.credits import grants
from meterhouse.credits.grants import FundingMethod, GrantStatus, NewGrant, Purchase, SettlementStatus
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.conditions import equals
from meterhouse.kernel.errors import (
    Conflict,
    DomainError,
    FeatureDisabled,
    InvalidInput,
    NotFound,
    PreconditionFailed,
)
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import PageRequest
from meterhouse.kernel.periods import Duration
from meterhouse.ledger.accounts import AccountType
from tests.credits.conftest import NS, START, Story, day


async def test_a_promotional_grant_leaves_no_debt(story: Story) -> None:
    grant = await story.grant("50.00")
    assert (grant.status, grant.purchase, grant.settlement_status) == (GrantStatus.ACTIVE, None, None)
    assert await story.ledger() == {AccountType.FBO: 50, AccountType.WASH: -50}


async def test_an_external_grant_is_authorised_and_settled_at_its_price(story: Story) -> None:
    grant = await story.grant("200.00", cost_basis="0.75")
    assert (grant.purchase_amount, grant.settlement_status) == (150, SettlementStatus.PENDING)
    assert await story.ledger() == {AccountType.FBO: 200, AccountType.RECEIVABLE: -200}
    paid = await _settle(story, grant.id, SettlementStatus.AUTHORIZED)
    assert paid.settlement_status is SettlementStatus.AUTHORIZED
    assert await story.ledger(authorization_status="authorized") == {AccountType.RECEIVABLE: -150}
    paid = await _settle(story, grant.id, SettlementStatus.SETTLED)
    assert paid.settlement_status is SettlementStatus.SETTLED
    assert await story.ledger() == {AccountType.FBO: 200, AccountType.BROKERAGE: -50, AccountType.WASH: -150}
    assert await story.settled() == 200


async def _settle(story: Story, grant_id: str, target: SettlementStatus) -> grants.Grant:
    async with story.db.write() as session:
        return await grants.settle_externally(session, NS, story.customer_id, grant_id, target)


async def test_settling_at_once_and_what_is_refused(story: Story) -> None:
    grant = await story.grant("10.00", cost_basis="1.5")
    await _settle(story, grant.id, SettlementStatus.SETTLED)
    assert await story.ledger() == {AccountType.FBO: 10, AccountType.BROKERAGE: 5, AccountType.WASH: -15}
    for target in (SettlementStatus.AUTHORIZED, SettlementStatus.SETTLED):
        with pytest.raises(PreconditionFailed, match="unsupported operation"):
            await _settle(story, grant.id, target)
    authorized = await story.grant("10.00", cost_basis="1")
    await _settle(story, authorized.id, SettlementStatus.AUTHORIZED)
    with pytest.raises(PreconditionFailed):
        await _settle(story, authorized.id, SettlementStatus.AUTHORIZED)
    gift = await story.grant("10.00")
    for grant_id, target, code in (
        (gift.id, SettlementStatus.SETTLED, "credit_grant_external_settlement_not_supported"),
        (authorized.id, SettlementStatus.PENDING, "credit_grant_external_settlement_status_invalid"),
    ):
        with pytest.raises(InvalidInput) as error:
            await _settle(story, grant_id, target)
        assert error.value.issues[0].code == code


@pytest.mark.parametrize(("amount", "currency", "stored"), [("10.005", "USD", "10.01"), ("99.6", "JPY", "100")])
async def test_amounts_are_rounded_half_away_from_zero(story: Story, amount: str, currency: str, stored: str) -> None:
    assert (await story.grant(amount, currency=currency)).amount == Decimal(stored)
    assert (await story.balance(currency)).settled == Decimal(stored)


_FREE = {"funding_method": FundingMethod.NONE}
_PAID = {"funding_method": FundingMethod.EXTERNAL}

REFUSED: list[tuple[dict[str, Any], type[DomainError]]] = [
    ({"amount": Decimal("0.004")}, InvalidInput),
    ({"amount": Decimal(-1)}, InvalidInput),
    ({"amount": Decimal("9" * 60)}, InvalidInput),
    ({"amount": Decimal("-" + "9" * 60)}, InvalidInput),
    ({"currency": "ABC"}, InvalidInput),
    ({"currency": "TOKENS"}, InvalidInput),
    ({**_FREE, "purchase": Purchase("USD")}, InvalidInput),
    ({**_PAID, "purchase": None}, InvalidInput),
    ({**_PAID, "purchase": Purchase("EUR")}, InvalidInput),
    ({**_PAID, "purchase": Purchase("USD", Decimal(0))}, InvalidInput),
    ({**_PAID, "purchase": Purchase("USD", Decimal("0.0001"))}, InvalidInput),
    ({**_PAID, "purchase": Purchase("USD", Decimal("9" * 40))}, InvalidInput),
    ({"funding_method": FundingMethod.INVOICE, "purchase": Purchase("USD")}, FeatureDisabled),
    ({"expires_after": Duration()}, InvalidInput),
    ({"expires_after": Duration(days=-1)}, InvalidInput),
    ({"expires_after": Duration(years=9000)}, InvalidInput),
    ({"features": ("a", "a")}, InvalidInput),
    ({"features": ("",)}, InvalidInput),
    ({"priority": 0}, InvalidInput),
    ({"key": ""}, InvalidInput),
    ({"key": "k" * 257}, InvalidInput),
    ({"tax_code_id": new_id()}, InvalidInput),
    ({"customer_id": new_id()}, NotFound),
]


@pytest.mark.parametrize(("changes", "kind"), REFUSED)
async def test_what_a_grant_must_not_be(story: Story, changes: dict[str, Any], kind: type[DomainError]) -> None:
    body: dict[str, Any] = {
        "customer_id": story.customer_id,
        "name": "x",
        "currency": "USD",
        "amount": Decimal(1),
        **_FREE,
        **changes,
    }
    with pytest.raises(kind):
        async with story.db.write() as session:
            await grants.create(session, NS, NewGrant(**body))
    assert await story.balances() == []


async def test_a_key_guards_against_a_second_grant(story: Story) -> None:
    first = await story.grant("5.00", key="june")
    with pytest.raises(Conflict, match=first.id) as error:
        await story.grant("5.00", key="june")
    assert error.value.extensions == {"credit_grant_id": first.id}
    await story.void(first)
    with pytest.raises(Conflict):
        await story.grant("5.00", key="june")
    await story.grant("5.00", key="July")
    assert await story.settled() == 5


async def test_times_of_a_grant(story: Story, time: FrozenClock) -> None:
    time.at = START + timedelta(microseconds=1500)
    now = await story.grant("1.00", expires="P1M")
    assert (now.effective_at, now.starts_at, now.expires_at) == (None, time.at, time.at.replace(month=7))
    given = await story.grant("1.00", effective_at=time.at, expires="P1M")
    assert (given.effective_at, given.expires_at) == (START, day(7, 1))


async def test_a_promised_grant_is_pending_until_it_takes_effect(story: Story, time: FrozenClock) -> None:
    time.at = day(4, 1)
    grant = await story.grant("100.00", effective_at=day(4, 11))
    assert grant.status is GrantStatus.PENDING
    balance = await story.balance()
    assert (balance.settled, balance.pending, balance.live) == (0, 100, 0)
    assert [one.currency for one in await story.balances()] == ["USD"]
    assert await story.transactions() == []
    time.at = day(4, 11)
    balance = await story.balance()
    assert (balance.settled, balance.pending, balance.live) == (100, 0, 100)
    assert (await story.balance(at=day(4, 10))).pending == 100
    assert (await story.balance(at=day(3, 31))).pending == 0


async def test_voiding_takes_what_is_left(story: Story, time: FrozenClock) -> None:
    grant = await story.grant("80.00", expires="P30D")
    time.at = day(6, 2)
    await story.collect("30.00")
    time.at = day(6, 3)
    voided = await story.void(grant)
    assert (voided.status, voided.voided_at) == (GrantStatus.VOIDED, day(6, 3))
    assert await story.settled() == 0
    assert await story.settled(day(6, 2)) == 50
    time.at = day(6, 4)
    assert (await story.void(grant)).voided_at == day(6, 3)
    time.at = day(7, 2)
    assert [(row.type, row.amount, row.after) for row in await story.transactions()] == [
        ("voided", -50, 0),
        ("consumed", -30, 50),
        ("funded", 80, 80),
    ]
    assert await story.settled() == 0
    assert await story.ledger() == {AccountType.ACCRUED: 30, AccountType.RECEIVABLE: 50, AccountType.WASH: -80}


async def test_a_promised_grant_can_be_voided_and_promises_nothing_more(story: Story, time: FrozenClock) -> None:
    grant = await story.grant("80.00", effective_at=day(6, 11), expires="P1M")
    await story.void(grant)
    balance = await story.balance()
    assert (balance.settled, balance.pending) == (0, 0)
    time.at = day(8, 1)
    assert [await story.settled(at) for at in (day(6, 11), day(7, 11), None)] == [0, 0, 0]
    assert [row.type for row in await story.transactions()] == ["voided", "funded"]


async def test_what_cannot_be_voided(story: Story, time: FrozenClock) -> None:
    used = await story.grant("10.00")
    await story.collect("10.00")
    expiring = await story.grant("10.00", expires="P1D")
    time.at = day(6, 2)
    for grant in (used, expiring):
        with pytest.raises(Conflict):
            await story.void(grant)
    await story.collect("5.00")
    swallowed = await story.grant("5.00")
    with pytest.raises(Conflict, match="nothing is left"):
        await story.void(swallowed)
    async with story.db.read() as session:
        with pytest.raises(NotFound):
            await grants.get(session, NS, new_id(), used.id)


async def test_lists_of_grants(story: Story, time: FrozenClock) -> None:
    names = {}
    moments: list[tuple[str, datetime | None, str | None]] = [
        ("active", None, None),
        ("expired", None, "P1D"),
        ("pending", day(12, 1), None),
        ("voided", None, None),
    ]
    for name, effective_at, expires in moments:
        time.at += timedelta(seconds=1)
        names[name] = await story.grant("1.00", name=name, effective_at=effective_at, expires=expires, key=name)
    await story.grant("1.00", name="euro", currency="EUR")
    await story.void(names["voided"])
    time.at = day(6, 3)

    async def listed(**filters: Any) -> list[str]:
        async with story.db.read() as session:
            page = await grants.list_grants(session, NS, story.customer_id, PageRequest(1, 20), **filters)
        assert page.total_count == len(page.items)
        return [grant.name for grant in page.items]

    assert await listed() == ["euro", "voided", "pending", "expired", "active"]
    for status in GrantStatus:
        assert await listed(status=status, currency="USD") == [status.value]
    assert await listed(currency="EUR") == ["euro"]
    assert await listed(key=equals("expired")) == ["expired"]
    assert await listed(key=equals("nothing")) == []
    async with story.db.read() as session:
        with pytest.raises(NotFound):
            await grants.list_grants(session, NS, new_id(), PageRequest(1, 20))
