"""The User-Agent with which the gateway and its client call other servers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["user_agent"]


def user_agent() -> str:
    """Return ``asgi-gateway/<version>`` (RFC 9110 section 10.1.5).

    Proxies and content networks refuse the User-Agents of HTTP libraries, such as ``Python-urllib``, as those of bots.
    """
    try:
        return f"asgi-gateway/{version('asgi-gateway')}"
    except PackageNotFoundError:  # run from its sources
        return "asgi-gateway"
