"""Run a chain of login modules as JAAS does. Source: ``javax.security.auth.login.LoginContext``, as the JDK runs it.

The rules, for each of the two phases (login, then commit), modules asked in order:

- succeeded: ends the phase if the flag is sufficient and no required or requisite module failed so far in the phase;
- ignored: neither helps nor hurts, whatever the flag;
- failed, requisite: ends the phase with the first required error, which may be this one;
- failed, required: the first such error is remembered; the phase goes on and will fail;
- failed, sufficient or optional: the first such error is remembered; the phase goes on.

A phase that comes to its end fails with the first required error; else, if nothing succeeded, with the first other
error; else, if nothing failed either, with AllModulesIgnored. An empty chain has nothing that succeeds, so it fails.

Only modules that granted are asked to commit. If either phase fails, or the attempt is cancelled, every module that
was asked to log in is asked to abort. Errors of an abort are logged and never replace the reported one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from asgi_gateway.authentication.attempt import Attempt, Step, subject_of_grants
from asgi_gateway.errors import (
    AllModulesIgnored,
    LoginError,
    LoginFailed,
    LoginUnavailable,
    Replayed,
    StateError,
)
from asgi_gateway.model import Grant, Subject
from asgi_gateway.plugins.login_module import ControlFlag, LoginModule

__all__ = ["Chain", "ChainEntry", "Phase"]

logger = logging.getLogger("asgi_gateway.chain")

Outcome = bool | Exception
"""What a module did in one phase: True (succeeded), False (ignored), or the exception it failed with."""
ABORT_LIMIT = 5.0
"""Seconds that a module's abort may take, shielded from cancellation."""


class Phase:
    """Record what one phase, login or commit, has come to so far."""

    __slots__ = ("_other_error", "_required_error", "_succeeded")

    def __init__(self) -> None:
        self._succeeded = False
        self._required_error: Exception | None = None
        self._other_error: Exception | None = None

    def record(self, flag: ControlFlag, outcome: Outcome) -> bool:
        """Count one module's outcome; return True if the phase ends here."""
        if isinstance(outcome, Exception):
            if flag is ControlFlag.REQUIRED or flag is ControlFlag.REQUISITE:
                if self._required_error is None:
                    self._required_error = outcome
                return flag is ControlFlag.REQUISITE
            if self._other_error is None:
                self._other_error = outcome
            return False
        self._succeeded = self._succeeded or outcome
        return outcome and flag is ControlFlag.SUFFICIENT and self._required_error is None

    def error(self) -> Exception | None:
        """Return the error that the phase ends with; None if it succeeded."""
        if self._required_error is not None:
            return self._required_error
        if self._succeeded:
            return None
        if self._other_error is not None:
            return self._other_error
        return AllModulesIgnored("all login modules ignored the login")


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """Hold one place in a chain.

    Args:
        module: the login module.
        flag: how its outcome counts.
        name: for logs, such as ``file``.
        time_limit: seconds that its login, and its commit, may take.
    """

    module: LoginModule
    flag: ControlFlag
    name: str = ""
    time_limit: float = 30.0


