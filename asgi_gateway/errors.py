"""Every exception the gateway raises on purpose, in one tree.

    GatewayError
    ├── ConfigError            the configuration cannot be used; carries every problem found, not just the first
    ├── HeaderError            a header, query or cookie that strict parsing refuses
    ├── LoginError             a login did not succeed
    │   ├── LoginFailed        the credentials were looked at and refused
    │   │   ├── AllModulesIgnored   no login module had an opinion
    │   │   └── Replayed            a token that lets its bearer in once was used before
    │   └── LoginUnavailable   a back end that the decision needs cannot be asked now (answered 503, never 401)
    └── StateError             ExpiringState could not do what was asked; whatever depends on it is refused
        ├── StateUnavailable   the store is down, frozen, or answers too slowly
        └── StateFull          the store is at its bound; entries are never dropped early to make room

Messages are for operators and logs. None of them is ever sent to a client. What a person may be told who has given the
right password is an AccountProblem, which a LoginFailed carries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = [
    "AccountProblem",
    "AllModulesIgnored",
    "ConfigError",
    "GatewayError",
    "HeaderError",
    "LoginError",
    "LoginFailed",
    "LoginUnavailable",
    "Problem",
    "Replayed",
    "StateError",
    "StateFull",
    "StateUnavailable",
]


class GatewayError(Exception):
    """Base class of every error the gateway raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, doubtful or ignored in a configuration file.

    Args:
        message: what is wrong, as a sentence.
        file: the file it is in, or None for a configuration given as a dict.
        line: one-based line, 0 when there is no position.
        column: one-based column, 0 when there is no position.
        path: where in the document, such as ``security.realms[0].name``.
        hint: what would be right.
        severity: ``error``, ``warning`` or ``ignored``.
    """

    message: str
    file: Path | None = None
    line: int = 0
    column: int = 0
    path: str = ""
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        place = str(self.file) if self.file is not None else "<configuration>" if self.line or self.path else ""
        if self.line:
            place += f":{self.line}:{self.column}"
        parts = [f"{place}: {self.severity}:" if place else f"{self.severity}:"]
        if self.path:
            parts.append(f"{self.path}:")
        parts.append(self.message)
        if self.hint:
            parts.append(f"({self.hint})")
        return " ".join(parts)


class ConfigError(GatewayError):
    """The configuration cannot be used, and nothing was changed by trying.

    Args:
        problems: every problem found; at least one of severity ``error``. A plain string is taken as one problem.
    """

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class HeaderError(GatewayError):
    """A header, query string or cookie that strict parsing refuses."""


class LoginError(GatewayError):
    """A login did not succeed. Raise one of the subclasses."""


class AccountProblem(Enum):
    """Why the right password does not log in: what a login page may tell a person who has just given it."""

    PASSWORD_EXPIRED = "password-expired"  # noqa: S105
    PASSWORD_MUST_CHANGE = "password-must-change"  # noqa: S105
    ACCOUNT_DISABLED = "account-disabled"
    ACCOUNT_EXPIRED = "account-expired"


class LoginFailed(LoginError):
    """The credentials were looked at and refused (JAAS ``FailedLoginException``).

    Args:
        message: for the log.
        account_problem: why the account cannot be used; given only by who has found the password to be right, since a
            login page shows it. None for anything else, such as a wrong password.
    """

    def __init__(self, message: str = "", *, account_problem: AccountProblem | None = None) -> None:
        super().__init__(message)
        self.account_problem = account_problem


class AllModulesIgnored(LoginFailed):
    """No login module of the chain had an opinion, so nobody gets in (JAAS: "all modules ignored")."""


class Replayed(LoginFailed):
    """A token or ticket that lets its bearer in once was used before. The audit log names it as what it is."""


class LoginUnavailable(LoginError):
    """A back end that the decision needs cannot be asked now; the client is told 503, not "wrong password".

    Args:
        message: for the log.
        retry_after: seconds after which trying again makes sense, sent as ``Retry-After``.
    """

    def __init__(self, message: str = "", *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StateError(GatewayError):
    """ExpiringState could not do what was asked. Whatever depends on it must be refused."""


class StateUnavailable(StateError):
    """The store is down, frozen, read-only, or too slow."""


class StateFull(StateError):
    """The store is at its bound. Nothing is dropped early to make room, since that would allow a replay."""
