"""A back end that challenges, over real sockets, and a proxy of few lines that asks a BackendLogin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from asgi_gateway.model import Headers, Subject
from asgi_gateway.proxy.login import BackendChallenge, BackendLogin

Accept = Callable[[str | None], Headers | None]
"""Returns the headers of the 200 for an Authorization value; None for a 401."""


@dataclass
class ChallengingBackend:
    """A server that answers 401 until it accepts the credentials.

    Args:
        accept: decides on the Authorization header.
        challenges: the WWW-Authenticate lines of its 401s.
    """

    accept: Accept
    challenges: Sequence[str] = ('Basic realm="reports"',)
    port: int = 0
    received: list[str | None] = field(default_factory=list)
    """The Authorization header of each request."""

    def url(self, path: str = "/reports", host: str = "127.0.0.1") -> str:
        """A URL of it."""
        return f"http://{host}:{self.port}{path}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        authorization = fields.get("authorization")
        self.received.append(authorization)
        accepted = self.accept(authorization)
        status = "401 Unauthorized" if accepted is None else "200 OK"
        lines = [f"WWW-Authenticate: {each}" for each in self.challenges] if accepted is None else []
        lines += [f"{name.decode()}: {value.decode()}" for name, value in accepted or ()]
        text = "\r\n".join([f"HTTP/1.1 {status}", *lines, "Content-Length: 0", "Connection: close", "", ""])
        writer.write(text.encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def challenging(accept: Accept | str, *challenges: str) -> AsyncIterator[ChallengingBackend]:
    """A running back end; a text is the one Authorization value that it accepts."""
    backend = ChallengingBackend(_equal(accept) if isinstance(accept, str) else accept)
    backend.challenges = challenges or backend.challenges
    server = await asyncio.start_server(backend.handle, "127.0.0.1", 0)
    backend.port = server.sockets[0].getsockname()[1]
    async with server:
        yield backend


def _equal(value: str) -> Accept:
    return lambda authorization: () if authorization == value else None


@dataclass
class Answer:
    """What a client gets: the status and the headers of the last response."""

    status: int
    headers: list[tuple[bytes, bytes]]


async def fetch(url: str, *headers: tuple[bytes, bytes]) -> Answer:
    """GET a URL of a back end at 127.0.0.1."""
    authority, _, path = url.removeprefix("http://").removeprefix("ws://").partition("/")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(authority.rpartition(":")[2]))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    writer.write(f"GET /{path} HTTP/1.1\r\nhost: {authority}\r\n".encode() + lines + b"\r\n")
    head = (await reader.read()).partition(b"\r\n\r\n")[0].split(b"\r\n")
    writer.close()
    pairs = [line.split(b": ", 1) for line in head[1:]]
    return Answer(int(head[0].split()[1]), [(name.lower(), value) for name, value in pairs])


async def proxied(
    login: BackendLogin, url: str, *, subject: Subject | None = None, authorization: bytes | None = None
) -> Answer:
    """Pass one request on, as a proxy does."""
    credentials = login.first(url)
    answer = await fetch(url, *(credentials.headers if credentials is not None else ()))
    for attempt in range(1, login.attempts + 1):
        if answer.status != 401:
            break
        challenge = BackendChallenge(
            url=url,
            headers=tuple(answer.headers),
            subject=subject,
            authorization=authorization,
            attempt=attempt,
            previous=credentials,
        )
        again = await login.answer(challenge)
        if again is None:
            break
        credentials = again
        answer = await fetch(url, *credentials.headers)
    if credentials is not None:
        return Answer(answer.status, list(login.finish(credentials, answer.status, tuple(answer.headers))))
    return answer
