"""Authenticate requests to one realm: read credentials, challenge for them, ask the chain, keep a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.authentication.attempt import Attempt, LoginContext
from asgi_gateway.authentication.chain import Chain
from asgi_gateway.authentication.credentials import CredentialCache, CredentialReader, RawCredentials
from asgi_gateway.authentication.recheck import LoginRechecks
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.authentication.settings import LoginOptions, RealmServices, RealmSettings
from asgi_gateway.authentication.single_flight import SingleFlight
from asgi_gateway.errors import HeaderError, LoginError, LoginUnavailable, StateError
from asgi_gateway.http.headers import cookie_header, single_header
from asgi_gateway.model import (
    AuthenticationToken,
    AuthRequest,
    Challenge,
    Forbid,
    Headers,
    LoginCheck,
    Refusal,
    RevocationKey,
    Unavailable,
)
from asgi_gateway.plugins.scheme import ChallengeScheme, UserNamePassword
from asgi_gateway.sessions.cookies import DEPENDS_ON_COOKIE, Sessions
from asgi_gateway.sessions.revocation import Revocations

__all__ = ["Realm", "came_over_tls"]

_CHALLENGES = 256
"""Challenges that are kept; clients choose none of what they are made of but a scheme's name."""
_SESSIONS = 16
"""Sessions that cached credentials may begin: for several browsers. A client that keeps no cookies fills no store."""
_TLS = ("https", "wss")

_NAMED = ("basic", "bearer", "digest", "negotiate", "ntlm", "token")
"""Schemes whose names are logged where they are not offered. Other first words may be a secret sent without one."""


_DEFAULT = LoginOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Credentials:
    """The credentials of one request, read and parsed."""

    raw: RawCredentials
    token: AuthenticationToken
    scheme: ChallengeScheme
    user: UserNamePassword | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Login:
    """What the chain came to: a result or an error."""

    attempt: Attempt
    result: AuthenticationResult | None = None
    error: LoginError | None = None


