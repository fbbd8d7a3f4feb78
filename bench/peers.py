"""What the gateway's proxying is measured against, each as fast as it can be set up.

Nothing here imports the gateway: these run in an environment of their own, since they pin other versions.
"""

from __future__ import annotations

import os
from typing import Any

BACKEND = "BENCH_BACKEND"
"""The environment variable with the URL of the back end."""
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection")
)


class MinimalProxy:
    """The least that passes HTTP requests on with aiohttp: no checks, no limits, no rules on headers but hop-by-hop."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        if self.session is None:
            import aiohttp

            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        headers = [(k.decode(), v.decode("latin-1")) for k, v in scope["headers"] if k not in _HOP_BY_HOP]
        message = await receive()
        async with self.session.request(
            scope["method"],
            self.url + scope["raw_path"].decode(),
            headers=headers,
            data=self._body(message, receive) if message.get("more_body") else message.get("body") or None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as response:
            kept = [(k.lower(), v) for k, v in response.raw_headers if k.lower() not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})

    @staticmethod
    async def _body(message: Any, receive: Any) -> Any:
        while True:
            yield message.get("body", b"")
            if not message.get("more_body"):
                return
            message = await receive()


def minimal() -> MinimalProxy:
    """A proxy of forty lines on the client library that the gateway uses."""
    return MinimalProxy(os.environ[BACKEND])


def asgiproxy() -> Any:
    """The package asgiproxy, which asks nobody for credentials. It may have more requests at once than by default."""
    from asgiproxy.config import BaseURLProxyConfigMixin, ProxyConfig
    from asgiproxy.context import ProxyContext
    from asgiproxy.simple_proxy import make_simple_proxy_app

    class Config(BaseURLProxyConfigMixin, ProxyConfig):
        upstream_base_url = os.environ[BACKEND]

    return make_simple_proxy_app(ProxyContext(Config(), max_concurrency=1000))


def check() -> Any:
    """A small check with FastAPI that nginx asks for every request: Basic against a dict."""
    import secrets

    from fastapi import Depends, FastAPI, HTTPException, Response
    from fastapi.security import HTTPBasic

    passwords = {"user1": b"pw1"}
    app, basic = FastAPI(), HTTPBasic()

    @app.get("/check", response_class=Response)
    async def checked(credentials: Any = Depends(basic)) -> Any:  # noqa: B008 (FastAPI's way)
        expected = passwords.get(credentials.username)
        if expected is None or not secrets.compare_digest(expected, credentials.password.encode()):
            raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})
        return Response(status_code=204, headers={"X-User": credentials.username})

    return app
