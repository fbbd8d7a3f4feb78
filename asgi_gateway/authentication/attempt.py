"""One run of a chain for one request, and the bounded pool of threads for its blocking work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio.to_thread
import sniffio

from asgi_gateway._runtime.threads import DaemonThreads
from asgi_gateway.errors import LoginError, LoginFailed, LoginUnavailable
from asgi_gateway.http.headers import check_data
from asgi_gateway.model import AuthenticationToken, Grant, Subject
from asgi_gateway.plugins.login_module import LoginAttempt
from asgi_gateway.plugins.scheme import UserNamePassword

__all__ = ["Attempt", "Step", "ThreadPools"]

T = TypeVar("T")


class ThreadPools:
    """A bounded pool of threads with a bounded queue before it.

    A call that its caller gave up keeps its thread until it ends, so that a silent back end can hold at most
    ``threads`` threads, and everybody else is told 503 at once and not after a long wait.

    Args:
        threads: how many calls may run at once.
        waiting: how many more may wait.
        gives_way: for calls that compute; their threads give way to the event loop.
    """

    def __init__(self, threads: int = 16, waiting: int = 256, *, gives_way: bool = False) -> None:
        self.computing = self if gives_way else ThreadPools(threads, waiting, gives_way=True)
        """The pool for calls that compute: as large, and apart: hashing never holds up what waits for others."""
        self._gives_way = gives_way
        self._threads = threads
        self._bound = threads + waiting
        self._workers: DaemonThreads | None = None
        self._futures: set[Future[Any]] = set()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a thread and wait for it.

        Raises:
            LoginUnavailable: too many calls wait already, or the pool was closed before this one began.
        """
        if len(self._futures) >= self._bound:
            raise LoginUnavailable("too many logins at once: every thread is busy and the queue is full", retry_after=1)
        if self._workers is None:
            self._workers = DaemonThreads(self._threads, "asgi_gateway", gives_way=self._gives_way)
        future = self._workers.submit(function, *args)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        try:
            if sniffio.current_async_library() != "asyncio":
                return await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)
            await _done(future)
            return future.result()
        except (CancelledError, asyncio.CancelledError):
            if not future.cancelled() or _being_cancelled():
                raise
            raise LoginUnavailable("the gateway is closing", retry_after=1) from None
        finally:
            future.cancel()

    def close(self) -> None:
        """Drop what still waits; the pool can be used again."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()
        if self.computing is not self:
            self.computing.close()


def _done(future: Future[Any]) -> asyncio.Future[None]:
    """What is done when the future is; asyncio.wrap_future would also hand on its result and each cancellation."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(partial(_wake, loop, woken))
    return woken


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None], done: Future[Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_set, woken)


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():  # its waiter was cancelled meanwhile
        woken.set_result(None)


def _being_cancelled() -> bool:
    """Whether asyncio cancels the current task. On trio, cancellation is another exception altogether."""
    if sniffio.current_async_library() != "asyncio":
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Step(NamedTuple):
    """What one module did in one phase, for logs and ``asgi-gateway explain``."""

    module: str
    phase: str
    outcome: str
    error: str = ""


class Attempt(LoginAttempt):
    """The gateway's LoginAttempt.

    Args:
        token: the request's credentials.
        credentials: user name and password, if the scheme carries them.
        pool: where blocking work runs.
        realm: the realm's name.
        service: the service's name.
        remote_address: the peer.
        connection: the peer's address and port, or None.
        earlier: subjects of the realms before this one, by name.
    """

    def __init__(
        self,
        token: AuthenticationToken,
        credentials: UserNamePassword | None,
        pool: ThreadPools,
        *,
        realm: str = "",
        service: str = "",
        remote_address: str | None = None,
        connection: tuple[str, int] | None = None,
        earlier: Mapping[str, Subject] | None = None,
    ) -> None:
        self.token = token
        self.username = credentials.username if credentials else None
        self.password = credentials.password if credentials else None
        self.realm = realm
        self.service = service
        self.remote_address = remote_address
        self.connection = connection
        self.shared_state: dict[str, Any] = {}
        self.grants: dict[int, Grant] = {}
        self.steps: list[Step] = []
        self.replayed = False
        self.challenge_data: tuple[str, ...] = ()
        self.challenged = False
        self.response_data: tuple[str, ...] = ()
        self.session_timeout: float | None = None
        self.authorization_timeout: float | None = None
        self._pool = pool
        self._earlier = earlier or {}

    def __repr__(self) -> str:
        return f"Attempt(realm={self.realm!r}, service={self.service!r}, {self.token!r})"

    def modules(self, outcome: str) -> str:
        """The names of the modules whose login had this outcome, for the log."""
        found = dict.fromkeys(step.module for step in self.steps if (step.phase, step.outcome) == ("login", outcome))
        return ", ".join(found)

    def reason(self, error: LoginError) -> str:
        """Why the login failed, for the log: what each module that failed said, for the reported error may be of one
        that just had nothing to go by.
        """
        failed = dict.fromkeys(f"{step.module}: {step.error}" for step in self.steps if step.outcome == "failed")
        return str(error) if len(failed) < 2 else "; ".join(failed)

    def subject_of(self, realm_name: str) -> Subject | None:
        return self._earlier.get(realm_name)

    def subject_so_far(self) -> Subject:
        return subject_of_grants([self.grants[index] for index in sorted(self.grants)])

    def challenge(self, *data: str) -> None:
        self.challenge_data += check_data(data)
        self.challenged = True

    def respond(self, *data: str) -> None:
        self.response_data += check_data(data)

    def limit_session(self, seconds: float) -> None:
        self.session_timeout = self._smaller("session timeout", self.session_timeout, seconds)

    def limit_authorization(self, seconds: float) -> None:
        self.authorization_timeout = self._smaller("authorization timeout", self.authorization_timeout, seconds)

    def run_blocking(self, function: Callable[..., T], *args: Any) -> Coroutine[Any, Any, T]:
        return self._pool.run(function, *args)

    def run_computing(self, function: Callable[..., T], *args: Any) -> Coroutine[Any, Any, T]:
        return self._pool.computing.run(function, *args)

    @staticmethod
    def _smaller(what: str, old: float | None, new: float) -> float:
        if not new >= 0:  # negative, or not a number
            raise ValueError(f"a {what} cannot be negative")
        if new == 0:
            raise LoginFailed(f"a {what} of 0 refuses the login")
        return new if old is None else min(old, new)


def subject_of_grants(grants: Sequence[Grant]) -> Subject:
    """The subject that grants make together, first come first."""
    if len(grants) == 1:
        (only,) = grants
        principals = tuple(dict.fromkeys(only.principals))
        return Subject(principals, tuple(only.public_credentials), tuple(only.private_credentials))
    return Subject(
        tuple(dict.fromkeys(principal for grant in grants for principal in grant.principals)),
        tuple(credential for grant in grants for credential in grant.public_credentials),
        tuple(credential for grant in grants for credential in grant.private_credentials),
    )
