"""Bearer: tokens on the Authorization line, for the modules token and jwt, with the answers of RFC 6750."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from asgi_gateway import GatewayMiddleware
from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.sessions.tokens import TokenIssuer
from tests.asgi import get, started
from tests.modules.jwt.issuer import RSA, jwk, key_set

pytestmark = pytest.mark.anyio

KEY = "k" * 32
CONFIG = """
security:
  realms:
  - name: demo
    authentication:
      http-challenge-scheme: SCHEME
      login-modules:
      - type: token
        success: sufficient
        options: {keyFile: keys, audience: app, singleUse: refused}
      - type: jwt
        success: sufficient
        options: {algorithms: RS256, issuer: 'https://issuer', audience: app, jwksFile: jwks.json, rolesClaim: roles}
services:
- name: any
  accept: /any
  realm-name: demo
  authorization-constraint: {require-valid-user: true}
- name: admin
  accept: /admin
  realm-name: demo
  authorization-constraint: {require-role: ADMIN}
"""


async def _who(request: Request) -> Response:
    return PlainTextResponse(request.user.display_name)


@asynccontextmanager
async def _site(folder: Path, scheme: str) -> AsyncIterator[GatewayMiddleware]:
    (folder / "keys").write_text(KEY)
    (folder / "keys").chmod(0o600)
    (folder / "jwks.json").write_text(key_set(jwk(RSA, "RS256", kid="one")))
    (folder / "gateway.yaml").write_text(CONFIG.replace("SCHEME", scheme))
    routes = [Route("/any", _who), Route("/admin", _who)]
    app = GatewayMiddleware(Starlette(routes=routes), config=folder / "gateway.yaml")
    async with started(app):
        yield app


def _tokens(*roles: str) -> list[str]:
    """A good token of either module."""
    now = SystemClock().time()
    own = TokenIssuer([KEY.encode()], "app").issue("joe", realm="demo", now=now, life=60, roles=roles)
    claims = {"iss": "https://issuer", "aud": "app", "sub": "joe", "exp": now + 60, "roles": list(roles)}
    return [own, jwt.encode(claims, RSA, "RS256", headers={"kid": "one"})]


@pytest.mark.parametrize("scheme", ["Bearer", "Application Bearer", "bearer"])
async def test_answers(tmp_path: Path, scheme: str) -> None:
    """No token is a bare challenge, a wrong one error="invalid_token", a missing role 403 with insufficient_scope."""
    async with _site(tmp_path, scheme) as app:
        name = "Application Bearer" if "Application" in scheme else "Bearer"
        answer = await get(app, "/any")
        assert (answer.status, answer.header("www-authenticate")) == (401, [f'{name} realm="demo"'])
        for wrong in ("Bearer x", "Bearer a.b.c", "Bearer", "bearer " + _tokens()[1][:-4] + "AAAA"):
            answer = await get(app, "/any", headers=[("authorization", wrong)])
            assert answer.status == 401
            expected = f'{name} realm="demo", error="invalid_token"' if len(wrong) > 6 else f'{name} realm="demo"'
            assert answer.header("www-authenticate") == [expected]
        for token in _tokens():
            answer = await get(app, "/any", headers=[("authorization", f"Bearer {token}")])
            assert (answer.status, answer.body) == (200, b"joe")
            answer = await get(app, "/admin", headers=[("authorization", f"Bearer {token}")])
            assert answer.status == 403
            assert answer.header("www-authenticate") == [f'{name} realm="demo", error="insufficient_scope"']
        for token in _tokens("ADMIN"):
            answer = await get(app, "/admin", headers=[("authorization", f"bearer  {token}")])
            assert (answer.status, answer.body) == (200, b"joe")


async def test_other_schemes_stay(tmp_path: Path) -> None:
    """With Application Token the word is Token, as before; with both, either word is taken."""
    async with _site(tmp_path, "Application Token") as app:
        for token in _tokens():
            assert (await get(app, "/any", headers=[("authorization", f"Token {token}")])).status == 200
            assert (await get(app, "/any", headers=[("authorization", f"Bearer {token}")])).status == 401
    async with _site(tmp_path, json.dumps(["Bearer", "Application Token"])) as app:
        for token in _tokens():
            for word in ("Token", "Bearer"):
                assert (await get(app, "/any", headers=[("authorization", f"{word} {token}")])).status == 200
            answer = await get(app, "/any", headers=[("authorization", f"Token {token}x")])
            assert answer.status == 403
        answer = await get(app, "/any")
        assert answer.header("www-authenticate") == ['Bearer realm="demo"', "Application Token"]
