"""Where ``asgi-gateway run`` listens: accept URLs, their ``*.bind`` options, and what may stand on one port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from asgi_gateway.config import load_config
from asgi_gateway.config.listeners import parse_bind
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway
from asgi_gateway.services.model import Listener


def gateway(*accepts: str | Sequence[str], bind: Mapping[str, Any] | None = None, by_port: bool = True) -> Gateway:
    """The gateway of public services with these accept URLs; ``bind`` is the first one's."""
    services: list[dict[str, Any]] = [{"accept": accept, "name": f"s{n}"} for n, accept in enumerate(accepts)]
    if bind:
        services[0]["accept-options"] = bind
    return load_config({"services": services}, by_port=by_port)


def listeners(*accepts: str | Sequence[str], bind: Mapping[str, Any] | None = None) -> list[tuple[str, int, bool]]:
    """Where it listens: host, port, and whether with TLS."""
    return [(each.host, each.port, each.tls) for each in gateway(*accepts, bind=bind).listeners]


def problems(*accepts: str | Sequence[str], bind: Mapping[str, Any] | None = None) -> list[Problem]:
    """The errors of a configuration that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        gateway(*accepts, bind=bind)
    return [problem for problem in caught.value.problems if problem.severity == "error"]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("8001", ("0.0.0.0", 8001)),
        (8001, ("0.0.0.0", 8001)),
        (" 65535 ", ("0.0.0.0", 65535)),
        ("192.0.2.1:8001", ("192.0.2.1", 8001)),
        ("gateway.example:8001", ("gateway.example", 8001)),
        ("[::1]:8001", ("::1", 8001)),
        ("[2001:DB8::7]:1", ("2001:DB8::7", 1)),
        ("@eth0:8001", ("@eth0", 8001)),
        ("[@eth0:1]:8001", ("@eth0:1", 8001)),
    ],
)
def test_bind(value: object, address: tuple[str, int]) -> None:
    """A bind option is a port, or a host, an address or a network interface with a port."""
    assert parse_bind(value) == address


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", ":8001", "host:", "host", "0", "65536", "99999999", "-1", "8001 8002", "::1:8001", "[::1]", "::1"),
        *("http://host:8001", "host:80/path", "user@host:80", "@:80", "[@]:80", "[]:80", "host:+80", "host:8_0"),
        *("host:\u0668\u0660", "8001.0", None, True, "host\n:80", "@eth0", "[host]:80"),
    ],
)
def test_invalid_bind(value: object) -> None:
    """Anything else is an error."""
    with pytest.raises(ValueError, match="port"):
        parse_bind(value)


def test_accept_urls() -> None:
    """Each host and port of an accept URL is listened at once; a URL without a port means its scheme's."""
    found = listeners(
        ["http://localhost:8000/", "ws://localhost:8000/"],
        "http://localhost:8001/a",
        "ws://[::1]/",
        "http://a.example/",
    )
    assert found == [
        ("localhost", 8000, False),
        ("localhost", 8001, False),
        ("::1", 80, False),
        ("a.example", 80, False),
    ]


def test_paths_alone_listen_nowhere_in_particular() -> None:
    """A path without a host says nothing of where to listen."""
    assert listeners("/a", "/b") == []
    assert listeners("/a", "http://localhost:8000/") == [("localhost", 8000, False)]


@pytest.mark.parametrize(
    ("accept", "bind", "found"),
    [
        (["http://g.example/"], {"http.bind": "8001"}, [("0.0.0.0", 8001)]),
        (["ws://g.example/"], {"ws.bind": "127.0.0.1:8001"}, [("127.0.0.1", 8001)]),
        (["ws://g.example/", "http://g.example/"], {"http.bind": "8001"}, [("0.0.0.0", 8001)]),
        (["http://g.example/", "ws://g.example/"], {"ws.bind": "8001"}, [("0.0.0.0", 8001)]),
        (["ws://g.example:81/", "http://g.example/"], {"http.bind": "8001"}, [("g.example", 81), ("0.0.0.0", 8001)]),
        (["ws://g.example/"], {"tcp.bind": "[::1]:8001"}, [("::1", 8001)]),
        (["ws://g.example/", "http://g.example/"], {"tcp.bind": "1", "ws.bind": "2"}, [("0.0.0.0", 2)]),
        (["ws://g.example/"], {"tcp.bind": "@lo:8001"}, [("@lo", 8001)]),
    ],
)
def test_bind_options(accept: list[str], bind: dict[str, str], found: list[tuple[str, int]]) -> None:
    """The option of the URL's scheme comes first, then that of HTTP or WebSocket at the same place, then tcp.bind."""
    assert [(host, port) for host, port, _ in listeners(accept, bind=bind)] == found


