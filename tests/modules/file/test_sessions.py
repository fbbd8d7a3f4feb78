"""Sessions of file users: they end with their user, and with nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from asgi_gateway import GatewayMiddleware
from asgi_gateway.modules.file import FileLoginModule
from tests.asgi import get, started

pytestmark = pytest.mark.anyio

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # "secret"
SSHA = "{SSHA}3Ppt4+cek7i7kCaZz+2DH/E54U+ix/eT"  # "secret"
USERS = f"""users:
- {{name: joe, password: '{SHA}', roles: [A]}}
- {{name: ann, password: '{SHA}', roles: [A]}}
roles: [A, B]
"""
CONFIG = """
security:
  realms:
  - name: demo
    authentication:
      http-challenge-scheme: Basic
      authorization-mode: recycle
      login-modules:
      - {type: file, success: required, options: {file: users.yaml, rehash: REHASH}}
services:
- {name: a, accept: /, realm-name: demo, authorization-constraint: {require-valid-user: true}}
"""


async def _who(request: Request) -> Response:
    return PlainTextResponse(request.user.display_name)


@asynccontextmanager
async def _site(folder: Path, rehash: bool) -> AsyncIterator[Any]:
    (folder / "users.yaml").write_text(USERS)
    (folder / "gateway.yaml").write_text(CONFIG.replace("REHASH", str(rehash).lower()))
    app = GatewayMiddleware(Starlette(routes=[Route("/", _who)]), config=folder / "gateway.yaml")
    async with started(app):
        yield app


async def _cookie(app: Any, name: str) -> str:
    answer = await get(app, "/", basic=(name, "secret"))
    assert answer.status == 200
    (line,) = answer.header("set-cookie")
    return line.partition(";")[0]


async def _status(app: Any, cookie: str) -> int:
    return (await get(app, "/", headers=[("cookie", cookie)])).status


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: joe", "name: bob"),
        ("roles: [A]}", "roles: [A, B]}"),
        (f"'{SHA}', roles: [A]}}\n- {{name: ann", f"'{SSHA}', roles: [A]}}\n- {{name: ann"),
        ("{name: joe,", "{name: joe, disabled: true,"),
        (f"'{SHA}'", f"'!{SHA}'"),
    ],
    ids=["removed", "other roles", "other password", "disabled", "locked"],
)
async def test_session_ends_with_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """A session ends when its user is removed, disabled, locked or changed, and those of others live on."""
    monkeypatch.setattr(FileLoginModule, "poll_seconds", 0.02)
    async with _site(tmp_path, rehash=False) as app:
        joe, ann = await _cookie(app, "joe"), await _cookie(app, "ann")
        assert await _status(app, joe) == await _status(app, ann) == 200
        (tmp_path / "new").write_text(USERS.replace(old, new, 1))
        (tmp_path / "new").replace(tmp_path / "users.yaml")
        with anyio.fail_after(10):
            while await _status(app, joe) == 200:
                await anyio.sleep(0.02)
        assert await _status(app, joe) == 401
        assert await _status(app, ann) == 200


async def test_rehash_ends_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions from before and after a new hash of the same password live on; a new password ends both."""
    monkeypatch.setattr(FileLoginModule, "poll_seconds", 0.02)
    async with _site(tmp_path, rehash=True) as app:
        first = await _cookie(app, "joe")
        assert "$argon2id$" in (tmp_path / "users.yaml").read_text()
        second, ann = await _cookie(app, "joe"), await _cookie(app, "ann")
        await anyio.sleep(0.1)
        assert [await _status(app, cookie) for cookie in (first, second, ann)] == [200, 200, 200]
        (tmp_path / "new").write_text(USERS.replace(SHA, SSHA, 1))
        (tmp_path / "new").replace(tmp_path / "users.yaml")
        with anyio.fail_after(10):
            while 200 in (await _status(app, first), await _status(app, second)):
                await anyio.sleep(0.02)
