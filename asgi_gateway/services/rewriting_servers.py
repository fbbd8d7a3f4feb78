"""Find out whether the server replaces the address of the peer by one that it took from a header.

What ``trusted-proxies`` decides, it decides on the peer of the connection. Servers have middleware of their own that
puts another address in its place before the gateway sees the request, uvicorn by default for peers on the same host. A
client that can choose that address could pass for a listed proxy, so nothing is believed of anybody then.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

__all__ = ["rewriting_server"]

_HINTS = {
    "uvicorn.middleware.proxy_headers": (
        "uvicorn (ProxyHeadersMiddleware)",
        "start uvicorn with --no-proxy-headers, gunicorn with --forwarded-allow-ips ''",
    ),
    "hypercorn.middleware.proxy_fix": ("hypercorn's ProxyFixMiddleware", "remove ProxyFixMiddleware"),
}
"""Who replaces the peer's address, and what turns it off, by the module whose code calls the gateway."""
_DAPHNE_OPTION = "--proxy-headers"


def rewriting_server() -> tuple[str, str] | None:
    """Return what replaces the peer's address and how to turn it off; None if nothing is seen to do so.

    Called while the server runs the application, whose callers are on the stack.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        found = _HINTS.get(frame.f_globals.get("__name__", ""))
        if found is not None and not _trusts_nobody(frame.f_locals.get("self")):
            return found
        frame = frame.f_back
    if "daphne.server" in sys.modules and any(each.startswith(_DAPHNE_OPTION) for each in sys.argv):
        return f"daphne {_DAPHNE_OPTION}", f"start daphne without {_DAPHNE_OPTION}"
    return None


def _trusts_nobody(middleware: Any) -> bool:
    """Return whether uvicorn's middleware was given an empty list, with which it replaces nothing."""
    trusted = getattr(middleware, "trusted_hosts", None)
    kinds = ("always_trust", "trusted_hosts", "trusted_networks", "trusted_literals")
    values = [getattr(trusted, each, True) for each in kinds]
    return trusted is not None and all(not value or value == {""} for value in values)
