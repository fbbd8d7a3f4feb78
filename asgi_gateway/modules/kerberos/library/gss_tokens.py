"""Decode the GSS-API tokens of requests, and check them before libkrb5 reads them."""

from __future__ import annotations

import binascii

from asgi_gateway.errors import LoginFailed

__all__ = ["MAX_TOKEN", "SHARED_ACCEPTOR", "SHARED_TOKEN", "begins_handshake", "decode_token", "encode_token"]

SHARED_ACCEPTOR = "asgi_gateway.modules.kerberos.library.acceptor"
"""The shared-state key under which kerberos5 passes its service's keys to gss."""
SHARED_TOKEN = "asgi_gateway.gss.token"  # noqa: S105
"""The shared-state key under which an earlier module may put a token (base64) for ``tryFirstToken`` of gss."""

MAX_TOKEN = 65_535
"""Characters of base64. Active Directory limits tokens to 48 KiB, even with a full PAC."""

_BEGIN = 0x60  # RFC 2743 section 3.1: [APPLICATION 0]
_MECHANISMS = (
    b"\x06\x06\x2b\x06\x01\x05\x05\x02",  # 1.3.6.1.5.5.2, SPNEGO
    b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02",  # 1.2.840.113554.1.2.2, Kerberos
)
_NTLM = b"NTLMSSP\0"


def decode_token(text: str | None) -> bytes:
    """Return the token that a request carries in base64.

    Raises:
        LoginFailed: the text is missing, too long, invalid base64, or a token of NTLM.
    """
    if not text:
        raise LoginFailed("the request carries no Negotiate token")
    if len(text) > MAX_TOKEN:
        raise LoginFailed(f"the token is longer than {MAX_TOKEN} characters")
    try:
        token = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise LoginFailed("the token is invalid base64") from None
    if token.startswith(_NTLM):
        raise LoginFailed(
            "the client sent NTLM, not Kerberos: it has no ticket for this service (compare the URL's host and the SPN)"
        )
    return token


def encode_token(token: bytes) -> str:
    """Return a token as a header carries it."""
    return binascii.b2a_base64(token, newline=False).decode("ascii")


def begins_handshake(token: bytes) -> bool:
    """Return True if a token begins a handshake, False if it continues one.

    Raises:
        LoginFailed: it begins one of a mechanism other than SPNEGO and Kerberos.
    """
    if token[:1] != bytes((_BEGIN,)):
        return False
    length = token[1] if len(token) > 1 else 0
    start = 2 + (length & 0x7F if length & 0x80 else 0)
    if not token.startswith(_MECHANISMS, start):
        raise LoginFailed("unsupported mechanism: the token is neither SPNEGO nor Kerberos")
    return True
