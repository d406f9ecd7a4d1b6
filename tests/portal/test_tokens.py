"""Issuing, listing, invalidating and checking portal tokens (metering section 15)."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import InvalidInput, NotFound, Unauthorized
from meterhouse.metering import meters
from meterhouse.metering.meters import Aggregation, NewMeter
from meterhouse.portal import service
from meterhouse.portal.service import Portal, PortalToken

NS = "default"
NOW = datetime(2025, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)
HOUR = timedelta(hours=1)
PORTAL = Portal("s" * 32, HOUR)


async def make_meter(db: Database, key: str) -> None:
    """Create a meter."""
    async with db.write() as session:
        await meters.create(session, NS, NewMeter(key=key, name=key, event_type="t", aggregation=Aggregation.COUNT))


async def issue(db: Database, subject: str = "acme", **members: object) -> tuple[PortalToken, str]:
    """Issue a token."""
    async with db.write() as session:
        return await PORTAL.create(session, NS, subject, **members)  # type: ignore[arg-type]


async def works(db: Database, text: str, *, portal: Portal = PORTAL, namespace: str = NS) -> bool:
    """Tell whether a token is accepted."""
    async with db.read() as session:
        try:
            await portal.authenticate(session, namespace, text)
        except Unauthorized:
            return False
    return True


async def test_a_token_lives_an_hour(db: Database) -> None:
    with clock.frozen(NOW) as now:
        token, text = await issue(db)
        assert (token.subject, token.allowed_meters) == ("acme", None)
        assert token.created_at == NOW
        assert token.expires_at == datetime(2025, 3, 1, 11, tzinfo=UTC)
        async with db.read() as session:
            assert await PORTAL.authenticate(session, NS, text) == token
        now.at = token.expires_at - timedelta(microseconds=1)
        assert await works(db, text)
        now.at = token.expires_at
        assert not await works(db, text)


async def test_an_expiry_can_be_given(db: Database) -> None:
    with clock.frozen(NOW):
        token, _ = await issue(db, expires_at=NOW + timedelta(days=3))
        assert token.expires_at == datetime(2025, 3, 4, 10, tzinfo=UTC)
        for past in (NOW - HOUR, NOW, NOW + timedelta(milliseconds=100)):
            with pytest.raises(InvalidInput, match="future"):
                await issue(db, expires_at=past)


async def test_a_token_belongs_to_its_secret_and_namespace(db: Database) -> None:
    _, text = await issue(db)
    assert await works(db, text)
    assert not await works(db, text, portal=Portal("t" * 32, HOUR))
    assert not await works(db, text, namespace="other")


async def test_meters_of_a_token(db: Database) -> None:
    await make_meter(db, "tokens")
    token, text = await issue(db, allowed_meters=["tokens", "tokens"])
    assert token.allowed_meters == ("tokens",)
    async with db.read() as session:
        held = await PORTAL.authenticate(session, NS, text)
    assert (held.allows("tokens"), held.allows("calls")) == (True, False)
    unlimited, _ = await issue(db)
    assert unlimited.allows("anything")
    with pytest.raises(NotFound, match="meter not found: calls"):
        await issue(db, allowed_meters=["tokens", "calls"])
    with pytest.raises(InvalidInput, match="allowedMeterSlugs"):
        await issue(db, allowed_meters=[])


async def test_tokens_are_listed_until_they_are_invalidated(db: Database) -> None:
    issued = []
    with clock.frozen(NOW) as now:
        for subject in ("acme", "beta", "acme", "core"):
            issued.append(await issue(db, subject))
            now.at += timedelta(seconds=1)

        async def ids(limit: int = 10) -> list[str]:
            async with db.read() as session:
                return [token.id for token in await service.list_tokens(session, NS, limit)]

        first, second, third, fourth = (token.id for token, _ in issued)
        assert await ids() == [fourth, third, second, first]
        assert await ids(2) == [fourth, third]
        async with db.write() as session:
            await service.invalidate(session, NS, token_id=second)
        assert await ids() == [fourth, third, first]
        async with db.write() as session:
            await service.invalidate(session, NS, subject="acme")
            await service.invalidate(session, NS, token_id="unknown", subject="unknown")
            await service.invalidate(session, "other", token_id=fourth)
        assert await ids() == [fourth]
        assert [await works(db, text) for _, text in issued] == [False, False, False, True]
        now.at += HOUR
        assert await ids() == [fourth]
        async with db.write() as session:
            with pytest.raises(InvalidInput, match="id or subject"):
                await service.invalidate(session, NS)


async def test_the_store_cannot_give_a_token_away(db: Database) -> None:
    _, proof = await issue(db)
    async with db.read() as session:
        (row,) = (await session.execute(text("SELECT to_jsonb(t)::text FROM portal_tokens t"))).one()
    assert proof not in row
    assert proof.rpartition(".")[2] not in row


async def test_expired_tokens_are_forgotten_in_the_end(db: Database) -> None:
    with clock.frozen(NOW) as now:
        old, _ = await issue(db)
        now.at = old.expires_at + service.KEPT_AFTER_EXPIRY
        kept, _ = await issue(db)
        async with db.read() as session:
            assert len(await service.list_tokens(session, NS, 10)) == 2
        now.at += timedelta(seconds=1)
        new, _ = await issue(db)
        async with db.read() as session:
            assert [token.id for token in await service.list_tokens(session, NS, 10)] == [new.id, kept.id]
