"""http.proxy over HTTP, against back ends that behave and back ends that do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from asgi_gateway.proxy.http import TransferBroken
from asgi_gateway.proxy.settings import Timeouts
from tests.proxy.raw_backend import OK, Client, Proxy, RawBackend, answering, raw_backend

pytestmark = pytest.mark.anyio

PATIENT = Timeouts(connect=5, response=30, idle=30)


async def hanging(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a request and never answer."""
    await backend.head(reader)
    await reader.read()


async def test_request_and_response_pass() -> None:
    """Method, target, body and headers reach the back end, and its response the client."""
    response = b"HTTP/1.1 201 Created\r\nX-Answer: 1\r\nX-Answer: 2\r\nContent-Length: 5\r\n\r\nhello"
    async with raw_backend(answering(response)) as backend, Proxy(backend.url + "/x", accepts=("/a",)) as proxy:
        length = (b"content-length", b"3")
        target = "/a/b%2Fc;d?q=1&r=+%20"
        client = await Client(proxy, target, length, method="PUT", pieces=(b"abc",), path="/a/b/c;d").run()
        assert backend.heads[0].startswith(b"PUT /x/b%2Fc;d?q=1&r=+%20 HTTP/1.1\r\n")
        assert backend.lines()["content-length"] == ["3"]
        assert backend.lines()["host"] == [backend.url.removeprefix("http://")]
        assert (client.status, client.body, client.complete) == (201, b"hello", True)
        assert client.headers["x-answer"] == ["1", "2"]
        assert client.headers["content-length"] == ["5"]


async def test_what_only_proxies_may_say() -> None:
    """What clients say of their own address, scheme and host is dropped under every name that software reads."""
    names = ["CF-Connecting-IP", "Client-IP", "Fastly-Client-IP", "X-Scheme", "X-Url-Scheme", "Front-End-Https"]
    names += [
        "X-Original-Host",
        "X-Original-Forwarded-For",
        "X-Envoy-External-Address",
        "X-Real-IP",
        "True-Client-IP",
        "x_real_ip",
    ]
    async with raw_backend(answering(OK)) as backend, Proxy(backend.url) as proxy:
        claimed = [(name.lower().encode(), b"192.0.2.99") for name in names]
        assert (await Client(proxy, "/", *claimed).run()).status == 200
        assert b"192.0.2.99" not in backend.heads[0]


async def test_connections_are_kept() -> None:
    """Requests one after another use one connection, and it is closed with the proxy."""
    async with raw_backend(answering(OK)) as backend:
        async with Proxy(backend.url) as proxy:
            for _ in range(3):
                assert (await Client(proxy).run()).body == b"ok"
            assert backend.accepted == 1
        async with asyncio.timeout(5):
            await backend.closed.wait()
        assert backend.open == 0


@pytest.mark.parametrize(
    ("scheme", "kept"),
    [
        (b"Negotiate abc", False),
        (b"NTLM abc", False),
        (b"nego2 abc", False),
        (b"Kerberos abc", False),
        (b"Basic abc, nTlM def", False),
        (b"Basic bnRsbTo=", True),
        (b"Bearer negotiate.abc", True),
    ],
)
async def test_connection_of_one_user(scheme: bytes, kept: bool) -> None:
    """A connection that may be authenticated as somebody serves nobody else."""
    async with raw_backend(answering(OK)) as backend, Proxy(backend.url) as proxy:
        await Client(proxy, "/", (b"authorization", scheme)).run()
        await Client(proxy).run()
        assert backend.accepted == (1 if kept else 2)


@pytest.mark.parametrize("challenge", [b"WWW-Authenticate: Basic realm=x, NTLM", b"www-authenticate: Negotiate"])
async def test_connection_that_is_being_authenticated(challenge: bytes) -> None:
    """A connection whose back end began NTLM or Negotiate on it serves nobody else."""
    refusal = b"HTTP/1.1 401 Unauthorized\r\n" + challenge + b"\r\nContent-Length: 0\r\n\r\n"
    async with raw_backend(answering(refusal, OK)) as backend, Proxy(backend.url) as proxy:
        assert (await Client(proxy).run()).status == 401
        await Client(proxy).run()
        assert backend.accepted == 2


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL,
        b"HTTP/1.1 304 Not Modified\r\n\r\n" + EVIL,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + EVIL,
        OK + EVIL,
        OK + b"garbage",
    ],
)
async def test_rest_of_a_response(response: bytes) -> None:
    """What follows a response is never taken for the next one."""
    async with raw_backend(answering(response, OK)) as backend, Proxy(backend.url) as proxy:
        await Client(proxy).run()
        assert (await Client(proxy).run()).body == b"ok"
        assert backend.accepted == 2


