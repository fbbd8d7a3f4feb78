"""Metadata of protected resources (RFC 9728), named in challenges and served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError
from asgi_gateway.middleware import GatewayMiddleware
from tests.gateways import App, Server, ask, scope

pytestmark = pytest.mark.anyio

RESOURCE = {
    "resource": "https://api.example.com/v1",
    "authorization-server": ["https://login.example.com/"],
    "scope": ["read", "write"],
}
PATH = "/.well-known/oauth-protected-resource"


def config(directory: Path, **resource: Any) -> dict[str, Any]:
    (directory / "users.yaml").write_text("users: [{name: joe, password: joe-pw}]")
    modules = [{"type": "file", "success": "required", "options": {"file": str(directory / "users.yaml")}}]
    authentication = {
        "http-challenge-scheme": "Bearer",
        "protected-resource": RESOURCE | resource,
        "login-modules": modules,
    }
    services = [{"name": "all", "accept": "/"}, {"name": "api", "accept": "/api", "realm-name": "api"}]
    return {"security": {"realms": [{"name": "api", "authentication": authentication}]}, "services": services}


async def get(directory: Path, target: str, method: str = "GET", **resource: Any) -> tuple[Server, App]:
    inside = App()
    app = GatewayMiddleware(inside, load_config(config(directory, **resource)))
    return await ask(app, scope(target, method=method)), inside


async def test_the_challenge_names_the_metadata(tmp_path: Path) -> None:
    """A request without a token is told the scopes, and where the metadata is."""
    answer, inside = await get(tmp_path, "/api")
    challenge = dict(answer.headers)[b"www-authenticate"].decode()
    assert (answer.status, inside.scopes) == (401, [])
    assert f'resource_metadata="https://api.example.com{PATH}"' in challenge
    assert 'scope="read write"' in challenge


@pytest.mark.parametrize("path", [PATH, f"{PATH}/v1"])
async def test_the_metadata_is_served(tmp_path: Path, path: str) -> None:
    """The gateway serves the metadata to anybody, though a public service has its path; nothing else changes."""
    for _ in range(2):
        answer, inside = await get(tmp_path, path, path=path)
        assert (answer.status, inside.scopes) == (200, [])
        assert json.loads(answer.body) == {
            "resource": "https://api.example.com/v1",
            "authorization_servers": ["https://login.example.com/"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["read", "write"],
        }
        assert dict(answer.headers)[b"access-control-allow-origin"] == b"*"
    refused, _ = await get(tmp_path, path, method="POST", path=path)
    assert refused.status == 405
    other, inside = await get(tmp_path, f"{path}x", path=path)
    assert (other.status, len(inside.scopes)) == (200, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resource": "api.example.com"}, "invalid URL"),
        ({"resource": 'https://a/"x'}, "invalid URL"),
        ({"authorization-server": []}, "authorization-server"),
        ({"authorization-server": ["ftp://a/"]}, "invalid URL"),
        ({"path": "/admin"}, "invalid path"),
        ({"path": "/.well-known/../admin"}, "invalid path"),
        ({"scope": ["a b"]}, "scope"),
    ],
)
def test_what_is_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    """A URL, path or scope that no client could use is an error at start."""
    with pytest.raises(ConfigError, match=message):
        load_config(config(tmp_path, **wrong))
