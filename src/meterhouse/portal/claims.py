"""The signed form of a portal token (metering section 15): a JWT with HS256."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import jwt

_ALGORITHM = "HS256"
_ISSUER = "openmeter"
# Times are compared with the clock of the house by the caller; the library would read the machine's.
_OPTIONS: Any = {"require": ["iss", "sub", "iat", "exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}


def sign(
    secret: str,
    *,
    token_id: str,
    namespace: str,
    subject: str,
    issued_at: datetime,
    expires_at: datetime,
    allowed_meters: Sequence[str],
) -> str:
    """Return the token. No allowed meters means all."""
    claims = {
        "iss": _ISSUER,
        "sub": subject,
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
        "Namespace": namespace,
        "Id": token_id,
        "AllowedMeterSlugs": list(allowed_meters),
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def token_id_of(secret: str, token: str, namespace: str) -> str | None:
    """Return the id of a token that was signed with the secret for the namespace; None for everything else.

    Whether it still holds is not looked at.
    """
    try:
        claims = jwt.decode(token, secret, algorithms=[_ALGORITHM], issuer=_ISSUER, options=_OPTIONS)
    except jwt.InvalidTokenError:
        return None
    token_id = claims.get("Id")
    return token_id if isinstance(token_id, str) and claims.get("Namespace") == namespace else None
