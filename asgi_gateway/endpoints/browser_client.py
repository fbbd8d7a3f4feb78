"""The browser client: one ES module with its types, which the gateway can serve."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from asgi_gateway.model import AuthRequest, Headers

__all__ = ["MODULE", "BrowserClient"]

MODULE = "asgi-gateway-client.js"
"""The module's file name."""


class BrowserClient:
    """The module, as it is answered to a request for it.

    Args:
        path: where it is served.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.body = files("asgi_gateway").joinpath("client", "browser", MODULE).read_bytes()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'.encode()

    def answer(self, request: AuthRequest) -> tuple[int, Headers, bytes]:
        """Status, headers and body for a request; 405 for anything but GET and HEAD."""
        if request.method not in ("GET", "HEAD"):
            return 405, ((b"allow", b"GET, HEAD"), (b"content-length", b"0")), b""
        headers = (
            (b"etag", self.etag),
            (b"cache-control", b"no-cache"),
            (b"content-type", b"text/javascript; charset=utf-8"),
            (b"x-content-type-options", b"nosniff"),
        )
        if any(name == b"if-none-match" and self.etag in value for name, value in request.headers):
            return 304, headers, b""
        length = (b"content-length", str(len(self.body)).encode())
        return 200, (*headers, length), self.body if request.method == "GET" else b""
