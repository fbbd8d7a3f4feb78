"""docs/reference/status.md is true: every row on service types, properties, schemes and options is tried."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load_config
from asgi_gateway.config.load import LoadedConfig, read
from asgi_gateway.config.model import SERVICE_TYPES, UNSERVED_TYPES
from asgi_gateway.model import Forbid
from tests.config.helpers import document, service
from tests.gateways import basic, request

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "status.md").read_text()
STATES = {"works", "ignored", "refused", "error"}
PROPERTIES: dict[str, dict[str, Any]] = {
    "directory": {"directory": "/"},
    "http.redirect": {"location": "https://a.example/"},
}
CONNECT = {"http.proxy": "http://localhost:9/", "proxy": "tcp://localhost:9", "broadcast": "udp://localhost:9"}
VALUES = {
    "http.realm": "demo",
    "welcome-file": "index.html",
    "options": "indexes",
    "status-code": "301",
    "location": "https://a.example/",
    "error-pages-directory": "/errors",
    "patterns": "**/*",
    "ssl.ciphers": "HIGH",
    "ssl.encryption": "disabled",
    "directory": "/",
    "rewrite-location": "disabled",
    "rewrite-cookie-path": "disabled",
    "rewrite-cookie-domain": "disabled",
    "use-forwarded": "exclude",
}

ACCEPT_OPTIONS = (
    "http.realm http.bind https.bind ws.bind wss.bind ssl.bind tcp.bind udp.bind http.transport pipe.transport "
    "ssl.transport tcp.transport ws.maximum.message.size ws.inactivity.timeout http.keepalive.timeout "
    "http.server.header ssl.ciphers ssl.protocols ssl.encryption ssl.verify-client socks.mode socks.ssl.ciphers "
    "socks.ssl.protocols socks.ssl.verify-client socks.retry.maximum.interval tcp.maximum.outbound.rate "
    "udp.interface"
)
CONNECT_OPTIONS = (
    "http.max.authentication.attempts http.keepalive http.keepalive.connections http.keepalive.timeout "
    "http.maximum.redirects http.transport pipe.transport ssl.transport tcp.transport tcp.bind ws.version "
    "ws.inactivity.timeout ssl.ciphers ssl.protocols ssl.encryption socks.mode socks.timeout socks.ssl.ciphers "
    "socks.ssl.protocols socks.ssl.verify-client udp.interface"
)
"""The options that the original's schemas and its reference name."""


def rows(heading: str) -> list[tuple[str, str]]:
    """The cells of the first column of a table, and those of the second one."""
    below = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    table = re.split(r"^## ", below, flags=re.MULTILINE)[0]
    found = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(row[0].removeprefix("| "), row[1].strip()) for row in found[1:]]


def named(heading: str) -> list[tuple[str, str]]:
    """Each name in the first column of a table, with its state."""
    return [(name, state) for cell, state in rows(heading) for name in re.findall(r"`([^`]+)`", cell)]


