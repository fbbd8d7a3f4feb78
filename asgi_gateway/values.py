"""The old home of the option types, kept for one release; import them from ``asgi_gateway.plugins``."""

from __future__ import annotations

from asgi_gateway._moved import moved

__getattr__ = moved(
    __name__,
    {
        "Switch": "asgi_gateway.plugins.Boolean",
        "parse_interval": "asgi_gateway.plugins.parse_duration",
        "parse_switch": "asgi_gateway.plugins.parse_boolean",
    },
)
