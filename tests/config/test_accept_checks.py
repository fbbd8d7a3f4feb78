"""Services that accept the same requests, with and without ports that count."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.config.load import read
from tests.config.helpers import document, service


def found(*services: dict[str, Any], by_port: bool) -> list[tuple[str, str]]:
    loaded = read(document(*services), environment={}, by_port=by_port)
    return [(problem.severity, problem.message) for problem in loaded.problems if "accept" in problem.path]


def open_service(accept: str | list[str], **more: Any) -> dict[str, Any]:
    return {"name": "open", "accept": accept, **more}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://a:8000/", "http://a:8001/"),
        ("http://a/x", "https://a/x"),
        ("ws://a:1/x", "wss://b:2/x"),
        ("http://[::1]:8000/x", "http://[::1]:8001/x"),
    ],
)
def test_ports_count_where_the_server_listens_on_them(first: str, second: str) -> None:
    """Services that differ by their port are two services under ``run``, and an error with that hint elsewhere."""
    for one, two in ((service(accept=first), open_service(second)), (open_service(first), service(accept=second))):
        assert found(one, two, by_port=True) == []
        ((severity, message),) = found(one, two, by_port=False)
        assert severity == "error"
        assert "duplicate accept" in message
    (problem,) = read(document(service(accept=first), open_service(second)), environment={}).problems
    assert "only asgi-gateway run without --port" in problem.hint


@pytest.mark.parametrize("by_port", [True, False])
@pytest.mark.parametrize(
    ("first", "second"),
    [("http://a:8000/x", "http://b:8000/x"), ("http://a:80/x", "http://b/x"), ("/x", "/x"), ("/x", "http://a:8000/x")],
)
def test_hosts_do_not_count(first: str, second: str, by_port: bool) -> None:
    """An equal port and path under different hosts, or under none, is one place whatever the server listens on."""
    ((severity, message),) = found(service(accept=first), open_service(second), by_port=by_port)
    assert (severity, "duplicate accept" in message) == ("error", True)


@pytest.mark.parametrize("by_port", [True, False])
def test_public_beside_protected_by_host_alone(by_port: bool) -> None:
    """A public service that only the Host header tells from a protected one is a warning that says why."""
    one = service(accept="http://a:8000/x", **{"match-host": True})
    two = open_service("http://b:8000/x", **{"match-host": True})
    for services in ((one, two), (two, one)):
        ((severity, message),) = found(*services, by_port=by_port)
        assert severity == "warning"
        assert "Host header, which a client chooses" in message
    both = {**two, "realm-name": "demo"}
    assert found(one, both, by_port=by_port) == []
    elsewhere = open_service("http://b:8000/y", **{"match-host": True})
    assert found(one, elsewhere, by_port=by_port) == []


def test_public_on_another_port_is_no_matter_of_the_host() -> None:
    """Where ports count, a public service on another port is not told apart by the Host header."""
    one = service(accept="http://a:8000/x", **{"match-host": True})
    two = open_service("http://b:8001/x", **{"match-host": True})
    assert found(one, two, by_port=True) == []
    assert [severity for severity, _ in found(one, two, by_port=False)] == ["warning"]


def test_a_redirect_yields_where_ports_do_not_count() -> None:
    """A redirect of another port answers nothing where ports do not count: a warning; at the same place: an error."""
    protected = service(accept="https://a:8443/")
    redirect = open_service("http://a:8000/", type="http.redirect", properties={"location": "https://a:8443/"})
    for services in ((protected, redirect), (redirect, protected)):
        assert found(*services, by_port=True) == []
        ((severity, message),) = found(*services, by_port=False)
        assert severity == "warning"
        assert "the redirect answers no request" in message
    same = open_service("https://a:8443/", type="http.redirect", properties={"location": "/x"})
    assert [severity for severity, _ in found(protected, same, by_port=False)] == ["error"]
