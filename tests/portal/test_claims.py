"""The signed form of portal tokens (metering section 15)."""

from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from meterhouse.portal import claims

SECRET = "s" * 32
CLAIMS: dict[str, Any] = {
    "iss": "openmeter",
    "sub": "acme",
    "iat": 1740823200,
    "exp": 1740826800,
    "Namespace": "default",
    "Id": "01JNX8T0000000000000000001",
    "AllowedMeterSlugs": ["tokens"],
}


def token(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """Sign claims, some of them changed or (None) taken away."""
    given = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return jwt.encode(given, secret, algorithm=algorithm)


def test_the_claims() -> None:
    signed = claims.sign(
        SECRET,
        token_id="01JNX8T0000000000000000001",
        namespace="default",
        subject="acme",
        issued_at=datetime(2025, 3, 1, 10, tzinfo=UTC),
        expires_at=datetime(2025, 3, 1, 11, tzinfo=UTC),
        allowed_meters=["tokens"],
    )
    # Long past by the machine's clock: the caller judges times by its own.
    assert jwt.decode(signed, SECRET, ["HS256"], options={"verify_exp": False}) == CLAIMS
    assert jwt.get_unverified_header(signed)["alg"] == "HS256"
    assert claims.token_id_of(SECRET, signed, "default") == "01JNX8T0000000000000000001"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "a.b.c",
        "\x00é.é.é",
        token("t" * 32),
        token("s" * 64, "HS512"),
        jwt.encode(CLAIMS, None, algorithm="none"),
        token() + "x",
        token(iss="somebody"),
        token(iss=None),
        token(exp=None),
        token(iat=None),
        token(sub=None),
        token(Id=None),
        token(Id=7),
        token(Namespace="other"),
        token(Namespace=None),
    ],
)
def test_what_proves_nothing(text: str) -> None:
    assert claims.token_id_of(SECRET, text, "default") is None
