"""Tokens are looked at before the library sees them."""

from __future__ import annotations

import base64

import pytest

from asgi_gateway.errors import LoginFailed
from asgi_gateway.modules.kerberos.library.gss_tokens import MAX_TOKEN, begins_handshake, decode_token, encode_token

SPNEGO = b"\x06\x06\x2b\x06\x01\x05\x05\x02"
KERBEROS = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no Negotiate token"),
        ("", "no Negotiate token"),
        ("YQ", "invalid base64"),
        ("YQ==\n", "invalid base64"),
        ("Y*==", "invalid base64"),
        ("é", "invalid base64"),
        ("A" * (MAX_TOKEN + 1), "longer than"),
        (base64.b64encode(b"NTLMSSP\0\1\0\0\0").decode(), "NTLM, not Kerberos"),
    ],
)
def test_refused(text: str | None, reason: str) -> None:
    """What is missing, too long, no strict base64, or NTLM is refused."""
    with pytest.raises(LoginFailed, match=reason):
        decode_token(text)


def test_round_trip() -> None:
    """A token survives being written and read, up to the largest of Active Directory."""
    token = b"\x60" * 48_000
    assert decode_token(encode_token(token)) == token


@pytest.mark.parametrize("header", [b"\x60\x20", b"\x60\x81\xf0", b"\x60\x82\x10\x00"])
@pytest.mark.parametrize("mechanism", [SPNEGO, KERBEROS])
def test_begin(header: bytes, mechanism: bytes) -> None:
    """A first token of SPNEGO or Kerberos begins a handshake, whatever its size."""
    assert begins_handshake(header + mechanism + b"rest")


@pytest.mark.parametrize("token", [b"", b"\xa1\x07", b"\x6f\x20" + KERBEROS, b"x"])
def test_goes_on(token: bytes) -> None:
    """Anything else can only go on with a handshake that waits."""
    assert not begins_handshake(token)


@pytest.mark.parametrize(
    "token",
    [
        b"\x60",
        b"\x60\x20",
        b"\x60\x0f\x06\x06\x2b\x06\x01\x05\x02\x05rest",  # IAKERB: would have the service talk to a KDC
        b"\x60\x0f\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0arest",  # NTLMSSP
        b"\x60\x81" + SPNEGO,
        b"\x60\xff" + SPNEGO,
    ],
)
def test_other_mechanism(token: bytes) -> None:
    """A first token of any other mechanism is refused before the library sees it."""
    with pytest.raises(LoginFailed, match="neither SPNEGO nor Kerberos"):
        begins_handshake(token)
