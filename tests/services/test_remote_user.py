"""REMOTE_USER for WSGI applications."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable
from typing import Any

import pytest

from asgi_gateway import RemoteUser
from asgi_gateway.model import Grant, Subject
from asgi_gateway.services.identity import GatewayUser
from asgi_gateway.services.remote_user import with_remote_user

pytestmark = pytest.mark.anyio


def user(name: str | None) -> GatewayUser:
    return GatewayUser(None if name is None else Subject(Grant.user(name).principals))


class Bridge:
    """Runs a WSGI application in a thread, in a copy of the context, with what the environ of a scope may hold."""

    def __init__(self, wsgi_application: Any) -> None:
        self.wsgi_application = wsgi_application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        context = contextvars.copy_context()
        environ = {"asgi.scope": scope, **scope.get("environ", {})}
        await asyncio.get_running_loop().run_in_executor(None, context.run, self.wsgi_application, environ, None)


class Application:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.seen.append(environ.get("REMOTE_USER"))
        return []


async def call(app: Any, **scope: Any) -> None:
    await app({"type": "http", **scope}, None, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("joe", "joe"), ("Jörg", "J\xc3\xb6rg"), ("日", "\xe6\x97\xa5"), ("a b@EXAMPLE", "a b@EXAMPLE"), (None, None)],
)
async def test_name(name: str | None, expected: str | None) -> None:
    """The user's name is REMOTE_USER, encoded as WSGI wants it; on a public service there is none."""
    application = Application()
    app = RemoteUser(application, Bridge)
    await call(app, user=user(name))
    assert application.seen == [expected]


@pytest.mark.parametrize("scope", [{}, {"user": user(None)}])
async def test_inherited_name(scope: dict[str, Any]) -> None:
    """A REMOTE_USER that the bridge or the process has is removed where the gateway has no user."""
    application = Application()
    await call(RemoteUser(application, Bridge), environ={"REMOTE_USER": "root"}, **scope)
    assert application.seen == [None]


async def test_requests_at_once() -> None:
    """Of several requests at once each has its own user, and none is left afterwards."""
    application = Application()
    app = RemoteUser(application, Bridge)
    names = [f"user{index}" for index in range(20)]
    await asyncio.gather(*(call(app, user=user(name)) for name in names))
    assert sorted(application.seen) == sorted(names)
    await call(app)
    assert application.seen[-1] is None


async def test_known_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that is known by its class, or a subclass of it, is copied; every other application stays itself."""

    class WsgiToAsgi(Bridge):
        __module__ = "asgiref.wsgi"

    class Derived(WsgiToAsgi):
        pass

    for make in (WsgiToAsgi, Derived):
        application = Application()
        bridge = make(application)
        app = with_remote_user(bridge)
        await call(app, user=user("joe"))
        await call(bridge, user=user("joe"))
        assert application.seen == ["joe", None]
    for other in (Bridge(Application()), Application(), None):
        assert with_remote_user(other) is other
