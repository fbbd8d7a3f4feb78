"""The configuration of http.proxy: what is built, and what is an error with its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway import ConfigError
from asgi_gateway.config import load_config
from asgi_gateway.gateway import Gateway
from asgi_gateway.proxy.http import HTTPProxy
from asgi_gateway.proxy.http_and_websockets import HTTPAndWebSockets
from tests.gateways import basic
from tests.proxy.raw_backend import OK, answering, raw_backend

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "proxy.md").read_text()
HASH = "$argon2id$v=19$m=64,t=1,p=1$La1VaeEFq2Vu4hzOF1NzNg$stNL9l05JavHaKnTGLTUPnpe3+QQQJ4tvJgoqAjh+ZA"


USERS = f"users: [{{name: alice, password: '{HASH}', roles: [a, 'b,c']}}]\nroles: [{{name: a}}, {{name: 'b,c'}}]\n"


def load(folder: Path, **service: Any) -> Gateway:
    """The gateway of one service, whose name is s."""
    (folder / "users.yaml").write_text(USERS)
    modules = [{"type": "file", "success": "required", "options": {"file": "users.yaml"}}]
    realm = {"name": "demo", "authentication": {"http-challenge-scheme": "Basic", "login-modules": modules}}
    given = {"name": "s", "accept": "/s", "connect": "http://127.0.0.1:9/", "realm-name": "demo", **service}
    file = folder / "gateway.yaml"
    file.write_text(json.dumps({"services": [given], "security": {"realms": [realm]}}))
    file.chmod(0o600)
    (folder / "users.yaml").chmod(0o600)
    return load_config(file)


def proxy_of(gateway: Gateway) -> HTTPProxy:
    (backend,) = gateway.backends
    assert isinstance(backend, HTTPAndWebSockets)
    found = backend._http
    assert isinstance(found, HTTPProxy)
    return found


def test_properties(tmp_path: Path) -> None:
    """The original's properties are understood."""
    properties = {"rewrite-location": "disabled", "rewrite-cookie-path": "enabled", "use-forwarded": "exclude"}
    settings = proxy_of(load(tmp_path, properties=properties)).settings
    assert (settings.rewriting.location, settings.rewriting.cookie_path) == (False, True)
    assert settings.forwarded == "exclude"


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ({"connect": "tcp://h:1", "type": "http.proxy"}, "http.proxy cannot connect to tcp"),
        ({"properties": {"rewrite-location": "no"}}, "rewrite-location"),
        ({"properties": {"use-forwarded": "yes"}}, "use-forwarded"),
        ({"properties": {"use-forwraded": "inject"}}, "did you mean 'use-forwarded'"),
        ({"identity-headers": {"user": "Host"}}, "Host"),
        ({"identity-headers": {"user": "X Y"}}, "X Y"),
        ({"identity-headers": {"user": "X-A", "roles": "x-a"}}, "duplicate header"),
        ({"identity-token": {"key-file": "missing.key", "audience": "a"}}, "missing.key does not exist"),
        ({"client-certificate": "key"}, "client-certificate"),
        ({"client-certificate": "key", "connect": "https://h/"}, "no keystore for the client certificate"),
        ({"max-body": "many"}, "max-body"),
        ({"timeouts": {"idle": "never"}}, "idle"),
    ],
)
def test_errors(tmp_path: Path, service: Any, message: str) -> None:
    """What cannot work is an error with a position in the file."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, **service)
    assert re.search(r"gateway\.yaml:1:\d+: error: services\[0\]", str(error.value))
    assert message in str(error.value)


def test_key_that_others_can_read(tmp_path: Path) -> None:
    """A key file that other users can read is a warning."""
    (tmp_path / "id.key").write_text("s" * 40)
    (tmp_path / "id.key").chmod(0o644)
    gateway = load(tmp_path, **{"identity-token": {"key-file": "id.key", "audience": "a"}})
    assert any("id.key" in problem.message and "read" in problem.message for problem in gateway.problems)


@pytest.mark.anyio
async def test_the_page_works(tmp_path: Path) -> None:
    """The first configuration of proxy.md does what the page says of it."""
    from asgi_gateway import GatewayMiddleware
    from tests.asgi import get, started

    (text, *_) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "users.yaml").write_text(USERS)
    async with raw_backend(answering(OK)) as public, raw_backend(answering(OK)) as reports:
        text = text.replace("http://127.0.0.1:9000", public.url).replace("http://127.0.0.1:9080", reports.url)
        (tmp_path / "gateway.yaml").write_text(text)
        app = GatewayMiddleware(None, tmp_path / "gateway.yaml")
        async with started(app):
            assert (await get(app, "/x")).body == b"ok"
            assert (await get(app, "/reports/x")).status == 401
            assert reports.heads == []
            answer = await get(app, "/reports/2026?month=11", basic=("alice", "wonderland"))
            assert (answer.status, answer.body) == (200, b"ok")
    assert reports.heads[0].startswith(b"GET /app/2026?month=11 HTTP/1.1\r\n")
    assert (reports.lines()["x-forwarded-user"], reports.lines()["x-roles"]) == (["alice"], ["a,b%2Cc"])
    assert "authorization" not in reports.lines()
    assert basic("alice", "wonderland")[1] not in reports.heads[0]
