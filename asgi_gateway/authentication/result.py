"""Define a login that succeeded, whether its credentials were checked now, are cached, or a session stands for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asgi_gateway.model import Allow, Headers, LoginCheck, RevocationKey, Subject
from asgi_gateway.sessions.cookies import DEPENDS_ON_COOKIE, Session

__all__ = ["AuthenticationResult", "result_from_session"]


@dataclass(slots=True, kw_only=True)
class AuthenticationResult:
    """A login that succeeded.

    Args:
        subject: who it is.
        headers: for the success response.
        session_timeout: seconds, or None.
        authorization_timeout: seconds, or None.
        revocation_keys: what ends the login before its time, besides revoking its user.
        expires: when its credentials expire, in seconds since the epoch, or None.
        challenge: the ``WWW-Authenticate`` lines of a module that granted and asked for more, for a missing role.
        recheck_data: what each module's ``recheck`` needs, by the module's index in the chain.
        checks: of a login with several realms, how each realm's login is checked.
        from_session: whether a session stands for the credentials.
        began: when that session began, in seconds since the epoch; 0 without one, or if that is unknown.
        recycles: whether the credentials may begin a session by themselves; a login page begins one in any case.
    """

    subject: Subject
    headers: Headers = ()
    session_timeout: float | None = None
    authorization_timeout: float | None = None
    revocation_keys: tuple[RevocationKey, ...] = ()
    expires: float | None = None
    challenge: Headers = ()
    recheck_data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    checks: tuple[LoginCheck, ...] = ()
    from_session: bool = False
    recycles: bool = True
    began: float = 0.0
    decisions: dict[object, Allow] = field(default_factory=dict, init=False, compare=False, repr=False)
    """The decisions that routes took on this login, by route; written by ``remember_decision``."""
    _sessions_started: int = field(default=0, init=False, compare=False, repr=False)

    def decision(self, route: object) -> Allow | None:
        """Return the decision that a route took on this login; None if it took none yet."""
        return self.decisions.get(route)

    def remember_decision(self, route: object, allow: Allow) -> None:
        """Keep a route's decision for the next request with the same login."""
        self.decisions[route] = allow

    def may_start_session(self, limit: int) -> bool:
        """Return whether these credentials may begin a session: fewer than ``limit`` were while they were cached."""
        return self.recycles and self._sessions_started < limit

    def count_session(self) -> None:
        """Count a session that is started with these credentials."""
        self._sessions_started += 1


def result_from_session(session: Session, left: float) -> AuthenticationResult:
    """Return the login that a session stands for.

    Args:
        session: the session.
        left: seconds until it ends.
    """
    return AuthenticationResult(
        subject=session.subject,
        headers=DEPENDS_ON_COOKIE,
        session_timeout=left,
        authorization_timeout=session.idle,
        revocation_keys=(RevocationKey("session", session.id), *session.rests_on),
        recheck_data=session.recheck_data,
        from_session=True,
        began=session.began,
    )
