"""One login for all requests that are challenged alike at the same time.

The first request that meets a challenge leads: it asks the handler, and the others wait until the server has accepted
or refused the answer. Then they send what was accepted, or end as the first one ended. A person is asked once.

Only credentials that may be sent again can be shared. As soon as a handler answers with others, such as a token, the
waiting requests ask for themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import threading
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import sniffio

from asgi_gateway.client.memory import ProtectionSpace

__all__ = ["LoginOutcome", "LoginResult", "SharedLogin", "SharedLogins"]


class LoginResult(enum.Enum):
    """How a shared login ended, as those who waited for it have to know."""

    ACCEPTED = "the server accepted the credentials"
    REFUSED = "the handler gave no answer, or the server refused it to the end"
    NOT_SHAREABLE = "the answer is good for one request only"
    ABANDONED = "the request ended before its answer was accepted or refused"


@dataclass(frozen=True, slots=True)
class LoginOutcome:
    """A frozen result of a login, with the credentials if they were accepted."""

    result: LoginResult
    credentials: str = field(default="", repr=False)


class SharedLogin:
    """A login that one request leads and others wait for, in any thread and any event loop."""

    def __init__(self) -> None:
        self._outcome: Future[LoginOutcome] = Future()

    def finish(self, outcome: LoginOutcome) -> None:
        """Wake those who wait; only the first outcome counts."""
        with contextlib.suppress(InvalidStateError):
            self._outcome.set_result(outcome)

    def wait(self) -> LoginOutcome:
        """Block until the login has ended.

        In a thread that runs an event loop nothing is waited for: the request that leads may need that loop.
        """
        if not self._outcome.done() and _runs_event_loop():
            return LoginOutcome(LoginResult.NOT_SHAREABLE)
        return self._outcome.result()

    async def wait_async(self) -> LoginOutcome:
        """Wait in an event loop (asyncio or trio) until the login has ended."""
        if sniffio.current_async_library() == "trio":
            await self._wait_in_trio()
            return self._outcome.result()
        # a cancelled waiter must not cancel the future of all
        return await asyncio.shield(asyncio.wrap_future(self._outcome))

    async def _wait_in_trio(self) -> None:
        import trio

        done, token = trio.Event(), trio.lowlevel.current_trio_token()

        def wake(_: Future[LoginOutcome]) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(done.set)

        self._outcome.add_done_callback(wake)
        await done.wait()


class SharedLogins:
    """The logins that are under way, by protection space."""

    def __init__(self) -> None:
        self._logins: dict[ProtectionSpace, SharedLogin] = {}
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        """Drop the logins that the parent process leads: in the child no thread would end them."""
        self._logins = {}
        self._lock = threading.Lock()

    def join(self, space: ProtectionSpace) -> tuple[SharedLogin, bool]:
        """Return the login of a protection space, and whether it is a new one, which the caller then leads."""
        with self._lock:
            if (login := self._logins.get(space)) is not None:
                return login, False
            login = self._logins[space] = SharedLogin()
            return login, True

    def finish(self, space: ProtectionSpace, outcome: LoginOutcome) -> None:
        """End the login of a protection space; its leader calls this."""
        with self._lock:
            login = self._logins.pop(space, None)
        if login is not None:
            login.finish(outcome)


def _runs_event_loop() -> bool:
    try:
        sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return False
    return True
