"""Choosing a mechanism for Negotiate."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.client import (
    ChallengeRequest,
    ChallengeResponse,
    NegotiableChallengeHandler,
    NegotiateChallengeHandler,
)
from asgi_gateway.client.negotiate import KERBEROS_OID, offered_oids

NTLM_OID = "1.3.6.1.4.1.311.2.2.10"
KERBEROS = bytes.fromhex("06092a864886f712010202")
NTLM = bytes.fromhex("060a2b06010401823702020a")
SPNEGO = bytes.fromhex("06062b0601050502")
URL = "https://host.example/"


class Mechanism(NegotiableChallengeHandler):
    def __init__(self, answer: Any, *oids: str, coroutine: bool = False) -> None:
        self.answer = answer
        self.oids = oids
        self.coroutine = coroutine

    @property
    def supported_oids(self) -> Any:
        return self.oids

    def handle(self, request: Any) -> Any:
        response = self.answer and ChallengeResponse(f"Negotiate {self.answer}")
        if not self.coroutine:
            return response

        async def later() -> Any:
            return response

        return later()


def element(tag: int, content: bytes) -> Any:
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def token(*mechanisms: Any, padding: bytes = b"") -> Any:
    listed = element(0xA0, element(0x30, b"".join(mechanisms)))
    return base64.b64encode(element(0x60, SPNEGO + element(0xA0, element(0x30, listed + padding)))).decode()


def answer(handler: Any, challenge: Any) -> Any:
    response = handler.handle(ChallengeRequest(URL, challenge))
    return response.credentials if response else None


def test_handlers_are_asked_in_the_order_of_registration() -> None:
    """A bare challenge goes to the first handler, and on to the next if that has no answer."""
    handler = NegotiateChallengeHandler(Mechanism(None, KERBEROS_OID)).register(Mechanism("bnRsbQ==", NTLM_OID))
    assert answer(handler, "Application Negotiate") == "Negotiate bnRsbQ=="
    assert answer(NegotiateChallengeHandler(Mechanism(None, NTLM_OID)), "Negotiate") is None


def test_the_server_may_name_its_mechanisms() -> None:
    """Only handlers of a mechanism that the server names are asked."""
    handler = NegotiateChallengeHandler(Mechanism("krb", KERBEROS_OID), Mechanism("ntlm", NTLM_OID))
    assert answer(handler, f"Negotiate {token(NTLM)}") == "Negotiate ntlm"
    assert answer(handler, f"Negotiate {token(NTLM, KERBEROS)}") == "Negotiate krb"
    assert answer(handler, f"Negotiate {token(element(6, b'*'))}") is None


@pytest.mark.anyio
async def test_mechanisms_may_be_coroutines() -> None:
    """A coroutine that has no answer leaves the challenge to the next handler, too."""
    handler = NegotiateChallengeHandler(
        Mechanism(None, KERBEROS_OID, coroutine=True), Mechanism("x", NTLM_OID, coroutine=True)
    )
    answer: Any = handler.handle(ChallengeRequest(URL, "Negotiate"))
    assert (await answer).credentials == "Negotiate x"


def test_a_mechanism_has_one_handler() -> None:
    """Two handlers for one mechanism are refused."""
    with pytest.raises(ValueError, match="already"):
        NegotiateChallengeHandler(Mechanism("a", NTLM_OID), Mechanism("b", KERBEROS_OID, NTLM_OID))


def test_only_negotiate_is_handled() -> None:
    """Other schemes are not, nor is anything without a handler."""
    handler = NegotiateChallengeHandler(Mechanism("a", NTLM_OID))
    assert handler.can_handle(ChallengeRequest(URL, "Application Negotiate"))
    assert not handler.can_handle(ChallengeRequest(URL, "Basic realm=a"))
    assert not NegotiateChallengeHandler().can_handle(ChallengeRequest(URL, "Negotiate"))


def test_oids_are_read_from_a_first_token() -> None:
    """The mechanisms are listed in the server's order, from short and long tokens."""
    assert offered_oids(token(KERBEROS, NTLM)) == (KERBEROS_OID, NTLM_OID)
    assert offered_oids(token(KERBEROS, padding=bytes(300))) == (KERBEROS_OID,)
    assert offered_oids(base64.b64encode(element(0x60, KERBEROS + b"rest")).decode()) == ()


@given(st.one_of(st.text(max_size=40), st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode())))
def test_any_token_is_read_or_ignored(text: Any) -> None:
    """Whatever a server sends as its token, nothing breaks."""
    assert isinstance(offered_oids(text), tuple)


@given(st.data())
def test_a_damaged_token_is_read_or_ignored(data: Any) -> None:
    """A first token that is cut off or changed breaks nothing."""
    damaged = bytearray(base64.b64decode(token(KERBEROS, NTLM)))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    text = base64.b64encode(damaged[: data.draw(st.integers(0, len(damaged)))]).decode()
    assert isinstance(offered_oids(text), tuple)
