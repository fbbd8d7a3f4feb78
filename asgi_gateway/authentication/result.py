"""A login that succeeded, whether its credentials were checked now, a moment ago, or a session stands for them."""

from __future__ import annotations

from dataclasses import dataclass, field

from asgi_gateway.model import Allow, Headers, RevocationKey, Subject
from asgi_gateway.sessions.cookies import DEPENDS_ON_COOKIE, Session

__all__ = ["AuthenticationResult", "result_from_session"]


@dataclass(slots=True)
class AuthenticationResult:
    """A login that succeeded.

    Args:
        subject: who it is.
        headers: for the success response.
        session_timeout: seconds, or None.
        authorization_timeout: seconds, or None.
        revocation_keys: what ends it before its time, besides its user's being revoked.
        expires: when its credentials cease to be good, in seconds since the epoch, or None.
    """

    subject: Subject
    headers: Headers = ()
    session_timeout: float | None = None
    authorization_timeout: float | None = None
    revocation_keys: tuple[RevocationKey, ...] = ()
    expires: float | None = None
    allowed: dict[object, Allow] = field(default_factory=dict, repr=False)
    """Decisions already taken for this subject, by service. Filled by the gateway."""
    begun: int = field(default=0, compare=False, repr=False)
    """Sessions begun with these credentials while they are remembered."""


def result_from_session(session: Session, left: float) -> AuthenticationResult:
    """The login that a session stands for."""
    revocation_keys = (RevocationKey("session", session.id),)
    return AuthenticationResult(session.subject, DEPENDS_ON_COOKIE, left, session.idle, revocation_keys)
