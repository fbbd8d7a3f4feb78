"""Where services accept requests, by port and by what other services leave."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.config.load import read
from asgi_gateway.config.places import Places
from tests.config.helpers import document

BOTH = frozenset(("http", "websocket"))


def places(*services: dict[str, Any], by_port: bool = False) -> list[set[tuple[str, frozenset[str], int | None]]]:
    config = read(document(*services), environment={}).parts.services
    found = Places(list(config.values()), by_port=by_port)
    return [{(m.path, frozenset(m.protocols), m.port) for m in found.of(index)} for index in range(len(services))]


def test_ports_count_where_told() -> None:
    """A port of an accept URL is the port, its scheme's default, or its bind option's; a path alone has every port."""
    services = (
        {"accept": "http://a:8000/x"},
        {"accept": "https://a/y"},
        {"accept": "ws://a/z", "bind": {"ws.bind": "9001"}},
        {"accept": "wss://a/t", "accept-options": {"tcp.bind": "127.0.0.1:9002"}},
        {"accept": "/w"},
    )
    http, websocket = frozenset(("http",)), frozenset(("websocket",))
    assert places(*services, by_port=True) == [
        {("/x", http, 8000)},
        {("/y", http, 443)},
        {("/z", websocket, 9001)},
        {("/t", websocket, 9002)},
        {("/w", BOTH, port) for port in (443, 8000, 9001, 9002)},
    ]
    assert {port for each in places(*services) for _, _, port in each} == {None}
    assert places({"accept": "/w"}, by_port=True) == [{("/w", BOTH, None)}]


def test_an_http_proxy_takes_the_websockets_that_are_left() -> None:
    """An http.proxy takes WebSockets at its http accepts unless another service accepts them there."""
    proxy: dict[str, Any] = {"accept": "http://a:1/x", "connect": "http://b/"}
    chat = {"accept": "ws://a:1/x", "connect": "tcp://b:1"}
    http, websocket = frozenset(("http",)), frozenset(("websocket",))
    assert places(proxy) == [{("/x", http, None), ("/x", websocket, None)}]
    for services in ((proxy, chat), (chat, proxy)):
        found = dict(zip([each["connect"] for each in services], places(*services), strict=True))
        assert found == {"http://b/": {("/x", http, None)}, "tcp://b:1": {("/x", websocket, None)}}
    assert places({**proxy, "accept": "ws://a:1/x"}) == [{("/x", websocket, None)}]


@pytest.mark.parametrize("by_port", [True, False])
def test_what_is_not_served_takes_what_is_left(by_port: bool) -> None:
    """A service that is not served refuses both protocols at its path, on every port, and takes nothing from others."""
    served = {"accept": "ws://a:1/x", "realm-name": "demo"}
    refused = {"accept": "sse://a:2/x"}
    ports = {1} if by_port else {None}
    for services in ((served, refused), (refused, served)):
        found = dict(zip([each["accept"] for each in services], places(*services, by_port=by_port), strict=True))
        assert found["ws://a:1/x"] == {("/x", frozenset(("websocket",)), port) for port in ports}
        assert found["sse://a:2/x"] == {("/x", frozenset(("http",)), port) for port in ports}
