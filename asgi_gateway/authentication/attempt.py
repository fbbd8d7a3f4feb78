"""Define one run of a chain for one request: what modules ask of it, and what they say to it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.errors import AccountProblem, LoginError, LoginFailed
from asgi_gateway.http.headers import check_data
from asgi_gateway.model import AuthenticationToken, Grant, Subject
from asgi_gateway.plugins.login_module import SHARED_NAME, SHARED_PASSWORD, LoginAttempt
from asgi_gateway.plugins.scheme import UserNamePassword

__all__ = ["Attempt", "LoginContext", "Step"]

T = TypeVar("T")


class Step(NamedTuple):
    """Record what one module did in one phase, for logs and ``asgi-gateway explain``."""

    module: str
    phase: str
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginContext:
    """Describe a login apart from its credentials.

    Args:
        realm: the realm's name.
        service: the service's name.
        remote_address: the peer's address, or None.
        connection: the peer's address and port, or None.
        subjects_by_realm: subjects that earlier realms of the same request established.
    """

    realm: str = ""
    service: str = ""
    remote_address: str | None = None
    connection: tuple[str, int] | None = None
    subjects_by_realm: Mapping[str, Subject] = field(default_factory=dict)


class Attempt(LoginAttempt):
    """Implement LoginAttempt for the chain.

    User name and password stand in the shared state before the first module, as in the original, so that a chain may
    begin with ``useFirstPass``.

    Args:
        token: the request's credentials.
        credentials: user name and password, if the scheme carries them.
        pools: run blocking work.
        context: the rest of what is known of the login.
    """

    def __init__(
        self,
        token: AuthenticationToken,
        credentials: UserNamePassword | None,
        pools: ThreadPools,
        context: LoginContext = LoginContext(),
    ) -> None:
        self.token = token
        self.username = credentials.username if credentials else None
        self.password = credentials.password if credentials else None
        self.realm = context.realm
        self.service = context.service
        self.remote_address = context.remote_address
        self.connection = context.connection
        self.shared_state: dict[str, Any] = {}
        if credentials is not None:
            self.shared_state[SHARED_NAME] = credentials.username
            self.shared_state[SHARED_PASSWORD] = credentials.password
        self.grants: dict[int, Grant] = {}
        self.steps: list[Step] = []
        self.replayed = False
        self.account_problem: AccountProblem | None = None
        self.challenge_data: tuple[str, ...] = ()
        self.challenged = False
        self.response_data: tuple[str, ...] = ()
        self.session_timeout: float | None = None
        self.authorization_timeout: float | None = None
        self._pools = pools
        self._subjects_by_realm = context.subjects_by_realm

    def __repr__(self) -> str:
        return f"Attempt(realm={self.realm!r}, service={self.service!r}, {self.token!r})"

    def modules(self, outcome: str) -> str:
        """Return the names of the modules whose login had this outcome, for the log."""
        found = dict.fromkeys(step.module for step in self.steps if (step.phase, step.outcome) == ("login", outcome))
        return ", ".join(found)

    def reason(self, error: LoginError) -> str:
        """Return why the login failed, for the log.

        With several failures it is what each module said: the reported error may be of a module that had no input.
        """
        failed = dict.fromkeys(f"{step.module}: {step.error}" for step in self.steps if step.outcome == "failed")
        return str(error) if len(failed) < 2 else "; ".join(failed)

    def subject_of(self, realm_name: str) -> Subject | None:
        return self._subjects_by_realm.get(realm_name)

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
        return self._pools.blocking.run(function, *args)

    def run_computing(self, function: Callable[..., T], *args: Any) -> Coroutine[Any, Any, T]:
        return self._pools.cpu.run(function, *args)

    @staticmethod
    def _smaller(what: str, old: float | None, new: float) -> float:
        if not new >= 0:  # negative, or not a number
            raise ValueError(f"a {what} cannot be negative")
        if new == 0:
            raise LoginFailed(f"a {what} of 0 refuses the login")
        return new if old is None else min(old, new)


def subject_of_grants(grants: Sequence[Grant]) -> Subject:
    """Return the subject that grants make together, in their order, without duplicate principals."""
    if len(grants) == 1:
        (only,) = grants
        principals = tuple(dict.fromkeys(only.principals))
        return Subject(principals, tuple(only.public_credentials), tuple(only.private_credentials))
    return Subject(
        tuple(dict.fromkeys(principal for grant in grants for principal in grant.principals)),
        tuple(credential for grant in grants for credential in grant.public_credentials),
        tuple(credential for grant in grants for credential in grant.private_credentials),
    )
