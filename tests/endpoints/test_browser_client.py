"""Serving the browser client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import asgi_gateway
from asgi_gateway import ConfigError, GatewayMiddleware
from asgi_gateway.endpoints.browser_client import MODULE

FOLDER = Path(asgi_gateway.__file__).parent / "client" / "browser"
SERVICES = [{"name": "all", "accept": "/"}]


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"application"})


async def ask(path: str, config: Any = None, method: str = "GET", root_path: str = "", **headers: Any) -> Any:
    gateway = GatewayMiddleware(app, {"services": SERVICES, "browser-client": "/client.js", **(config or {})})
    transport = httpx.ASGITransport(gateway, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.anyio
async def test_the_module_is_served() -> None:
    """At its path, and only there, the gateway answers with the module, though a service has the path too."""
    answer = await ask("/client.js")
    assert answer.content == (FOLDER / MODULE).read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/client.js/", "/client.jsx"):
        assert (await ask(path)).text == "application"
    assert (await ask("/client.js", {"browser-client": "/other.js"})).text == "application"


@pytest.mark.anyio
async def test_the_module_is_served_below_a_root() -> None:
    """Under a root path the module's path is below it."""
    assert "GatewaySocket" in (await ask("/root/client.js", root_path="/root")).text


@pytest.mark.anyio
async def test_browsers_may_keep_it() -> None:
    """A browser that has the module is told so, HEAD gives no body, and other methods are refused."""
    etag = (await ask("/client.js")).headers["etag"]
    assert (await ask("/client.js", **{"if-none-match": etag})).status_code == 304
    head = await ask("/client.js", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert (await ask("/client.js", method="POST")).status_code == 405


@pytest.mark.parametrize("path", ["client.js", "", "/", "/a//b", "/a/../b", "/a;b", "/a?b", "https://h/client.js"])
def test_the_path_must_be_plain(path: str) -> None:
    """A path that could be read in two ways, or none, stops the start."""
    with pytest.raises(ConfigError, match="browser-client"):
        GatewayMiddleware(app, {"services": SERVICES, "browser-client": path})


def test_the_package_is_ready_to_publish() -> None:
    """package.json names files that are there, and the version is the package's."""
    package = json.loads((FOLDER / "package.json").read_text())
    assert all((FOLDER / name).is_file() for name in package["files"])
    project = Path(asgi_gateway.__file__).parents[1] / "pyproject.toml"
    assert f'version = "{package["version"]}"' in project.read_text()
    assert "dependencies" not in package


def test_types_and_module_name_the_same_things() -> None:
    """Every export of the module is declared, and nothing else is declared as a value."""
    import re

    exported = re.compile(r"^export (?:async )?(?:class|function) (\w+)", re.MULTILINE)
    module, types = ((FOLDER / name).read_text() for name in (MODULE, MODULE.replace(".js", ".d.ts")))
    assert set(exported.findall(module)) == set(exported.findall(types))
