"""Serve the browser client: one ES module."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from asgi_gateway.model import AuthRequest, Headers, Response

__all__ = ["MODULE", "BrowserClient"]

MODULE = "asgi-gateway-client.js"
"""The module's file name."""


class BrowserClient:
    """Answers requests for the browser client.

    Args:
        path: where it is served.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.body = files("asgi_gateway").joinpath("client", "browser", MODULE).read_bytes()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'.encode()

    def answer(self, request: AuthRequest) -> Response:
        """Return the module; 304 if the client has it, 405 for anything but GET and HEAD."""
        if request.method not in ("GET", "HEAD"):
            return Response(status=405, headers=((b"allow", b"GET, HEAD"),))
        headers: Headers = (
            (b"etag", self.etag),
            (b"cache-control", b"no-cache"),
            (b"x-content-type-options", b"nosniff"),
        )
        content_type = "text/javascript; charset=utf-8"
        if any(name == b"if-none-match" and self.etag in value for name, value in request.headers):
            return Response(status=304, headers=headers)
        return Response(status=200, headers=headers, body=self.body, content_type=content_type)
