"""The gateway's own tokens."""

from __future__ import annotations

import math
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.model import RevocationKey
from asgi_gateway.sessions.signing import Signer
from asgi_gateway.sessions.tokens import MAX_LIFE, Token, TokenIssuer

KEY = b"k" * 32
NOW = 1_800_000_000.0


def _read(text: str, **changed: Any) -> Token:
    values: dict[str, Any] = {"realm": "demo", "now": NOW, "leeway": 30}
    return TokenIssuer([KEY], "app").read(text, **(values | changed))


def _issue(**changed: Any) -> str:
    values: dict[str, Any] = {"user": "joe", "realm": "demo", "now": NOW, "life": 60}
    return TokenIssuer([KEY], "app").issue(**(values | changed))


def test_round_trip() -> None:
    """A token says who it was issued for, with which roles, and until when."""
    token = _read(_issue(roles=["A", "B"], single_use=True, until=NOW + 3600))
    assert (token.user, token.roles, token.audience, token.realm) == ("joe", ("A", "B"), "app", "demo")
    assert (token.issued, token.expires, token.single_use, token.until) == (NOW, NOW + 60, True, NOW + 3600)
    plain = _read(_issue())
    assert (plain.roles, plain.single_use, plain.until) == ((), False, None)


def test_what_a_ticket_says_besides() -> None:
    """A token for one service says which, and what may end the login that it was had for."""
    ends = ((RevocationKey("user", "joe", "staff"), "seen"), (RevocationKey("session", "s"), ""))
    token = _read(_issue(service="live", revocation_keys=ends))
    assert (token.service, token.revocation_keys) == ("live", ends)
    assert (_read(_issue()).service, _read(_issue()).revocation_keys) == ("", ())


def test_ids_differ() -> None:
    """No two tokens have the same id."""
    assert len({_read(_issue()).id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"realm": "other"}, "another realm"),
        ({"now": NOW + 90}, "expired"),
        ({"now": NOW + 1e9}, "expired"),
        ({"now": NOW - 31}, "in the future"),
    ],
)
def test_refused(changed: dict[str, Any], reason: str) -> None:
    """A token of another realm, past its life or from the future is refused."""
    with pytest.raises(LoginFailed, match=reason):
        _read(_issue(), **changed)


@pytest.mark.parametrize("now", [NOW - 30, NOW, NOW + 59, NOW + 89.9])
def test_leeway(now: float) -> None:
    """Clocks may differ by the leeway, and no more."""
    assert _read(_issue(), now=now).user == "joe"


def test_other_audience_and_key() -> None:
    """A token for another audience or signed with another key is refused."""
    with pytest.raises(LoginFailed, match="audience"):
        _read(TokenIssuer([KEY], "other").issue("joe", realm="demo", now=NOW, life=60))
    with pytest.raises(LoginFailed, match="not signed"):
        _read(TokenIssuer([b"o" * 32], "app").issue("joe", realm="demo", now=NOW, life=60))


GOOD: dict[str, Any] = {
    "sub": "joe", "roles": [], "aud": "app", "realm": "demo", "iat": NOW, "exp": NOW + 60, "jti": "x",
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": ""}, {"sub": None}, {"sub": 7}, {"roles": "A"}, {"roles": [""]}, {"roles": [1]}, {"roles": None},
        {"aud": ["app"]}, {"realm": ""}, {"jti": ""}, {"jti": 1}, {"exp": str(NOW)}, {"exp": True}, {"exp": None},
        {"exp": math.inf}, {"exp": math.nan}, {"iat": None}, {"exp": NOW}, {"exp": NOW + MAX_LIFE + 1},
        {"once": 1}, {"once": "true"}, {"until": "never"}, {"until": math.nan}, {"service": 1}, {"ends": "x"},
        {"ends": [["user", "joe", "demo"]]}, {"ends": [["group", "g", "demo", ""]]},
        {"ends": [["user", 1, "demo", ""]]},
    ],
)  # fmt: skip
def test_signed_nonsense(changed: dict[str, Any]) -> None:
    """A text signed with the right key whose content is not a token's is refused."""
    signer = Signer([KEY], "token")
    assert _read(signer.sign(GOOD)).user == "joe"
    with pytest.raises(LoginFailed, match="not one of the gateway's"):
        _read(signer.sign(GOOD | changed))


@pytest.mark.parametrize(
    "changed",
    [{"user": ""}, {"realm": ""}, {"roles": [""]}, {"life": 0}, {"life": -1}, {"life": math.nan}, {"life": 4e7}],
)
def test_nothing_senseless_is_issued(changed: dict[str, Any]) -> None:
    """A token without user or realm, with a nameless role or an absurd life is not issued."""
    with pytest.raises(ValueError):
        _issue(**changed)


def test_bad_issuer() -> None:
    """An issuer needs an audience and keys of 32 bytes."""
    with pytest.raises(ValueError, match="audience"):
        TokenIssuer([KEY], "")
    with pytest.raises(ConfigError, match="31 bytes"):
        TokenIssuer([b"k" * 31], "app")
