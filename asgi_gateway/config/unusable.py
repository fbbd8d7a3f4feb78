"""Stand in for the Gateway of a configuration that cannot be used, where raising would not stop the server."""

from __future__ import annotations

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway, GatewayServices
from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.telemetry.audit import Audit

__all__ = ["unusable_gateway"]


class _UnusableState(MemoryState):
    """A store whose ``open`` raises an error. A Gateway opens its store first."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__()
        self._error = error

    async def open(self) -> None:
        raise self._error


def unusable_gateway(error: ConfigError) -> Gateway:
    """Return a Gateway that cannot be opened and allows nothing.

    Args:
        error: raised by the Gateway's ``open``.
    """
    clock = SystemClock()
    state = _UnusableState(error)
    return Gateway((), GatewayServices(state=state, pools=ThreadPools(), clock=clock, audit=Audit(clock)))
