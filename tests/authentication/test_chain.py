"""The chain, against 2,500 chains recorded from the JDK, and what JAAS leaves to us."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.authentication.attempt import Attempt
from asgi_gateway.authentication.chain import Chain, ChainEntry
from asgi_gateway.errors import AllModulesIgnored, LoginError, LoginFailed, LoginUnavailable, StateFull
from asgi_gateway.model import AuthenticationToken, Grant, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.plugins.login_module import ControlFlag, LoginModule
from tests.helpers import context

RECORDED = Path(__file__).parents[1] / "data" / "jaas_chain.jsonl"
FLAGS = [flag.value for flag in ControlFlag]


class Scripted(LoginModule):
    """A module whose outcomes are written down, and which writes down its calls."""

    def __init__(self, index: int, script: dict[str, str], calls: list[str]) -> None:
        self.index, self.script, self.calls = index, script, calls

    def _play(self, what: str) -> bool:
        self.calls.append(f"{self.index}.{what}")
        outcome = self.script.get(what, "succeed")
        if outcome == "fail":
            raise LoginFailed(f"{self.index}")
        if outcome == "error":
            raise RuntimeError(f"{self.index}")
        return outcome == "succeed"

    async def login(self, attempt: Any) -> Grant | None:
        return Grant((RolePrincipal(f"role{self.index}"),)) if self._play("login") else None

    async def commit(self, attempt: Any, grant: Grant) -> bool:
        return self._play("commit")

    async def abort(self, attempt: Any) -> None:
        self._play("abort")

    async def logout(self, subject: Subject) -> None:
        self._play("logout")


def attempt() -> Attempt:
    return Attempt(AuthenticationToken("token", [(None, "x")]), None, ThreadPools())


async def run(script: list[dict[str, str]]) -> tuple[Subject | None, LoginError | None, list[str], Attempt]:
    calls: list[str] = []
    chain = Chain(
        [ChainEntry(Scripted(i, s, calls), ControlFlag(s["success"]), f"module{i}") for i, s in enumerate(script)]
    )
    this = attempt()
    try:
        return await chain.authenticate(this), None, calls, this
    except LoginError as error:
        return None, error, calls, this


def test_recorded_chains(caplog: pytest.LogCaptureFixture) -> None:
    """Every chain recorded from the JDK gives the same result, reported error, roles and order of calls."""
    caplog.set_level(logging.CRITICAL)
    lines = RECORDED.read_text().splitlines()
    assert len(lines) == 2500

    async def main() -> None:
        for number, line in enumerate(lines, 1):
            record = json.loads(line)
            subject, error, calls, this = await run(record["chain"])
            assert calls == record["calls"], f"line {number}"
            assert ("success" if error is None else "failure") == record["result"], f"line {number}"
            committed = [s.module for s in this.steps if (s.phase, s.outcome) == ("commit", "succeeded")]
            assert [name.replace("module", "role") for name in committed] == record["roles"], f"line {number}"
            if subject is not None:
                assert sorted(subject.roles) == record["roles"], f"line {number}"
            if error is not None:
                assert blamed(error, this, record) == record["error_from"], f"line {number}"

    anyio.run(main)


def blamed(error: LoginError, this: Attempt, record: dict[str, Any]) -> int | None:
    """The index of the module whose error was reported; None for "all modules ignored"."""
    if isinstance(error, AllModulesIgnored):
        return None
    if not str(error).startswith("unexpected"):
        return int(str(error))
    # Unexpected errors are told apart by identity of the step that reported them: the first with the blamed flag.
    phase_name = this.steps[-1].phase
    failed = [
        (int(s.module.removeprefix("module")), s) for s in this.steps if s.phase == phase_name and s.outcome == "failed"
    ]
    required = [pair for pair in failed if record["chain"][pair[0]]["success"] in ("required", "requisite")]
    index, step = (required or failed)[0]
    assert step.error == str(error)
    return index


scripts = st.lists(
    st.fixed_dictionaries(
        {
            "success": st.sampled_from(FLAGS),
            "login": st.sampled_from(["succeed", "ignore", "fail", "error"]),
            "commit": st.sampled_from(["succeed", "ignore", "fail", "error"]),
        }
    ),
    max_size=6,
)


@given(scripts)
def test_success_needs_a_committed_module(script: list[dict[str, str]]) -> None:
    """Nobody gets in unless some module both granted and committed, and no required module failed."""
    logging.disable(logging.CRITICAL)
    try:
        subject, error, calls, _ = anyio.run(run, script)
    finally:
        logging.disable(logging.NOTSET)
    assert (subject is None) != (error is None)
    logged_in = {int(call[0]) for call in calls if call.endswith("login")}
    if subject is not None:
        assert subject.roles
        assert not [call for call in calls if call.endswith("abort")]
        for index in logged_in:
            if script[index]["success"] in ("required", "requisite"):
                assert script[index]["login"] in ("succeed", "ignore")
    else:
        assert [call for call in calls if call.endswith("abort")] == [f"{i}.abort" for i in sorted(logged_in)]
    for call in calls:
        if call.endswith("commit"):
            assert script[int(call[0])]["login"] == "succeed"


@pytest.mark.anyio
async def test_empty_chain_fails() -> None:
    """A chain without modules lets nobody in."""
    with pytest.raises(AllModulesIgnored):
        await Chain([]).authenticate(attempt())


class Fixed(LoginModule):
    """A module that does one thing."""

    def __init__(self, login: Any = None, *, authenticates: bool = True) -> None:
        self._login = login
        self.authenticates = authenticates
        self.aborted = 0

    async def login(self, attempt: Any) -> Any:
        return await self._login(attempt) if callable(self._login) else self._login

    async def abort(self, attempt: Any) -> None:
        await anyio.sleep(0)  # a checkpoint: only a shielded abort gets past it
        self.aborted += 1


@pytest.mark.anyio
@pytest.mark.parametrize("value", [True, 1, "yes", Subject((UserPrincipal("joe"),)), [], object()])
async def test_only_a_grant_succeeds(value: object) -> None:
    """Whatever else a login returns counts as a failure, under any flag."""
    for flag in ControlFlag:
        with pytest.raises(LoginFailed):
            await Chain([ChainEntry(Fixed(value), flag)]).authenticate(attempt())


@pytest.mark.anyio
async def test_modules_that_check_nothing_let_nobody_in() -> None:
    """A success that rests only on modules that do not authenticate is refused, and found at start-up."""
    role = Fixed(Grant((RolePrincipal("ADMINISTRATOR"),)), authenticates=False)

    async def refuse(attempt: Any) -> None:
        raise LoginFailed("no")

    chain = Chain([ChainEntry(Fixed(refuse), ControlFlag.OPTIONAL), ChainEntry(role, ControlFlag.REQUIRED)])
    assert chain.opens_by_itself()
    with pytest.raises(LoginFailed):
        await chain.authenticate(attempt())
    ignored = Chain([ChainEntry(Fixed(None), ControlFlag.REQUIRED), ChainEntry(role, ControlFlag.REQUIRED)])
    assert not ignored.opens_by_itself()
    with pytest.raises(LoginFailed):
        await ignored.authenticate(attempt())


@pytest.mark.anyio
async def test_grants_that_authenticate_nobody() -> None:
    """A grant that says nothing of the client lets nobody in, though its module might have authenticated."""
    own = Grant((UserPrincipal("HTTP/gateway"),), authenticates=False)
    for flag in ControlFlag:
        with pytest.raises(LoginFailed, match="no module that authenticates"):
            await Chain([ChainEntry(Fixed(own), flag)]).authenticate(attempt())
    joe = ChainEntry(Fixed(Grant.user("joe")), ControlFlag.REQUIRED)
    await Chain([ChainEntry(Fixed(own), ControlFlag.REQUIRED), joe]).authenticate(attempt())


@pytest.mark.anyio
async def test_a_lookup_does_not_open_a_chain() -> None:
    """Optional logins before a required module that needs a user are no open chain."""

    async def look_up(attempt: Any) -> Grant:
        if not attempt.subject_so_far().principals:
            raise LoginFailed("no user")
        return Grant((RolePrincipal("ADMINISTRATOR"),))

    async def refuse(attempt: Any) -> None:
        raise LoginFailed("wrong")

    def chain(login: Any) -> Chain:
        roles = Fixed(look_up, authenticates=False)
        roles.requires_subject = True
        return Chain(
            [
                ChainEntry(Fixed(refuse), ControlFlag.OPTIONAL, "one"),
                ChainEntry(Fixed(login), ControlFlag.OPTIONAL, "two"),
                ChainEntry(roles, ControlFlag.REQUIRED, "roles"),
            ]
        )

    assert not chain(refuse).opens_by_itself()
    tried = attempt()
    with pytest.raises(LoginFailed, match="no user") as caught:
        await chain(refuse).authenticate(tried)
    assert tried.reason(caught.value) == "one: wrong; two: wrong; roles: no user"
    subject = await chain(Grant.user("joe")).authenticate(attempt())
    assert (subject.name, subject.roles) == ("joe", frozenset({"ADMINISTRATOR"}))


@pytest.mark.anyio
async def test_commit_of_an_authenticating_module_is_needed() -> None:
    """If the only module that knows the user withdraws in commit, the roles of others open nothing."""

    class Withdraws(Fixed):
        async def commit(self, attempt: Any, grant: Grant) -> bool:
            return False

    role = Fixed(Grant((RolePrincipal("A"),)), authenticates=False)
    joe = Withdraws(Grant.user("joe"))
    with pytest.raises(LoginFailed):
        await Chain([ChainEntry(joe, ControlFlag.REQUIRED), ChainEntry(role, ControlFlag.REQUIRED)]).authenticate(
            attempt()
        )


@pytest.mark.anyio
async def test_cancellation_aborts_and_goes_on() -> None:
    """A cancelled attempt runs every abort to its end, then stays cancelled."""
    entered = anyio.Event()

    async def wait(attempt: Any) -> None:
        entered.set()
        await anyio.sleep_forever()

    first, second = Fixed(Grant.user("joe")), Fixed(wait)
    chain = Chain([ChainEntry(first, ControlFlag.REQUIRED), ChainEntry(second, ControlFlag.REQUIRED)])
    came_back = []

    async def login() -> None:
        await chain.authenticate(attempt())
        came_back.append(True)

    async with anyio.create_task_group() as group:
        group.start_soon(login)
        await entered.wait()
        group.cancel_scope.cancel()
    assert (first.aborted, second.aborted, came_back) == (1, 1, [])


@pytest.mark.anyio
async def test_time_limit_of_a_module() -> None:
    """A module that takes longer than its limit is cancelled and counts as unavailable, under its flag."""

    async def hang(attempt: Any) -> None:
        await anyio.sleep_forever()

    slow = ChainEntry(Fixed(hang), ControlFlag.REQUIRED, "slow", 0.01)
    with pytest.raises(LoginUnavailable, match="slow"):
        await Chain([slow]).authenticate(attempt())
    optional = ChainEntry(Fixed(hang), ControlFlag.OPTIONAL, "slow", 0.01)
    joe = ChainEntry(Fixed(Grant.user("joe")), ControlFlag.REQUIRED)
    assert (await Chain([optional, joe]).authenticate(attempt())).name == "joe"


@pytest.mark.anyio
async def test_time_limit_of_a_commit() -> None:
    """A commit has the module's time limit as well."""

    class Slow(Fixed):
        async def commit(self, attempt: Any, grant: Grant) -> bool:
            await anyio.sleep_forever()
            raise AssertionError

    slow = ChainEntry(Slow(Grant.user("joe")), ControlFlag.REQUIRED, "slow", 0.01)
    with pytest.raises(LoginUnavailable, match="slow"):
        await Chain([slow]).authenticate(attempt())
    assert slow.module.aborted == 1  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_shared_state_that_is_down_is_unavailable() -> None:
    """A StateError in a module is told as 503 and not as a wrong password."""

    async def full(attempt: Any) -> None:
        raise StateFull("full")

    with pytest.raises(LoginUnavailable):
        await Chain([ChainEntry(Fixed(full), ControlFlag.REQUIRED)]).authenticate(attempt())


