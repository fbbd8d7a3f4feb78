"""``connect-login``, ``connect_handler`` and ``http.authenticator``: what is built of them, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from asgi_gateway._runtime.polling import PolledFile
from asgi_gateway.cli.main import main
from asgi_gateway.client import ChallengeRequest, ChallengeResponse, LoginHandler, PasswordAuthentication
from asgi_gateway.config.backend_login import build_backend_login, challenge_handler
from asgi_gateway.config.backends import BackendContext
from asgi_gateway.config.build import load_config
from asgi_gateway.config.load import read
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.errors import ConfigError
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import Subject, UserPrincipal
from asgi_gateway.proxy.login import BackendChallenge, BackendLogin
from asgi_gateway.schemes import BearerScheme
from asgi_gateway.services.trusted_proxies import TrustedProxies
from tests.gateways import World, service, users
from tests.proxy.challenging import challenging, proxied

pytestmark = pytest.mark.anyio

SECRET = "s3cret-pw"
STORED = "Basic " + base64.b64encode(f"gateway:{SECRET}".encode()).decode()


class Built:
    """A service's login to its back end, and the problems of its configuration."""

    def __init__(self, directory: Path, connect_login: Any = None, **given: Any) -> None:
        self.world = World()
        self.problems: list[tuple[str, str, str]] = []
        realms = given.pop("realms", None) or (self.world.realm(users(joe="")),)
        values = {"accept": ["http://localhost:8000/"], "connect": ["http://localhost:9080/"]}
        values |= {"max-authentication-attempts": 3, "connect-login": connect_login} | given
        self.login: BackendLogin = build_backend_login(
            ServiceConfig.model_validate(values),
            BackendContext(
                service=service("reports", "", *(() if realms == "none" else realms)),
                directory=directory,
                file=None,
                web_root=None,
                keystore=None,
                truststore=None,
                clock=self.world.clock,
                audit=self.world.audit,
                pools=self.world.pools,
                trusted_proxies=TrustedProxies(),
                session_cookie="gateway",
                files=(),
            ),
            ("services", 0),
            self._add_problem,
        )

    def _add_problem(self, path: tuple[Any, ...], message: str, hint: str = "", severity: str = "error") -> None:
        self.problems.append((severity, ".".join(map(str, path[2:])), message))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in (("password", SECRET), ("token", "t0k"), ("bad-token", "t 0"), ("colon", "a\tb")):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


PASSWORD = {"username": "gateway", "password-file": "password"}


@pytest.mark.parametrize(
    ("connect_login", "challenge", "expected"),
    [
        (PASSWORD, "Basic", STORED),
        (PASSWORD, 'Application Basic realm="x"', STORED),
        ({"token-file": "token"}, "Application Token", "Token t0k"),
        ({"token-file": "token"}, "Bearer", "Bearer t0k"),
        (PASSWORD | {"token-file": "token"}, "Basic, Bearer", "Bearer t0k"),
        ({"pass-basic": True}, "Basic", "Basic am9lOnB3"),
    ],
)
async def test_sources(directory: Path, connect_login: Any, challenge: str, expected: str) -> None:
    """Each source of credentials answers its schemes."""
    built = Built(directory, connect_login)
    assert built.problems == []
    async with challenging(expected, challenge) as backend:
        subject = Subject((UserPrincipal("joe"),))
        answer = await proxied(built.login, backend.url(), subject=subject, authorization=b"Basic am9lOnB3")
        assert (answer.status, backend.received) == (200, [None, expected])
        assert (built.login.first(backend.url()) is not None) is ("pass-basic" not in connect_login)


async def test_a_changed_file_is_read_again(directory: Path) -> None:
    """A new password is sent without a restart, and the old one no more; a file that cannot be used changes nothing."""
    built = Built(directory, PASSWORD)
    new = "Basic " + base64.b64encode(b"gateway:new").decode()
    async with challenging(lambda value: () if value in (STORED, new) else None) as backend:
        await proxied(built.login, backend.url())
        (directory / "password").write_text("two\nlines\n")
        built.world.clock.advance(2)
        backend.accept = lambda value: () if value == new else None
        assert (await proxied(built.login, backend.url())).status == 401
        (directory / "password").write_text("new\n")
        built.world.clock.advance(2)
        assert (await proxied(built.login, backend.url())).status == 200
        assert backend.received[-1] == new