async def test_rest_of_a_response_to_head() -> None:
    """A body after a response to HEAD is never taken for the next response."""
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + EVIL
    async with raw_backend(answering(response, OK)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy, method="HEAD").run()
        assert client.body == b""
        assert (await Client(proxy).run()).body == b"ok"
        assert backend.accepted == 2


async def test_bytes_while_idle() -> None:
    """A connection on which the back end speaks unasked is closed before it is used again."""
    speak, spoke = asyncio.Event(), asyncio.Event()

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(OK)
        if backend.accepted == 1:
            await speak.wait()
            writer.write(EVIL)
            spoke.set()
        await reader.read()

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        assert (await Client(proxy).run()).body == b"ok"
        speak.set()
        await spoke.wait()
        assert (await Client(proxy).run()).body == b"ok"
        assert backend.accepted == 2


async def test_kept_connection_that_was_closed() -> None:
    """A kept connection that the back end closed is not used, for POST either."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(OK)

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        await Client(proxy).run()
        async with asyncio.timeout(5):
            await backend.closed.wait()
        client = await Client(proxy, "/", (b"content-length", b"1"), method="POST", pieces=(b"x",)).run()
        assert (client.status, client.body) == (200, b"ok")


@pytest.mark.parametrize(("method", "sent"), [("GET", 2), ("HEAD", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
async def test_what_is_sent_twice(method: str, sent: int) -> None:
    """Where a connection is lost before a response, GET and HEAD are sent once more, and nothing else is."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy, method=method).run()
        assert (client.status, len(backend.heads)) == (502, sent)


GARBAGE = [
    b"garbage\r\n\r\n",
    b"HTTP/1.1 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad Name: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 2000 + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\nContent-Length: 0\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3000 + OK,
    b"\x16\x03\x01\x00\x05hello\r\n\r\n",
]


@pytest.mark.parametrize("response", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage(response: bytes) -> None:
    """An answer that is not a sound HTTP response is 502, with an event that names service and back end."""
    async with raw_backend(answering(response)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy, method="POST").run()
        assert (client.status, client.complete) == (502, True)
        assert b"evil" not in repr(client.sent).encode()
        event = json.loads(proxy.records.lines[-1])
        assert (event["outcome"], event["service"], event["backend"]) == ("unavailable", "s", backend.url)
        assert event["reason"]
        await Client(proxy, method="POST").run()
        assert backend.accepted == 2


async def test_refused() -> None:
    """A back end that is down is 502, at once."""
    async with raw_backend(answering(OK)) as backend:
        url = backend.url
    async with Proxy(url) as proxy:
        client = await Client(proxy).run()
        assert client.status == 502
        assert "cannot connect" in json.loads(proxy.records.lines[-1])["reason"]
        assert (await proxy.backend.check())[0].startswith(f"cannot connect to {url}")


async def test_no_response_in_time() -> None:
    """A back end that does not answer is 504, and its connection is closed."""
    async with raw_backend(hanging) as backend, Proxy(backend.url) as proxy:
        assert (await Client(proxy).run()).status == 504
        async with asyncio.timeout(5):
            await backend.closed.wait()


async def test_endless_interim_responses() -> None:
    """Interim responses without end are 504."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    times = Timeouts(connect=0.2, response=0.3, idle=1)
    async with raw_backend(handler) as backend, Proxy(backend.url, timeouts=times) as proxy:
        client = Client(proxy)
        await client.receive()
        assert (await client.run()).status == 504


async def test_head_that_is_cut_off_is_not_logged() -> None:
    """What was received of a head before the connection was lost stands in no log."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: id=geheim\r\n")

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        assert (await Client(proxy, method="POST").run()).status == 502
        assert "it was closed before a response" in proxy.records.lines[-1]
        assert "geheim" not in "".join(proxy.records.lines)


