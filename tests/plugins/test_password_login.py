"""What the plugin interfaces do by themselves: the first-pass options, options' strictness, and safe defaults."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import ValidationError

from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.model import AuthenticationToken, Grant, Subject
from asgi_gateway.plugins.login_module import SHARED_NAME, SHARED_PASSWORD, LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import ModuleOptions
from asgi_gateway.plugins.password_login import PasswordLoginModule, PasswordOptions
from asgi_gateway.plugins.scheme import ChallengeScheme, UserNamePassword
from tests.helpers import EmptyState, attempt, context

pytestmark = pytest.mark.anyio

Pair = tuple[str, str]

RIGHT = ("joe", "secret")
WRONG = ("joe", "wrong")


class OneUser(PasswordLoginModule):
    """Knows one user, notes what it was asked, and is down for a user called down."""

    def __init__(self, options: PasswordOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self.asked: list[Pair] = []

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        self.asked.append((username, password))
        if username == "down":
            raise LoginUnavailable("down")
        if (username, password) == RIGHT:
            return Grant.user(username)
        if username == "ignored":
            return None
        raise LoginFailed("wrong")


def module(tmp_path: Path, **options: bool) -> OneUser:
    return OneUser(PasswordOptions(**options), context(tmp_path).context)


def shared(credentials: Pair | None) -> dict[str, object]:
    return {} if credentials is None else dict(zip((SHARED_NAME, SHARED_PASSWORD), credentials, strict=True))


async def result(login_module: OneUser, own: Pair | None, in_shared: Pair | None) -> tuple[bool, list[Pair]]:
    """Whether the login succeeds, and what the module was asked, in order."""
    try:
        granted = await login_module.login(attempt(*(own or (None, None)), shared_state=shared(in_shared)))
    except LoginFailed:
        granted = None
    return granted is not None, login_module.asked


# ---------------------------------------------------------------------------------------------------------- first pass

CASES = [
    # options, own, shared, succeeds, asked
    ({}, RIGHT, WRONG, True, [RIGHT]),
    ({}, WRONG, RIGHT, False, [WRONG]),
    ({}, None, RIGHT, False, []),
    ({"useFirstPass": True}, WRONG, RIGHT, True, [RIGHT]),
    ({"useFirstPass": True}, RIGHT, WRONG, False, [WRONG]),
    ({"useFirstPass": True}, RIGHT, None, False, []),
    ({"tryFirstPass": True}, WRONG, RIGHT, True, [RIGHT]),
    ({"tryFirstPass": True}, RIGHT, WRONG, True, [WRONG, RIGHT]),
    ({"tryFirstPass": True}, RIGHT, None, True, [RIGHT]),
    ({"tryFirstPass": True}, None, WRONG, False, [WRONG]),
    ({"tryFirstPass": True}, None, None, False, []),
    ({"tryFirstPass": True}, WRONG, WRONG, False, [WRONG]),
    ({"tryFirstPass": True, "useFirstPass": True}, RIGHT, WRONG, True, [WRONG, RIGHT]),
    ({"tryFirstPass": True, "useFirstPass": True}, RIGHT, None, True, [RIGHT]),
]


@pytest.mark.parametrize(("options", "own", "in_shared", "succeeds", "asked"), CASES)
async def test_first_pass(
    tmp_path: Path,
    options: dict[str, bool],
    own: Pair | None,
    in_shared: Pair | None,
    succeeds: bool,
    asked: list[Pair],
) -> None:
    """useFirstPass takes the shared credentials alone; tryFirstPass takes them first, and wins if both are set."""
    assert await result(module(tmp_path, **options), own, in_shared) == (succeeds, asked)


@pytest.mark.parametrize(
    "state", [{SHARED_NAME: "joe"}, {SHARED_PASSWORD: "secret"}, {SHARED_NAME: 1, SHARED_PASSWORD: 2}]
)
async def test_half_a_first_pass(tmp_path: Path, state: dict[str, object]) -> None:
    """A shared state with half of it, or with something other than text, holds no credentials."""
    with pytest.raises(LoginFailed, match="useFirstPass"):
        await module(tmp_path, useFirstPass=True).login(attempt(*RIGHT, shared_state=state))


async def test_try_first_pass_unavailable(tmp_path: Path) -> None:
    """A back end that is down for the shared credentials is down: the request's own are not tried against it."""
    login_module = module(tmp_path, tryFirstPass=True)
    with pytest.raises(LoginUnavailable):
        await login_module.login(attempt(*RIGHT, shared_state=shared(("down", "x"))))
    assert login_module.asked == [("down", "x")]


