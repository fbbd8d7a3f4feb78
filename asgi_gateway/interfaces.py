"""The old home of the plugin contracts, kept for one release; import them from ``asgi_gateway.plugins``."""

from __future__ import annotations

from asgi_gateway._moved import moved

_NAMES = (
    "SHARED_NAME SHARED_PASSWORD ChallengeScheme Clock ControlFlag ExpiringState LoginAttempt LoginModule "
    "ModuleContext ModuleOptions UserNamePassword"
)

__getattr__ = moved(__name__, {name: f"asgi_gateway.plugins.{name}" for name in _NAMES.split()})
