"""GSS-API's errors, in words that an operator can act on."""

from __future__ import annotations

import sys

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.modules.kerberos.library.errors import explain, kdc_error, protocol_code, require_gssapi

BASE = -1765328384


class Problem:
    """What gssapi.exceptions.GSSError offers."""

    maj_code = 851968

    def __init__(self, minor: str, number: int = 60) -> None:
        self.minor = minor
        self.min_code = (BASE + number) % (1 << 32)

    def get_all_statuses(self, code: int, is_major: bool) -> list[str]:
        return ["Invalid token was supplied"] if is_major else [self.minor]


def test_explain() -> None:
    """The library's text is kept, with what to look for, and its empty phrases give way to the major code's."""
    assert explain(Problem("Clock skew too great")).startswith("Clock skew too great (the clocks of the client")
    assert explain(Problem("Something else")) == "Something else"
    for empty in ("Success", "Unknown error 0", ""):
        assert explain(Problem(empty)) == "Invalid token was supplied"


def test_code() -> None:
    """The protocol's own number is found in the library's unsigned code."""
    assert protocol_code(Problem("", 24)) == 24


@pytest.mark.parametrize(
    ("number", "local", "kind"),
    [
        (24, True, LoginFailed),
        (6, True, LoginFailed),
        (37, True, LoginFailed),
        (156, True, LoginUnavailable),
        (156, False, LoginUnavailable),
        (29, True, LoginUnavailable),
        (60, True, LoginUnavailable),
        (154, True, LoginUnavailable),
        (154, False, LoginFailed),
        (220, False, LoginFailed),
    ],
)
def test_kind(number: int, local: bool, kind: type[Exception]) -> None:
    """A KDC that cannot be asked is unavailable, one that says no is a failed login; so is a realm nobody knows."""
    assert type(kdc_error(Problem("text", number), local_realm=local)) is kind


def test_typed() -> None:
    """What the user typed is not in the reason."""
    error = kdc_error(
        Problem("Client 'hunter2@HOME' not found in Kerberos database"), local_realm=True, typed=("hunter2@HOME",)
    )
    assert str(error).startswith("Client '(as typed)' not found in Kerberos database (no such principal")


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gssapi the message says what to install."""
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(ConfigError, match=r"pip install 'asgi-gateway\[kerberos\]'"):
        require_gssapi()
