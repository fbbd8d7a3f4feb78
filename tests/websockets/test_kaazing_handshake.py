"""The states of the extended handshake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.client.extended import ExtendedHandshake, HandshakeError
from asgi_gateway.errors import HeaderError
from asgi_gateway.http.http1 import NO_REDIRECT, parse_request
from asgi_gateway.websockets.kaazing_handshake import (
    HandshakeStateError,
    LoginLimits,
    ServerHandshake,
    State,
    inner_headers,
    offered_subprotocols,
)

REQUEST = b"GET /echo HTTP/1.1\r\nSec-WebSocket-Protocol: \r\n\r\n"
CHALLENGE = [(b"www-authenticate", b'Application Basic realm="demo"')]


def started(query: bytes = b".kl=Y", **limits: Any) -> ServerHandshake:
    return ServerHandshake(query, LoginLimits(**limits))


def state_of(handshake: ServerHandshake) -> State:
    """The state now; a type checker takes the attribute itself to be what it was."""
    return handshake.state


def test_the_exchange_is_as_observed() -> None:
    """Marker, request, 401 and empty message, request, 101, empty message and marker: byte for byte."""
    handshake = started()
    assert handshake.greeting == (b"\xef\x83\xbfN",)
    assert handshake.request(REQUEST).target == b"/echo"
    assert handshake.refuse(401, CHALLENGE) == (
        b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Application Basic realm="demo"\r\n\r\n',
        b"",
    )
    assert handshake.state is State.EXPECTING
    handshake.request(REQUEST.decode())
    assert handshake.admit("a", [(b"set-cookie", b"k=v"), (b"x-application", b"1")]) == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
        b"Sec-WebSocket-Protocol: a\r\nX-Application: 1\r\n\r\n",
        b"",
        b"\xef\x83\xbfN",
    )
    assert state_of(handshake) is State.OPEN


def test_the_marker_comes_only_if_asked_for() -> None:
    """Without .kl=Y there is no marker, neither first nor last."""
    handshake = started(b"x=.kl=Y")
    assert handshake.greeting == ()
    handshake.request(REQUEST)
    assert len(handshake.admit(None, ())) == 2


@pytest.mark.parametrize(
    ("query", "seen"),
    [(b".kl=Y", b""), (b"", b""), (b"a=1&.kl=Y&b=.2&.krn=7", b"a=1&b=.2"), (b"a=%2E&&.x", b"a=%2E&")],
)
def test_the_gateways_own_parameters_are_taken_away(query: bytes, seen: bytes) -> None:
    """The application sees the query without parameters whose names begin with a dot, and otherwise as it was."""
    assert started(query).query == seen


def test_answers_are_bounded() -> None:
    """Four wrong answers are challenged or refused as they come; the last refusal is final and carries no challenge."""
    handshake = started()
    statuses = []
    while handshake.state is State.EXPECTING:
        handshake.request(REQUEST)
        statuses.append(handshake.refuse(401, CHALLENGE)[0].split(b"\r\n", 1)[0])
    assert statuses == [b"HTTP/1.1 401 Unauthorized"] * 4 + [b"HTTP/1.1 403 Forbidden"]
    assert handshake.state is State.CLOSED


@pytest.mark.parametrize("status", [400, 403, 503])
def test_other_refusals_are_final(status: int) -> None:
    """Only a 401 may be answered."""
    handshake = started()
    handshake.request(REQUEST)
    handshake.refuse(status)
    assert handshake.state is State.CLOSED


@pytest.mark.parametrize(
    "message", [b"", "hello", b"\x00" * 10, b"POST\r\n\r\n", REQUEST + b"x", REQUEST[:-2] + b"a: b\r\n" * 9_000]
)
def test_what_is_no_request_is_refused(message: bytes | str) -> None:
    """A message that is too long or holds no request head is an error, after which only a refusal is possible."""
    handshake = started()
    with pytest.raises(HeaderError):
        handshake.request(message)
    assert handshake.refuse(400)[0].startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_patience_is_short_before_the_first_request() -> None:
    """A person is waited for only once there is a challenge to think about."""
    handshake = started(first=1.0, later=9.0)
    assert handshake.timeout == 1.0
    handshake.request(REQUEST)
    assert handshake.timeout == 9.0


def test_only_credentials_of_the_inner_request_count() -> None:
    """Credentials replace the opening's of the same name; what a page or proxy vouches for cannot be overwritten."""
    opening = (
        (b"host", b"h"),
        (b"origin", b"https://h"),
        (b"authorization", b"Basic old"),
        (b"cookie", b"a=1"),
        (b"sec-websocket-protocol", b"x-kaazing-handshake, chat"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    )
    head = parse_request(
        b"GET /e HTTP/1.1\r\nHost: evil\r\nOrigin: https://evil\r\nX-Forwarded-For: 1.2.3.4\r\nX-User: root\r\n"
        b"Authorization: Basic new\r\nX-Token: t\r\nSec-Challenge-Identity: i\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
    assert inner_headers(opening, head, frozenset({b"x-token"})) == (
        (b"host", b"h"),
        (b"origin", b"https://h"),
        (b"cookie", b"a=1"),
        (b"sec-websocket-protocol", b"chat"),
        (b"authorization", b"Basic new"),
        (b"x-token", b"t"),
        (b"sec-challenge-identity", b"i"),
    )


def test_credentials_named_twice_stay_twice() -> None:
    """Two Authorization headers in one request are passed on as two, so that they are refused."""
    head = parse_request(b"GET / HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n")
    assert len(inner_headers(((b"authorization", b"c"),), head, frozenset())) == 2


def test_offers() -> None:
    """The application's subprotocols are those of the inner request."""
    head = parse_request(b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: a, b,,c\r\n\r\n")
    assert offered_subprotocols((), head) == ["a", "b", "c"]
    assert offered_subprotocols((), parse_request(REQUEST)) == []


@given(st.lists(st.sampled_from(["", "Authorization: x"]), max_size=8), st.booleans())
def test_our_client_and_our_server_understand_each_other(answers: list[str], subprotocol: bool) -> None:
    """Whatever the rounds, client and server agree on every response and on when the socket is open."""
    client = ExtendedHandshake("ws://host/echo?a=b", ["chat"])
    server = ServerHandshake(b"a=b&.kl=Y", LoginLimits())
    assert client.opening_uri == "ws://host/echo?a=b&.kl=Y"
    assert [client.receive(message) for message in server.greeting] == [True]

    def hear(messages: Iterable[bytes]) -> None:
        heard = [client.receive(message) for message in messages]
        assert heard.index(True) == len(heard) - 1

    for answer in answers:
        if server.state is State.EXPECTING:
            name, _, value = answer.partition(": ")
            head = server.request(client.request([(name, value)] if value else []))
            assert head.target == b"/echo?a=b"
            assert offered_subprotocols((), head) == ["chat"]
            hear(server.refuse(401, CHALLENGE))
            assert client.reply.status == (401 if server.state is State.EXPECTING else 403)
    if server.state is State.EXPECTING:
        server.request(client.request([]))
        hear(server.admit("chat" if subprotocol else None, ()))
        assert client.subprotocol == ("chat" if subprotocol else None)


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([b"hello"], "marker"),
        ([NO_REDIRECT[:-1] + b"Rws://evil/"], "redirects"),
        ([NO_REDIRECT, b"junk", b""], "HTTP"),
        ([NO_REDIRECT, b""], "HTTP"),
        ([NO_REDIRECT, *[b"x"] * 100], "too long"),
        ([NO_REDIRECT, b"x" * 200_000], "too long"),
        ([NO_REDIRECT, b"HTTP/1.1 101 OK\r\n\r\n", b"", b"early"], "marker"),
    ],
)
def test_our_client_keeps_to_the_protocol(messages: list[bytes], error: str) -> None:
    """A server that says anything else, or goes on for ever, is an error; a redirect is never followed."""
    client = ExtendedHandshake("ws://host/")
    with pytest.raises(HandshakeError, match=error):
        _ = [client.receive(message) for message in messages]


def test_a_subprotocol_that_was_not_offered_is_an_error() -> None:
    """The server may choose only from what was offered."""
    client = ExtendedHandshake("ws://host/", ["chat"])
    for message in (NO_REDIRECT, b"HTTP/1.1 101 OK\r\nSec-WebSocket-Protocol: other\r\n\r\n", b"", NO_REDIRECT):
        client.receive(message)
    with pytest.raises(HandshakeError, match="not offered"):
        _ = client.subprotocol


@pytest.mark.parametrize("reached", ["new", "refused", "admitted", "closed"])
def test_transitions_that_do_not_exist_are_errors(reached: str) -> None:
    """A transition that the present state does not have is an error that changes nothing, also under python -O."""
    handshake = started()
    if reached in ("refused", "admitted"):
        handshake.request(REQUEST)
    if reached == "refused":
        handshake.refuse(403)
    elif reached == "admitted":
        handshake.admit(None, ())
    elif reached == "closed":
        handshake.close()
    state = handshake.state
    wrong: list[Callable[[], object]] = [
        lambda: handshake.refuse(401),
        lambda: handshake.refuse(403),
        lambda: handshake.admit(None, ()),
    ]
    if reached != "new":
        wrong.append(lambda: handshake.request(REQUEST))
    for transition in wrong:
        with pytest.raises(HandshakeStateError):
            transition()
        assert handshake.state is state
