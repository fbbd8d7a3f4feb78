"""``forward-auth`` and ``trusted-proxies`` in the configuration: what loads, and what is an error with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.cli.main import main
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError
from asgi_gateway.middleware import GatewayMiddleware
from tests.gateways import ask, scope

SERVICES = [{"name": "site", "accept": "/", "identity-headers": {"user": "X-User"}}]


def mapping(**changes: Any) -> dict[str, Any]:
    """A configuration with forward-auth."""
    base = {
        "security": {"trusted-proxies": ["10.0.0.0/8", "unix"]},
        "services": SERVICES,
        "forward-auth": {"accept": "/check", "kind": "traefik"},
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


def problems(config: Any) -> list[str]:
    """The errors of a configuration."""
    with pytest.raises(ConfigError) as error:
        load_config(config)
    return [f"{each.path}: {each.message}" for each in error.value.problems if each.severity == "error"]


@pytest.mark.anyio
async def test_it_loads_without_an_application() -> None:
    """No application is needed, and the services' identity headers are found."""
    gateway = load_config(mapping())
    assert gateway.services_of_application == ()
    assert gateway.forward_auth is not None
    assert list(gateway.forward_auth.identities) == ["site"]
    app = GatewayMiddleware(None, gateway)
    headers = [(b"x-forwarded-uri", b"/a"), (b"x-forwarded-method", b"GET")]
    assert (await ask(app, scope("/check", *headers, client=("10.0.0.1", 1)))).status == 200
    assert (await ask(app, scope("/check", *headers, client=None))).status == 200
    assert (await ask(app, scope("/check", *headers, client=("11.0.0.1", 1)))).status == 403


def test_both_spellings(tmp_path: Path) -> None:
    """XML says the same as YAML."""
    file = tmp_path / "gateway.xml"
    file.write_text(
        "<gateway-config><security><trusted-proxies>10.0.0.0/8</trusted-proxies><trusted-proxies>unix</trusted-proxies>"
        "</security><service><name>site</name><accept>/</accept></service>"
        "<forward-auth><accept>/check</accept><kind>caddy</kind></forward-auth></gateway-config>"
    )
    gateway = load_config(file)
    assert gateway.forward_auth is not None
    assert (gateway.forward_auth.accept, gateway.forward_auth.kind) == ("/check", "caddy")
    assert gateway.trusted_proxies.trusts("10.1.2.3")
    assert gateway.trusted_proxies.trusts(None)


def test_it_needs_trusted_proxies() -> None:
    """Without a list nobody may ask, which is an error rather than a gateway that refuses everything."""
    assert problems(mapping(security=None)) == [
        "forward-auth: forward-auth needs trusted-proxies: only listed proxies may ask"
    ]
    assert problems(mapping(security={"trusted-proxies": []})) == ["security.trusted-proxies: is an empty list"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("proxy.example", "neither an address nor a network"),
        ("10.0.0.1/8", "neither an address nor a network"),
        ("*", "neither an address nor a network"),
        ("127.0.0.1:80", "neither an address nor a network"),
        ("", "neither an address nor a network"),
    ],
)
def test_entries_that_are_no_addresses(entry: str, message: str) -> None:
    """Names, wildcards, ports and networks with host bits are errors."""
    (problem,) = problems(mapping(security={"trusted-proxies": ["10.0.0.1", entry]}))
    assert message in problem
    assert problem.startswith("security.trusted-proxies")


@pytest.mark.parametrize("entry", ["0.0.0.0/0", "::/0"])
def test_a_list_of_everybody_is_a_warning(entry: str) -> None:
    """A network of all addresses lets every client choose its own."""
    (problem,) = load_config(mapping(security={"trusted-proxies": ["10.0.0.1", entry]})).problems
    assert (problem.path, problem.severity) == ("security.trusted-proxies[1]", "warning")
    assert problem.message.startswith("every client counts as a proxy")


def test_check_tells_who_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``check`` names the kind of proxy and the path."""
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(mapping()))
    assert main(["check", str(file)]) == 0
    assert "proxies of the kind traefik ask for decisions at /check" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("forward_auth", "where"),
    [
        ({"accept": "/check"}, "forward-auth.kind"),
        ({"accept": "/check", "kind": "apache"}, "forward-auth.kind"),
        ({"kind": "nginx"}, "forward-auth.accept"),
        ({"accept": "check", "kind": "nginx"}, "forward-auth.accept"),
        ({"accept": "/", "kind": "nginx"}, "forward-auth.accept"),
        ({"accept": "/a/../b", "kind": "nginx"}, "forward-auth.accept"),
        ({"accept": "/a;b", "kind": "nginx"}, "forward-auth.accept"),
        ({"accept": "/check", "kind": "nginx", "trust": "all"}, "forward-auth.trust"),
    ],
)
def test_elements(forward_auth: dict[str, str], where: str) -> None:
    """Path and kind are required and checked; unknown elements are errors."""
    assert [each.partition(":")[0] for each in problems(mapping(**{"forward-auth": forward_auth}))] == [where]


def test_its_path_is_its_own() -> None:
    """A service or a file at the same path is an error."""
    services = [*SERVICES, {"name": "other", "accept": "http://localhost:8000/check"}]
    assert problems(mapping(services=services)) == [
        "forward-auth.accept: duplicate path: service 'other' accepts the same requests"
    ]
    assert problems(mapping(**{"browser-client": "/check"})) == [
        "forward-auth.accept: duplicate path: the gateway serves a file there"
    ]


def test_identity_headers_are_checked() -> None:
    """A header that has another meaning cannot say who the user is."""
    services = [{"name": "site", "accept": "/", "identity-headers": {"user": "Connection"}}]
    (problem,) = problems(mapping(services=services))
    assert problem.startswith("services[0].identity-headers.user: invalid header name 'Connection'")
