"""HTTP heads inside messages."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.http1 import MAX_HEADERS, format_request, format_response, parse_request, parse_response

NAME = st.text("aZ09-_.!", min_size=1, max_size=10)
VALUE = st.text('az \t09=",;é', max_size=12).map(lambda text: text.strip(" \t"))


@given(st.lists(st.tuples(NAME, VALUE), max_size=5))
def test_a_request_is_read_as_it_was_written(headers: list[tuple[str, str]]) -> None:
    """What one end writes the other reads."""
    head = parse_request(format_request("/echo?a=b", headers))
    assert (head.method, head.target) == ("GET", b"/echo?a=b")
    assert head.headers == tuple((n.lower().encode(), v.encode("latin-1")) for n, v in headers)


def test_a_response_is_read_as_it_was_written() -> None:
    """Status, headers and body come out as they went in."""
    head = parse_response(format_response(401, [(b"WWW-Authenticate", b'Basic realm="x"')], b"no\r\n\r\n"))
    assert (head.status, head.body) == (401, b"no\r\n\r\n")
    assert head.headers == ((b"www-authenticate", b'Basic realm="x"'),)


def test_all_gives_every_line_of_a_name() -> None:
    """Repeated headers are kept apart."""
    head = parse_request(b"GET / HTTP/1.1\r\nA: 1\r\nb: 2\r\na: 3\r\n\r\n")
    assert head.get_all(b"a") == [b"1", b"3"]


def test_what_the_original_clients_send_is_read() -> None:
    """The request of the original's clients, with its empty header, is read."""
    head = parse_request(
        b"GET /echo HTTP/1.1\r\nSec-WebSocket-Protocol: \r\n"
        b"Sec-WebSocket-Extensions: x-kaazing-idle-timeout,x-kaazing-ping-pong\r\n\r\n"
    )
    assert head.get_all(b"sec-websocket-protocol") == [b""]


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever a peer sends, the answer is a head or a HeaderError."""
    for parse in (parse_request, parse_response):
        with contextlib.suppress(HeaderError):
            parse(data)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\nbody",
        b"GET / HTTP/1.1\r\nA : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: x\x00y\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: x\ny\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    ],
)
def test_malformed_requests_are_refused(message: bytes) -> None:
    """Nothing is guessed: what is not exactly one request head is a HeaderError."""
    with pytest.raises(HeaderError):
        parse_request(message)


@pytest.mark.parametrize("message", [b"HTTP/1.1 999 X\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 20 X\r\n\r\n"])
def test_malformed_responses_are_refused(message: bytes) -> None:
    """A response needs a status line of HTTP/1.1."""
    with pytest.raises(HeaderError):
        parse_response(message)


@pytest.mark.parametrize("header", [(b"a", b"b\r\nc: d"), (b"a b", b"c"), (b"", b"c"), (b"a", b"\x00")])
def test_headers_cannot_be_injected(header: tuple[bytes, bytes]) -> None:
    """A header that would break the head apart is refused when it is written."""
    with pytest.raises(HeaderError):
        format_response(401, [header])


def test_time_is_linear() -> None:
    """A long hostile header is refused in a small fraction of a second."""
    start = time.process_time()
    with pytest.raises(HeaderError):
        parse_request(b"GET / HTTP/1.1\r\na: " + b" \t" * 60_000 + b"\x00\r\n\r\n")
    with pytest.raises(HeaderError):
        parse_request(b"GET / HTTP/1.1\r\na: " + b"x \t" * 40_000 + b"\x00\r\n\r\n")
    assert time.process_time() - start < 5  # quadratic would be minutes
