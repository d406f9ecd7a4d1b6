"""Issuing, listing, invalidating and checking portal tokens (metering section 15)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Check, Condition, Operator
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput, NotFound, Unauthorized
from meterhouse.kernel.ids import new_id
from meterhouse.metering import meters
from meterhouse.portal import claims, repository
from meterhouse.portal.models import PortalTokenRow

KEPT_AFTER_EXPIRY = timedelta(days=30)  # long enough to see in a list what was in use lately


@dataclass(frozen=True, slots=True)
class PortalToken:
    """An issued token, without the token itself.

    Attributes:
        subject: whose usage it shows.
        allowed_meters: keys of the meters it shows; None for all.
        expires_at: it stops working at this instant; whole seconds.
    """

    id: str
    subject: str
    allowed_meters: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime

    def expired(self) -> bool:
        """Tell whether its time is over."""
        return self.expires_at <= clock.now()

    def allows(self, meter_key: str) -> bool:
        """Tell whether it shows this meter."""
        return self.allowed_meters is None or meter_key in self.allowed_meters


def _token(row: PortalTokenRow) -> PortalToken:
    allowed = None if row.allowed_meters is None else tuple(row.allowed_meters)
    return PortalToken(row.id, row.subject, allowed, row.created_at, row.expires_at)


class Portal:
    """The portal of a server that has a secret.

    Args:
        secret: signs the tokens; at least 32 bytes, the length of the hash (RFC 7518 section 3.2). Another secret
            makes all tokens worthless.
        lifetime: how long a token works unless its expiry is given.
    """

    def __init__(self, secret: str, lifetime: timedelta) -> None:
        self._secret = secret
        self._lifetime = lifetime

    async def create(
        self,
        session: WriteSession,
        namespace: str,
        subject: str,
        *,
        allowed_meters: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[PortalToken, str]:
        """Issue a token; returns it with the text that proves it, which is nowhere kept.

        Raises:
            InvalidInput: no subject, an expiry that is past, or an empty list of meters.
            NotFound: a meter does not exist.
        """
        now = clock.now()
        expiry = clock.whole_seconds(expires_at or now + self._lifetime)
        if not subject:
            raise InvalidInput("the subject of a portal token must not be empty")
        if expiry <= now:
            raise InvalidInput("expiresAt must lie in the future")
        allowed = None if allowed_meters is None else list(dict.fromkeys(allowed_meters))
        if allowed is not None:
            await _check_meters(session, namespace, allowed)
        await repository.forget_expired(session, now - KEPT_AFTER_EXPIRY)
        row = PortalTokenRow(
            id=new_id(),
            namespace=namespace,
            subject=subject,
            allowed_meters=allowed,
            created_at=now,
            expires_at=expiry,
        )
        session.add(row)
        await session.flush()
        text = claims.sign(
            self._secret,
            token_id=row.id,
            namespace=namespace,
            subject=subject,
            issued_at=now,
            expires_at=expiry,
            allowed_meters=allowed or (),
        )
        return _token(row), text

    async def authenticate(self, session: ReadSession, namespace: str, text: str) -> PortalToken:
        """Return the token that a text proves.

        Raises:
            Unauthorized: it was not issued here, has expired or was invalidated. Which of these is not told.
        """
        token_id = claims.token_id_of(self._secret, text, namespace)
        row = None if token_id is None else await repository.by_id(session, namespace, token_id)
        if row is None or row.invalidated_at is not None or _token(row).expired():
            raise Unauthorized("invalid portal token")
        return _token(row)


async def _check_meters(session: ReadSession, namespace: str, keys: Sequence[str]) -> None:
    if not keys:
        raise InvalidInput("allowedMeterSlugs must name a meter; leave it out to allow all of them")
    wanted = Condition((Check(Operator.OEQ, tuple(keys)),))
    found = {meter.key for meter in (await meters.list_meters(session, namespace, conditions={"key": wanted})).items}
    if missing := [key for key in keys if key not in found]:
        raise NotFound(f"meter not found: {', '.join(missing)}")


async def list_tokens(session: ReadSession, namespace: str, limit: int) -> list[PortalToken]:
    """Return the tokens that were not invalidated, expired ones too, the newest first."""
    return [_token(row) for row in await repository.newest(session, namespace, limit)]


async def invalidate(
    session: WriteSession, namespace: str, *, token_id: str | None = None, subject: str | None = None
) -> None:
    """Take back the token with an id, all tokens of a subject, or both. What is not there is taken back already.

    Raises:
        InvalidInput: neither is given.
    """
    if token_id is None and subject is None:
        raise InvalidInput("id or subject is required")
    await repository.invalidate(session, namespace, clock.now(), token_id=token_id, subject=subject)