async def test_store_pass(tmp_path: Path) -> None:
    """storePass keeps the credentials of a success for later modules, and of nothing else."""
    for credentials, stored in ((RIGHT, shared(RIGHT)), (WRONG, {}), (("ignored", "x"), {})):
        tried = attempt(*credentials)
        try:
            await module(tmp_path, storePass=True).login(tried)
        except LoginFailed:
            assert credentials == WRONG
        assert tried.shared_state == stored
    tried = attempt(*RIGHT)
    await module(tmp_path).login(tried)
    assert tried.shared_state == {}


@pytest.mark.parametrize("state", [shared(WRONG), {SHARED_NAME: "ann"}, {SHARED_PASSWORD: "x"}])
async def test_store_pass_overwrites_nothing(tmp_path: Path, state: dict[str, object]) -> None:
    """storePass stores nothing where either key is there already."""
    tried = attempt(*RIGHT, shared_state=dict(state))
    await module(tmp_path, storePass=True).login(tried)
    assert tried.shared_state == state


async def test_clear_pass(tmp_path: Path) -> None:
    """clearPass removes the credentials, and only them, after commit and after abort; otherwise they stay."""
    for clear in (True, False):
        login_module = module(tmp_path, clearPass=clear)
        for committed in (True, False):
            tried = attempt(shared_state=shared(RIGHT) | {"other": 1})
            if committed:
                assert await login_module.commit(tried, Grant.user("joe"))
            else:
                await login_module.abort(tried)
            assert tried.shared_state == ({} if clear else shared(RIGHT)) | {"other": 1}


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("name", ["useFirstPass", "tryFirstPass", "storePass", "clearPass", "debug"])
async def test_switches(name: str) -> None:
    """A switch is true or false in any case, and anything else is an error."""
    for text, value in {"true": True, "TRUE": True, " False ": False, True: True, False: False}.items():
        assert getattr(PasswordOptions(**{name: text}), name) is value
    for text in ("yes", "1", "on", "", 1, 0, None, "treu"):
        with pytest.raises(ValidationError):
            PasswordOptions(**{name: text})


async def test_unknown_option() -> None:
    """An unknown option is an error whose text does not show the value."""
    for options in (ModuleOptions, PasswordOptions):
        with pytest.raises(ValidationError) as caught:
            options.model_validate({"passwort": "hunter2"})
        assert "hunter2" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ defaults


async def test_module_defaults(tmp_path: Path) -> None:
    """A module that overrides nothing refuses every login, and neither caches nor fails at anything else."""
    for kind in (LoginModule, PasswordLoginModule):
        login_module = kind(kind.Options(), context(tmp_path).context)
        with pytest.raises(LoginFailed, match="has no"):
            await login_module.login(attempt(*RIGHT))
        assert login_module.authenticates
        assert not login_module.cacheable
        assert not login_module.replay_protected
        await login_module.open()
        assert await login_module.check() == []
        assert await login_module.commit(attempt(), Grant.user("joe"))
        await login_module.abort(attempt())
        await login_module.logout(Subject())
        await login_module.close()


async def test_context_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative files are relative to the configuration, absolute ones are as they are, and ~ is the home directory."""
    given = context(tmp_path / "etc").context
    monkeypatch.setenv("HOME", "/home/joe")
    assert given.path("users.xml") == tmp_path / "etc" / "users.xml"
    assert given.path("/users.xml").as_posix() == "/users.xml"
    assert given.path("~/users.xml").as_posix() == "/home/joe/users.xml"


async def test_context_defaults(tmp_path: Path) -> None:
    """A context without callbacks takes calls to them."""
    given = context(tmp_path).context
    bare = ModuleContext(given.directory, given.realm, given.state, given.clock, given.logger)
    bare.invalidate()
    bare.warn("x")


async def test_state_defaults() -> None:
    """A store that needs no connection opens and closes, and is not shared unless it says so."""
    state = EmptyState()
    await state.open()
    await state.close()
    assert not state.shared


async def test_scheme_defaults() -> None:
    """A scheme that overrides nothing carries no user name and adds no headers."""

    class Plain(ChallengeScheme):
        name = wire_name = "plain"

        def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
            return "plain"

    assert Plain().read(AuthenticationToken("plain")) is None
    assert Plain().success() == ()


async def test_password_not_shown() -> None:
    """What a scheme read shows no password."""
    assert "hunter2" not in repr(UserNamePassword("joe", "hunter2"))