async def test_invalid_chunk_in_mid_answer() -> None:
    """A body whose framing breaks in its middle is cut off at once. What was received of it stands in no log."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await going_on.wait()
        writer.write(b"geheim\r\n")
        await reader.read()

    going_on = asyncio.Event()
    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = Client(proxy)
        running = asyncio.ensure_future(client.run())
        await client.until(lambda: client.body == b"half")
        going_on.set()
        with pytest.raises(TransferBroken) as caught:
            await running
        assert "framing is invalid" in str(caught.value)
        assert "geheim" not in f"{caught.value} {''.join(proxy.records.lines)}"


async def test_interim_response_is_skipped() -> None:
    """An interim response is not taken for the final one."""
    async with raw_backend(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy).run()
        assert (client.status, client.body) == (200, b"ok")


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_cut_off(response: bytes) -> None:
    """A response that ends too early is never completed: the server cuts it off."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(response)

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = Client(proxy)
        with pytest.raises(TransferBroken):
            await client.run()
        assert client.body in (b"half", b"")
        assert not client.complete
        assert json.loads(proxy.records.lines[-1])["outcome"] == "unavailable"


async def test_hangs_in_mid_answer() -> None:
    """A back end that stops in the middle of its answer is cut off after the idle time."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = Client(proxy)
        await client.receive()
        with pytest.raises(TransferBroken):
            await client.run()
        async with asyncio.timeout(5):
            await backend.closed.wait()


async def test_body_until_close() -> None:
    """A body that ends with the connection is passed on whole."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 200_000)

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy).run()
        assert (client.body, client.complete) == (b"x" * 200_000, True)


async def test_encoded_body_and_trailers() -> None:
    """A body passes as it is encoded, its chunks joined, its trailers dropped."""
    response = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
        b"3\r\n\x1f\x8b\x08\r\n2;ext=1\r\nab\r\n0\r\nX-Late: 1\r\n\r\n"
    )
    async with raw_backend(answering(response)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy).run()
        assert client.body == b"\x1f\x8b\x08ab"
        assert client.headers["content-encoding"] == ["gzip"]
        assert not {"transfer-encoding", "trailer", "x-late"} & client.headers.keys()
        await Client(proxy).run()
        assert backend.accepted == 1


async def test_response_headers() -> None:
    """Hop-by-hop headers, those that Connection names and the gateway's own names stay behind."""
    response = (
        b"HTTP/1.1 200 OK\r\nX-Hop: 1\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n"
        b"Proxy-Authenticate: Basic\r\nSec-Challenge-Identity: x\r\nAlt-Svc: h3=:443\r\nVia: 1.0 other\r\n"
        b"Set-Cookie: asgi-gateway-0123456789ab=evil; Path=/\r\nSet-Cookie: __Host-asgi-gateway-0123456789ab=evil\r\n"
        b"Set-Cookie: =asgi-gateway-0123456789ab=evil\r\nSet-Cookie: own=1\r\nContent-Length: 0\r\n\r\n"
    )
    async with raw_backend(answering(response)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy).run()
        assert client.headers == {
            "set-cookie": ["own=1"],
            "content-length": ["0"],
            "via": ["1.0 other, 1.1 asgi-gateway"],
        }


async def test_not_modified_has_no_length() -> None:
    """The length in a 304 is left out: servers would wait for that many bytes."""
    response = b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 50\r\n\r\n"
    async with raw_backend(answering(response)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy).run()
        assert (client.status, client.body) == (304, b"")
        assert "content-length" not in client.headers
        assert client.headers["etag"] == ["x"]