def pairs(heading: str) -> list[tuple[str, str, str]]:
    """The two names of each cell of a first column, such as a type and its property, with the state."""
    found = [(*re.findall(r"`([^`]+)`", cell), state) for cell, state in rows(heading)]
    return [(each[0], each[1], each[2]) for each in found if len(each) == 3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with users and a folder of files."""
    (tmp_path / "users.xml").write_text(
        "<jaas-config><user><name>ada</name><password>ada-pw</password></user></jaas-config>"
    )
    (tmp_path / "web").mkdir()
    return tmp_path


def file_with(home: Path, tried: dict[str, Any], **more: Any) -> Path:
    """A file with a service to try beside one that works."""
    file = home / "gateway.yaml"
    file.write_text(json.dumps(document(tried, service()) | more))
    return file


def of_type(name: str, **more: Any) -> dict[str, Any]:
    """A service of a type, with what the type needs."""
    needed: dict[str, Any] = {"name": "tried", "type": name}
    if name in PROPERTIES:
        needed["properties"] = PROPERTIES[name]
    if name in CONNECT:
        needed["connect"] = CONNECT[name]
    return needed | {"accept": "/tried"} | more


def severities(loaded: LoadedConfig, path: str) -> set[str]:
    """The severities of the problems at a path and below it."""
    return {each.severity for each in loaded.problems if each.path.startswith(path)}


async def is_refused(file: Path) -> bool:
    """Whether every request to the service that is tried is refused, while the other one works."""
    gateway = load_config(file)
    other = await gateway.decide(request("/one", basic("ada", "ada-pw")))
    assert not isinstance(other, Forbid)
    refused = []
    for kind in ("http", "websocket"):
        for headers in ([], [basic("ada", "ada-pw")]):
            decision = await gateway.decide(request("/tried", *headers, kind=kind))
            refused.append(isinstance(decision, Forbid))
    return all(refused)


def test_every_state_is_one_of_four() -> None:
    """The tables know four states, and the page explains them."""
    headings = ["Service types", "Properties of service types", "Elements of a service", "Schemes of accept URLs"]
    headings += ["Options of `accept-options`", "Options of `connect-options`"]
    assert {state for heading in headings for _, state in rows(heading)} == STATES
    assert [state for state in sorted(STATES) if f"- **{state}**: " not in PAGE] == []


# ---------------------------------------------------------------------------------------------------------------- types


def test_every_type_has_its_row() -> None:
    """Every type that is served, and every one of the original's that is not, stands in the table."""
    listed = {name for name, _ in named("Service types")}
    assert sorted((set(SERVICE_TYPES) | UNSERVED_TYPES) - listed) == []
    assert {name for name, state in named("Service types") if state == "works"} - {"type", "connect"} == set(
        SERVICE_TYPES
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "state"), [each for each in named("Service types") if each[0] not in ("type", "connect", "-extension")]
)
async def test_types(home: Path, name: str, state: str) -> None:
    """A type is served, or refused with or without a realm; one without accept is listed as ignored."""
    if state == "works":
        loaded = read(file_with(home, of_type(name)))
        assert severities(loaded, "services[0]") <= {"ignored"}
        assert loaded.config.services is not None
        assert not loaded.config.services[0].refusal
        return
    if state == "ignored":
        tried = of_type(name)
        del tried["accept"]
        assert severities(read(file_with(home, tried)), "services[0]") == {"ignored"}
    for more in ({}, {"realm-name": "demo"}):
        file = file_with(home, of_type(name, **more))
        assert severities(read(file), "services[0].type") == {"warning"}
        assert await is_refused(file)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("http.prox", "did you mean 'http.proxy'?"),
        ("dirctory", "did you mean 'directory'?"),
        ("Directory", "did you mean 'directory'?"),
        ("ehco", "did you mean 'echo'?"),
        ("http.redirct", "did you mean 'http.redirect'?"),
        ("balancr", "did you mean 'balancer'?"),
        ("websocket", "one of: "),
    ],
)
@pytest.mark.parametrize("accept", ["/tried", None])
def test_unknown_types(home: Path, name: str, hint: str, accept: str | None) -> None:
    """A type that neither this gateway nor the original has is an error with the one that was probably meant."""
    tried = {"name": "tried", "type": name} | ({"accept": accept} if accept else {})
    found = [each for each in read(file_with(home, tried)).problems if each.severity == "error"]
    assert [each.path for each in found] == ["services[0].type"]
    assert hint in found[0].hint


@pytest.mark.parametrize(("kind", "name", "state"), pairs("Properties of service types"))
def test_properties(home: Path, kind: str, name: str, state: str) -> None:
    """A property works without a word about it, or is listed as ignored, where the back end is built."""
    value: Any = VALUES.get(name, "1")
    if (kind, name) == ("directory", "location"):
        value = [{"patterns": "**/*", "cache-control": "max-age=1"}]
    properties = PROPERTIES.get(kind, {}) | {name: value}
    gateway = load_config(file_with(home, of_type(kind, properties=properties)))
    found = {each.severity for each in gateway.problems if each.path.startswith("services[0].properties")}
    assert found == (set() if state == "works" else {"ignored"})


def test_every_property_has_its_row() -> None:
    """No property of a type that is built here is left out of the table."""
    listed = {(kind, name) for kind, name, _ in pairs("Properties of service types")}
    assert {("directory", each) for each in ("directory", "welcome-file", "options", "location")} <= listed
    assert {("echo", "repeat"), ("http.redirect", "location"), ("http.redirect", "status-code")} <= listed


# ------------------------------------------------------------------------------------------------- elements and schemes


