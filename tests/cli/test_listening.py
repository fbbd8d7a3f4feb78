"""Which sockets ``run`` binds, and what it says where it cannot."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from asgi_gateway.cli import listening
from asgi_gateway.cli.listening import bind_listeners, bind_port, describe
from asgi_gateway.errors import ConfigError
from asgi_gateway.services.model import Listener


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listener(host: str, port: int, service: str = "page") -> Listener:
    return Listener(host, port, False, option="http.bind", services=(service,), accept=f"http://{host}:{port}/")


def bound(*listeners: Listener) -> list[str]:
    """Where they are bound."""
    with bind_listeners(listeners) as sockets:
        return describe(sockets, [])


def failing(monkeypatch: pytest.MonkeyPatch, error: int, families: Sequence[int] = (socket.AF_INET6,)) -> None:
    """Make binding fail for address families."""
    bind = listening._bind

    def binding(place: Any) -> socket.socket:
        if place.family in families:
            raise OSError(error, "no")
        return bind(place)

    monkeypatch.setattr(listening, "_bind", binding)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "gateway.localhost", "localhost."])
def test_localhost(host: str) -> None:
    """localhost and the names below it are IPv4 and IPv6."""
    port = free()
    assert bound(listener(host, port)) == [f"http://127.0.0.1:{port}", f"http://[::1]:{port}"]


@pytest.mark.parametrize("error", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without IPv6 has localhost at 127.0.0.1 alone."""
    failing(monkeypatch, error)
    port = free()
    assert bound(listener("localhost", port)) == [f"http://127.0.0.1:{port}"]
    with pytest.raises(ConfigError, match=r"service 'page', accept http://::1.*::1 is not an address of this machine"):
        bound(listener("::1", port))


def test_one_address_is_bound_once() -> None:
    """Names of one address share a socket, and a wildcard address covers the others of its family."""
    port = free()
    assert bound(listener("127.0.0.1", port), listener("localhost", port)) == [
        f"http://127.0.0.1:{port}",
        f"http://[::1]:{port}",
    ]
    assert bound(listener("localhost", port), listener("0.0.0.0", port)) == [
        f"http://[::1]:{port}",
        f"http://0.0.0.0:{port}",
    ]


def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that needs privileges is an error that says which ports do not."""
    failing(monkeypatch, errno.EACCES, (socket.AF_INET,))
    with pytest.raises(
        ConfigError, match=r"no permission to listen on port 80 .name a port of 1024 or more .*http.bind"
    ):
        bound(listener("127.0.0.1", 80))
    with pytest.raises(ValueError, match="port 80: choose a --port of 1024 or more"), bind_port("127.0.0.1", 80):
        pass


def test_nothing_stays_bound_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one address cannot be bound, the others are given back."""
    failing(monkeypatch, errno.EADDRINUSE)
    port = free()
    with pytest.raises(ConfigError, match=f"port {port} of ::1 is in use"):
        bound(listener("localhost", port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


@pytest.mark.parametrize("hosts", [("localhost", "0.0.0.0"), ("127.0.0.1", "0.0.0.0"), ("::1", "::"), ("@lo", "::")])
def test_reach(hosts: tuple[str, str]) -> None:
    """A service at a loopback address does not share its port with one at an address of the network."""
    port = free()
    inner, outer = (listener(host, port, service) for host, service in zip(hosts, ("inner", "outer"), strict=True))
    with pytest.raises(ConfigError, match="service 'inner'"):
        bound(inner, outer)
    with pytest.raises(ConfigError, match="service 'inner'"):
        bound(outer, inner)
    assert bound(inner, listener(hosts[1], free(), "outer"))
