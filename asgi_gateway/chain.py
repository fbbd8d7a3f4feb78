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
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

import anyio

from asgi_gateway.attempt import Attempt, Step, subject_of_grants
from asgi_gateway.errors import AllModulesIgnored, LoginError, LoginFailed, LoginUnavailable, Replayed, StateError
from asgi_gateway.interfaces import ControlFlag, LoginModule
from asgi_gateway.model import Grant, Subject
from asgi_gateway.password_login import PasswordLoginModule

__all__ = ["Chain", "ChainEntry", "phase"]

logger = logging.getLogger(__name__)

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


class Chain:
    """A chain of login modules.

    Args:
        entries: the modules in order.
    """

    def __init__(self, entries: Sequence[ChainEntry]) -> None:
        self.entries = tuple(entries)
        self._flags = tuple(entry.flag for entry in self.entries)
        # A time limit takes longer to set than many a module takes.
        self._limits_login = tuple(entry.module.waits for entry in self.entries)
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
                refused = module.authenticates or module.needs_user
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
        await self._walk(attempt, "login", range(len(self.entries)), self._login_one, asked, self._limits_login)
        self._require_authentication(attempt, attempt.grants)

    async def _login_one(self, attempt: Attempt, index: int, asked: list[int]) -> bool:
        asked.append(index)
        grant = await self.entries[index].module.login(attempt)
        if grant is None:
            return False
        if not isinstance(grant, Grant):
            raise TypeError(f"login() must return a Grant or None, not {type(grant).__name__}")
        attempt.grants[index] = grant
        return True

    async def _commit(self, attempt: Attempt) -> Subject:
        committed: list[int] = []
        await self._walk(attempt, "commit", sorted(attempt.grants), self._commit_one, committed, self._limits_commit)
        self._require_authentication(attempt, committed)
        attempt.grants = {index: attempt.grants[index] for index in committed}
        return subject_of_grants(list(attempt.grants.values()))

    async def _commit_one(self, attempt: Attempt, index: int, committed: list[int]) -> bool:
        if await self.entries[index].module.commit(attempt, attempt.grants[index]) is not True:
            return False
        committed.append(index)
        return True

    def _require_authentication(self, attempt: Attempt, granted: Iterable[int]) -> None:
        # A success that rests only on modules that check nothing, such as grant, is none.
        if not any(self.entries[i].module.authenticates and attempt.grants[i].authenticates for i in granted):
            raise LoginFailed("no module that authenticates anyone granted the login")

    async def _walk(
        self,
        attempt: Attempt,
        name: str,
        indices: Sequence[int],
        call: Callable[[Attempt, int, list[int]], Awaitable[bool]],
        called: list[int],
        limited: Sequence[bool],
    ) -> None:
        walk = phase([self._flags[index] for index in indices])
        try:
            index = indices[next(walk)]
            while True:
                entry = self.entries[index]
                answer = await self._ask(entry, call(attempt, index, called), limited[index])
                if isinstance(answer, Exception):
                    step = Step(entry.name, name, "failed", str(answer))
                    attempt.replayed = attempt.replayed or isinstance(answer, Replayed)
                else:
                    step = Step(entry.name, name, "succeeded" if answer else "ignored")
                attempt.steps.append(step)
                index = indices[walk.send(answer)]
        except StopIteration:
            return

    @staticmethod
    async def _ask(entry: ChainEntry, call: Awaitable[bool], limited: bool) -> Answer:
        try:
            if not limited:
                return await call
            with anyio.move_on_after(entry.time_limit):
                return await call
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
