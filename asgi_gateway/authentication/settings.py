"""Define what a realm is made with, and how one request is authenticated by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.authentication.attempt import Step
from asgi_gateway.authentication.login_page import LoginPageSettings
from asgi_gateway.model import Subject
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.telemetry.audit import Audit

if TYPE_CHECKING:
    from asgi_gateway.authentication.realm import Realm

__all__ = [
    "CHALLENGE_IDENTITY_TTL",
    "RECHECK",
    "SESSION_LIFE",
    "LoginOptions",
    "RealmServices",
    "RealmSettings",
    "Trace",
]

CHALLENGE_IDENTITY_TTL = 30.0
"""Seconds between two factors."""

SESSION_LIFE = 12 * 3600.0
"""Seconds that a session lives at most if the realm says nothing."""
RECHECK = 300.0
"""Seconds between two checks of a login that a session rests on if the realm says nothing."""

Trace: TypeAlias = Callable[["Realm", Sequence[Step]], None]
"""Receives what each module of a realm did, for ``asgi-gateway explain``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmServices:
    """What all realms of a gateway share.

    Args:
        pools: run blocking work.
        clock: the time.
        audit: takes events.
    """

    pools: ThreadPools
    clock: Clock
    audit: Audit


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmSettings:
    """The settings of one realm.

    Args:
        description: shown in challenges; the realm's name if empty.
        session_timeout: seconds a WebSocket may live, or None.
        authorization_timeout: seconds after which a client must authenticate again, or None.
        cache_ttl: seconds that a verified credential is cached, if the chain allows it; 0 for never.
        recheck: seconds after which a login that a session, WebSocket or stream rests on is checked again; 0 for never.
        login_page: the page on which people log in, or None.
    """

    description: str = ""
    session_timeout: float | None = None
    authorization_timeout: float | None = None
    cache_ttl: float = 30.0
    recheck: float = RECHECK
    login_page: LoginPageSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginOptions:
    """How one request is authenticated where it differs from the first and only realm of a service.

    Args:
        subjects_by_realm: subjects that the service's earlier realms established for this request.
        without_authorization: read the configured places only: the Authorization header was another realm's.
        bypass_caches: credentials count alone, and are verified now: no session, no cached login.
        begin_session: whether a login begins a session; False where further realms follow.
        identity_ttl: seconds that a client with several realms has between two of them.
        trace: receives what each module did.
    """

    subjects_by_realm: Mapping[str, Subject] = field(default_factory=dict)
    without_authorization: bool = False
    bypass_caches: bool = False
    begin_session: bool = True
    identity_ttl: float = CHALLENGE_IDENTITY_TTL
    trace: Trace | None = None
