"""The token login module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable, Replayed, StateFull, StateUnavailable
from asgi_gateway.model import AuthenticationToken, Grant, RevocationKey, RolePrincipal, UserPrincipal
from asgi_gateway.modules.token import TokenLoginModule, TokenOptions
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.sessions.tokens import Token, TokenIssuer
from asgi_gateway.stores.memory import MemoryState
from tests.helpers import Attempt, Context, EmptyState, ManualClock, attempt, context

pytestmark = pytest.mark.anyio

KEY = "k" * 32


def _module(directory: Path, state: ExpiringState | None = None, **options: Any) -> tuple[TokenLoginModule, Context]:
    file = directory / "keys"
    file.write_text(KEY)
    file.chmod(0o600)
    clock = ManualClock(1_800_000_000.0)
    made = context(directory, clock=clock, state=state or MemoryState(clock))
    made.clock = clock
    values = {"keyFile": "keys", "audience": "app"} | options
    return TokenLoginModule(TokenOptions(**values), made.context), made


def _token(made: Context, **changed: Any) -> str:
    values: dict[str, Any] = {"user": "joe", "realm": "demo", "now": made.clock.time(), "life": 60, "roles": ["A"]}
    return TokenIssuer([KEY.encode()], "app").issue(**(values | changed))


def _bearing(text: str, name: str | None = None) -> Attempt:
    return attempt(token=AuthenticationToken("token", [(name, text)]))


async def test_token_lets_in(tmp_path: Path) -> None:
    """A good token gives its user and roles, and the socket ends when it expires."""
    module, made = _module(tmp_path)
    tried = _bearing(_token(made))
    grant = await module.login(tried)
    assert isinstance(grant, Grant)
    assert grant.principals == (UserPrincipal("joe"), RolePrincipal("A"))
    assert tried.session_limits == [90]


async def test_token_many_times(tmp_path: Path) -> None:
    """A token that is not for single use works until it expires, and asks no store."""
    module, made = _module(tmp_path, EmptyState())
    text = _token(made)
    for _ in range(3):
        assert await module.login(_bearing(text))
    made.clock.advance(90)
    with pytest.raises(LoginFailed, match="expired"):
        await module.login(_bearing(text))


@pytest.mark.parametrize("single_use", [True, False])
async def test_token_once(tmp_path: Path, single_use: bool) -> None:
    """A token for single use, so issued or so required, is good for one login."""
    module, made = _module(tmp_path, singleUse="as-issued" if single_use else "required")
    text = _token(made, single_use=single_use)
    assert await module.login(_bearing(text))
    with pytest.raises(Replayed):
        await module.login(_bearing(text))


async def test_ticket_opens_more_than_it_lasts(tmp_path: Path) -> None:
    """What a ticket opens ends when the ticket says so, not when the ticket itself does."""
    module, made = _module(tmp_path)
    tried = _bearing(_token(made, single_use=True, until=made.clock.time() + 3600))
    await module.login(tried)
    assert tried.session_limits == [3600]
    tried = _bearing(_token(made, single_use=True))
    await module.login(tried)
    assert tried.session_limits == []
    with pytest.raises(LoginFailed):
        await module.login(_bearing(_token(made, single_use=True, until=made.clock.time() - 1)))


async def test_fifty_at_once(tmp_path: Path) -> None:
    """Of fifty equal tokens at once exactly one gets in."""
    module, made = _module(tmp_path)
    text = _token(made, single_use=True)
    outcomes: list[bool] = []

    async def login() -> None:
        try:
            outcomes.append(bool(await module.login(_bearing(text))))
        except LoginFailed:
            outcomes.append(False)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(login)
    assert outcomes.count(True) == 1


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_clock_an_hour_off(tmp_path: Path, step: float) -> None:
    """A clock set an hour forward or back at any time makes no used token good again."""

    class Stepping(ManualClock):
        offset = 0.0

        def time(self) -> float:
            return self.now + self.offset

    clock = Stepping(1_800_000_000.0)
    module, made = _module(tmp_path, MemoryState(clock), leeway=0)
    made.context = module.context = context(tmp_path, clock=clock, state=module.context.state).context
    text = TokenIssuer([KEY.encode()], "app").issue("joe", realm="demo", now=clock.time(), life=60, single_use=True)
    assert await module.login(_bearing(text))
    clock.offset = step
    for _ in range(75):
        with pytest.raises(LoginFailed):
            await module.login(_bearing(text))
        clock.advance(60)


@pytest.mark.parametrize("error", [StateUnavailable("down"), StateFull("full")])
async def test_store_is_down(tmp_path: Path, error: Exception) -> None:
    """When the store cannot say, a token for single use is unavailable, never let in; others are not concerned."""

    class Down(EmptyState):
        async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
            raise error

    module, made = _module(tmp_path, Down())
    with pytest.raises(LoginUnavailable):
        await module.login(_bearing(_token(made, single_use=True)))
    assert await module.login(_bearing(_token(made)))


async def test_single_use_refused(tmp_path: Path) -> None:
    """With singleUse: refused no shared store is needed, and a token for single use does not get in."""
    module, made = _module(tmp_path, EmptyState(), singleUse="refused")
    assert module.replay_protected is False
    with pytest.raises(LoginFailed, match="refused"):
        await module.login(_bearing(_token(made, single_use=True)))
    assert _module(tmp_path)[0].replay_protected is True
    assert TokenLoginModule.cacheable is False


@pytest.mark.parametrize("single_use", [True, False])
async def test_revoked(tmp_path: Path, single_use: bool) -> None:
    """A token that was revoked before its use is refused, if it is for single use or the module looks."""
    module, made = _module(tmp_path, revocable=True, singleUse="as-issued" if single_use else "refused")
    assert module.replay_protected is True
    text, other = _token(made, single_use=single_use), _token(made, single_use=single_use)
    read = TokenIssuer([KEY.encode()], "app").read(text, realm="demo", now=made.clock.time(), leeway=0)
    revocation_keys = RevocationKey("token", read.id)
    await Revocations(module.context.state).revoke(revocation_keys)
    with pytest.raises(LoginFailed, match="revoked"):
        await module.login(_bearing(text))
    grant = await module.login(_bearing(other))
    assert grant is not None
    assert [type(credential) for credential in grant.public_credentials] == [Token]
    assert [key.kind for key in grant.revocation_keys] == ["token"]


async def test_store_cannot_say_if_revoked(tmp_path: Path) -> None:
    """When the store cannot say whether a token was revoked, the login is unavailable."""

    class Down(EmptyState):
        async def get(self, key: str) -> str | None:
            raise StateUnavailable("down")

    module, made = _module(tmp_path, Down(), revocable=True)
    with pytest.raises(LoginUnavailable, match="cannot check for revocation"):
        await module.login(_bearing(_token(made)))


async def test_component(tmp_path: Path) -> None:
    """A named component is read where it is configured, and no other."""
    module, made = _module(tmp_path, component="ticket")
    text = _token(made)
    assert await module.login(_bearing(text, "ticket"))
    for tried in (_bearing(text), _bearing(text, "other"), attempt()):
        with pytest.raises(LoginFailed, match="no token"):
            await module.login(tried)


async def test_wrong_tokens(tmp_path: Path) -> None:
    """No token, garbage, and another realm's token fail, and the reason repeats nothing of them."""
    module, made = _module(tmp_path)
    for text in ("", "garbage", "a.b", "\ud800", _token(made, realm="other"), _token(made) + "x"):
        with pytest.raises(LoginFailed) as caught:
            await module.login(_bearing(text))
        assert "garbage" not in str(caught.value)