class Chain:
    """Decide on a login with a list of login modules.

    Args:
        entries: the modules in order.
    """

    def __init__(self, entries: Sequence[ChainEntry]) -> None:
        self.entries = tuple(entries)

    @property
    def cacheable(self) -> bool:
        """Whether a success may be cached: every module allows it."""
        return all(entry.module.cacheable for entry in self.entries)

    @property
    def needs_credentials(self) -> bool:
        """Whether no module can do anything for a request without credentials."""
        return all(entry.module.needs_credentials for entry in self.entries)

    def opens_by_itself(self) -> bool:
        """Return whether the chain succeeds although every authenticating module refuses: a configuration error."""
        phase = Phase()
        for entry in self.entries:
            refused = entry.module.authenticates or entry.module.requires_subject
            if phase.record(entry.flag, LoginFailed("refused") if refused else True):
                break
        return phase.error() is None

    async def authenticate(self, attempt: Attempt) -> Subject:
        """Run both phases.

        Returns:
            the subject that the committed grants make.

        Raises:
            LoginError: the error that JAAS reports. Any other exception of a module counts as a LoginFailed.
        """
        asked: list[ChainEntry] = []
        done = False
        try:
            await self._login(attempt, asked)
            subject = await self._commit(attempt)
            done = True
            return subject
        finally:
            if not done:
                await _abort(attempt, asked)

    async def logout(self, subject: Subject) -> None:
        """Tell every module that the subject's login ended."""
        for entry in self.entries:
            try:
                async with asyncio.timeout(ABORT_LIMIT):
                    await entry.module.logout(subject)
            except Exception:
                logger.exception("login module %s failed to log out", entry.name)

    async def _login(self, attempt: Attempt, asked: list[ChainEntry]) -> None:
        phase = Phase()
        for index, entry in enumerate(self.entries):
            asked.append(entry)
            answer = await _ask(entry, entry.module.login, attempt)
            if isinstance(answer, Grant):
                attempt.grants[index] = answer
                outcome: Outcome = True
            elif answer is None:
                outcome = False
            elif isinstance(answer, Exception):
                outcome = answer
            else:
                name = type(answer).__name__
                logger.error("login module %s: login() must return a Grant or None, not %s", entry.name, name)
                outcome = LoginFailed("unexpected TypeError")
            _note(attempt, entry, "login", outcome)
            if phase.record(entry.flag, outcome):
                break
        self._conclude(phase, attempt, attempt.grants)

    async def _commit(self, attempt: Attempt) -> Subject:
        phase = Phase()
        committed: dict[int, Grant] = {}
        for index, grant in sorted(attempt.grants.items()):
            entry = self.entries[index]
            if type(entry.module).commit is LoginModule.commit:
                answer: Any = True  # it would do nothing, in 5 microseconds
            else:
                answer = await _ask(entry, entry.module.commit, attempt, grant)
            outcome: Outcome = answer if isinstance(answer, Exception) else answer is True
            if outcome is True:
                committed[index] = grant
            _note(attempt, entry, "commit", outcome)
            if phase.record(entry.flag, outcome):
                break
        self._conclude(phase, attempt, committed)
        attempt.grants = committed
        return subject_of_grants(tuple(committed.values()))

    def _conclude(self, phase: Phase, attempt: Attempt, grants: Mapping[int, Grant]) -> None:
        """Raise unless the phase succeeded and rests on a module that authenticates.

        A success of modules that check nothing, such as ``grant``, is none. A request without credentials needs a
        module that declares to grant without them; whatever else grants to it checked nothing of this request.
        """
        if (error := phase.error()) is not None:
            raise error
        for index, grant in grants.items():
            module = self.entries[index].module
            if grant.authenticates and module.authenticates and (attempt.token or module.grants_without_credentials):
                return
        if attempt.token:
            raise LoginFailed("no module that authenticates granted the login")
        raise LoginFailed("no credentials")


async def _ask(entry: ChainEntry, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Return a module's answer; what it raises is an answer, too."""
    limit = asyncio.timeout(entry.time_limit)
    try:
        async with limit:
            return await call(*args)
    except LoginError as error:
        return error
    except StateError as error:
        logger.error("login module %s: shared state: %s", entry.name, error)
        return LoginUnavailable(f"shared state: {error}")
    except Exception as error:
        if limit.expired() and isinstance(error, TimeoutError):
            return LoginUnavailable(f"login module {entry.name} took more than {entry.time_limit:g} seconds")
        logger.exception("login module %s raised an unexpected error, counted as a failed login", entry.name)
        return LoginFailed(f"unexpected {type(error).__name__}")


async def _abort(attempt: Attempt, asked: Sequence[ChainEntry]) -> None:
    with anyio.CancelScope(shield=True):
        for entry in asked:
            try:
                with anyio.move_on_after(ABORT_LIMIT):
                    await entry.module.abort(attempt)
            except Exception:
                logger.exception("login module %s failed to abort", entry.name)
    attempt.grants.clear()


def _note(attempt: Attempt, entry: ChainEntry, name: str, outcome: Outcome) -> None:
    """Write an outcome into the attempt, for the log."""
    if isinstance(outcome, Exception):
        attempt.replayed = attempt.replayed or isinstance(outcome, Replayed)
        if isinstance(outcome, LoginFailed) and attempt.account_problem is None:
            attempt.account_problem = outcome.account_problem
        attempt.steps.append(Step(entry.name, name, "failed", str(outcome)))
    else:
        attempt.steps.append(Step(entry.name, name, "succeeded" if outcome else "ignored"))
