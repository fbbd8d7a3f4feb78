"""From a validated configuration to a Gateway: plugins, realms and services, and every problem with its position."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import field_validator

from asgi_gateway.config import load, load_config, loads
from asgi_gateway.config.build import build
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import Allow, Challenge, Forbid, Grant
from asgi_gateway.passwords import hash_password
from asgi_gateway.plugins.login_module import LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import ModuleOptions
from asgi_gateway.plugins.password_login import PasswordLoginModule
from tests.config.helpers import document, realm, service
from tests.gateways import basic, request
from tests.helpers import ManualClock

HERE = f"class:{__name__}"


class Options(ModuleOptions):
    mood: str = "good"
    number: int = 0


class Plugin(LoginModule):
    """Lets everybody in who has a token; its option says how it behaves when it is built."""

    Options: ClassVar[type[ModuleOptions]] = Options
    cacheable = True

    def __init__(self, options: Any, context: ModuleContext) -> None:
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
    """Does not authenticate, and always grants."""

    authenticates = False

    async def login(self, attempt: Any) -> Grant:
        return Grant()


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
    more: dict[str, Any] = {
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
            f"{MODULES}[0].type: unknown login module 'fiel' (did you mean",
        ),
        (
            [plugin(), plugin(moood="x")],
            f"{MODULES}[1].options.moood: login module {HERE}.Plugin: unknown option 'moood'",
        ),
        (
            [{"type": "grant", "success": "required"}],
            f"{MODULES}[0].options: login module grant: missing option 'name'",
        ),
        ([plugin(number="x")], f"{MODULES}[0].options.number: expected a whole number"),
        ([plugin(mood="config")], f"{MODULES}[0].options: no such file"),
        ([plugin(mood="bug")], f"{MODULES}[0]: login module {HERE}.Plugin: RuntimeError: a bug"),
        ([plugin("StrangePlugin")], f"{MODULES}[0].options: login module {HERE}.StrangePlugin: KeyError: 'strange'"),
        ([plugin("Adds"), plugin(success="optional")], f"{MODULES}: the chain grants access without authentication"),
        ([{"type": "timeout", "success": "required"}], f"{MODULES}[0].options: give session-timeout or"),
        (
            [{"type": "timeout", "success": "required", "options": {"seconds": "1"}}],
            f"{MODULES}[0].options.seconds: login module timeout: unknown option 'seconds' (one of: ",
        ),
    ],
)
def test_problems_of_modules(modules: list[Any], expected: str) -> None:
    """Each way in which a login module can be wrong is an error with a position and, where one is known, a hint."""
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
    """All errors are reported in one run, those of schemes included."""
    found = refused(
        modules=(plugin(x="1"), plugin("Missing")), **{"http-challenge-scheme": ["Digest", "Basik", "Basic"]}
    )
    assert len(found) == 4
    assert "unknown challenge scheme 'Basik' (did you mean 'Basic'?)" in found[1]


def test_warnings() -> None:
    """A module's warnings are among the gateway's problems."""
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
    """A realm that no service uses and that could protect nothing is not built, and is not an error."""
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


# --------------------------------------------------------------------------------------- problems and their positions

FILE = """\
security:
  keystore: {file: nowhere.p12}
  session-keys: {file: nowhere.keys}
  state: {type: sqlite, options: {file: nowhere/state.db}}
  realms:
    - name: one
      descripton: x
      authentication:
        http-challenge-scheme: Basik
        login-modules:
          - {type: file, success: required, options: {fiel: users.yaml}}
          - {type: file, success: required, options: {file: nowhere.yaml}}
          - {type: grant, success: requierd, options: {name: x}}
    - name: two
      authentication:
        http-challenge-scheme: Basic
        authorization-mode: recycle
        login-modules:
          - {type: grant, success: required, options: {nam: x}}
          - {type: file, success: required, options: {filename: nowhere.xml}}
    - name: spare
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: fle, success: required}]
services:
  - {name: a, accept: /a/*, realm-name: one}
  - {name: b, accept: /b, realm-name: tow}
"""


def test_all_errors_of_all_phases_at_once(tmp_path: Path) -> None:
    """Errors in names, values, options, plugins and files are reported in one run, in the order of the file."""
    (tmp_path / "gateway.yaml").write_text(FILE)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "gateway.yaml")
    errors = [each for each in caught.value.problems if each.severity == "error"]
    found = [(each.line, each.path.rpartition("login-modules")[2]) for each in errors]
    assert found == [
        (2, "security.keystore"),
        (3, "security.session-keys"),
        (4, "security.state.options"),
        (7, "security.realms[0].descripton"),
        (9, "security.realms[0].authentication.http-challenge-scheme[0]"),
        (11, "[0].options.fiel"),
        (12, "[1].options.file"),
        (13, "[2].success"),
        (19, "[0].options"),
        (19, "[0].options.nam"),
        (20, "[1].options.filename"),
        (24, "[0].type"),
        (26, "services[0].accept[0]"),
        (27, "services[1].realm-name[0]"),
    ]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"file": "nowhere.yaml"}, "options.file"),
        ({"filename": "${name}"}, "options.filename"),
        ({"file": "users.htpasswd", "roles": "sub/nowhere.roles"}, "options.roles"),
    ],
)
def test_a_missing_file_is_told_where_it_is_named(
    options: dict[str, str], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error for a missing file is at the value that names the file, and names the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.htpasswd").write_text(f"joe:{hash_password('x')}\n")
    source = document(
        realms=(realm(**{"login-modules": [{"type": "file", "success": "required", "options": options}]}),)
    )
    with pytest.raises(ConfigError) as caught:
        build(load({**source, "properties": {"name": "nowhere.xml"}}, environment={}))
    (problem,) = [each for each in caught.value.problems if each.severity == "error"]
    assert problem.path == f"security.realms[0].authentication.login-modules[0].{path}"
    assert problem.message.startswith(str(tmp_path))
    assert "nowhere" in problem.message


@pytest.mark.parametrize("value", ["{USERNAME}", "{ USERNAME }", "{a, b}"])
def test_a_placeholder_without_quotes(value: str) -> None:
    """The error for a placeholder without quotes, which YAML reads as a mapping, says to quote it."""
    text = f"""
security:
  realm:
    name: a
    authentication:
      http-challenge-scheme: Basic
      login-module: {{type: '{HERE}.Plugin', success: required, options: {{mood: {value}}}}}
"""
    with pytest.raises(ConfigError) as caught:
        build(loads(text, "yaml", environment={}))
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == ("expected text, found a mapping", 'quote it: mood: "{…}"')


class Directory(ModuleOptions):
    """Options with a validator whose error shows the value, as a careless plugin's may."""

    userProvider: str = ""

    @field_validator("userProvider")
    @classmethod
    def _scheme(cls, value: str) -> str:
        raise ValueError(f"takes ldap URLs, not {value}; write ldap://")


class DirectoryPlugin(Plugin):
    Options = Directory

    def __init__(self, options: Any, context: ModuleContext) -> None:
        raise ConfigError(f"cannot use {options.userProvider}")


@pytest.mark.parametrize(
    "url",
    [
        "http://cn=admin:hunter2@ldap.example.com",
        "ldpa://admin:hun@ter2@host/dc=x",
        "https://admin:hunter2/x@h, http://b:hunter2@i",
        "x://:hunter2@",
    ],
)
def test_no_password_of_a_url_is_shown(url: str) -> None:
    """A message never shows the user name and the password of a URL, whoever wrote it."""
    for name in ("DirectoryPlugin", "UrlPlugin"):
        found = refused(modules=(plugin(name, userProvider=url),))
        assert not any("hunter2" in line or "ter2" in line or "admin" in line for line in found)
        assert any("://…@" in line for line in found)


class UrlPlugin(Plugin):
    class Options(ModuleOptions):
        userProvider: str = ""

    def __init__(self, options: Any, context: ModuleContext) -> None:
        raise ConfigError(f"cannot use {options.userProvider}")


def test_a_warning_once_for_each_file(tmp_path: Path) -> None:
    """A users file that several realms use has its warning once; two files have one each."""
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("users: [{name: joe, password: joe-pw}]")
        (tmp_path / name).chmod(0o600)

    def chain(file: str) -> list[Any]:
        return [{"type": "file", "success": "required", "options": {"file": str(tmp_path / file)}}]

    realms = tuple(realm(f"r{i}", **{"login-modules": chain("b.yaml" if i == 3 else "a.yaml")}) for i in range(6))
    services = [service(name=f"s{i}", accept=f"/{i}", **{"realm-name": f"r{i}"}) for i in range(6)]
    found = build(load(document(*services, realms=realms), environment={})).problems
    assert [problem.file for problem in found] == [tmp_path / "a.yaml", tmp_path / "b.yaml"]


@pytest.mark.parametrize(
    ("roles", "warned"),
    [
        (["ADMIN"], []),
        (["*"], []),
        (["EXTRA"], []),
        (["ADMINS"], ["no user has the role 'ADMINS'"]),
        (["ADMIN", "admin"], ["no user has the role 'admin'"]),
        (["ADMIN, EXTRA"], ["one role with the name 'ADMIN, EXTRA'", "no user has the role"]),
        (["cn=a,ou=b"], ["no user has the role"]),
    ],
)
def test_roles_that_no_user_has(roles: list[str], warned: list[str], tmp_path: Path) -> None:
    """A required role that no module can grant, and one that looks like a list, are warnings with their places."""
    (tmp_path / "users.yaml").write_text(
        f"roles: [{{name: ADMIN}}]\nusers: [{{name: joe, password: '{hash_password('x')}', roles: [ADMIN]}}]"
    )
    chain = [
        {"type": "file", "success": "required", "options": {"file": str(tmp_path / "users.yaml")}},
        {"type": "grant", "success": "optional", "options": {"name": "EXTRA"}},
        {"type": "timeout", "success": "optional", "options": {"session-timeout": "1 h"}},
    ]
    one = service(**{"authorization-constraint": {"require-role": roles}})
    found = build(load(document(one, realms=(realm(**{"login-modules": chain}),)), environment={})).problems
    assert [problem.severity for problem in found] == ["warning"] * len(warned)
    for expected, problem in zip(sorted(warned), sorted(each.message for each in found), strict=True):
        assert problem.startswith(expected)
    assert all(problem.path.startswith("services[0].authorization-constraint.require-role[") for problem in found)


def test_roles_of_other_modules_are_not_known() -> None:
    """Where the roles of a module are not known, no role is a warning."""
    assert built(service(**{"authorization-constraint": {"require-role": "X"}})).problems == ()


class NotAsync(LoginModule):
    def login(self, attempt: Any) -> Any:
        return None


class NotAsyncClose(Plugin):
    def close(self) -> Any:
        return None


class Generator(Plugin):
    async def login(self, attempt: Any) -> Any:
        yield None


class NoLogin(LoginModule):
    pass


class NoAuthenticate(PasswordLoginModule):
    pass


class NotAsyncAuthenticate(PasswordLoginModule):
    def authenticate(self, attempt: Any, username: str, password: str) -> Any:
        return None


def traced(function: Any) -> Any:
    """A decorator that returns a plain function around a coroutine function."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class Decorated(Plugin):
    @traced
    async def login(self, attempt: Any) -> Any:
        return None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotAsync", "login is not a coroutine function (write async def login)"),
        ("NotAsyncClose", "close is not a coroutine function (write async def close)"),
        ("Generator", "login is not a coroutine function"),
        ("NoLogin", "has no login method (define async def login(self, attempt))"),
        ("NoAuthenticate", "has no authenticate method"),
        ("NotAsyncAuthenticate", "authenticate is not a coroutine function"),
    ],
)
def test_modules_of_which_every_login_would_fail(name: str, said: str) -> None:
    """A module that could never log in is an error of the configuration, not of every login."""
    (found,) = refused(modules=(plugin(name),))
    assert f"{MODULES}[0].type: login module {HERE}.{name}" in found
    assert said in found


def test_a_decorated_method() -> None:
    """A coroutine function behind a decorator is one."""
    assert built(modules=(plugin("Decorated"),)).realms


def test_misspelt_scheme_and_recycle() -> None:
    """The error for an unknown scheme does not mention recycle; the one for a scheme without sessions does."""
    (found,) = refused(**{"http-challenge-scheme": "Basik", "authorization-mode": "recycle"})
    assert "unknown challenge scheme 'Basik' (did you mean 'Basic'?)" in found
    (found,) = refused(**{"http-challenge-scheme": ["Basic", "application token"], "authorization-mode": "recycle"})
    assert "authorization-mode: the scheme 'application token' does not support authorization-mode recycle" in found


def test_definitions_for_embedded_use(tmp_path: Path) -> None:
    """load_config takes values for references, which win over the file's own."""
    (tmp_path / "g.yaml").write_text(f"""
properties: {{path: /file}}
security:
  realm:
    name: a
    authentication: {{http-challenge-scheme: Basic, login-module: {{type: '{HERE}.Plugin', success: required}}}}
services: [{{accept: '${{path}}', realm-name: a}}]
""")
    gateway = load_config(tmp_path / "g.yaml", properties={"path": "/given"})
    assert [service.name for service in gateway.services] == ["/given"]
