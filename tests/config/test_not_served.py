"""Services of the original that are not served here: types, transports, no accept. None of them is ever a way in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load, load_config, loads
from asgi_gateway.config.build import build
from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import Allow, Challenge, Forbid
from tests.asgi import get
from tests.config.helpers import DATA, document, loaded, problems, service
from tests.gateways import App, basic, request, scope
from tests.helpers import ManualClock

PORTAL = DATA / "kaazing" / "portal.xml"
HOSTS = [b"portal.example.org", b"portal.example.org:80", b"portal.example.org:443", b"localhost", b""]


def gateway(*services: dict[str, Any], **more: Any) -> Any:
    return build(load(document(*services, **more), environment={}), clock=ManualClock())


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A users file where the helpers' realm expects it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.xml").write_text(
        "<jaas-config><user><name>ada</name><password>ada-pw</password></user></jaas-config>"
    )


def test_all_of_them_load_and_are_named() -> None:
    """The file loads; each service that is not served is named with its line, and no hint says to open it."""
    found = [(p.line, p.path, p.severity) for p in load(PORTAL, environment={}).problems]
    assert found == [
        (15, "services[1].accept[0]", "warning"),
        (23, "services[2].type", "warning"),
        (28, "services[3].type", "warning"),
        (33, "services[4].accept", "warning"),
        (38, "services[5].accept[0]", "ignored"),
        (39, "services[5].accept[1]", "ignored"),
        (44, "services[6].accept", "warning"),
        (44, "services[6].accept[0]", "ignored"),
        (47, "services[7]", "ignored"),
    ]
    for problem in load(PORTAL, environment={}).problems:
        assert "match-host" not in problem.hint
        assert "add accept" not in problem.hint


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", Challenge),
        ("/anything", Challenge),
        ("/quotes", Forbid),
        ("/quotes/live", Forbid),
        ("/ticker", Forbid),
        ("/half", Forbid),
        ("/feed", Forbid),
    ],
)
async def test_no_door(kind: Any, host: bytes, path: str, answer: type) -> None:
    """Whatever the Host header says, a service that is not served refuses, and a protected one asks for a login."""
    built = load_config(PORTAL)
    decision = await built.decide(request(path, (b"host", host), kind=kind))
    assert isinstance(decision, answer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "answer"), [("/", Allow), ("/feed", Forbid), ("/quotes", Forbid), ("/ticker", Forbid)]
)
async def test_a_login_opens_protected_ones_only(path: str, answer: type) -> None:
    """A login opens services that are served, and none that are not, whether these have a realm or not."""
    decision = await load_config(PORTAL).decide(request(path, basic("ada", "ada-pw")))
    assert isinstance(decision, answer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "refused",
    [
        {"type": "kerberos5.proxy", "accept": "/x", "realm-name": "demo"},
        {"type": "balancer", "accept": ["ws://a/x", "http://a/x"]},
        {"type": "broadcast", "accept": "http://h:1/x", "match-host": True},
        {"type": "${what}", "accept": "/x"},
        {"accept": "sse://h/x"},
        {"accept": "sse://h/x", "realm-name": "demo"},
        {"accept": "ws://h/x", "type": "proxy", "connect": ["tcp://h:1", "udp://@eth0:1"]},
        {"accept": "http://h/x", "connect": "pipe://inner", "realm-name": "demo"},
        {"accept": ["wse+ssl://h/x"]},
        {"accept": ["tcp://h:1", "/x"]},
        {
            "type": "proxy",
            "accept": "httpx://h/x",
            "connect": "tcp://h:1",
            "cross-site-constraint": {"allow-origin": "*"},
        },
    ],
)
async def test_every_request_is_refused(refused: dict[str, Any], users: None) -> None:
    """Neither a Host, a kind of request, an origin, a preflight nor a login gets past the refusal."""
    source = {**document(refused, {"name": "rest", "accept": "/"}), "properties": {"what": "turn.rest"}}
    built = build(load(source, environment={}))
    for kind in ("http", "websocket"):
        for headers in (
            [],
            [basic("ada", "ada-pw")],
            [(b"host", b"h:1")],
            [(b"host", b"h:1"), (b"origin", b"https://a")],
        ):
            decision = await built.decide(request("/x/y", *headers, kind=kind))
            if "match-host" in refused and (b"host", b"h:1") not in headers:
                assert isinstance(decision, Allow)  # the rest of the site is another service
            else:
                assert isinstance(decision, Forbid)
    headers = [(b"origin", b"https://a"), (b"access-control-request-method", b"GET"), (b"host", b"h:1")]
    assert built.preflight(request("/x", *headers, method="OPTIONS")) is None


@pytest.mark.parametrize(
    "other",
    [
        {"name": "open", "accept": "/x"},
        {"name": "open", "accept": "http://b/x"},
        {"name": "open", "accept": ["/y", "https://c:8443/x/"]},
    ],
)
def test_no_public_service_at_the_path_of_a_refused_one(other: dict[str, Any]) -> None:
    """A public service with the same path would open what is refused, in either order: that is an error."""
    refused = {"name": "pool", "type": "balancer", "accept": "http://a/x"}
    for services in ((refused, other), (other, refused)):
        (found,) = problems(document(*services))
        assert "duplicate accept: service 'open' is public at the same path" in found


def test_two_that_are_refused(users: None) -> None:
    """Two services that are both refused may have the same path."""
    built = gateway(
        {"type": "balancer", "accept": "http://a/x"}, {"type": "broadcast", "accept": ["http://b/x", "ws://b/x"]}
    )
    assert [each.refusal != "" for each in built.services] == [True, True]


@pytest.mark.anyio
async def test_defaults_count(users: None) -> None:
    """A type among the defaults is every service's."""
    source = {**document({"accept": "/x"}, service(type="")), "service-defaults": {"type": "balancer"}}
    built = build(load(source, environment={}))
    assert isinstance(await built.decide(request("/x")), Forbid)
    assert isinstance(await built.decide(request("/one", basic("ada", "ada-pw"))), Allow)
    source = {**document({"accept": "/x"}, service()), "service-defaults": {"type": "balancer"}}
    assert isinstance(await build(load(source, environment={})).decide(request("/one")), Forbid)


