"""Serve the metadata of protected resources (RFC 9728): which authorization servers issue tokens for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from asgi_gateway.model import AuthRequest, Response

__all__ = ["ResourceMetadata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetadata:
    """The metadata of one protected resource, and where it is served.

    Args:
        path: the path at which it is served; needs no login.
        resource: the resource's identifier, an http or https URL (RFC 9728 section 1.2).
        authorization_servers: the issuers whose tokens it takes.
        scopes: the scopes that it needs.
    """

    path: str
    resource: str
    authorization_servers: Sequence[str]
    scopes: Sequence[str] = ()

    @property
    def url(self) -> str:
        """The metadata's URL, for challenges (RFC 9728 section 5.1)."""
        parts = urlsplit(self.resource)
        return f"{parts.scheme}://{parts.netloc}{self.path}"

    def answer(self, request: AuthRequest) -> Response:
        """Return the metadata; 405 for anything but GET and HEAD. Pages of every origin may read it."""
        if request.method not in ("GET", "HEAD"):
            return Response(status=405, headers=((b"allow", b"GET, HEAD"),))
        document = {
            "resource": self.resource,
            "authorization_servers": list(self.authorization_servers),
            "bearer_methods_supported": ["header"],
        }
        if self.scopes:
            document["scopes_supported"] = list(self.scopes)
        headers = ((b"cache-control", b"no-cache"), (b"access-control-allow-origin", b"*"))
        body = json.dumps(document).encode()
        return Response(status=200, headers=headers, body=body, content_type="application/json")
