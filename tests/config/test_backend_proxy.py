"""The type ``proxy`` in configurations."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway import load_config
from asgi_gateway.config.backend_proxy import IDLE
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from asgi_gateway.proxy.http_and_websockets import HTTPAndWebSockets
from asgi_gateway.proxy.tcp import TcpProxy
from asgi_gateway.proxy.websocket import WebSocketProxy


def config(**service: Any) -> dict[str, Any]:
    return {"services": [{"name": "p", "accept": "ws://localhost/p", **service}]}


def backend(gateway: Gateway) -> Any:
    return gateway.services[0].backend


def problems(**service: Any) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(config(**service))
    return str(error.value)


def test_elements_without_a_back_end() -> None:
    """What only a back end could give an effect is a warning on a service without one."""
    elements = {"identity-headers": {"user": "X-User"}, "max-body": "1 MB", "pass-credentials": True}
    found = load_config({"services": [{"name": "p", "accept": "/p", **elements}]})
    warned = {problem.path.rpartition(".")[2]: problem for problem in found.problems}
    assert set(warned) == set(elements)
    assert all(problem.severity == "warning" for problem in warned.values())


def test_host_that_is_not_ascii() -> None:
    """A Host header has no letters outside ASCII."""
    assert "connect[0]: host is not ASCII" in problems(connect="http://bücher.example/")


@pytest.mark.parametrize("url", ["tcp://localhost:61613", "tls://localhost:61614", "unix:///run/app.sock"])
def test_tcp(url: str) -> None:
    """A proxy to tcp, tls or unix passes bytes; the type may be left out."""
    for service in ({"type": "proxy", "connect": url}, {"connect": url}):
        found = backend(load_config(config(**service)))
        assert isinstance(found, TcpProxy)
        assert found.description == f"proxy to {'tcp://unix:/run/app.sock' if 'unix' in url else url}"


def test_websocket() -> None:
    """A proxy to ws or wss passes WebSockets."""
    found = backend(load_config(config(type="proxy", connect=["ws://localhost:9000/a", "wss://localhost/b"])))
    assert isinstance(found, WebSocketProxy)


def test_http_proxy_passes_websockets() -> None:
    """An http.proxy passes HTTP and WebSockets to the same back end."""
    found = backend(load_config(config(type="http.proxy", connect="http://localhost:9000/")))
    assert isinstance(found, HTTPAndWebSockets)


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ({"type": "proxy"}, "missing connect: a service of type proxy needs one"),
        ({"type": "proxy", "connect": "http://localhost/"}, "use the type http.proxy"),
        ({"type": "proxy", "connect": ["tcp://h:1", "ws://h:1/"]}, "connect mixes TCP and WebSocket back ends"),
        ({"connect": "tcp://h:1", "identity-headers": {"user": "X-User"}}, "identity-headers needs a back end"),
        ({"connect": "ws://h:1", "message-type": "text"}, "message-type is for TCP back ends"),
        ({"connect": "ws://h:1", "properties": {"subprotocol": "amqp"}}, "subprotocol is for TCP back ends"),
        ({"connect": "tcp://h:1", "properties": {"subprotocol": "a b"}}, "invalid subprotocol"),
        ({"connect": "ws://h:1", "properties": {"permessage-deflate": "maybe"}}, "write enabled or disabled"),
        ({"connect": "ws://h:1", "properties": {"use-forwardd": "inject"}}, "did you mean 'use-forwarded'"),
        ({"connect": "tcp://h:1", "client-certificate": "gateway"}, "client-certificate needs a back end with TLS"),
        ({"connect": "tls://h:1", "client-certificate": "gateway"}, "no keystore for the client certificate"),
    ],
)
def test_problems(service: dict[str, Any], message: str) -> None:
    """What cannot be meant is an error that says what to write."""
    assert message in problems(**service)


def test_properties_of_the_original_are_ignored() -> None:
    """The original's properties of a proxy are listed as ignored."""
    names = ["maximum.pending.bytes", "maximum.recovery.interval", "prepared.connection.count", "virtual.host"]
    gateway = load_config(config(connect="tcp://h:1", properties=dict.fromkeys(names, "1")))
    listed = " ".join(map(str, gateway.problems))
    assert all(name in listed for name in names)


def test_time_limits() -> None:
    """A WebSocket may be quiet for an hour unless the service says otherwise."""
    for url in ("tcp://h:1", "ws://h:1"):
        assert backend(load_config(config(connect=url)))._settings.timeouts.idle == IDLE
        limited = config(connect=url, timeouts={"idle": "5 minutes"})
        assert backend(load_config(limited))._settings.timeouts.idle == 300.0
        other = config(connect=url, timeouts={"connect": "2s"})
        assert backend(load_config(other))._settings.timeouts.idle == IDLE


def test_max_connections_is_a_warning() -> None:
    """A limit that would not hold for WebSockets is a warning."""
    gateway = load_config(config(connect="tcp://h:1", **{"max-connections": 10}))
    assert "max-connections limits the connections of http.proxy" in str(gateway.problems[0])
