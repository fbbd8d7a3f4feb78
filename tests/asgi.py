"""An ASGI client in memory, for tests that need no server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What an application answered."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> list[str]:
        """All lines of one header."""
        return [value.decode("latin-1") for key, value in self.headers if key == name.encode()]


async def get(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    basic: tuple[str, str] | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    """Make one HTTP request."""
    path, _, query = path.partition("?")
    lines = [(b"host", b"testserver"), *((k.lower().encode(), v.encode("latin-1")) for k, v in headers)]
    if basic is not None:
        lines.append((b"authorization", b"Basic " + base64.b64encode(":".join(basic).encode())))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": lines,
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
    }
    answer = Answer()
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not requests:
            await asyncio.Event().wait()  # the client stays
        return requests.pop()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[None]:
    """Hold an application's lifespan open as a server does, so that its files and connections are closed at the end."""
    to_app, of_server = asyncio.Queue[dict[str, Any]](), asyncio.Queue[dict[str, Any]]()
    running = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, of_server.put))
    try:
        for step in ("startup", "shutdown"):
            await to_app.put({"type": f"lifespan.{step}"})
            answer = asyncio.create_task(of_server.get())
            await asyncio.wait((running, answer), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                answer.cancel()
                await running
            assert (await answer)["type"] == f"lifespan.{step}.complete"
            if step == "startup":
                yield
        await running
    finally:
        running.cancel()