def test_services_are_told_apart_by_the_bound_port() -> None:
    """The port that counts is the one that is bound, not the accept URL's."""
    built = gateway("http://g.example/", "http://localhost:8000/", bind={"http.bind": "127.0.0.1:8001"})
    assert {(service.name, mount.port) for service in built.services for mount in service.mounts} == {
        ("s0", 8001),
        ("s1", 8000),
    }


def test_bound_to_one_port_they_are_the_same_service() -> None:
    """Two services whose bind options lead to one port and path are an error."""
    (problem,) = problems("http://g.example/", "http://localhost:8001/", bind={"http.bind": "127.0.0.1:8001"})
    assert "duplicate accept" in problem.message


def test_listeners_say_whose_they_are() -> None:
    """A listener has the names of all its accept URLs, and service, accept URL and option for messages."""
    first, second = gateway("ws://a.example/", "http://b.example/b", bind={"ws.bind": "127.0.0.1:8001"}).listeners
    assert (first.names, first.option, first.services, first.accept) == (
        ("a.example",),
        "ws.bind",
        ("s0",),
        "ws://a.example/",
    )
    assert (second.names, second.option, second.services) == (("b.example",), "http.bind", ("s1",))
    (shared,) = gateway(["http://a.example/", "http://b.example/"], bind={"http.bind": "8001"}).listeners
    assert shared.names == ("a.example", "b.example")
    assert Listener("h", 1, False, names=("h",)) == Listener("h", 1, False, names=("h",))


@pytest.mark.parametrize("value", ["", "eth0", "@eth0", "0", "host:70000", "http://h:1"])
def test_invalid_bind_is_an_error_of_the_file(value: str) -> None:
    """It names the option."""
    (problem,) = problems("http://localhost:8000/", bind={"http.bind": value})
    assert "http.bind" in problem.path
    assert "port" in str(problem)


def test_unknown_and_useless_options() -> None:
    """An unknown option is an error with a suggestion; one for a scheme that no accept URL has is a warning."""
    (problem,) = problems("http://localhost:8000/", bind={"http.bnd": "8001"})
    assert "http.bind" in problem.hint
    with pytest.raises(ConfigError, match=r"http\.bind"):
        load_config({"services": [{"accept": "/", "bind": {"http.bnd": "8001"}}]})
    built = gateway("http://localhost:8000/", bind={"https.bind": "8443"})
    assert [problem.message for problem in built.problems if "https.bind" in problem.message] == [
        "https.bind has no effect: the service has no such accept URL with a host"
    ]


@pytest.mark.parametrize(
    "accepts",
    [
        ("http://localhost:8000/", "https://localhost:8000/b"),
        ("https://localhost:8000/", "http://localhost:8000/b"),
        ("ws://localhost:8000/", "wss://localhost:8000/b"),
        ("https://127.0.0.1:8000/", "ws://192.0.2.1:8000/"),
        ("http://a.example:1/", "https://a.example:8000/", "http://localhost:8000/c"),
    ],
)
def test_a_port_is_used_with_tls_or_without(accepts: tuple[str, ...]) -> None:
    """One port with TLS and without is an error, in whatever order and at whatever hosts."""
    found = [problem.message for problem in problems(*accepts)]
    assert "port 8000 is used with TLS and without" in found


def test_tls_needs_a_keystore() -> None:
    """An https or wss accept URL without a keystore is an error, where the file says where to listen."""
    found = problems("wss://localhost:8000/")
    assert [problem.message for problem in found] == ["https and wss need a keystore"]
    assert gateway("wss://localhost:8000/", by_port=False).listeners[0].tls


def test_a_service_that_is_not_served_binds_nothing() -> None:
    """Neither its ports nor its bind options count."""
    services = [
        {"accept": "http://localhost:8000/"},
        {"accept": "http://localhost:8001/", "type": "balancer", "accept-options": {"http.bind": "8002"}},
        {"accept": "tcp://localhost:8003"},
    ]
    assert [each.port for each in load_config({"services": services}, by_port=True).listeners] == [8000]
