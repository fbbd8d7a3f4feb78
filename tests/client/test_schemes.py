"""The handlers for Basic and Token, against the gateway's own schemes."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.client import (
    BasicChallengeHandler,
    ChallengeHandler,
    ChallengeRequest,
    ChallengeResponse,
    PasswordAuthentication,
    TokenChallengeHandler,
)
from asgi_gateway.errors import GatewayError
from asgi_gateway.http.headers import parse_authorization
from asgi_gateway.model import AuthenticationToken
from asgi_gateway.schemes import ApplicationBasicScheme, ApplicationTokenScheme, BasicScheme

URL = "https://host.example/echo"


def read(scheme: Any, credentials: Any) -> Any:
    name, rest = parse_authorization(credentials.encode())
    assert name == scheme.wire_name
    return scheme.read(AuthenticationToken(name, [(None, rest)]))


def credentials_of(handler: ChallengeHandler, request: ChallengeRequest) -> str:
    """The credentials of a handler that answers at once."""
    answer = handler.handle(request)
    assert isinstance(answer, ChallengeResponse)
    return answer.credentials


@pytest.mark.parametrize("scheme", [BasicScheme(), ApplicationBasicScheme()])
@pytest.mark.parametrize("password", ["pw", "", "a:b:", "пароль€", " "])
def test_our_basic_handler_answers_our_basic_scheme(scheme: Any, password: str) -> None:
    """The realm's challenge gets the user name and password that the scheme then reads, and they are cleared."""
    login = PasswordAuthentication("joe", password)
    seen: list[Any] = []

    def give(request: ChallengeRequest) -> PasswordAuthentication:
        seen.append(request)
        return login

    request = ChallengeRequest(URL, scheme.challenge('The "demo" realm, 1'))
    found = read(scheme, credentials_of(BasicChallengeHandler(give), request))
    assert (found.username, found.password) == ("joe", password)
    assert seen[0].realm == 'The "demo" realm, 1'
    assert login.password == ""


def test_our_token_handler_answers_our_token_scheme() -> None:
    """The challenge's data reaches the function, and its token reaches the server."""
    handler = TokenChallengeHandler(lambda request: "-".join(request.challenge.words))
    request = ChallengeRequest(URL, ApplicationTokenScheme().challenge("demo", ["nonce1", "nonce2"]))
    assert handler.can_handle(request)
    assert parse_authorization(credentials_of(handler, request).encode()) == ("token", "nonce1-nonce2")


@pytest.mark.parametrize("challenge", ['Bearer realm="x"', "bearer", "Application Bearer"])
def test_bearer(challenge: str) -> None:
    """The handler for tokens answers Bearer where it is told to, and nothing but the scheme it is for."""
    bearer = TokenChallengeHandler(lambda request: "abc", scheme="Bearer", reusable=True)
    token = TokenChallengeHandler(lambda request: "abc")
    request = ChallengeRequest(URL, challenge)
    assert (bearer.can_handle(request), token.can_handle(request)) == (True, False)
    answer = bearer.handle(request)
    assert isinstance(answer, ChallengeResponse)
    assert (answer.credentials, answer.reusable) == ("Bearer abc", True)
    assert not bearer.can_handle(ChallengeRequest(URL, "Application Token"))
    other = token.handle(ChallengeRequest(URL, "Token"))
    assert isinstance(other, ChallengeResponse)
    assert (other.credentials, other.reusable) == ("Token abc", False)


def test_each_realm_can_have_its_own_login() -> None:
    """A realm's login handler goes before the general one, and can be taken away again."""
    handler = BasicChallengeHandler(lambda request: PasswordAuthentication("general", ""))
    handler.set_realm_login_handler("a", lambda request: PasswordAuthentication("special", ""))

    def user(realm: str) -> Any:
        credentials = credentials_of(handler, ChallengeRequest(URL, f"Basic realm={realm}"))
        return read(BasicScheme(), credentials).username

    assert (user("a"), user("b")) == ("special", "general")
    handler.set_realm_login_handler("a", None)
    assert user("a") == "general"


def test_without_a_login_handler_basic_is_not_handled() -> None:
    """Only realms that have a login handler are answered."""
    handler = BasicChallengeHandler().set_realm_login_handler("a", lambda request: None)
    assert handler.can_handle(ChallengeRequest(URL, "Basic realm=a"))
    assert not handler.can_handle(ChallengeRequest(URL, "Basic realm=b"))
    assert handler.handle(ChallengeRequest(URL, "Basic realm=b")) is None


def test_no_login_ends_the_attempt() -> None:
    """None from a login handler or an empty token gives no answer."""
    assert BasicChallengeHandler(lambda request: None).handle(ChallengeRequest(URL, "Basic realm=a")) is None
    assert TokenChallengeHandler(lambda request: None).handle(ChallengeRequest(URL, "Token")) is None


@pytest.mark.anyio
async def test_logins_and_tokens_may_be_coroutines() -> None:
    """Coroutine functions serve as well as plain ones."""

    async def login(request: Any) -> Any:
        return PasswordAuthentication("joe", "pw")

    async def token(request: Any) -> Any:
        return "abc"

    basic: Any = BasicChallengeHandler(login).handle(ChallengeRequest(URL, "Basic realm=a"))
    assert read(BasicScheme(), (await basic).credentials).password == "pw"
    answer: Any = TokenChallengeHandler(token).handle(ChallengeRequest(URL, "Token"))
    assert (await answer).credentials == "Token abc"


@pytest.mark.parametrize(("user", "password"), [("a:b", "pw"), ("a", "canary\n"), ("a\x00", "canary")])
def test_what_basic_cannot_carry_is_an_error(user: str, password: str) -> None:
    """A colon in the user name or a control character is refused without showing it, and the password is cleared."""
    login = PasswordAuthentication(user, password)
    with pytest.raises(GatewayError, match="Basic") as caught:
        BasicChallengeHandler(lambda request: login).handle(ChallengeRequest(URL, "Basic realm=a"))
    assert "canary" not in str(caught.value)
    assert login.password == ""


@pytest.mark.parametrize("make", [BasicChallengeHandler, TokenChallengeHandler])
def test_secrets_do_not_travel_in_the_clear(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Over plain http nothing is sent to another host, with a warning that says how, unless it is allowed."""
    request = ChallengeRequest("http://host.example/", "Basic realm=a" if make is BasicChallengeHandler else "Token")
    assert not make(lambda request: None).can_handle(request)
    assert "allow_plain_http" in caplog.text
    assert make(lambda request: None, allow_plain_http=True).can_handle(request)
