"""The JAAS walk over a chain of login modules. Source: ``javax.security.auth.login.LoginContext``, as the JDK runs it.

The rules, for each of the two phases (login, then commit), modules asked in order:

- succeeded: ends the phase if the flag is sufficient and no required or requisite module failed so far in the phase;
- ignored: neither helps nor hurts, whatever the flag;
- failed, requisite: ends the phase with the first required error, which may be this one;
- failed, required: the first such error is remembered; the phase goes on and will fail;
- failed, sufficient or optional: the first such error is remembered; the phase goes on.

A phase that comes to its end fails with the first required error; else, if nothing succeeded, with the first other
error; else, if nothing failed either, with AllModulesIgnored. An empty chain has nothing that succeeds, so it fails.

Only modules that granted are asked to commit. If either phase fails, or the attempt is cancelled, every module that
was asked to log in is asked to abort; errors of an abort are logged and never replace the reported one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from asgi_gateway.authentication.attempt import Attempt, Step, subject_of_grants
from asgi_gateway.errors import AllModulesIgnored, LoginError, LoginFailed, LoginUnavailable, Replayed, StateError
from asgi_gateway.model import Grant, Subject
from asgi_gateway.plugins.login_module import ControlFlag, LoginModule
from asgi_gateway.plugins.password_login import PasswordLoginModule

__all__ = ["Chain", "ChainEntry", "phase"]

logger = logging.getLogger("asgi_gateway.chain")

Answer = bool | Exception
ABORT_LIMIT = 5.0
"""Seconds that a module's abort may take, shielded from cancellation."""
_COMMITS_AT_ONCE = (LoginModule.commit, PasswordLoginModule.commit)
"""Those that modules inherit; they wait for nothing."""


def phase(flags: Sequence[ControlFlag]) -> Generator[int, Answer, None]:
    """Walk one phase, without doing any of it: yields the index to ask, is sent True, False (ignored) or the error.

    Returns normally if the phase succeeds.

    Raises:
        Exception: the error to report.
    """
    required_error: Exception | None = None
    other_error: Exception | None = None
    succeeded = False
    for index, flag in enumerate(flags):
        answer = yield index
        if isinstance(answer, Exception):
            if flag is ControlFlag.REQUIRED or flag is ControlFlag.REQUISITE:
                required_error = required_error if required_error is not None else answer
                if flag is ControlFlag.REQUISITE:
                    break
            elif other_error is None:
                other_error = answer
        elif answer is True:
            succeeded = True
            if flag is ControlFlag.SUFFICIENT and required_error is None:
                return
    if required_error is not None:
        raise required_error
    if not succeeded:
        raise other_error if other_error is not None else AllModulesIgnored("no login module had an opinion")


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One place in a chain.

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

    @property
    def keeps_its_limit(self) -> bool:
        """Whether the module's login ends within the limit by itself."""
        return self.module.ends_within is not None and self.module.ends_within <= self.time_limit