class Realm:
    """One realm.

    Args:
        name: the realm's name.
        schemes: the schemes it offers, at least one; the first is its own, for credentials that name none.
        reader: reads its credentials.
        chain: decides.
        services: what all realms share.
        settings: the realm's settings.
        sessions: keeps its sessions; None where every request carries its credentials.
    """

    def __init__(  # noqa: PLR0913 (the parts of a realm, all but two by name)
        self,
        name: str,
        schemes: Sequence[ChallengeScheme],
        *,
        reader: CredentialReader,
        chain: Chain,
        services: RealmServices,
        settings: RealmSettings = RealmSettings(),  # noqa: B008 (it is frozen)
        sessions: Sessions[AuthenticationResult] | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.schemes = tuple(schemes)
        self._by_wire_name = {scheme.wire_name: scheme for scheme in reversed(self.schemes)}  # the first of a name
        self.reader = reader
        self.chain = chain
        self.cache: CredentialCache[AuthenticationResult] = CredentialCache(services.clock, settings.cache_ttl)
        self.sessions = sessions
        self._caches = chain.cacheable and settings.cache_ttl > 0
        self._flights: SingleFlight[_Login] = SingleFlight()
        self._pools = services.pools
        self._clock = services.clock
        self._audit = services.audit
        self._challenge_headers = self.challenge_headers()
        self._challenges: BoundedCache[tuple[str, str], Challenge] = BoundedCache(_CHALLENGES)
        self._rechecks = LoginRechecks(name, chain, settings.recheck, services.clock)
        self._invalidation_handlers: list[Callable[[str], object]] = []

    def challenge_headers(self, data: Sequence[str] = (), scheme: ChallengeScheme | None = None) -> Headers:
        """Return the ``WWW-Authenticate`` lines: one for each scheme.

        Args:
            data: challenge data of modules.
            scheme: the scheme whose line carries the data; None for every line.
        """
        description = self.settings.description or self.name
        return tuple(
            (
                b"www-authenticate",
                offered.challenge(description, data if scheme in (None, offered) else ()).encode("utf-8"),
            )
            for offered in self.schemes
        )

    def forbidden_headers(self) -> Headers:
        """Return the ``WWW-Authenticate`` lines for a client that lacks a role; few schemes have one."""
        description = self.settings.description or self.name
        lines = (offered.forbidden(description) for offered in self.schemes)
        return tuple((b"www-authenticate", line.encode("utf-8")) for line in lines if line is not None)

    def offers(self, request: AuthRequest) -> bool:
        """Return whether the request's Authorization header is of a scheme that the realm offers."""
        raw = self.reader.read(request.headers, request.query)
        if raw[0] is None:
            return False
        try:
            token = self.reader.token(raw, self._by_wire_name)
        except HeaderError:
            return False
        return bool(token) and self._scheme(token) is not None

    def cached_result(
        self, headers: Iterable[tuple[bytes, bytes]], query: bytes, scheme: str
    ) -> AuthenticationResult | None:
        """Return the login that is remembered for a request's session or credentials; None if there is none.

        Asks no store and waits for nothing: most requests are answered by this.

        Raises:
            HeaderError: the credentials are malformed or a duplicate.
        """
        sessions = self.sessions
        if self.reader.authorization_only:
            # sessions look at the same header: read here alone it would be read twice (0.3 of some 11 microseconds)
            if sessions is not None and (result := sessions.peek(headers, secure=_is_secure(scheme))) is not None:
                return result
            authorization = single_header(headers, b"authorization")
            if authorization is None:
                return None
            raw: RawCredentials = (authorization,)
        else:
            raw = self.reader.read(headers, query)
            if sessions is not None and (result := sessions.peek(headers, secure=_is_secure(scheme))) is not None:
                return result
        if not self._caches:
            return None
        result = self.cache.get(raw)
        if result is None or sessions is None or not result.may_start_session(_SESSIONS):
            return result
        return None  # a session begins, which the store must be told

    async def authenticate(
        self, request: AuthRequest, service: str = "", options: LoginOptions = _DEFAULT
    ) -> AuthenticationResult | Refusal:
        """Decide who the request's client is.

        Args:
            request: the request.
            service: the service's name, for modules and logs.
            options: how to authenticate.
        """
        try:
            raw = self.reader.read(request.headers, request.query)
        except HeaderError as error:
            return self._forbid(request, service, str(error))
        if options.without_authorization:
            raw = (None, *raw[1:])
        if not (options.subjects_by_realm or options.bypass_caches):
            remembered = await self._remembered(request, service, raw)
            if isinstance(remembered, AuthenticationResult):
                return await self._finish(request, service, remembered, options)
            if remembered is not None:
                return remembered
        credentials = self._parse(request, service, raw)
        if not isinstance(credentials, _Credentials):
            return credentials
        return await self._verify(request, service, credentials, options)

    async def _verify(
        self, request: AuthRequest, service: str, credentials: _Credentials, options: LoginOptions
    ) -> AuthenticationResult | Refusal:
        """Decide on credentials by the chain."""
        if not credentials.token and self.chain.needs_credentials:
            return self._challenge(request, service, "no credentials")
        login = await self._log_in(request, service, credentials, options)
        if options.trace is not None:
            options.trace(self, login.attempt.steps)
        if login.result is None:
            return self._refuse_login(request, service, credentials, login)
        if self._audit.listening:
            modules = login.attempt.modules("succeeded")
            fields = {"principal": login.result.subject.name, "scheme": credentials.scheme.name, "module": modules}
            self._audit.event("success", request, **fields, **self._fields(service))
        return await self._finish(request, service, login.result, options)

    def _parse(self, request: AuthRequest, service: str, raw: RawCredentials) -> _Credentials | Refusal:
        """Return the parsed credentials, or the refusal of what cannot be parsed or is of another scheme."""
        try:
            token = self.reader.token(raw, self._by_wire_name)
            scheme = self._scheme(token)
            if scheme is None and any(part is not None for part in raw[1:]):
                # The application's own Authorization header does not hide credentials in a configured place.
                raw = (None, *raw[1:])
                token = self.reader.token(raw, self._by_wire_name)
                scheme = self._scheme(token)
            user = self._read(scheme, token) if scheme is not None and token else None
        except HeaderError as error:
            return self._refuse(request, service, self._scheme_of_malformed(raw), str(error))
        if scheme is None:
            return self._challenge(request, service, _another(token))
        return _Credentials(raw=raw, token=token, scheme=scheme, user=user)

    async def _log_in(
        self, request: AuthRequest, service: str, credentials: _Credentials, options: LoginOptions
    ) -> _Login:
        """Run the chain; equal credentials that are being verified already are not verified again."""

        async def run() -> _Login:
            return await self._run_chain(request, service, credentials, options)

        shareable = self._caches and credentials.token and options.trace is None
        if not shareable or options.subjects_by_realm or options.bypass_caches:
            return await run()
        # a login that begins after a reload does not share the outcome of one that began before
        return await self._flights.run((self.cache.generation, self.cache.key(credentials.raw)), run)

    async def _run_chain(
        self, request: AuthRequest, service: str, credentials: _Credentials, options: LoginOptions
    ) -> _Login:
        generation = self.cache.generation
        context = LoginContext(
            realm=self.name,
            service=service,
            remote_address=request.remote_address,
            connection=request.connection,
            subjects_by_realm=options.subjects_by_realm,
        )
        attempt = Attempt(credentials.token, credentials.user, self._pools, context)
        try:
            if self.settings.session_timeout is not None:
                attempt.limit_session(self.settings.session_timeout)
            if self.settings.authorization_timeout is not None:
                attempt.limit_authorization(self.settings.authorization_timeout)
            subject = await self.chain.authenticate(attempt)
        except LoginError as error:
            return _Login(attempt=attempt, error=error)
        grants = attempt.grants.values()
        result = AuthenticationResult(
            subject=subject,
            headers=credentials.scheme.success(attempt.response_data),
            session_timeout=attempt.session_timeout,
            authorization_timeout=attempt.authorization_timeout,
            revocation_keys=tuple(dict.fromkeys(key for grant in grants for key in grant.revocation_keys)),
            expires=min((grant.expires for grant in grants if grant.expires is not None), default=None),
            challenge=self.challenge_headers(attempt.challenge_data, credentials.scheme) if attempt.challenged else (),
            recycles=credentials.scheme.recycles,
            recheck_data={
                str(index): grant.recheck_data
                for index, grant in attempt.grants.items()
                if grant.recheck_data is not None
            },
        )
        alone = not (attempt.challenged or attempt.response_data or result.headers or result.expires is not None)
        if self._caches and credentials.token and alone and not options.subjects_by_realm:
            self.cache.put(credentials.raw, result, generation=generation)
        return _Login(attempt=attempt, result=result)

    async def _remembered(
        self, request: AuthRequest, service: str, raw: RawCredentials
    ) -> AuthenticationResult | Refusal | None:
        """Return what the request's session or the credential cache decides; None if neither does."""
        cookie = cookie_header(request.headers) if self.sessions is not None else b""
        try:
            if self.sessions is not None and cookie:
                result = await self.sessions.load(cookie, secure=came_over_tls(request))
                if result is not None and await self._still_holds(request, service, result):
                    return result
            return self.cache.get(raw) if self._caches and raw != (None,) else None
        except HeaderError as error:
            return self._forbid(request, service, str(error))
        except StateError as error:
            if any(part is not None for part in raw):  # the credentials can be checked all the same
                return self.cache.get(raw) if self._caches else None
            self._audit.event("unavailable", request, **self._fields(service, str(error)))
            return Unavailable(reason=str(error), service=service, realm=self.name)

    async def _finish(
        self, request: AuthRequest, service: str, result: AuthenticationResult, options: LoginOptions
    ) -> AuthenticationResult:
        if options.subjects_by_realm or not options.begin_session or result.from_session:
            return result
        return await self.begin_session(request, service, result)

    async def begin_session(
        self, request: AuthRequest, service: str, result: AuthenticationResult
    ) -> AuthenticationResult:
        """Return the same login with a cookie for the next request; without one if the session cannot be kept."""
        if self.sessions is None or not result.may_start_session(_SESSIONS):
            return result
        result.count_session()
        left = None if result.expires is None else max(1.0, result.expires - self._clock.time())
        try:
            cookie = await self.sessions.begin(
                result.subject,
                secure=came_over_tls(request),
                client=request.remote_address,
                life=min((each for each in (result.session_timeout, left) if each is not None), default=None),
                idle=result.authorization_timeout,
                recheck_data=result.recheck_data,
                rests_on=(key for key in result.revocation_keys if key.kind != "session"),
            )
        except StateError as error:
            self._audit.event("unavailable", request, **self._fields(service, f"no session: {error}"))
            return result
        # a copy, whose decisions are not shared: the cookie is this response's alone
        return replace(result, headers=(*result.headers, (b"set-cookie", cookie), *DEPENDS_ON_COOKIE))

    def invalidate(self) -> None:
        """Drop what is cached, and have every login checked again: a module's data changed.

        May be called from any thread.
        """
        self.cache.clear()
        self._rechecks.clear()
        if self.sessions is not None:
            self.sessions.invalidate(None)
        for handler in self._invalidation_handlers:
            handler(self.name)

    def on_invalidation(self, handler: Callable[[str], object]) -> None:
        """Call a function with the realm's name after each ``invalidate``, in the thread that invalidates."""
        self._invalidation_handlers.append(handler)

    def login_checks(self, result: AuthenticationResult) -> tuple[LoginCheck, ...]:
        """Return how a login is checked while it lives; nothing if no module can check it."""
        return self._rechecks.checks_of(result)

    async def _still_holds(self, request: AuthRequest, service: str, result: AuthenticationResult) -> bool:
        """Return whether the login of a session still holds; end the session if not."""
        if self.sessions is None or await self._rechecks.session_holds(result):
            return True
        fields = self._fields(service, "the login behind the session no longer holds")
        self._audit.event("logout", request, principal=result.subject.name, **fields)
        for key in result.revocation_keys:
            if key.kind == "session":
                await self.sessions.end(key.name)
        return False

    async def log_out(self, request: AuthRequest, service: str, revocations: Revocations) -> Headers:
        """End the session of the request's cookie, if it carries one, everywhere.

        Args:
            request: the request.
            service: the service's name, for the log.
            revocations: ends it.

        Returns:
            headers that make the client drop the cookie.

        Raises:
            HeaderError: the cookie is a duplicate or has control characters.
            StateError: the session cannot be ended for good now.
        """
        if self.sessions is None:
            return ()
        secure = came_over_tls(request)
        session = await self.sessions.lookup(cookie_header(request.headers), secure=secure)
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
    def _read(scheme: ChallengeScheme, token: AuthenticationToken) -> UserNamePassword | None:
        try:
            return scheme.read(token)
        except HeaderError:
            if token.scheme:
                raise
            return None  # a component of another place need not be in the scheme's form: a module may know what it is

    def _refuse_login(
        self, request: AuthRequest, service: str, credentials: _Credentials, login: _Login
    ) -> Challenge | Forbid | Unavailable:
        """Return the answer to a login that the chain refused."""
        attempt, error, scheme = login.attempt, login.error, credentials.scheme
        reason = "the login failed" if error is None else attempt.reason(error)
        if isinstance(error, LoginUnavailable):
            fields = self._fields(service, str(error)) | {"module": attempt.modules("failed")}
            self._audit.event("unavailable", request, scheme=scheme.name, **fields)
            retry_after = error.retry_after
            return Unavailable(reason=str(error), retry_after=retry_after, service=service, realm=self.name)
        if not credentials.token:
            return self._challenge(request, service, "no credentials", self._headers(attempt, scheme))
        return self._refuse(request, service, scheme, reason, attempt)

    def _refuse(
        self,
        request: AuthRequest,
        service: str,
        scheme: ChallengeScheme,
        reason: str,
        attempt: Attempt | None = None,
    ) -> Challenge | Forbid:
        """Return the scheme's answer to wrong credentials; no attempt was made on malformed ones."""
        fields = self._fields(service, reason)
        if attempt is not None:
            fields["principal"] = self._audit.failed_name(attempt.username)
            fields["module"] = attempt.modules("failed")
        outcome = "replay" if attempt is not None and attempt.replayed else "failure"
        problem = attempt.account_problem if attempt is not None else None
        self._audit.event(outcome, request, scheme=scheme.name, **fields)
        if scheme.rejects_with_403 and (attempt is None or not attempt.challenged):
            return Forbid(
                reason=reason, service=service, realm=self.name, account_problem=problem, wrong_credentials=True
            )
        data = (*scheme.refusal_data, *(attempt.challenge_data if attempt is not None else ()))
        headers = self.challenge_headers(data, scheme) if data else self._challenge_headers
        return Challenge(headers=headers, service=service, realm=self.name, reason=reason, account_problem=problem)

    def _headers(self, attempt: Attempt, scheme: ChallengeScheme) -> Headers:
        data = attempt.challenge_data
        return self.challenge_headers(data, scheme) if data else self._challenge_headers

    def _challenge(self, request: AuthRequest, service: str, reason: str, headers: Headers | None = None) -> Challenge:
        if self._audit.listening:
            self._audit.event("challenge", request, **self._fields(service, reason))
        if headers is not None:
            return Challenge(headers=headers, service=service, realm=self.name, reason=reason)
        # the same for every request without credentials, and a third of what else such a request costs
        challenge = self._challenges.get((service, reason))
        if challenge is None:
            challenge = Challenge(headers=self._challenge_headers, service=service, realm=self.name, reason=reason)
            self._challenges.put((service, reason), challenge)
        return challenge

    def _forbid(self, request: AuthRequest, service: str, reason: str) -> Forbid:
        self._audit.event("denial", request, **self._fields(service, reason))
        return Forbid(reason=reason, service=service, realm=self.name)

    def _fields(self, service: str, reason: str = "") -> dict[str, str | None]:
        return {"realm": self.name, "service": service, "reason": reason}


def _another(token: AuthenticationToken) -> str:
    return "credentials of another scheme" + (f": {token.scheme}" if token.scheme in _NAMED else "")


def _is_secure(scheme: str) -> bool | None:
    """Return whether a scheme is one over TLS; None if the server does not report it."""
    return scheme in _TLS if scheme else None


def came_over_tls(request: AuthRequest) -> bool | None:
    """Return whether a request came over TLS; None if that is unknown.

    Where the server does not report it, the page that a browser names in Origin tells: a page over https connects over
    TLS only, and to a page over http the cookie for TLS must not be of use, since an attacker on the network could have
    written the page.
    """
    if request.scheme:
        return request.scheme in _TLS
    origins = [value.lower().partition(b"://")[0] for name, value in request.headers if name == b"origin"]
    return {b"https": True, b"http": False}.get(origins[0]) if len(origins) == 1 else None