@pytest.mark.anyio
async def test_unexpected_errors_are_logged_and_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is logged with its traceback; the error reported holds nothing of its text."""

    async def bug(attempt: Any) -> None:
        raise KeyError("s3cret")

    with pytest.raises(LoginFailed) as caught:
        await Chain([ChainEntry(Fixed(bug), ControlFlag.SUFFICIENT, "buggy")]).authenticate(attempt())
    assert "s3cret" not in str(caught.value)
    assert "buggy" in caplog.text
    assert "KeyError" in caplog.text


@pytest.mark.anyio
async def test_errors_of_abort_and_logout_stop_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """An abort or logout that raises is logged; the others still run, and the reported error stays."""
    script = [
        {"success": "required", "login": "succeed", "abort": "error", "logout": "error"},
        {"success": "required", "login": "fail"},
    ]
    _, error, calls, _ = await run(script)
    assert str(error) == "1"
    assert calls[-2:] == ["0.abort", "1.abort"]
    calls.clear()
    chain = Chain(
        [ChainEntry(Scripted(i, s, calls), ControlFlag(s["success"]), f"module{i}") for i, s in enumerate(script)]
    )
    await chain.logout(Subject())
    assert calls == ["0.logout", "1.logout"]
    assert "failed to log out" in caplog.text


def test_what_a_chain_says_of_itself(tmp_path: Path) -> None:
    """A chain is cacheable if all modules are; it needs credentials if all that authenticate do."""

    class Remembered(LoginModule):
        cacheable = needs_credentials = True

    one, other = Remembered(None, context(tmp_path).context), Fixed()
    assert Chain([ChainEntry(one, ControlFlag.REQUIRED)]).cacheable
    assert Chain([ChainEntry(one, ControlFlag.REQUIRED)]).needs_credentials
    both = Chain([ChainEntry(one, ControlFlag.REQUIRED), ChainEntry(other, ControlFlag.REQUIRED)])
    assert not both.cacheable
    assert not both.needs_credentials


@pytest.mark.anyio
@pytest.mark.parametrize("credentials", [(), ((None, "x"),)])
@pytest.mark.parametrize("declares", [False, True])
async def test_without_credentials_only_a_module_that_declares_it_grants(
    credentials: tuple[tuple[None, str], ...], declares: bool
) -> None:
    """A request without credentials is let in by no module, unless it declares to grant without them."""
    module = Fixed(Grant.user("joe"))
    module.grants_without_credentials = declares
    for flag in (ControlFlag.REQUIRED, ControlFlag.REQUISITE, ControlFlag.SUFFICIENT, ControlFlag.OPTIONAL):
        tried = Attempt(AuthenticationToken("", credentials), None, ThreadPools())
        chain = Chain([ChainEntry(module, flag)])
        if credentials or declares:
            assert (await chain.authenticate(tried)).name == "joe"
        else:
            with pytest.raises(LoginFailed, match="no credentials"):
                await chain.authenticate(tried)
            assert not tried.grants
