"""http.proxy answers the 401s of back ends: on which connections, with which bodies, and what the client gets."""

from __future__ import annotations

import asyncio
import json

import pytest

from asgi_gateway.client import ChallengeHandler, ChallengeRequest, ChallengeResponse, MutualAuthenticationError
from asgi_gateway.client.memory import CredentialMemory
from asgi_gateway.http.www_authenticate import OfferedChallenge
from asgi_gateway.proxy.login import BackendLogin
from asgi_gateway.proxy.login_sources import GivenHandler
from asgi_gateway.proxy.settings import CredentialNames
from tests.proxy.raw_backend import Client, Handler, Proxy, RawBackend, answering, raw_backend

pytestmark = pytest.mark.anyio

BASIC = b"Basic Z2F0ZXdheTpwdw=="


def refusal(challenge: str, body: bytes = b"who?") -> bytes:
    """A 401."""
    head = f"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ok(*headers: str) -> bytes:
    """A 200."""
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "Content-Length: 2", "", "in"]).encode()


class Fixed(ChallengeHandler):
    """Answers Basic with one pair of credentials."""

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == "basic"

    def handle(self, request: ChallengeRequest) -> ChallengeResponse:
        return ChallengeResponse(BASIC.decode(), reusable=True)


class Legs(ChallengeHandler):
    """Answers a scheme in two legs, and checks the proof in the success."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == self._scheme.lower()

    def handle(self, request: ChallengeRequest) -> ChallengeResponse:
        leg = "bGVnMg==" if request.challenge.words else "bGVnMQ=="
        return ChallengeResponse(f"{self._scheme} {leg}", self, self._confirm)

    def _confirm(self, challenges: tuple[OfferedChallenge, ...]) -> None:
        if not any(each.words == ("cHJvb2Y=",) for each in challenges):
            raise MutualAuthenticationError("no proof")


def login(handler: ChallengeHandler, attempts: int = 3) -> BackendLogin:
    """A login by a handler."""
    return BackendLogin(attempts, GivenHandler(handler), service="s")


def by_connection(scheme: str, body: bytes = b"who?") -> Handler:
    """A back end whose connections are authenticated in two legs, as NTLM does it."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        leg = 0
        while True:
            head = await backend.head(reader)
            if b"\r\ncontent-length: " in head.lower():
                await reader.readexactly(int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
            if f"uthorization: {scheme} bGVnMQ==".encode() in head:
                leg = 1
                writer.write(refusal(f"{scheme} Y2hhbGxlbmdl", body))
            elif f"uthorization: {scheme} bGVnMg==".encode() in head and leg == 1:
                leg = 2
                writer.write(ok(f"WWW-Authenticate: {scheme} cHJvb2Y="))
            else:
                writer.write(ok() if leg == 2 else refusal(scheme, body))
            await writer.drain()

    return handler


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_legs_of_one_exchange_share_a_connection(scheme: str, method: str) -> None:
    """The legs of one exchange go over one connection, which is closed and serves no other request."""
    async with raw_backend(by_connection(scheme)) as backend:
        async with Proxy(backend.url, login=login(Legs(scheme))) as proxy:
            for number in (1, 2):
                pieces = (b"body",) if method == "POST" else ()
                length = [(b"content-length", b"4")] if pieces else []
                client = await Client(proxy, "/", *length, method=method, pieces=pieces).run()
                assert (client.status, client.body, "www-authenticate" in client.headers) == (200, b"in", False)
                assert (backend.accepted, len(backend.heads)) == (2 * number, 3 * number)
            async with asyncio.timeout(5):
                while backend.open:
                    backend.closed.clear()
                    await backend.closed.wait()


async def test_a_long_refusal_between_legs() -> None:
    """A 401 between two legs that is too long to be read costs the connection, and with it the exchange."""
    async with raw_backend(by_connection("NTLM", b"x" * 3_000_000)) as backend:
        async with Proxy(backend.url, login=login(Legs("NTLM"), 2)) as proxy:
            assert (await Client(proxy).run()).status == 401
            assert backend.accepted == 3


async def test_no_proof() -> None:
    """A back end that proves to be another one is 502, and nothing of its response is passed on."""
    responses = refusal("Negotiate"), ok("WWW-Authenticate: Negotiate d3Jvbmc=", "X-Page: 1")
    async with raw_backend(answering(*responses)) as backend:
        async with Proxy(backend.url, login=login(Legs("Negotiate"))) as proxy:
            client = await Client(proxy).run()
            assert (client.status, "x-page" in client.headers) == (502, False)


@pytest.mark.parametrize("gone", [False, True])
async def test_nothing_is_left_of_an_exchange(gone: bool) -> None:
    """A back end that is lost or silent in an exchange, or a client that leaves, leaves no connection."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await backend.head(reader)
        if b"uthorization" in head:
            waiting.set()
            await reader.read()
            return
        writer.write(refusal("Negotiate"))
        await reader.read()

    waiting = asyncio.Event()
    async with raw_backend(handler) as backend:
        async with Proxy(backend.url, login=login(Legs("Negotiate"))) as proxy:
            client = Client(proxy)
            running = asyncio.ensure_future(client.run())
            async with asyncio.timeout(5):
                await waiting.wait()
                if gone:
                    client.leave()
                await running
                while backend.open:
                    backend.closed.clear()
                    await backend.closed.wait()
            assert gone or client.status == 504


async def test_preemptive_credentials() -> None:
    """Credentials that were accepted go with the next request at once, and on kept connections."""
    memory = CredentialMemory()
    given = BackendLogin(1, GivenHandler(Fixed()), service="s", memory=memory)
    async with raw_backend(answering(refusal("Basic"), ok())) as backend, Proxy(backend.url, login=given) as proxy:
        for _ in range(3):
            assert (await Client(proxy, "/a/b").run()).status == 200
        assert [BASIC in head for head in backend.heads] == [False, True, True, True]


@pytest.mark.parametrize(
    ("length", "pieces", "again"),
    [
        (None, (b"a",), True),
        (None, (b"a", b"b"), True),
        (65_536, (b"x" * 65_536,), True),
        (65_537, (b"x" * 65_537,), False),
        (80_000, (b"x" * 40_000, b"y" * 40_000), False),
        (None, (b"x" * 40_000, b"y" * 40_000), False),
    ],
)
async def test_bodies(length: int | None, pieces: tuple[bytes, ...], again: bool) -> None:
    """A body is sent again whole or not at all, never an empty one."""
    received: list[bytes] = []

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await backend.head(reader)).lower()
            body = b""
            if b"\r\ncontent-length: " in head:
                body = await reader.readexactly(int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
            while b"transfer-encoding: chunked" in head and (size := int(await reader.readline(), 16)) >= 0:
                body += (await reader.readexactly(size + 2))[:-2]
                if not size:
                    break
            received.append(body)
            writer.write(ok() if b"basic z2f0zxdhetpwdw==" in head else refusal("Basic"))
            await writer.drain()

    framing = (b"content-length", str(length).encode()) if length is not None else (b"transfer-encoding", b"chunked")
    async with raw_backend(handler) as backend, Proxy(backend.url, login=login(Fixed())) as proxy:
        client = await Client(proxy, "/", framing, method="POST", pieces=pieces).run()
        assert client.status == (200 if again else 401)
        assert received == [b"".join(pieces)] * (2 if again else 1)
        if not again:
            assert client.headers["www-authenticate"] == ["Basic"]


async def test_a_refusal_before_the_body_was_sent() -> None:
    """A 401 that comes while the body is still being sent is passed on."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(refusal("Basic"))
        await reader.read()

    async with raw_backend(handler) as backend, Proxy(backend.url, login=login(Fixed())) as proxy:
        length = (b"content-length", b"10")
        client = await Client(proxy, "/", length, method="POST", pieces=(b"begin",), more=True).run()
        assert (client.status, backend.accepted) == (401, 1)


@pytest.mark.parametrize("public", [True, False])
async def test_a_clients_own_authorization(public: bool) -> None:
    """Where the client's own Authorization is passed on, its 401 is the client's; elsewhere it is the gateway's."""
    async with raw_backend(answering(refusal("Basic"), ok())) as backend:
        names = CredentialNames(authorization=not public, session_cookie="asgi-gateway")
        async with Proxy(backend.url, login=login(Fixed()), public=public, credentials=names) as proxy:
            client = await Client(proxy, "/", (b"authorization", b"Basic am9lOnB3")).run()
            assert client.status == (401 if public else 200)
            assert [b"am9lOnB3" in head for head in backend.heads] == ([True] if public else [False, False])


async def test_attempts_end() -> None:
    """A back end that challenges for ever is asked as often as configured, and its last 401 is passed on."""

    class Guessing(Fixed):
        def handle(self, request: ChallengeRequest) -> ChallengeResponse:
            return ChallengeResponse(f"Basic {request.attempt}")

    async with raw_backend(answering(refusal("Basic"))) as backend:
        for attempts in (0, 1, 3):
            backend.heads.clear()
            async with Proxy(backend.url, login=login(Guessing(), attempts)) as proxy:
                assert (await Client(proxy).run()).status == 401
            assert len(backend.heads) == 1 + attempts
            assert not [line for line in proxy.records.lines if json.loads(line)["outcome"] == "unavailable"]
