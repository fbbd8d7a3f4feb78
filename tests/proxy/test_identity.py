"""Who the user is, as back ends are told."""

from __future__ import annotations

import datetime
from pathlib import Path
from urllib.parse import unquote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from asgi_gateway.errors import ConfigError
from asgi_gateway.model import GroupPrincipal, Principal, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.proxy.identity import IdentityToken, IdentityWriter, encoded_names, folded_name
from asgi_gateway.services.identity import GatewayContext
from tests.helpers import ManualClock


class EmailPrincipal(Principal):
    """A module's own kind of principal."""


SUBJECT = Subject(
    (
        UserPrincipal("jörg"),
        UserPrincipal("second"),
        RolePrincipal("admin"),
        GroupPrincipal("Domain Users"),
        GroupPrincipal("a,b"),
        EmailPrincipal("j@example.org"),
    )
)
CONTEXT = GatewayContext("reports", "demo", SUBJECT)


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (["alice"], b"alice"),
        (["a", "b"], b"a,b"),
        (["a,b", "100%"], b"a%2Cb,100%25"),
        (["jörg"], b"j%C3%B6rg"),
        (["Domain Users"], b"Domain Users"),
        ([" a ", "  "], b"%20a%20,%20%20"),
        (["a\r\nX-Evil: 1"], b"a%0D%0AX-Evil: 1"),
        (["\x7f\x00\t"], b"%7F%00%09"),
        (["\ud800"], b"%ED%A0%80"),
        ([], b""),
    ],
)
def test_encoding(names: list[str], value: bytes) -> None:
    """Every list of names has one value, from which it can be read again."""
    assert encoded_names(names) == value
    if "\ud800" not in names:
        assert [unquote(part) for part in value.decode("ascii").split(",") if part] == names


def test_kinds() -> None:
    """User, roles, groups and other kinds of principals have headers of their own; one without a principal has none."""
    names = [
        ("user", "X-User"),
        ("roles", "X-Roles"),
        ("groups", "X-Groups"),
        ("email", "X-Email"),
        ("phone", "X-Phone"),
    ]
    assert IdentityWriter(names, None, ManualClock()).headers(CONTEXT) == (
        (b"x-user", b"j%C3%B6rg"),
        (b"x-roles", b"admin,Domain Users,a%2Cb"),
        (b"x-groups", b"Domain Users,a%2Cb"),
        (b"x-email", b"j@example.org"),
    )


def test_nobody() -> None:
    """Without a user there are no identity headers."""
    writer = IdentityWriter([("user", "X-User")], None, ManualClock())
    assert writer.headers(GatewayContext("s", "", None)) == ()


def test_folded_names() -> None:
    """Names are folded in case and separators, the token's too."""
    token = IdentityToken(header="X-Token", audience="a", life=60, algorithm="HS256", key=b"k" * 32)
    writer = IdentityWriter([("user", "X-Forwarded-User")], token, ManualClock())
    assert writer.folded_names == {b"x-forwarded-user", b"x-token"}
    assert folded_name(b"X_Forwarded.USER") == b"x-forwarded-user"


def token_of(file: Path, clock: ManualClock) -> IdentityWriter:
    token = IdentityToken.from_file(file, header="X-Identity-Token", audience="backend", life=60)
    return IdentityWriter((), token, clock)


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA", "ES256", "RS256"])
def test_token(tmp_path: Path, algorithm: str) -> None:
    """The token is signed with the key of the file and says who the user is, for whom and until when."""
    file = tmp_path / "key"
    verifying: object = "s" * 32
    if algorithm == "HS256":
        file.write_text("s" * 32 + "\n")
    else:
        key = {
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
        }[algorithm]()
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        verifying = key.public_key()
    file.chmod(0o600)
    clock = ManualClock()
    ((name, value),) = token_of(file, clock).headers(CONTEXT)
    assert name == b"x-identity-token"
    claims = jwt.decode(
        value.decode(),
        verifying,
        algorithms=[algorithm],
        audience="backend",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims == {
        "iss": "asgi-gateway",
        "aud": "backend",
        "sub": "jörg",
        "roles": ["admin", "Domain Users", "a,b"],
        "groups": ["Domain Users", "a,b"],
        "realm": "demo",
        "service": "reports",
        "iat": int(clock.time()),
        "exp": int(clock.time()) + 60,
    }
    assert datetime.timedelta(seconds=claims["exp"] - claims["iat"]) == datetime.timedelta(minutes=1)


def test_token_is_cached_for_seconds(tmp_path: Path) -> None:
    """A token is used again for a few seconds, then a new one is signed."""
    file = tmp_path / "key"
    file.write_text("s" * 32)
    file.chmod(0o600)
    clock = ManualClock()
    writer = token_of(file, clock)
    first = writer.headers(CONTEXT)
    clock.advance(4)
    assert writer.headers(CONTEXT) is first
    clock.advance(2)
    assert writer.headers(CONTEXT) != first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zq7!x", "too short: 5 bytes"),
        ("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "no private key that can be read"),
        (None, "does not exist"),
    ],
)
def test_keys_that_cannot_be_used(tmp_path: Path, text: str | None, message: str) -> None:
    """A missing, short or unreadable key is an error that does not show it."""
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        token_of(file, ManualClock())
    assert text is None or text not in str(error.value)


def test_key_of_another_kind(tmp_path: Path) -> None:
    """A key of a curve that is not supported is an error."""
    key = ec.generate_private_key(ec.SECP384R1())
    file = tmp_path / "key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="not supported"):
        token_of(file, ManualClock())


def test_key_is_not_printed() -> None:
    """The key is in no repr."""
    token = IdentityToken(header="X-Token", audience="a", life=60, algorithm="HS256", key=b"secret" * 8)
    assert "secret" not in repr(token)
