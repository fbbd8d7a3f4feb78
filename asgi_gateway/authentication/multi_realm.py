"""Authenticate with several realms, all of which must succeed, in order (a second factor).

After realm k succeeded and realm k+1 got no credentials that it takes, the client is challenged for realm k+1 and given
a ``Sec-Challenge-Identity``. Its next request carries that and credentials for realm k+1 only. The identity is random,
lives 30 seconds in ExpiringState, is bound to the service, and is used up by the request that carries it. Inside a
WebSocket that holds a login, it lives as long as the client has for its answer, and ends with the login.

Unless a service is configured otherwise, all realms must authenticate the same user: one person's password and another
person's one-time code are no login.
"""

from __future__ import annotations

import json
import secrets
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.authentication.settings import CHALLENGE_IDENTITY_TTL, LoginOptions
from asgi_gateway.errors import HeaderError, StateError
from asgi_gateway.model import (
    AuthRequest,
    Challenge,
    Forbid,
    GroupPrincipal,
    Headers,
    Refusal,
    RevocationKey,
    RolePrincipal,
    Subject,
    Unavailable,
    UserPrincipal,
)
from asgi_gateway.plugins.state_store import ExpiringState, Partition
from asgi_gateway.sessions.records import subject_from_json, subject_to_json
from asgi_gateway.telemetry.audit import Audit

__all__ = ["CHALLENGE_IDENTITY_TTL", "IDENTITY_HEADER", "MultiRealmAuthenticator"]

IDENTITY_HEADER = b"sec-challenge-identity"
MAX_ATTEMPTS = 3
"""Wrong answers to a later realm before the first realm is asked again."""


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far the login to one service has come.

    Args:
        results: what the realms so far came to, by realm.
        attempts_left: how many wrong answers are left.
    """

    results: dict[str, AuthenticationResult] = field(default_factory=dict)
    attempts_left: int = MAX_ATTEMPTS


class MultiRealmAuthenticator:
    """Authenticates for services with several realms.

    Args:
        state: keeps identities between two requests; shared by all workers that serve the same clients.
        audit: takes events.
    """

    def __init__(self, state: ExpiringState, audit: Audit) -> None:
        self._state = state.partition(Partition.CHALLENGES)
        self._audit = audit

    async def authenticate(
        self,
        request: AuthRequest,
        service: str,
        realms: Sequence[Realm],
        *,
        same_user: bool,
        options: LoginOptions,
    ) -> AuthenticationResult | Refusal:
        """Ask the realms that are left, in order.

        Args:
            request: the request.
            service: the service's name.
            realms: the service's realms.
            same_user: whether all of them must authenticate the same user.
            options: how they authenticate.
        """
        try:
            progress = await self._redeem_identity(request, service) or _Progress()
            verified: list[Realm] = []
            for realm in realms:
                if realm.name in progress.results:
                    continue
                outcome = await self._ask(realm, request, service, progress, verified, options)
                if not isinstance(outcome, AuthenticationResult):
                    progress.attempts_left -= 0 if verified else 1
                    return await self._challenge_next(service, realms, progress, outcome, options.identity_ttl)
                if same_user and (refused := self._refuse_other_user(request, service, progress, realm, outcome)):
                    return refused
                progress.results[realm.name] = outcome
                verified.append(realm)
            return await self._conclude(request, service, realms, progress, options)
        except HeaderError as error:
            self._event("denial", request, service, error)
            return Forbid(reason=str(error), service=service)
        except StateError as error:
            self._event("unavailable", request, service, error)
            return Unavailable(reason=str(error), service=service)

    async def forget(self, identities: Iterable[bytes]) -> None:
        """Remove challenge identities that nobody is going to show.

        Raises:
            StateError: they cannot be removed now; they expire by themselves.
        """
        for identity in identities:
            key = _key(identity.decode("latin-1"))
            value = await self._state.get(key)
            if value is not None:
                await self._state.remove(key, value)

    @staticmethod
    async def _ask(
        realm: Realm,
        request: AuthRequest,
        service: str,
        progress: _Progress,
        verified: Sequence[Realm],
        options: LoginOptions,
    ) -> AuthenticationResult | Refusal:
        asked = replace(
            options,
            subjects_by_realm={name: result.subject for name, result in progress.results.items()},
            without_authorization=any(earlier.offers(request) for earlier in verified),
            begin_session=False,
        )
        return await realm.authenticate(request, service, asked)

    def _refuse_other_user(
        self, request: AuthRequest, service: str, progress: _Progress, realm: Realm, outcome: AuthenticationResult
    ) -> Forbid | None:
        """Return the refusal of a login whose realms authenticated different users; None if it is one user."""
        users = [_user(result.subject) for result in (*progress.results.values(), outcome)]
        known = [user for user in users if user is not None]
        if len({_canonical(user) for user in known}) <= 1:
            return None
        reason = f"realm {realm.name} authenticated another user than the realms before it (same-user)"
        fields = {"service": service, "realm": realm.name, "principal": known[0], "reason": reason}
        self._audit.event("denial", request, **fields)
        return Forbid(reason=reason, service=service, realm=realm.name)

    async def _conclude(
        self, request: AuthRequest, service: str, realms: Sequence[Realm], progress: _Progress, options: LoginOptions
    ) -> AuthenticationResult:
        """Merge the realms' results, and begin the first realm's session; later factors are asked for each time."""
        headers: Headers = ()
        results = []
        for realm in realms:
            result = progress.results[realm.name]
            if options.begin_session and realm is realms[0] and not result.from_session:
                result = await realm.begin_session(request, service, result)
            headers += result.headers
            results.append(result)
        return AuthenticationResult(
            subject=Subject().merged(*(result.subject for result in results)),
            headers=tuple(dict.fromkeys(headers)),
            session_timeout=_smallest(result.session_timeout for result in results),
            authorization_timeout=_smallest(result.authorization_timeout for result in results),
            expires=_smallest(result.expires for result in results),
            revocation_keys=tuple(key for realm in realms for key in _keys(realm, progress.results[realm.name])),
            challenge=results[-1].challenge,
            checks=tuple(check for realm in realms for check in realm.login_checks(progress.results[realm.name])),
        )

    async def _challenge_next(
        self, service: str, realms: Sequence[Realm], progress: _Progress, outcome: Refusal, ttl: float
    ) -> Refusal:
        """Return the challenge for the next realm, with an identity that stands for the realms so far."""
        if not progress.results or not isinstance(outcome, Challenge):
            return outcome
        if progress.attempts_left <= 0:
            return Challenge(headers=realms[0].challenge_headers(), service=service, realm=realms[0].name)
        identity = secrets.token_urlsafe(32)
        record = {
            "service": service,
            "attempts": progress.attempts_left,
            "results": {name: _result_to_json(result) for name, result in progress.results.items()},
        }
        await self._state.put_if_absent(_key(identity), json.dumps(record), ttl)
        return replace(outcome, headers=(*outcome.headers, (IDENTITY_HEADER, identity.encode("ascii"))))

    async def _redeem_identity(self, request: AuthRequest, service: str) -> _Progress | None:
        """Return what the request's identity stands for, and use it up; None if it has none that is valid here."""
        identity = request.header(IDENTITY_HEADER)
        if identity is None:
            return None
        key = _key(identity.decode("latin-1"))
        value = await self._state.get(key)
        if value is None or not await self._state.remove(key, value):
            return None
        record: dict[str, Any] = json.loads(value)
        if record["service"] != service:
            return None
        results = {name: _result_from_json(result) for name, result in record["results"].items()}
        return _Progress(results=results, attempts_left=record["attempts"])

    def _event(self, outcome: str, request: AuthRequest, service: str, error: Exception) -> None:
        self._audit.event(outcome, request, service=service, reason=str(error))


