"""From a validated configuration to a Gateway: plugins, realms and services, and every problem with its position."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load, load_config, loads
from asgi_gateway.config.build import build
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import Allow, Challenge, Forbid, Grant
from asgi_gateway.plugins.login_module import LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import ModuleOptions
from tests.config.helpers import document, realm, service
from tests.gateways import basic, request
from tests.helpers import ManualClock

HERE = f"class:{__name__}"


class Options(ModuleOptions):
    mood: str = "good"
    number: int = 0


class Plugin(LoginModule):
    """Lets everybody in who has a token; its option says how it behaves when it is built."""

    Options = Options
    cacheable = True

    def __init__(self, options: Options, context: ModuleContext) -> None:
        super().__init__(options, context)
        if options.mood == "config":
            raise ConfigError([Problem("no such file"), Problem("line 3 is bad", Path("users.xml"), 3, 1)])
        if options.mood == "bug":
            raise RuntimeError("a bug")
        if options.mood == "warn":
            context.warn("a sentence")
            context.warn(Problem("in a file", Path("users.xml"), 2, 1))

    async def login(self, attempt: Any) -> Grant:
        return Grant.user(attempt.username, ["R"])


class Strange(ModuleOptions):
    """Options whose validator fails in a way that pydantic does not know."""

    @classmethod
    def model_validate(cls, *args: Any, **more: Any) -> Any:
        raise KeyError("strange")


class StrangePlugin(Plugin):
    Options = Strange


class Adds(LoginModule):
    """Authenticates nobody and always grants."""

    authenticates = False


def plugin(name: str = "Plugin", success: str = "required", **more: Any) -> dict[str, Any]:
    options = {key: str(value) for key, value in more.items()}
    return {"type": f"{HERE}.{name}", "success": success, "options": options}


def built(*services: dict[str, Any], modules: tuple[Any, ...] = (), **more: Any) -> Gateway:
    realms = (realm(**{"login-modules": list(modules or (plugin(),)), **more}),)
    return build(load(document(*services, realms=realms), environment={}), clock=ManualClock())


def refused(*services: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(*services, **more)
    return [f"{p.path}: {p.message} ({p.hint})" for p in caught.value.problems if p.severity == "error"]


MODULES = "security.realms[0].authentication.login-modules"


def test_no_services() -> None:
    """Without services the one realm protects everything, for any valid user."""
    (only,) = built().services
    assert [only_realm.name for only_realm in only.realms] == ["demo"]
    assert not only.authorization.roles
    assert only.mounts[0].path == ""


@pytest.mark.anyio
async def test_services() -> None:
    """Services get their paths, realms and roles; one without a realm is public, the rest of the site closed."""
    gateway = built(
        service(**{"accept": "/one/", "authorization-constraint": {"require-role": ["R"]}}),
        service(**{"name": "", "accept": "ws://h/two", "authorization-constraint": {"require-role": ["X"]}}),
        {"name": "open", "accept": "/open"},
    )
    assert [each.name for each in gateway.services] == ["one", "ws://h/two", "open"]
    for path, kind, headers, answer in (
        ("/one", "http", [basic("joe")], Allow),
        ("/one", "http", [], Challenge),
        ("/two", "websocket", [basic("joe")], Forbid),
        ("/two", "http", [basic("joe")], Forbid),
        ("/open", "http", [], Allow),
        ("/", "http", [basic("joe")], Forbid),
    ):
        assert isinstance(await gateway.decide(request(path, *headers, kind=kind)), answer)


def test_a_realm_of_everything() -> None:
    """What the configuration says of a realm is what the realm has."""
    more = {
        "http-challenge-scheme": ["Application Token", "Basic"],
        "http-header": ["X-A"],
        "http-query-parameter": ["b"],
        "http-cookie": ["c"],
        "session-timeout": "10 s",
        "authorization-timeout": "5 s",
    }
    (made,) = built(**more).realms
    assert [value for _, value in made.challenge_headers()] == [
        b"Application Token",
        b'Basic realm="demo", charset="UTF-8"',
    ]
    reader = made.reader
    assert (reader.headers, reader.query_parameters, reader.cookies) == (("X-A",), ("b",), ("c",))
    assert (made.settings.session_timeout, made.settings.authorization_timeout) == (10, 5)
    (entry,) = made.chain.entries
    assert (entry.flag, entry.name, entry.time_limit) == ("required", f"{HERE}.Plugin", 30)


@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        ("https://A.Example", b"https://a.example"),
        ("https://a.example:443", b"https://a.example"),
        ("http://a.example:80", b"http://a.example"),
        ("http://a.example:443", b"http://a.example:443"),
        ("http://b.example, https://a.example", b"https://a.example"),
    ],
)
def test_origins(listed: str, origin: bytes) -> None:
    """A listed origin is the one that browsers send, however it was written."""
    cross = {"allow-origin": listed, "allow-methods": "PUT,PATCH", "allow-headers": "X-A", "maximum-age": "1 minute"}
    gateway = built(service(**{"cross-site-constraint": cross}))
    headers = ((b"origin", origin), (b"access-control-request-method", b"PATCH"))
    answer = gateway.preflight(request("/one", *headers, method="OPTIONS"))
    assert answer is not None
    assert dict(answer)[b"access-control-allow-origin"] == origin
    assert dict(answer)[b"access-control-allow-headers"] == b"x-a"
    assert dict(answer)[b"access-control-max-age"] == b"60"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("accept", "hosts"),
    [
        ("http://h/one", {b"h": True, b"h:8000": True, b"H": True, b"g": False, b"": False}),
        ("http://h:80/one", {b"h": True, b"h:80": True, b"h:8000": False}),
        ("http://h:8000/one", {b"h": False, b"h:8000": True}),
        ("/one", {b"h": True, b"": True}),
    ],
)
async def test_hosts(accept: str, hosts: dict[bytes, bool]) -> None:
    """With match-host the Host header must say the host and the port, the scheme's own port left out or not."""
    gateway = built(service(**{"accept": [accept, "http://x/one"], "match-host": True}))
    for host, expected in hosts.items():
        decision = await gateway.decide(request("/one", (b"host", host), basic("joe")))
        assert isinstance(decision, Allow) is expected


