"""Several realms on one service: each must succeed, in order (a second factor).

After realm k succeeded and realm k+1 got no credentials it takes, the client is challenged for realm k+1 and given a
``Sec-Challenge-Identity``. Its next request carries that and credentials for realm k+1 only. The identity is random,
lives 30 seconds in ExpiringState, is bound to the service, and is used up by the request that carries it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from asgi_gateway.authentication.attempt import Step
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.errors import HeaderError, StateError
from asgi_gateway.model import (
    AuthRequest,
    Challenge,
    Forbid,
    RevocationKey,
    Subject,
    Unavailable,
)
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.sessions.records import subject_from_json, subject_to_json
from asgi_gateway.telemetry.audit import Audit

__all__ = ["IDENTITY_HEADER", "MultiRealmAuthenticator"]

IDENTITY_HEADER = b"sec-challenge-identity"
LIFE = 30.0
"""Seconds between two factors."""
TRIES = 3
"""How often a later factor may be got wrong before the first is asked for again."""

Limits = tuple[float | None, float | None, float | None]
"""Seconds that a session, and an authorization, may last; when the credentials expire."""
Progress = tuple[dict[str, Subject], list[Limits], list[RevocationKey], int]
"""The subjects established, their limits, what may end them, and how many tries are left."""


class ServiceLike(Protocol):
    """What this room needs of a service."""

    name: str
    realms: tuple[Realm, ...]


class MultiRealmAuthenticator:
    """Authenticates for services with several realms.

    Args:
        state: where identities are kept between two requests; shared by all workers that serve the same clients.
        audit: where events go.
    """

    def __init__(self, state: ExpiringState, audit: Audit) -> None:
        self._state = state
        self._audit = audit

    async def authenticate(
        self,
        request: AuthRequest,
        service: ServiceLike,
        observe: Callable[[Realm, Sequence[Step]], None] | None = None,
        *,
        fresh: bool = False,
    ) -> AuthenticationResult | Challenge | Forbid | Unavailable:
        """Ask the realms that are left, in order."""
        try:
            progress = await self._take(request, service)
        except HeaderError as error:
            self._event("denial", request, service, error)
            return Forbid(str(error), (), service.name)
        except StateError as error:
            self._event("unavailable", request, service, error)
            return Unavailable(5, str(error), (), service.name)
        subjects, limits, revocation_keys, tries = progress or ({}, [], [], TRIES)
        verified: list[AuthenticationResult] = []
        asked: list[Realm] = []
        for realm in service.realms:
            if realm.name in subjects:
                continue
            outcome = await realm.authenticate(
                request,
                service.name,
                dict(subjects),
                without_authorization=any(_consumed(request, each) for each in asked),
                observe=None if observe is None else lambda steps, realm=realm: observe(realm, steps),  # type: ignore[misc]
                fresh=fresh,
            )
            if not isinstance(outcome, AuthenticationResult):
                tries = tries if verified else tries - 1
                return await self._go_on(request, service, (subjects, limits, revocation_keys, tries), outcome)
            subjects[realm.name] = outcome.subject
            limits.append((outcome.session_timeout, outcome.authorization_timeout, outcome.expires))
            revocation_keys += _ends_with(realm, outcome)
            verified.append(outcome)
            asked.append(realm)
        headers = tuple(header for each in verified for header in each.headers)
        subject = Subject().merged(*(subjects[realm.name] for realm in service.realms))
        session, authorization, expires = _smallest(limits)
        return AuthenticationResult(subject, headers, session, authorization, tuple(revocation_keys), expires)

    async def _go_on(
        self,
        request: AuthRequest,
        service: ServiceLike,
        progress: Progress,
        outcome: Challenge | Forbid | Unavailable,
    ) -> Challenge | Forbid | Unavailable:
        subjects, limits, revocation_keys, tries = progress
        if not subjects or not isinstance(outcome, Challenge):
            return outcome
        if tries <= 0:
            return Challenge(service.realms[0].challenge_headers(), service.name, service.realms[0].name)
        identity = secrets.token_urlsafe(32)
        record = {
            "service": service.name,
            "tries": tries,
            "limits": _smallest(limits),
            "revocation_keys": [[each.kind, each.name, each.realm] for each in revocation_keys],
            "subjects": {name: subject_to_json(s) for name, s in subjects.items()},
        }
        try:
            await self._state.put_if_absent(_key(identity), json.dumps(record), LIFE)
        except StateError as error:
            self._event("unavailable", request, service, error)
            return Unavailable(5, str(error), (), service.name)
        return replace(outcome, headers=(*outcome.headers, (IDENTITY_HEADER, identity.encode("ascii"))))

    async def _take(self, request: AuthRequest, service: ServiceLike) -> Progress | None:
        """What the identity stands for, used up by being taken; None if there is none, or it is used or foreign."""
        identity = request.header(IDENTITY_HEADER)
        if identity is None:
            return None
        key = _key(identity.decode("latin-1"))
        value = await self._state.get(key)
        if value is None or not await self._state.remove(key, value):
            return None
        record: dict[str, Any] = json.loads(value)
        if record["service"] != service.name:
            return None
        subjects = {name: subject_from_json(principals) for name, principals in record["subjects"].items()}
        revocation_keys = [RevocationKey(*each) for each in record["revocation_keys"]]
        return subjects, [tuple(record["limits"])], revocation_keys, record["tries"]

    def _event(self, outcome: str, request: AuthRequest, service: ServiceLike, error: Exception) -> None:
        self._audit.event(outcome, request, service=service.name, reason=str(error))


def _ends_with(realm: Realm, verified: AuthenticationResult) -> list[RevocationKey]:
    """What ends one realm's login: the merged subject will not tell what it was called there."""
    credentials = verified.subject.public_credentials
    ended_by = [each for each in credentials if type(each) is RevocationKey]
    return [RevocationKey("user", verified.subject.name, realm.name), *verified.revocation_keys, *ended_by]


def _key(identity: str) -> str:
    return f"challenge-identity:{identity}"


def _consumed(request: AuthRequest, earlier: Realm) -> bool:
    """Whether the Authorization header was an earlier realm's credentials, and so is not a later one's."""
    raw = earlier.reader.read(request.headers, request.query)
    return raw[0] is not None and earlier.takes(earlier.reader.token(raw))


def _smallest(limits: Sequence[Limits]) -> Limits:
    session, authorization, expires = (
        min((each for each in column if each is not None), default=None) for column in zip(*limits, strict=True)
    )
    return session, authorization, expires