@pytest.mark.parametrize(("name", "state"), named("Elements of a service"))
def test_elements(home: Path, name: str, state: str) -> None:
    """An element of a service works without a word about it, or is listed as ignored."""
    values: dict[str, Any] = {
        "accept": "/tried",
        "type": "echo",
        "properties": {"repeat": "1"},
        "connect": "http://localhost:9/",
        "accept-options": {"http.bind": "8001"},
        "connect-options": {"http.max.authentication.attempts": "0"},
        "realm-name": "demo",
        "authorization-constraint": {"require-valid-user": ""},
        "cross-site-constraint": {"allow-origin": "*"},
        "mime-mapping": {"extension": "a", "mime-type": "a/b"},
    }
    tried = of_type("directory" if name == "mime-mapping" else "echo")
    if name == "connect":
        tried = of_type("http.proxy")
    if name == "service-defaults":
        loaded = read(file_with(home, tried, **{"service-defaults": {"description": "x"}}))
    else:
        more = {"realm-name": "demo"} if name == "authorization-constraint" else {}
        loaded = read(file_with(home, tried | {name: values.get(name, "x")} | more))
    found = {each.severity for each in loaded.problems if name in each.path}
    assert found == (set() if state == "works" else {"ignored"})


@pytest.mark.anyio
@pytest.mark.parametrize(("scheme", "state"), named("Schemes of accept URLs"))
async def test_accept_schemes(home: Path, scheme: str, state: str) -> None:
    """By the scheme of its accept a service works, is listed as ignored, or is refused, also with another one."""
    kind = "echo" if state == "works" else "proxy"
    file = file_with(home, of_type(kind, accept=f"{scheme}://localhost:8000{'' if state == 'ignored' else '/tried'}"))
    found = severities(read(file), "services[0]")
    if state == "works":
        assert found == set()
    else:
        assert found == {"warning" if state == "refused" else "ignored"}
        assert await is_refused(file)
        both = file_with(home, of_type(kind, accept=[f"{scheme}://localhost:8000", "ws://localhost:8000/tried"]))
        assert await is_refused(both)


# -------------------------------------------------------------------------------------------------------------- options


def option_rows() -> list[tuple[str, str, str, str]]:
    """The options of both elements: element, option, value, state. A cell with a colon has one option and its value."""
    found = []
    for element in ("accept-options", "connect-options"):
        for cell, state in rows(f"Options of `{element}`"):
            names = re.findall(r"`([^`]+)`", cell)
            if ":" in cell:
                found.append((element, names[0], names[1], state))
            else:
                found += [(element, name, VALUES.get(name, "8001"), state) for name in names]
    return found


@pytest.mark.anyio
@pytest.mark.parametrize(("element", "option", "value", "state"), option_rows())
async def test_options(home: Path, element: str, option: str, value: str, state: str) -> None:
    """An option works without a word about it, is listed as ignored, or is an error."""
    if option == "http.max.authentication.attempts":
        value = "3"
    if option.endswith(".transport"):
        value = "pipe://inner"
    accept = [f"{scheme}://localhost:8000/tried" for scheme in ("http", "ws")]
    if option.startswith(("https", "wss")):
        accept = [f"{scheme}://localhost:8443/tried" for scheme in ("https", "wss")]
    file = file_with(home, of_type("http.proxy", accept=accept) | {element: {option: value}})
    places = {
        f"services[0].{element}.{option}",
        "services[0].realm-name[0]",
        "services[0].bind",
        f"services[0].bind.{option}",
    }
    if state == "refused":
        assert severities(read(file), "services[0].accept") == {"warning", "ignored"}
        assert await is_refused(file)
        return
    found = {each.severity for each in read(file).problems if each.path in places}
    assert found == {"works": set(), "ignored": {"ignored"}, "error": {"error"}}[state]


def test_every_option_of_the_original_has_its_row() -> None:
    """The options that the original's schemas and reference name are all in the tables."""
    for element, names in (("accept-options", ACCEPT_OPTIONS), ("connect-options", CONNECT_OPTIONS)):
        listed = {option for where, option, _, _ in option_rows() if where == element}
        assert sorted(set(names.split()) - listed) == []


@pytest.mark.parametrize("element", ["accept-options", "connect-options"])
@pytest.mark.parametrize("option", ["http.relm", "http.max.authentication.attemps", "htp.bind", "what.is.this"])
def test_unknown_options(home: Path, element: str, option: str) -> None:
    """An option that the original does not have is an error."""
    loaded = read(file_with(home, of_type("http.proxy") | {element: {option: "1"}}))
    assert severities(loaded, f"services[0].{element}") == {"error"}


def test_the_rows_of_the_two_documents() -> None:
    """What answers a back end's 401 works, by the table of clients."""
    states = dict(named("Clients"))
    assert states["http.max.authentication.attempts"] == "works"
    assert states["http.authenticator"] == "works"