async def test_a_change_is_noticed_without_a_challenge(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open login notices a new password by itself, and forgets the old one though the back end still accepts it."""
    quickly = partial(PolledFile, seconds=0.01)
    monkeypatch.setattr("asgi_gateway.config.backend_login.PolledFile", quickly)
    built = Built(directory, PASSWORD)
    await built.login.open()
    try:
        async with challenging(STORED) as backend:
            await proxied(built.login, backend.url())
            assert built.login.first(backend.url()) is not None
            (directory / "password").write_text("new\n")
            with anyio.fail_after(10):
                while built.login.first(backend.url()) is not None:
                    await anyio.sleep(0.01)
    finally:
        await built.login.close()


@pytest.mark.parametrize(
    ("connect_login", "given", "place", "message"),
    [
        ({}, {}, "connect-login", "no credentials"),
        ({"plain-http": True}, {}, "connect-login", "no credentials"),
        ({"username": "gateway"}, {}, "connect-login.username", "username needs password-file"),
        ({"password-file": "password"}, {}, "connect-login.password-file", "password-file needs username"),
        ({"kerberos": "HTTP/gw"}, {}, "connect-login.kerberos", "kerberos needs keytab"),
        ({"keytab": "k"}, {}, "connect-login.keytab", "keytab needs kerberos"),
        ({"delegate": True, "keytab": "k"}, {}, "connect-login.keytab", "keytab needs kerberos"),
        (PASSWORD | {"pass-basic": True}, {}, "connect-login", "exclude each other"),
        (PASSWORD | {"delegate": True}, {}, "connect-login", "exclude each other"),
        ({"pass-basic": True}, {"realms": "none"}, "connect-login.pass-basic", "the service has no realm"),
        ({"delegate": True}, {"realms": "none"}, "connect-login.delegate", "the service has no realm"),
        (PASSWORD, {"connect": ["http://app:80/"]}, "connect-login", "would travel to http://app unencrypted"),
        (PASSWORD, {"connect": ["ws://app:81/"]}, "connect-login", "would travel to ws://app:81 unencrypted"),
        ({"pass-basic": True}, {"connect": ["https://a/", "http://b/x"]}, "connect-login", "http://b/x unencrypted"),
        (PASSWORD | {"password-file": "absent"}, {}, "connect-login.password-file", "absent does not exist"),
        (PASSWORD | {"password-file": "."}, {}, "connect-login.password-file", "it is a directory"),
        (PASSWORD | {"username": "a:b"}, {}, "connect-login.password-file", "nor a colon in the user name"),
        (PASSWORD | {"password-file": "colon"}, {}, "connect-login.password-file", "control character"),
        ({"token-file": "absent"}, {}, "connect-login.token-file", "the token file"),
        ({"token-file": "bad-token"}, {}, "connect-login.token-file", "characters that no token has"),
    ],
)
def test_errors(directory: Path, connect_login: Any, given: dict[str, Any], place: str, message: str) -> None:
    """What cannot work is an error at its place, and nothing is answered."""
    built = Built(directory, connect_login, **given)
    assert [(severity, where) for severity, where, _ in built.problems if severity == "error"][:1] == [("error", place)]
    assert message in built.problems[0][2]
    assert not [text for _, _, text in built.problems if SECRET in text or "t 0" in text]


@pytest.mark.parametrize(
    ("connect_login", "given", "message"),
    [
        (PASSWORD, {"max-authentication-attempts": 0}, "connect-login has no effect: max-authentication-attempts is 0"),
        (PASSWORD, {"realms": "none"}, "the service is public, so everyone uses its back end with these credentials"),
        (PASSWORD, {"connect": ["tcp://localhost:61613"]}, "ignored for tcp and tls back ends"),
        (
            {"pass-basic": True},
            {"realms": (World().realm(users(joe=""), schemes=[BearerScheme()]),)},
            "no realm of the service has the scheme Basic",
        ),
        (None, {}, "there are no credentials with which 401s of the back end could be answered"),
    ],
)
def test_warnings(directory: Path, connect_login: Any, given: dict[str, Any], message: str) -> None:
    """What is probably not meant is a warning."""
    (warning,) = Built(directory, connect_login, **given).problems
    assert (warning[0], message in warning[2]) == ("warning", True)


@pytest.mark.parametrize("name", ["password", "token"])
def test_files_of_others(directory: Path, name: str) -> None:
    """A secret that other users of the machine can read is a warning."""
    (directory / name).chmod(0o644)
    connect_login = PASSWORD if name == "password" else {"token-file": "token"}
    (warning,) = Built(directory, connect_login).problems
    assert warning[:2] == ("warning", f"connect-login.{name}-file")
    assert "can be read by every user of this machine" in warning[2]


@pytest.mark.parametrize(
    "url", ["https://app/", "wss://app/", "http://[::1]:80/", "http+unix://%2Frun%2Fapp.sock/", "http://app.localhost/"]
)
def test_confidential_places(directory: Path, url: str) -> None:
    """TLS, this machine and Unix sockets need no plain-http; with it any place is good."""
    assert Built(directory, PASSWORD, connect=[url]).problems == []
    assert Built(directory, PASSWORD | {"plain-http": True}, connect=["http://app:80/"]).problems == []


async def test_no_attempts_pass_the_401_on(directory: Path) -> None:
    """With 0 attempts the 401 is passed on, whatever credentials there are."""
    built = Built(directory, PASSWORD, **{"max-authentication-attempts": 0})
    async with challenging(STORED) as backend:
        assert (await proxied(built.login, backend.url())).status == 401
        assert backend.received == [None]


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        (lambda world: {}, True),
        (lambda world: {"recycle": (world.state, [b"k" * 32])}, False),
    ],
)
async def test_whether_the_header_was_verified(
    directory: Path, change: Callable[[World], dict[str, Any]], sent: bool
) -> None:
    """Where users can come with a session, a name in the header that is not the user's is not passed on."""
    world = World()
    built = Built(directory, {"pass-basic": True}, realms=(world.realm(users(joe=""), **change(world)),))
    headers = ((b"www-authenticate", b"Basic"),)
    header = b"Basic " + base64.b64encode(b"joe@mail.example:pw")
    subject = Subject((UserPrincipal("jsmith"),))
    challenge = BackendChallenge(url="http://127.0.0.1/", headers=headers, subject=subject, authorization=header)
    assert (await built.login.answer(challenge) is not None) is sent


def test_without_gssapi(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error says what to install."""
    monkeypatch.setitem(sys.modules, "gssapi", None)
    ((severity, _, message),) = Built(directory, {"kerberos": "HTTP/gw", "keytab": "k"}).problems
    assert severity == "error"
    assert "pip install 'asgi-gateway[kerberos]'" in message


# ------------------------------------------------------------------------------------------------------ Python code

CONFIG: dict[str, Any] = {
    "security": {
        "realms": [
            {
                "name": "demo",
                "authentication": {
                    "http-challenge-scheme": "Basic",
                    "login-modules": [{"type": "file", "success": "required", "options": {"file": "users.yaml"}}],
                },
            }
        ]
    },
    "services": [{"name": "page", "accept": "/page", "realm-name": "demo"}],
}


class Handler:
    """An object with a challenge handler's methods, and no base class."""

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == "basic"

    def handle(self, request: ChallengeRequest) -> ChallengeResponse:
        return ChallengeResponse(STORED)


class Login(LoginHandler):
    """A login handler."""

    def login(self, request: ChallengeRequest) -> PasswordAuthentication:
        return PasswordAuthentication("gateway", SECRET)


def function(request: ChallengeRequest) -> PasswordAuthentication:
    """A function as BasicChallengeHandler takes one."""
    return PasswordAuthentication("gateway", SECRET)


instance = Handler()
number = 7


class Raising:
    """A class that cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no database")


@pytest.mark.parametrize("given", [Handler(), Login(), function], ids=["object", "login handler", "function"])
async def test_what_a_handler_may_be(given: Any) -> None:
    """A challenge handler, an object with its methods, a login handler and a function are handlers."""
    handler = challenge_handler(given, "connect_handler")
    request = ChallengeRequest("http://localhost/", "Basic")
    assert handler.can_handle(request)
    answer = handler.handle(request)
    assert isinstance(answer, ChallengeResponse)
    assert answer.credentials == STORED


@pytest.mark.usefixtures("in_directory")
@pytest.mark.parametrize("given", [7, "module:object", Handler, Login, object()], ids=range(5))
def test_what_no_handler_is(given: Any) -> None:
    """Anything else is an error that says what to give."""
    with pytest.raises(ConfigError, match="connect_handler is not a challenge handler"):
        load_config(CONFIG, connect_handler=given)


@pytest.fixture
def in_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (directory / "users.yaml").write_text("users: []\n")
    os.chmod(directory / "users.yaml", 0o600)
    monkeypatch.chdir(directory)
    return directory


@pytest.mark.usefixtures("in_directory")
@pytest.mark.parametrize("name", ["Handler", "Login", "function", "instance", "instance.handle"])
def test_authenticator(name: str) -> None:
    """``http.authenticator`` names a handler, its class, or a function, and is no unused definition."""
    properties = {"http.authenticator": f"{__name__}:{name}"}
    assert [each for each in load_config(CONFIG, properties=properties).problems if "definition" in each.message] == []
    assert read(CONFIG, properties=properties).settings == properties


@pytest.mark.usefixtures("in_directory")
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nonsense", "invalid value of http.authenticator 'nonsense'"),
        ("no_such_module_here:x", "no Python module named no_such_module_here"),
        (f"{__name__}:absent", "has no attribute 'absent'"),
        (f"{__name__}:number", "is not a challenge handler: it is of type int"),
        (f"{__name__}:Raising", "Raising(): RuntimeError: no database"),
        (":x", "invalid value of http.authenticator ':x'"),
    ],
)
def test_authenticator_errors(value: str, message: str) -> None:
    """A handler that cannot be imported or made stops the start and says why."""
    with pytest.raises(ConfigError) as raised:
        load_config(CONFIG, properties={"http.authenticator": value})
    assert message in str(raised.value)


@pytest.mark.usefixtures("in_directory")
@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({"connect": "http://localhost:9080/", "max-authentication-attempts": "1"}, True),
        ({"connect": "http://localhost:9080/"}, False),
        ({"max-authentication-attempts": "1"}, False),
        ({"connect": "http://localhost:9080/", "max-authentication-attempts": "1", "connect-login": PASSWORD}, False),
    ],
)
def test_a_handler_that_is_never_asked(more: dict[str, Any], asked: bool) -> None:
    """A handler that no service would ask is a warning."""
    config = CONFIG | {"services": [{"name": "page", "accept": "/page", "realm-name": "demo"} | more]}
    problems = load_config(config, connect_handler=function).problems
    assert [each for each in problems if "is never asked" in each.message] == [] or not asked
    assert asked or [each.severity for each in problems if "is never asked" in each.message] == ["warning"]


@pytest.mark.usefixtures("in_directory")
@pytest.mark.parametrize("kind", [{}, {"type": "echo"}])
def test_without_a_back_end(kind: dict[str, str]) -> None:
    """Without connect, connect-login is an error, and attempts alone are listed as ignored."""
    service = {"name": "page", "accept": "/page", "realm-name": "demo", "max-authentication-attempts": "3"} | kind
    (problem,) = load_config(CONFIG | {"services": [service]}).problems
    assert (problem.severity, problem.path) == ("ignored", "services[0].max-authentication-attempts")
    with pytest.raises(ConfigError, match="connect-login needs connect"):
        load_config(CONFIG | {"services": [service | {"connect-login": PASSWORD}]})


@pytest.mark.usefixtures("in_directory")
def test_check_takes_an_authenticator(capsys: pytest.CaptureFixture[str]) -> None:
    """``check`` imports the handler that -D names, and says where that fails."""
    services = [{"name": "page", "accept": "/page", "connect": "http://localhost:9080/", "realm-name": "demo"}]
    services[0]["max-authentication-attempts"] = "3"
    Path("gateway.yaml").write_text(json.dumps(CONFIG | {"services": services}))
    assert main(["check", "gateway.yaml", "-D", f"http.authenticator={__name__}:instance"]) == 0
    assert "0 warnings" in capsys.readouterr().out
    assert main(["check", "gateway.yaml", "-D", "http.authenticator=com.example.Authenticator"]) == 1
    assert "write -D http.authenticator=module:object" in capsys.readouterr().err
    assert main(["check", "gateway.yaml"]) == 0
    assert "there are no credentials with which 401s" in capsys.readouterr().err


@pytest.mark.usefixtures("in_directory")
def test_two_handlers() -> None:
    """A handler in code and another one by name contradict each other."""
    properties = {"http.authenticator": f"{__name__}:instance"}
    with pytest.raises(ConfigError, match="only one of them can answer"):
        load_config(CONFIG, properties=properties, connect_handler=function)


@pytest.mark.usefixtures("in_directory")
def test_a_gateway_has_its_handler() -> None:
    """A handler given to the middleware beside a Gateway would be lost, so it is an error."""
    gateway = load_config(CONFIG, connect_handler=function)
    with pytest.raises(ConfigError, match="a Gateway has a connect_handler already"):
        GatewayMiddleware(None, gateway, connect_handler=function)
