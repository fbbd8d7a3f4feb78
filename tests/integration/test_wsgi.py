"""WSGI applications behind a2wsgi and asgiref, in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
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


PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "frameworks.md").read_text()


async def test_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/how-to/frameworks.md works as it stands."""
    (tmp_path / "gateway.yaml").write_text(json.dumps(CONFIG))
    monkeypatch.chdir(tmp_path)
    (text,) = re.findall(r"^```python wsgi\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    module = ModuleType("main")
    exec(text, module.__dict__)
    module.__dict__["api"].add_url_rule("/who", "who", who)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(module.__dict__["app"]), base_url="http://a") as client:
        answer = await client.get("/who", auth=("alice", "wonderland"))
    assert answer.json() == {"environ": "alice", "flask": "alice"}


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
