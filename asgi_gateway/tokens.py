"""The old home of TokenIssuer, kept for one release; import it from ``asgi_gateway``."""

from __future__ import annotations

from asgi_gateway._moved import moved

__getattr__ = moved(__name__, {"Token": "asgi_gateway.Token", "TokenIssuer": "asgi_gateway.TokenIssuer"})