def test_hosts_that_mean_the_same() -> None:
    """Two services whose hosts differ on paper only are an error, not a traceback."""
    found = refused(
        service(**{"accept": "http://h:80/x", "match-host": True}),
        service(**{"name": "two", "accept": "https://h:443/x", "match-host": True}),
    )
    assert found == ["services: services one and two accept the same /x (change the path, or the host, of one of them)"]


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([plugin("Missing")], f"{MODULES}[0].type: login module {HERE}.Missing"),
        (
            [{"type": "fiel", "success": "required"}],
            f"{MODULES}[0].type: there is no login module 'fiel' (did you mean",
        ),
        (
            [plugin(), plugin(moood="x")],
            f"{MODULES}[1].options.moood: login module {HERE}.Plugin has no option 'moood'",
        ),
        (
            [{"type": "grant", "success": "required"}],
            f"{MODULES}[0].options: login module grant needs the option 'name'",
        ),
        ([plugin(number="x")], f"{MODULES}[0].options.number: Input should be a valid integer"),
        ([plugin(mood="config")], f"{MODULES}[0].options: no such file"),
        ([plugin(mood="bug")], f"{MODULES}[0]: login module {HERE}.Plugin: RuntimeError: a bug"),
        ([plugin("StrangePlugin")], f"{MODULES}[0].options: login module {HERE}.StrangePlugin: KeyError: 'strange'"),
        ([plugin("Adds"), plugin(success="optional")], f"{MODULES}: this chain lets anybody in"),
        ([{"type": "timeout", "success": "required"}], f"{MODULES}[0].options: give session-timeout or"),
        (
            [{"type": "timeout", "success": "required", "options": {"seconds": "1"}}],
            f"{MODULES}[0].options.seconds: login module timeout has no option 'seconds' (one of: ",
        ),
    ],
)
def test_problems_of_modules(modules: list[Any], expected: str) -> None:
    """Each way a login module can be wrong is told with its place and, where one is known, a hint."""
    found = refused(modules=tuple(modules))
    assert any(line.startswith(expected) for line in found), found