def _keys(realm: Realm, result: AuthenticationResult) -> tuple[RevocationKey, ...]:
    """Return what ends one realm's login: the merged subject does not tell the user's name in that realm."""
    return (RevocationKey("user", result.subject.name, realm.name), *result.revocation_keys)


def _user(subject: Subject) -> str | None:
    """Return whom a realm authenticated; None if it established roles alone, as a factor without a user of its own."""
    people = [each for each in subject.principals if not isinstance(each, RolePrincipal | GroupPrincipal)]
    return next((each.name for each in people if isinstance(each, UserPrincipal)), people[0].name if people else None)


def _canonical(name: str) -> str:
    """Return the form in which names of different realms are compared."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _key(identity: str) -> str:
    return f"challenge-identity:{identity}"


def _smallest(values: Any) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _result_to_json(result: AuthenticationResult) -> dict[str, Any]:
    return {
        "subject": subject_to_json(result.subject),
        "session_timeout": result.session_timeout,
        "authorization_timeout": result.authorization_timeout,
        "expires": result.expires,
        "revocation_keys": [[key.kind, key.name, key.realm] for key in result.revocation_keys],
        "recheck_data": dict(result.recheck_data),
        "from_session": result.from_session,
    }


def _result_from_json(data: Mapping[str, Any]) -> AuthenticationResult:
    return AuthenticationResult(
        subject=subject_from_json(data["subject"]),
        session_timeout=data["session_timeout"],
        authorization_timeout=data["authorization_timeout"],
        expires=data["expires"],
        revocation_keys=tuple(RevocationKey(*key) for key in data["revocation_keys"]),
        recheck_data=data["recheck_data"],
        from_session=data["from_session"],
    )