async def test_keys_others_can_read(tmp_path: Path) -> None:
    """A keys file that other users can read is a warning with its hint."""
    module, made = _module(tmp_path)
    assert made.warnings == []
    (tmp_path / "keys").chmod(0o644)
    TokenLoginModule(module.options, made.context)
    assert "chmod 600" in str(made.warnings)


async def test_keys_from_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys may come from an environment variable."""
    monkeypatch.setenv("TOKEN_KEYS", KEY)
    module, made = _module(tmp_path, keyFile=None, keyEnvironment="TOKEN_KEYS")
    assert await module.login(_bearing(_token(made)))


@pytest.mark.parametrize(
    "options",
    [
        {}, {"audience": "app"}, {"keyFile": "keys"}, {"keyFile": "keys", "audience": ""},
        {"keyFile": "keys", "keyEnvironment": "X", "audience": "app"},
        {"keyFile": "keys", "audience": "app", "singleUse": "yes"},
        {"keyFile": "keys", "audience": "app", "leeway": "1 hour"},
        {"keyFile": "keys", "audience": "app", "key": "x"},
    ],
)  # fmt: skip
async def test_bad_options(options: dict[str, Any]) -> None:
    """Missing, contradicting and misspelt options are errors."""
    with pytest.raises(ValidationError):
        TokenOptions(**options)


async def test_bad_keys(tmp_path: Path) -> None:
    """A keys file that is missing or holds a short key stops the start."""
    made = context(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        TokenLoginModule(TokenOptions(keyFile="missing", audience="app"), made.context)
    (tmp_path / "keys").write_text("short")
    with pytest.raises(ConfigError, match="5 bytes"):
        TokenLoginModule(TokenOptions(keyFile="keys", audience="app"), made.context)
