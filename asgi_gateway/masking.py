"""The old home of MaskCredentials, kept for one release; import it from ``asgi_gateway``."""

from __future__ import annotations

from asgi_gateway._moved import moved

__getattr__ = moved(__name__, {"MaskCredentials": "asgi_gateway.MaskCredentials"})