class Chain:
    """A chain of login modules.

    Args:
        entries: the modules in order.
    """

    def __init__(self, entries: Sequence[ChainEntry]) -> None:
        self.entries = tuple(entries)
        self._flags = tuple(entry.flag for entry in self.entries)
        # A time limit takes longer to set than many a module takes, and a module may keep one of its own.
        self._limits_login = tuple(entry.module.waits and not entry.keeps_its_limit for entry in self.entries)
        self._limits_commit = tuple(
            entry.module.waits and type(entry.module).commit not in _COMMITS_AT_ONCE for entry in self.entries
        )

    @property
    def cacheable(self) -> bool:
        """Whether a success may be remembered: every module allows it."""
        return all(entry.module.cacheable for entry in self.entries)

    @property
    def needs_credentials(self) -> bool:
        """Whether nothing can come of asking the chain without credentials."""
        return all(entry.module.needs_credentials for entry in self.entries)

    def opens_by_itself(self) -> bool:
        """Whether the chain would let somebody in whom every authenticating module refused: a configuration error."""
        walk = phase(self._flags)
        try:
            index = next(walk)
            while True:
                module = self.entries[index].module
                refused = module.authenticates or module.requires_subject
                index = walk.send(LoginFailed("refused") if refused else True)
        except StopIteration:
            return True
        except LoginError:
            return False

    async def authenticate(self, attempt: Attempt) -> Subject:
        """Run both phases.

        Returns:
            the subject that the committed grants make.

        Raises:
            LoginError: the error that JAAS reports; any other exception of a module counts as a LoginFailed.
        """
        asked: list[int] = []
        done = False
        try:
            await self._login(attempt, asked)
            subject = await self._commit(attempt)
            done = True
            return subject
        finally:
            if not done:
                await self._abort(attempt, asked)

    async def logout(self, subject: Subject) -> None:
        """Tell every module that the subject's login ended."""
        for entry in self.entries:
            try:
                with anyio.move_on_after(ABORT_LIMIT):
                    await entry.module.logout(subject)
            except Exception:
                logger.exception("login module %s failed to log out", entry.name)

    async def _login(self, attempt: Attempt, asked: list[int]) -> None:
        walk = phase(self._flags)
        try:
            index = next(walk)
            while True:
                asked.append(index)
                entry = self.entries[index]
                answer = await self._ask(entry, self._limits_login[index], entry.module.login, attempt)
                if isinstance(answer, Grant):
                    attempt.grants[index] = answer
                    answer = True
                elif answer is None:
                    answer = False
                elif not isinstance(answer, Exception):
                    name = type(answer).__name__
                    logger.error("login module %s: login() must return a Grant or None, not %s", entry.name, name)
                    answer = LoginFailed("unexpected TypeError")
                index = walk.send(_noted(attempt, entry, "login", answer))
        except StopIteration:
            self._require_authentication(attempt.grants)

    async def _commit(self, attempt: Attempt) -> Subject:
        granted = sorted(attempt.grants)
        committed: dict[int, Grant] = {}
        walk = phase([self._flags[index] for index in granted])
        try:
            index = granted[next(walk)]
            while True:
                entry, grant = self.entries[index], attempt.grants[index]
                answer = await self._ask(entry, self._limits_commit[index], entry.module.commit, attempt, grant)
                if answer is True:
                    committed[index] = grant
                elif not isinstance(answer, Exception):
                    answer = False
                index = granted[walk.send(_noted(attempt, entry, "commit", answer))]
        except StopIteration:
            self._require_authentication(committed)
        attempt.grants = committed
        return subject_of_grants(tuple(committed.values()))

    def _require_authentication(self, grants: Mapping[int, Grant]) -> None:
        # A success that rests only on modules that check nothing, such as grant, is none.
        for index, grant in grants.items():
            if grant.authenticates and self.entries[index].module.authenticates:
                return
        raise LoginFailed("no module that authenticates anyone granted the login")

    @staticmethod
    async def _ask(entry: ChainEntry, limited: bool, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """What a module answers; what it raises is an answer too."""
        try:
            if not limited:
                return await call(*args)
            with anyio.move_on_after(entry.time_limit):
                return await call(*args)
            return LoginUnavailable(f"login module {entry.name} took more than {entry.time_limit:g} seconds")
        except LoginError as error:
            return error
        except StateError as error:
            logger.error("login module %s: shared state: %s", entry.name, error)
            return LoginUnavailable(f"shared state: {error}")
        except Exception as error:
            logger.exception("login module %s raised an unexpected error, counted as a failed login", entry.name)
            return LoginFailed(f"unexpected {type(error).__name__}")

    async def _abort(self, attempt: Attempt, asked: Sequence[int]) -> None:
        with anyio.CancelScope(shield=True):
            for index in asked:
                entry = self.entries[index]
                try:
                    with anyio.move_on_after(ABORT_LIMIT):
                        await entry.module.abort(attempt)
                except Exception:
                    logger.exception("login module %s failed to abort", entry.name)
        attempt.grants.clear()


def _noted(attempt: Attempt, entry: ChainEntry, name: str, answer: Answer) -> Answer:
    """The same answer, noted for the log."""
    if isinstance(answer, Exception):
        attempt.replayed = attempt.replayed or isinstance(answer, Replayed)
        attempt.steps.append(Step(entry.name, name, "failed", str(answer)))
    else:
        attempt.steps.append(Step(entry.name, name, "succeeded" if answer else "ignored"))
    return answer
