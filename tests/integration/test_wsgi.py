"""WSGI applications behind a2wsgi and asgiref, in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from a2wsgi import WSGIMiddleware
from asgiref.wsgi import WsgiToAsgi
from flask import Flask, request
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_gateway import GatewayMiddleware, RemoteUser
from tests.integration.apps import CONFIG

pytestmark = pytest.mark.anyio

flask = Flask(__name__)


@flask.get("/who")
@flask.get("/public")
def who() -> dict[str, Any]:
    return {"environ": request.environ.get("REMOTE_USER"), "flask": request.remote_user}


def mounted(bridge: Callable[[Any], Any]) -> Starlette:
    return Starlette(routes=[Mount("/", RemoteUser(flask, bridge))])


@pytest.mark.parametrize("bridge", [WSGIMiddleware, WsgiToAsgi])
@pytest.mark.parametrize("wrap", [lambda bridge: bridge(flask), mounted], ids=["direct", "mounted"])
async def test_remote_user(bridge: Callable[[Any], Any], wrap: Callable[[Any], Any]) -> None:
    """Flask reads the user as REMOTE_USER; a client's headers of that name, and public services, have none."""
    app = GatewayMiddleware(wrap(bridge), CONFIG)
    forged = {"Remote-User": "root", "Remote_User": "root", "REMOTE-USER": "root"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a", headers=forged) as client:
        answer = await client.get("/who", auth=("alice", "wonderland"))
        assert answer.json() == {"environ": "alice", "flask": "alice"}
        answer = await client.get("/public", auth=("alice", "wonderland"))
        assert answer.json() == {"environ": None, "flask": None}
        assert (await client.get("/who")).status_code == 401
