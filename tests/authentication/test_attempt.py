"""One run of a chain, and the pool of threads for its blocking work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from asgi_gateway._runtime.threads import ThreadPool, ThreadPools
from asgi_gateway.authentication.attempt import Attempt, LoginContext, subject_of_grants
from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.model import AuthenticationToken, Grant, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.plugins.scheme import UserNamePassword


def attempt(**more: Any) -> Attempt:
    token = AuthenticationToken("basic", [(None, "c2VjcmV0")])
    context = LoginContext(realm="demo", service="one", **more)
    return Attempt(token, UserNamePassword("joe", "s3cret"), ThreadPools(), context)


class Gate:
    """A blocking call that waits until it is let go."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Semaphore(0), threading.Event()

    def __call__(self, value: int = 1) -> int:
        self.entered.release()
        assert self.open.wait(20)
        return value


@pytest.fixture
def gate() -> Iterator[Gate]:
    this = Gate()
    yield this
    this.open.set()


def test_what_a_module_sees() -> None:
    """User name, password, realm, service and earlier subjects are there; nothing secret is printed."""
    this = attempt(remote_address="192.0.2.1", subjects_by_realm={"first": Subject((UserPrincipal("joe"),))})
    assert (this.username, this.password, this.realm, this.service) == ("joe", "s3cret", "demo", "one")
    assert this.remote_address == "192.0.2.1"
    first = this.subject_of("first")
    assert first is not None
    assert first.name == "joe"
    assert this.subject_of("second") is None
    assert "s3cret" not in repr(this)
    assert "c2VjcmV0" not in repr(this)
    assert "joe" not in repr(this)


def test_without_credentials() -> None:
    """Without user name and password both are None, and no two attempts share state."""
    one, other = (Attempt(AuthenticationToken(""), None, ThreadPools()) for _ in range(2))
    assert (one.username, one.password, one.subject_of("x")) == (None, None, None)
    one.shared_state["x"] = 1
    assert other.shared_state == {}


def test_subject_so_far() -> None:
    """What was granted so far is in the order of the chain, whatever order it was granted in."""
    this = attempt()
    assert this.subject_so_far() == Subject()
    this.grants[1] = Grant((RolePrincipal("R"),), private_credentials=("k",))
    this.grants[0] = Grant.user("joe")
    assert this.subject_so_far().principals == (UserPrincipal("joe"), RolePrincipal("R"))
    assert subject_of_grants([this.grants[1]]).private_credentials == ("k",)


def test_challenge_and_response_data() -> None:
    """Data adds up; an empty challenge is one, too; what no header may hold is refused and changes nothing."""
    this = attempt()
    this.challenge("a", "b")
    this.challenge("c")
    this.respond("d")
    for say in (this.challenge, this.respond):
        with pytest.raises(ValueError, match="challenge data"):
            say("x", "a\r\nb")
    assert (this.challenge_data, this.response_data) == (("a", "b", "c"), ("d",))
    other = attempt()
    assert not other.challenged
    other.challenge()
    assert other.challenged


@pytest.mark.parametrize("what", ["session", "authorization"])
def test_limits(what: str) -> None:
    """The smallest limit holds; 0 refuses the login, and a negative number or none is a mistake."""
    this = attempt()
    limit, name = getattr(this, f"limit_{what}"), f"{what}_timeout"
    assert getattr(this, name) is None
    for seconds, holds in ((20, 20), (10, 10), (30, 10), (math.inf, 10)):
        limit(seconds)
        assert getattr(this, name) == holds
    with pytest.raises(LoginFailed):
        limit(0)
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match="negative"):
            limit(wrong)
    assert getattr(this, name) == 10


@pytest.mark.anyio
async def test_blocking() -> None:
    """A blocking call runs in another thread; its result and its exception come back."""
    this = attempt()
    assert await this.run_blocking(threading.get_ident) != threading.get_ident()
    with pytest.raises(ValueError, match="invalid literal"):
        await this.run_blocking(int, "x")
    this._pools.close()


@pytest.mark.anyio
async def test_overflow(gate: Gate) -> None:
    """When all threads are busy and the queue is full, the next call is told so at once; later ones run again."""
    pool = ThreadPool(threads=2, waiting=1)
    results: list[int] = []

    async def call(value: int) -> None:
        results.append(await pool.run(gate, value))

    async with anyio.create_task_group() as group:
        for value in range(3):
            group.start_soon(call, value)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5), pytest.raises(LoginUnavailable, match="too many"):
            await pool.run(int)
        gate.open.set()
    assert sorted(results) == [0, 1, 2]
    assert await pool.run(int, "7") == 7
    pool.close()


@pytest.mark.anyio
async def test_given_up_calls_keep_their_threads(gate: Gate) -> None:
    """A caller that gives up is free at once; its thread still counts until the call ends."""
    pool = ThreadPool(threads=1, waiting=0)
    with anyio.move_on_after(0.01) as scope:
        await pool.run(gate)
    assert scope.cancelled_caught
    with pytest.raises(LoginUnavailable):
        await pool.run(int)
    gate.open.set()
    with anyio.fail_after(5):
        while pool._futures:
            await anyio.sleep(0.001)
    assert await pool.run(int) == 0
    pool.close()


@pytest.mark.anyio
async def test_a_call_that_waits_is_dropped(gate: Gate) -> None:
    """A call given up while it waited for a thread never runs and makes room at once."""
    pool = ThreadPool(threads=1, waiting=1)
    ran: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(pool.run, gate)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.01):
            await pool.run(ran.append, 1)
        with anyio.move_on_after(0.01):
            await pool.run(ran.append, 2)
        gate.open.set()
    assert await pool.run(int) == 0
    assert ran == []
    pool.close()


@pytest.mark.anyio
async def test_closing(gate: Gate) -> None:
    """Closing ends what waits as unavailable, not as somebody's cancellation; the pool can be used again."""
    pool = ThreadPool(threads=1, waiting=5)
    ended: list[str] = []

    async def waiting() -> None:
        try:
            await pool.run(int)
        except LoginUnavailable as error:
            ended.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(pool.run, gate)
        await anyio.to_thread.run_sync(gate.entered.acquire)
        group.start_soon(waiting)
        await anyio.wait_all_tasks_blocked()
        pool.close()
        with anyio.fail_after(5):
            while not ended:
                await anyio.sleep(0.001)
        gate.open.set()
    assert ended == ["the gateway is closing"]
    assert await pool.run(int) == 0
    pool.close()
    pool.close()


def test_a_call_that_outlives_its_loop(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """A call that was given up and ends after its event loop was closed disturbs nobody."""
    pool = ThreadPool(threads=1, waiting=1)

    async def give_up() -> None:
        with anyio.move_on_after(0.01):
            await pool.run(gate)

    anyio.run(give_up)
    gate.open.set()
    give_way = time.monotonic() + 10
    while pool._futures and time.monotonic() < give_way:
        time.sleep(0.001)
    assert not pool._futures
    assert caplog.text == ""


@pytest.mark.anyio
async def test_computing_is_apart(gate: Gate) -> None:
    """What computes has a pool of its own: calls that wait for others are not held up by it, nor it by them."""
    pool = ThreadPools(threads=1, waiting=0, cpu=1)
    attempt = Attempt(AuthenticationToken(""), None, pool)
    async with anyio.create_task_group() as group:
        group.start_soon(attempt.run_blocking, gate)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(LoginUnavailable):
            await attempt.run_blocking(int)
        assert await attempt.run_computing(int) == 0
        gate.open.set()
    pool.close()