def test_what_a_comma_cut_off_is_not_shown() -> None:
    """The rest of an unquoted secret, which YAML takes for an option of its own, is not in the error."""
    found = refused(modules=(plugin(canary=""),))
    assert "needs quotes" in found[0]
    assert not any("canary" in line for line in found)


def test_no_options_at_all() -> None:
    """A module without options says so."""
    found = refused(modules=({"type": f"{HERE}.Adds", "success": "required", "options": {"x": "1"}},))
    assert found[0].endswith("(it has no options)")


def test_a_problem_with_a_place_of_its_own() -> None:
    """A problem in a module's own file keeps that file and line; the one without gets the configuration's."""
    with pytest.raises(ConfigError) as caught:
        built(modules=(plugin(mood="config"),))
    places = [(problem.file, problem.line) for problem in caught.value.problems]
    assert (Path("users.xml"), 3) in places
    assert len(places) == 2


def test_all_problems_at_once() -> None:
    """Everything that is wrong is told in one go, schemes included."""
    found = refused(
        modules=(plugin(x="1"), plugin("Missing")), **{"http-challenge-scheme": ["Digest", "Basik", "Basic"]}
    )
    assert len(found) == 4
    assert "there is no challenge scheme 'Basik' (did you mean 'Basic'?)" in found[1]


def test_warnings() -> None:
    """What a module warns about stands among the gateway's problems, as a warning."""
    problems = built(modules=(plugin(mood="warn"),)).problems
    assert [(problem.severity, problem.message, problem.line) for problem in problems] == [
        ("warning", "a sentence", 0),
        ("warning", "in a file", 2),
    ]


def test_line_and_column() -> None:
    """A plugin's problem in a file has that file's line and column."""
    text = f"""security:
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        login-modules:
          - type: {HERE}.Plugin
            success: required
            options: {{moood: x}}
"""
    with pytest.raises(ConfigError) as caught:
        build(loads(text, "yaml", environment={}))
    (problem,) = caught.value.problems
    assert problem.line == 9


@pytest.mark.anyio
async def test_invalidate(caplog: pytest.LogCaptureFixture) -> None:
    """A module whose data changed makes the realm forget, and is logged; calling it while built does no harm."""
    caplog.set_level(logging.INFO, "asgi_gateway.audit")
    gateway = built()
    (made,) = gateway.realms
    await gateway.decide(request("/", basic("joe")))
    assert made.cached_result([basic("joe")], b"", "http") is not None
    caplog.clear()
    made.chain.entries[0].module.context.invalidate()
    assert made.cached_result([basic("joe")], b"", "http") is None
    (event,) = (json.loads(record.message) for record in caplog.records)
    assert (event["outcome"], event["realm"], event["module"]) == ("reload", "demo", f"{HERE}.Plugin")


def test_unused_realm() -> None:
    """A realm that no service uses and that could protect nothing is not built, and stops nobody."""
    realms = (realm(**{"login-modules": [plugin()]}), {"name": "empty"})
    gateway = build(load(document(service(), realms=realms), environment={}))
    assert [each.name for each in gateway.realms] == ["demo"]


def test_load_config(tmp_path: Path) -> None:
    """A file becomes a gateway; what is missing next to it is an error that names it."""
    (tmp_path / "gateway.yaml").write_text(
        "security: {realms: [{name: demo, authentication: {http-challenge-scheme: Basic, login-modules: "
        "[{type: file, success: required, options: {file: users.xml}}]}}]}"
    )
    with pytest.raises(ConfigError, match=r"users\.xml"):
        load_config(tmp_path / "gateway.yaml")
    (tmp_path / "users.xml").write_text(
        "<jaas-config><user><name>joe</name><password>pw</password></user></jaas-config>"
    )
    clock = ManualClock()
    assert load_config(tmp_path / "gateway.yaml", clock=clock).clock is clock
