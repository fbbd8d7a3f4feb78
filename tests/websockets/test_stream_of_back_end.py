"""Long responses of back ends behind realms without sessions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway import GatewayMiddleware, load_config
from asgi_gateway.model import RevocationKey
from asgi_gateway.websockets.closable import ConnectionEnded
from tests.gateways import basic, scope
from tests.proxy.raw_backend import RawBackend, raw_backend

pytestmark = pytest.mark.anyio

MODULE = {"type": "file", "success": "required", "options": {"file": "users.yaml"}}
REALM = {"name": "demo", "authentication": {"http-challenge-scheme": "Basic", "login-modules": [MODULE]}}


async def pieces(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer without an end, a piece whenever the one before has gone."""
    await backend.head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"5\r\npiece\r\n")
        await writer.drain()
        await asyncio.sleep(0)


async def test_a_revoked_user_ends_a_long_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a back end still sends to a user who was revoked does not pass, though the realm has no sessions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.yaml").write_text(json.dumps({"users": [{"name": "joe", "password": "joe-pw"}]}))
    async with raw_backend(pieces) as backend:
        service = {"name": "s", "accept": "/s", "connect": backend.url, "realm-name": "demo"}
        gateway = load_config({"services": [service], "security": {"realms": [REALM]}})
        passed: list[bytes] = []
        requests: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not requests:
                await asyncio.Event().wait()
            return requests.pop()

        async def send(message: Any) -> None:
            passed.append(message.get("body", b""))
            if len(passed) == 4:  # the head and three pieces
                gateway.sockets.end(RevocationKey("user", "joe", "demo"))

        await gateway.open()
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionEnded):
                await GatewayMiddleware(None, gateway)(scope("/s", basic("joe")), receive, send)
        await gateway.close()
        assert len(passed) == 4
