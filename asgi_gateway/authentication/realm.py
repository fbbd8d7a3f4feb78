"""A realm: where credentials come from, how they are challenged for, and the chain that decides on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from asgi_gateway.authentication.attempt import Attempt, Step, ThreadPools
from asgi_gateway.authentication.chain import Chain
from asgi_gateway.authentication.credentials import CredentialCache, CredentialReader, RawCredentials
from asgi_gateway.authentication.result import AuthenticationResult, result_from_session
from asgi_gateway.errors import HeaderError, LoginError, LoginUnavailable, StateError
from asgi_gateway.model import (
    AuthenticationToken,
    AuthRequest,
    Challenge,
    Forbid,
    Headers,
    RevocationKey,
    Subject,
    Unavailable,
)
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.scheme import ChallengeScheme, UserNamePassword
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.sessions.cookies import DEPENDS_ON_COOKIE, Sessions
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.telemetry.audit import Audit

__all__ = ["SESSION_LIFE", "Realm"]

SESSION_LIFE = 12 * 3600.0
"""Seconds that a session lives at most if the realm says nothing."""
_SESSIONS = 16
"""Sessions that a remembered login may begin: for several browsers; a client that keeps no cookies fills no store."""
_TLS = ("https", "wss")

_NAMED = ("basic", "bearer", "digest", "negotiate", "ntlm", "token")
"""Schemes whose names are logged where they are not offered. Other first words may be a secret sent without one."""


class Realm:
    """One realm.

    Args:
        name: the realm's name.
        schemes: the schemes it offers, at least one; the first is its own, for credentials that name none.
        reader: where its credentials are.
        chain: who decides.
        pool: where blocking work runs.
        clock: where time comes from.
        audit: where events go.
        description: shown in challenges; the name if empty.
        session_timeout: seconds a WebSocket may live, or None.
        authorization_timeout: seconds after which to authenticate again, or None.
        cache_ttl: seconds that a verified credential is remembered, if the chain allows it; 0 for never.
        recycle: where sessions are kept and the keys that sign their cookies; None where every request carries its
            credentials.
    """

    def __init__(
        self,
        name: str,
        schemes: Sequence[ChallengeScheme],
        reader: CredentialReader,
        chain: Chain,
        *,
        pool: ThreadPools,
        clock: Clock,
        audit: Audit,
        description: str = "",
        session_timeout: float | None = None,
        authorization_timeout: float | None = None,
        cache_ttl: float = 30.0,
        recycle: tuple[ExpiringState, Sequence[bytes]] | None = None,
    ) -> None:
        self.name = name
        self.description = description or name
        self.schemes = tuple(schemes)
        self._by_wire_name = {scheme.wire_name: scheme for scheme in reversed(self.schemes)}  # the first of a name
        self.reader = reader
        self.chain = chain
        self.cache: CredentialCache[AuthenticationResult] = CredentialCache(clock, cache_ttl)
        self._remembers = chain.cacheable and cache_ttl > 0
        self._pool = pool
        self._audit = audit
        self._limits = (session_timeout, authorization_timeout)
        self.sessions: Sessions[AuthenticationResult] | None = None
        if recycle is not None:
            state, keys = recycle
            life = session_timeout or SESSION_LIFE
            self.sessions = Sessions(
                name, state, clock, keys, life=life, idle=authorization_timeout, make_result=result_from_session
            )
        self._plain_challenge = self.challenge_headers()

    def challenge_headers(self, data: Sequence[str] = (), scheme: ChallengeScheme | None = None) -> Headers:
        """The ``WWW-Authenticate`` lines: one for each scheme, the data in the one it was asked for."""
        return tuple(
            (
                b"www-authenticate",
                offered.challenge(self.description, data if scheme in (None, offered) else ()).encode("utf-8"),
            )
            for offered in self.schemes
        )

    def takes(self, token: AuthenticationToken) -> bool:
        """Whether the token's scheme is one that the realm offers."""
        return self._scheme(token) is not None

    def recall(
        self, headers: Iterable[tuple[bytes, bytes]], query: bytes, scheme: str = "http"
    ) -> AuthenticationResult | None:
        """What was decided a moment ago on this session or these credentials, if it may be remembered.

        Raises:
            HeaderError: the credentials are not what strict parsing takes.
        """
        if self.sessions is None:
            if not self._remembers:
                return None
            plain = self.reader.plain
            return self.cache.get_plain(headers) if plain else self.cache.get(self.reader.read(headers, query))
        if not self.reader.plain:
            self.reader.read(headers, query)  # refuses what is there twice; plain headers are looked at by the sessions
        if (verified := self.sessions.peek(headers, secure=scheme in _TLS)) is not None or not self._remembers:
            return verified
        verified = self.cache.get(self.reader.read(headers, query))
        return None if verified is None or verified.begun < _SESSIONS else verified

    async def authenticate(
        self,
        request: AuthRequest,
        service: str = "",
        earlier: Mapping[str, Subject] | None = None,
        *,
        without_authorization: bool = False,
        observe: Callable[[Sequence[Step]], None] | None = None,
        fresh: bool = False,
    ) -> AuthenticationResult | Challenge | Forbid | Unavailable:
        """Decide who the request's client is.

        Args:
            request: the request.
            service: the service's name, for modules and logs.
            earlier: subjects that the service's earlier realms established for this request.
            without_authorization: look at the configured places only: the Authorization header was another realm's.
            observe: is given what each module did.
            fresh: only credentials count, and they are verified now: no session, and nothing that is remembered.
        """
        remembered = not (earlier or fresh)
        try:
            raw = self.reader.read(request.headers, request.query)
            if without_authorization:
                raw = (None, *raw[1:])
        except HeaderError as error:
            return self._forbid(request, service, str(error))
        if remembered and (decided := await self._session(request, service, raw)) is not None:
            return decided
        if remembered and self._remembers and (verified := self.cache.get(raw)) is not None:
            return await self._begin_session(request, service, verified)
        try:
            token = self.reader.token(raw)
            scheme = self._scheme(token)
            credentials = self._credentials(scheme, token) if scheme is not None else None
        except HeaderError as error:
            scheme = self._scheme_of_malformed(raw)
            return self._refuse(request, service, scheme, str(error))
        if scheme is None:
            return self._challenge(request, service, _another(token))
        if not token and self.chain.needs_credentials:
            return self._challenge(request, service, "no credentials")
        return await self._ask_chain(request, service, earlier, raw, token, scheme, credentials, observe)

    async def _ask_chain(
        self,
        request: AuthRequest,
        service: str,
        earlier: Mapping[str, Subject] | None,
        raw: RawCredentials,
        token: AuthenticationToken,
        scheme: ChallengeScheme,
        credentials: UserNamePassword | None,
        observe: Callable[[Sequence[Step]], None] | None,
    ) -> AuthenticationResult | Challenge | Forbid | Unavailable:
        generation = self.cache.generation
        attempt = Attempt(
            token,
            credentials,
            self._pool,
            realm=self.name,
            service=service,
            remote_address=request.remote_address,
            connection=request.connection,
            earlier=earlier,
        )
        session_timeout, authorization_timeout = self._limits
        if session_timeout is not None:
            attempt.limit_session(session_timeout)
        if authorization_timeout is not None:
            attempt.limit_authorization(authorization_timeout)
        try:
            subject = await self.chain.authenticate(attempt)
        except LoginUnavailable as error:
            fields = self._fields(service, str(error)) | {"module": attempt.modules("failed")}
            self._audit.event("unavailable", request, scheme=scheme.name, **fields)
            return Unavailable(error.retry_after, str(error), (), service, self.name)
        except LoginError as error:
            if not token:
                return self._challenge(request, service, "no credentials", attempt.challenge_data, scheme)
            return self._refuse(request, service, scheme, attempt.reason(error), attempt)
        finally:
            if observe is not None:
                observe(attempt.steps)
        verified = AuthenticationResult(
            subject, scheme.success(attempt.response_data), attempt.session_timeout, attempt.authorization_timeout
        )
        for grant in attempt.grants.values():
            if grant.expires is not None and (verified.expires is None or grant.expires < verified.expires):
                verified.expires = grant.expires
        alone = not (earlier or attempt.response_data or verified.headers or verified.expires is not None)
        if self._remembers and token and alone:
            self.cache.put(raw, verified, generation=generation)
        if self._audit.listening:
            fields = {"principal": subject.name, "scheme": scheme.name, "module": attempt.modules("succeeded")}
            self._audit.event("success", request, **fields, **self._fields(service))
        return verified if earlier else await self._begin_session(request, service, verified)

    async def _session(
        self, request: AuthRequest, service: str, raw: RawCredentials
    ) -> AuthenticationResult | Forbid | Unavailable | None:
        """What the request's session cookie decides; None if there is no good one."""
        if self.sessions is None:
            return None
        secure = request.scheme in _TLS
        try:
            cookie = _cookie(request)
            return await self.sessions.load(cookie, secure=secure) if cookie else None
        except HeaderError as error:
            return self._forbid(request, service, str(error))
        except StateError as error:
            if any(part is not None for part in raw):
                return None  # the credentials can be checked all the same
            self._audit.event("unavailable", request, **self._fields(service, str(error)))
            return Unavailable(5, str(error), (), service, self.name)

    async def _begin_session(
        self, request: AuthRequest, service: str, verified: AuthenticationResult
    ) -> AuthenticationResult:
        """The same login with a cookie for the next request; without one if the session cannot be kept."""
        if self.sessions is None or verified.begun >= _SESSIONS:
            return verified
        verified.begun += 1
        try:
            cookie = await self.sessions.begin(
                verified.subject,
                secure=request.scheme in _TLS,
                life=verified.session_timeout,
                idle=verified.authorization_timeout,
            )
        except StateError as error:
            self._audit.event("unavailable", request, **self._fields(service, f"no session: {error}"))
            return verified
        headers = (*verified.headers, (b"set-cookie", cookie), *DEPENDS_ON_COOKIE)
        return replace(verified, headers=headers, allowed={})  # the cookie is this response's alone

    async def log_out(self, request: AuthRequest, service: str, revocations: Revocations) -> Headers:
        """End the session of the request's cookie, if there is one, everywhere.

        Args:
            request: the request.
            service: the service's name, for the log.
            revocations: ends it.

        Returns:
            what has the client drop the cookie.

        Raises:
            HeaderError: the cookie is there twice or has control characters.
            StateError: it could not be ended for good.
        """
        if self.sessions is None:
            return ()
        secure = request.scheme in _TLS
        session = await self.sessions.lookup(_cookie(request), secure=secure)
        if session is not None and await revocations.revoke(RevocationKey("session", session.id)):
            self._audit.event("logout", request, principal=session.subject.name, **self._fields(service))
            await self.chain.logout(session.subject)
        return ((b"set-cookie", self.sessions.end_cookie(secure=secure)),)

    def _scheme(self, token: AuthenticationToken) -> ChallengeScheme | None:
        if not token.scheme:
            return self.schemes[0]
        return self._by_wire_name.get(token.scheme)

    def _scheme_of_malformed(self, raw: RawCredentials) -> ChallengeScheme:
        words = raw[0].lower().split() if isinstance(raw[0], bytes) else []
        named = (scheme for scheme in self.schemes if scheme.wire_name.encode() in words[:2])
        return next(named, self.schemes[0])

    @staticmethod
    def _credentials(scheme: ChallengeScheme, token: AuthenticationToken) -> UserNamePassword | None:
        try:
            return scheme.read(token)
        except HeaderError:
            if token.scheme:
                raise
            return None  # a component of another place need not be in the scheme's form: a module may know what it is

    def _refuse(
        self,
        request: AuthRequest,
        service: str,
        scheme: ChallengeScheme,
        reason: str,
        attempt: Attempt | None = None,
    ) -> Challenge | Forbid:
        """The answer to wrong credentials, as the scheme has it; no attempt was made on malformed ones."""
        fields = self._fields(service, reason)
        if attempt is not None:
            fields["principal"] = self._audit.failed_name(attempt.username)
            fields["module"] = attempt.modules("failed")
        outcome = "replay" if attempt is not None and attempt.replayed else "failure"
        self._audit.event(outcome, request, scheme=scheme.name, **fields)
        if scheme.rejects_with_403 and (attempt is None or not attempt.challenged):
            return Forbid(reason, (), service, self.name)
        data = attempt.challenge_data if attempt is not None else ()
        return Challenge(self.challenge_headers(data, scheme), service, self.name, reason)

    def _challenge(
        self,
        request: AuthRequest,
        service: str,
        reason: str,
        data: Sequence[str] = (),
        scheme: ChallengeScheme | None = None,
    ) -> Challenge:
        self._audit.event("challenge", request, **self._fields(service, reason))
        headers = self.challenge_headers(data, scheme) if data else self._plain_challenge
        return Challenge(headers, service, self.name, reason)

    def _forbid(self, request: AuthRequest, service: str, reason: str) -> Forbid:
        self._audit.event("denial", request, **self._fields(service, reason))
        return Forbid(reason, (), service, self.name)

    def _fields(self, service: str, reason: str = "") -> dict[str, str | None]:
        return {"realm": self.name, "service": service, "reason": reason}


def _cookie(request: AuthRequest) -> bytes:
    return b"; ".join(value for name, value in request.headers if name == b"cookie")  # HTTP/2 may send several lines


def _another(token: AuthenticationToken) -> str:
    return "credentials of another scheme" + (f": {token.scheme}" if token.scheme in _NAMED else "")