async def test_redirects_and_cookies_are_the_clients() -> None:
    """No redirect is followed and no cookie is kept."""
    response = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    async with raw_backend(answering(response)) as backend, Proxy(backend.url) as proxy:
        assert (await Client(proxy).run()).status == 302
        await Client(proxy).run()
        assert len(backend.heads) == 2
        assert "cookie" not in backend.lines()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"")], 400),
        ([(b"content-length", b"1, 1")], 400),
        ([(b"content-length", b"1"), (b"content-length", b"1")], 400),
        ([(b"content-length", b"+1")], 400),
        ([(b"content-length", b"1_0")], 400),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"transfer-encoding", b"gzip, chunked")], 400),
        ([(b"transfer-encoding", b"identity")], 400),
        ([(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"transfer-encoding", b"\x0bchunked")], 400),
        ([(b"transfer_encoding", b"chunked")], 400),
        ([(b"content_length", b"5")], 400),
        ([(b"content-length\x0b", b"5")], 400),
        ([(b"x\x85", b"5")], 400),
        ([(b"\xa0x", b"5")], 400),
        ([(b"x", b"a\nb")], 400),
        ([(b"host", b"other")], 400),
        ([(b"expect", b"something")], 417),
    ],
)
async def test_refused_requests(headers: Any, status: int) -> None:
    """A request that could be read in two ways is refused, its connection closed, and nothing of it sent."""
    async with raw_backend(answering(OK)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy, "/", *headers, method="POST", pieces=(b"x",)).run()
        assert client.status == status
        assert client.complete
        assert backend.accepted == 0
        assert json.loads(proxy.records.lines[-1])["outcome"] == "denial"
        if status == 400 and headers[0][0] in (b"content-length", b"transfer-encoding"):
            assert client.headers["connection"] == ["close"]


@pytest.mark.parametrize(("method", "status"), [("CONNECT", 405), ("TRACE", 405), ("get", 400), ("G T", 400)])
async def test_refused_methods(method: str, status: int) -> None:
    """CONNECT opens no tunnel, TRACE shows nothing, and a method is never changed."""
    async with raw_backend(answering(OK)) as backend, Proxy(backend.url) as proxy:
        assert (await Client(proxy, method=method).run()).status == status
        assert backend.accepted == 0


@pytest.mark.parametrize("stated", [True, False])
async def test_max_body(stated: bool) -> None:
    """A body that is longer than max-body is 413, whether its length was stated or not."""
    header = (b"content-length", b"30") if stated else (b"transfer-encoding", b"chunked")
    async with raw_backend(answering(OK)) as backend, Proxy(backend.url, max_body=20) as proxy:
        client = await Client(proxy, "/", header, method="POST", pieces=(b"x" * 15, b"x" * 15)).run()
        assert (client.status, client.complete) == (413, True)
        length = (b"content-length", b"20")
        assert (await Client(proxy, "/", length, method="POST", pieces=(b"x" * 20,)).run()).status == 200


async def test_streamed_request() -> None:
    """A chunked request is passed on piece by piece, each before the next one is read."""
    pieces: list[bytes] = []

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        while (piece := await reader.readuntil(b"\r\n")) != b"0\r\n":
            pieces.append(await reader.readexactly(int(piece, 16) + 2))
            if len(pieces) == 1:
                client.say(b"second", more=False)
        writer.write(OK)

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = Client(proxy, "/", (b"transfer-encoding", b"chunked"), method="POST", pieces=(b"first",), more=True)
        await client.run()
        assert (client.status, pieces) == (200, [b"first\r\n", b"second\r\n"])
        assert backend.lines()["transfer-encoding"] == ["chunked"]
        assert "content-length" not in backend.lines()


async def test_expectation_is_met_by_the_gateway() -> None:
    """With Expect, the body is not asked for before there is a connection; the back end gets no Expect."""
    headers = ((b"expect", b"100-continue"), (b"content-length", b"3"))
    async with raw_backend(answering(OK)) as backend, Proxy(backend.url) as proxy:
        client = await Client(proxy, "/", *headers, method="PUT", pieces=(b"abc",)).run()
        assert (client.status, client.received) == (200, 1)
        assert "expect" not in backend.lines()
        assert backend.lines()["content-length"] == ["3"]
        url = backend.url
    async with Proxy(url) as proxy:
        client = await Client(proxy, "/", *headers, method="PUT", pieces=(b"abc",)).run()
        assert (client.status, client.received) == (502, 0)
        assert client.headers["connection"] == ["close"]