def test_conversion_keeps_them_closed() -> None:
    """What is refused in XML is refused in the YAML made of it, and the other way round."""
    source = load(PORTAL, environment={})
    for text, form in ((to_yaml(source), "yaml"), (to_xml(source), "xml")):
        again = loads(text, form, directory=PORTAL.parent, environment={})  # type: ignore[arg-type]
        assert again.config == source.config
        refusals = [(each.name, bool(each.refusal)) for each in build(again).services]
        assert refusals == [(each.name, bool(each.refusal)) for each in build(source).services]


def test_services_without_accept() -> None:
    """A service without accept is listed as ignored and not built; its realm must exist all the same."""
    config = loaded(
        service(), {"name": "jmx", "type": "management.jmx", "realm-name": "demo"}, {"type": "update.check"}
    )
    assert [(p.path, p.severity) for p in config.problems] == [("services[1]", "ignored"), ("services[2]", "ignored")]
    (found,) = problems(document(service(), {"name": "jmx", "realm-name": "dmo"}))
    assert "unknown realm 'dmo'" in found


def test_nothing_is_served() -> None:
    """A file of which no service accepts requests is good, with a warning that says so."""
    found = loaded({"name": "jmx", "realm-name": "demo"}, {"accept": "tcp://h:1"}).problems
    assert any("every request is refused" in problem.message for problem in found)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("http://a:1/x", "http://a:2/x", "by its port alone"),
        ("http://a:1/x", "http://b:1/x", "by its host alone"),
        ("http://a:1/x", "https://b:2/x", "by its host and port alone"),
        ("http://a/x", "/x", "by its host alone"),
    ],
)
def test_what_two_equal_paths_differ_by(first: str, second: str, words: str) -> None:
    """The error says whether host or port differ, and advises match-host only where both services are protected."""
    one = service(accept=first)
    (both,) = problems(document(one, service(name="two", accept=second)))
    (mixed,) = problems(document(one, {"name": "two", "accept": second}))
    assert words in both
    assert words in mixed
    assert "match-host" in both
    assert "match-host" not in mixed


@pytest.mark.anyio
@pytest.mark.parametrize("cors", ["gateway", "application"])
async def test_no_request_of_any_form_enters(cors: str, users: None) -> None:
    """No method, preflight, endpoint or handshake of a refused service reaches the application."""
    app = App()
    refused: dict[str, Any] = {"type": "broadcast", "accept": "/x", "cors": cors, "realm-name": "demo"}
    refused["cross-site-constraint"] = {"allow-origin": "*"}
    config = document(refused, service())
    config["extended-handshake"] = True
    wrapped = GatewayMiddleware(app, config)
    cross = (("origin", "https://a.example"), ("access-control-request-method", "PUT"))
    for path in ("/x", "/x/", "/x/y", "/x/;o", "/x/;t", "/x/;a", "/x/;e/cookies", "/x/y/;o"):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            for headers in ((), cross, cross[:1]):
                answer = await get(wrapped, path, method=method, headers=headers, basic=("ada", "ada-pw"))
                assert answer.status not in (200, 204, 401), (path, method, headers, answer.status)
        for subprotocols in ([], ["x-kaazing-handshake"], ["chat"]):
            for lines in ((), ((b"origin", b"https://a.example"),)):
                sent = await _open_socket(wrapped, path, subprotocols, lines)
                assert sent[0] in ("websocket.http.response.start", "websocket.close"), (path, subprotocols, sent)
    assert app.scopes == []
    assert (await get(wrapped, "/one", basic=("ada", "ada-pw"))).status == 200


async def _open_socket(app: Any, path: str, subprotocols: list[str], headers: Any) -> list[str]:
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if not sent else {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app(scope(path, *headers, kind="websocket", subprotocols=subprotocols), receive, send)
    return sent