async def test_early_answer() -> None:
    """An answer before the request is all there is passed on, and its connection not used again."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = Client(proxy, "/", (b"content-length", b"100000"), method="POST", pieces=(b"x",), more=True)
        await client.run()
        assert (client.status, client.body, client.complete) == (403, b"no", True)
        async with asyncio.timeout(5):
            await backend.closed.wait()


@pytest.mark.parametrize("when", ["before the answer", "in mid-answer", "in mid-request", "in both"])
async def test_client_leaves(when: str) -> None:
    """A client that leaves frees its slot, and the connection to the back end is closed."""
    asked = asyncio.Event()

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        if when in ("in mid-answer", "in both"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        asked.set()
        await reader.read()

    async with raw_backend(handler) as backend, Proxy(backend.url, timeouts=PATIENT, max_connections=1) as proxy:
        if when in ("in mid-request", "in both"):
            client = Client(proxy, "/", (b"content-length", b"10"), method="POST", pieces=(b"x",), more=True)
        else:
            client = Client(proxy)
            await client.receive()
        running = asyncio.create_task(client.run())
        async with asyncio.timeout(5):
            await asked.wait()
            if when in ("in mid-answer", "in both"):
                await client.until(lambda: len(client.sent) == 2)
            client.leave()
            await running
            await backend.closed.wait()
        assert not client.complete or client.status == 400  # which nobody reads
        assert proxy.records.lines == []
        assert proxy.backend.in_use == 0


async def test_cancelled_twice() -> None:
    """A request that is cancelled, and cancelled again meanwhile, frees its slot."""
    async with raw_backend(hanging) as backend, Proxy(backend.url, timeouts=PATIENT) as proxy:
        running = asyncio.create_task(Client(proxy).run())
        async with asyncio.timeout(5):
            while not backend.heads:
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(5):
            await backend.closed.wait()
        assert proxy.backend.in_use == 0


async def test_pool_is_full() -> None:
    """More requests than connections wait for a while, then get 503."""
    free = asyncio.Event()

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await backend.head(reader)
            await free.wait()
            writer.write(OK)

    times = Timeouts(connect=0.2, response=10, idle=10)
    async with raw_backend(handler) as backend, Proxy(backend.url, timeouts=times, max_connections=1) as proxy:
        first = asyncio.create_task(Client(proxy).run())
        async with asyncio.timeout(5):
            while not backend.heads:
                await asyncio.sleep(0)
        assert (await Client(proxy).run()).status == 503
        second = asyncio.create_task(Client(proxy).run())
        await asyncio.sleep(0)
        free.set()
        assert (await first).status == (await second).status == 200
        assert backend.accepted == 1


async def test_next_back_end() -> None:
    """A back end that is down is passed over, for POST with a body too, and tried again when all are down."""
    async with raw_backend(answering(OK)) as gone:
        dead = gone.url
    async with raw_backend(answering(OK)) as backend, Proxy(dead, backend.url) as proxy:
        for _ in range(3):
            length = (b"content-length", b"1")
            assert (await Client(proxy, "/", length, method="POST", pieces=(b"x",)).run()).status == 200
        assert len(backend.heads) == 3
    async with Proxy(dead, dead + "/other") as proxy:
        for _ in range(3):
            assert (await Client(proxy).run()).status == 502


async def test_slow_back_end_stops_the_client() -> None:
    """While the back end takes nothing, nothing more is read from the client; after the idle time it is 504."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        await asyncio.Event().wait()

    pieces = (b"x" * 100_000,) * 2000
    async with raw_backend(handler) as backend, Proxy(backend.url) as proxy:
        client = Client(proxy, "/", (b"transfer-encoding", b"chunked"), method="POST", pieces=pieces)
        await client.run()
        assert client.status == 504
        assert client.received < 500


async def test_slow_client_stops_the_back_end() -> None:
    """While the client takes nothing, little is read from the back end."""
    written = 0
    taken = asyncio.Event()

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await backend.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            async with asyncio.timeout(0.3):
                await writer.drain()
            written += 65_536

    class Slow(Client):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if message.get("body"):
                await taken.wait()

    async with raw_backend(handler) as backend, Proxy(backend.url, timeouts=PATIENT) as proxy:
        client = Slow(proxy)
        await client.receive()
        running = asyncio.create_task(client.run())
        async with asyncio.timeout(10):
            await backend.closed.wait()  # drain() waited in vain
        assert written < 20_000_000
        client.leave()
        await running


async def test_upgrade_is_not_passed_on() -> None:
    """A plain request's Upgrade and HTTP2-Settings stay behind."""
    headers = ((b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c"), (b"http2-settings", b"AAMAAABk"))
    async with raw_backend(answering(OK)) as backend, Proxy(backend.url) as proxy:
        assert (await Client(proxy, "/", *headers).run()).status == 200
        assert not {"connection", "upgrade", "http2-settings"} & backend.lines().keys()
