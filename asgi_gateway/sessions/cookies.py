"""Sessions: after a login a signed cookie stands for the credentials (``authorization-mode: recycle``).

The cookie holds a random id and nothing else. Whose session it is stands in a record in ExpiringState, which lives as
long as the session may at most. A second entry lives for the idle time, and is extended while the session is used. The
store times both, so that no clock of a worker revives or extends a session. Removing the record ends the session.

A worker remembers for a few seconds what it has verified. Only then does it ask the store again, and extend the idle
time. A revocation empties that memory at once.

Over TLS the cookie has another name (``__Host-…``) than without. Each name has a signature of its own: a value that was
set without TLS, where others can set cookies too, is not valid under the name that only TLS can set.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.http.headers import cookie_values
from asgi_gateway.model import Headers, RevocationKey, Subject
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState, Listing, Partition
from asgi_gateway.sessions.limits import PER_CLIENT, PER_USER, SessionLimits, client_network
from asgi_gateway.sessions.records import subject_from_json, subject_to_json
from asgi_gateway.sessions.signing import Signer

__all__ = [
    "COOKIE",
    "DEPENDS_ON_COOKIE",
    "MAX_LIFE",
    "Session",
    "SessionSettings",
    "Sessions",
    "idle_key",
    "remembered_seconds",
    "session_from_record",
]

V = TypeVar("V")

MAX_LIFE = 366 * 86_400.0
"""The longest life of a session in seconds."""
COOKIE = "asgi-gateway"
"""What the names of session cookies begin with, unless the configuration says otherwise."""
DEPENDS_ON_COOKIE: Headers = ((b"cache-control", b"no-store"), (b"vary", b"Cookie"))
"""For every answer that depends on a session, refusals included."""
_REMEMBERED_SECONDS = 10.0
_REMEMBERED = 10_000
_LONGEST = 4096
_COOKIE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Session:
    """A login that a cookie stands for.

    Args:
        id: the random id.
        subject: the authenticated party.
        until: when it ends at the latest, in seconds since the epoch.
        idle: seconds without a request after which it ends, or None.
        generation: the user's generation when it began. If the user has another one now, they were revoked since.
        recheck_data: what each login module needs to check that the login still holds, by its index in the chain.
    """

    id: str
    subject: Subject
    until: float
    idle: float | None
    generation: str
    recheck_data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    rests_on: Mapping[RevocationKey, str] = field(default_factory=dict, compare=False, repr=False)
    """What else ends it when it is revoked, such as the token it began with, by its generation when it began."""
    began: float = 0.0
    """When it began, in seconds since the epoch; 0 if another release wrote its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """The settings of a realm's sessions.

    Args:
        realm: the realm's name.
        keys: the signing keys, 32 bytes at least; the first signs, all verify.
        life: seconds that a session lives at most.
        idle: seconds without a request after which it ends; None for never.
        cookie: what the cookies' names begin with.
        gateway: tells this gateway's cookies from those of other gateways on the same host; equal for all workers.
        per_user: the number of sessions of one user at most; the oldest ends.
        per_client: the number of sessions of one user at one client at most; the oldest ends.

    Raises:
        ValueError: a time, a number or the cookie's name is out of range.
    """

    realm: str
    keys: Sequence[bytes] = field(repr=False)
    life: float
    idle: float | None = None
    cookie: str = COOKIE
    gateway: str = ""
    per_user: int = PER_USER
    per_client: int = PER_CLIENT

    def __post_init__(self) -> None:
        if not 0 < self.life <= MAX_LIFE or (self.idle is not None and not 0 < self.idle <= MAX_LIFE):
            raise ValueError("a session lives, and may be idle, more than 0 seconds and at most 366 days")
        if _COOKIE_NAME.fullmatch(self.cookie) is None:
            raise ValueError("the name of a session cookie is 1 to 64 letters, digits, dashes or underscores")

    @property
    def cookie_name(self) -> str:
        """The cookie's name without TLS."""
        return self._name(json.dumps([self.gateway, self.realm]) if self.gateway else self.realm)

    def companion_name(self, purpose: str) -> str:
        """Return the name, without TLS, of another cookie of the realm; it has the form of the session's.

        Args:
            purpose: what the cookie is for.
        """
        return self._name(json.dumps([self.gateway, self.realm, purpose]))

    def _name(self, text: str) -> str:
        return f"{self.cookie}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Verified(Generic[V]):
    """A session that was verified a moment ago, and what was made of it."""

    session: Session
    value: V


class _Cookie(Generic[V]):
    """One of a realm's two cookies: its name, its attributes, its signer, and what was verified for it."""

    __slots__ = ("attributes", "name", "signer", "verified")

    def __init__(self, name: str, attributes: str, settings: SessionSettings, clock: Clock) -> None:
        self.name = name
        self.attributes = f"; Path=/; HttpOnly; SameSite=Lax{attributes}"
        self.signer = Signer(settings.keys, f"session.{settings.realm}.{name}")
        # By the whole header, since to parse it and to check the signature costs more than all else.
        self.verified: BoundedCache[bytes, _Verified[V]] = BoundedCache(_REMEMBERED, monotonic=clock.monotonic)

    def set(self, value: str, max_age: float) -> bytes:
        """Return the value of ``Set-Cookie``."""
        return f"{self.name}={value}{self.attributes}; Max-Age={int(max_age)}".encode("ascii")


class Sessions(Generic[V]):
    """The sessions of one realm.

    ``secure`` says whether a request came over TLS; None where the server does not say. Then the cookie for TLS counts
    if the request has it, else the other one.

    Args:
        settings: the realm's settings.
        state: keeps the sessions; shared by all workers that serve the same clients.
        clock: the source of time.
        make_result: makes what ``peek`` and ``load`` return of a session and the seconds that it has left.

    Raises:
        ConfigError: a key is too short, or there is none.
    """

    def __init__(
        self, settings: SessionSettings, state: ExpiringState, clock: Clock, make_result: Callable[[Session, float], V]
    ) -> None:
        self._settings = settings
        self._state = state
        self._records = state.partition(Partition.SESSIONS)
        self._revocations = state.partition(Partition.REVOCATIONS)
        self._clock = clock
        self._make_result = make_result
        self._limits = SessionLimits(self._records, self._is_alive, settings.per_user, settings.per_client)
        name = settings.cookie_name
        self._tls: _Cookie[V] = _Cookie(f"__Host-{name}", "; Secure", settings, clock)
        self._plain: _Cookie[V] = _Cookie(name, "", settings, clock)
        self._cookies = (self._tls, self._plain)
        self._tls_only, self._plain_only = (self._tls,), (self._plain,)

    def peek(self, headers: Iterable[tuple[bytes, bytes]], *, secure: bool | None) -> V | None:
        """Return what was verified a moment ago for a request's cookie. Asks no store and waits for nothing.

        Args:
            headers: the request's. Where Cookie or Authorization occurs twice, the answer is None.
            secure: whether the request came over TLS.
        """
        cookie = authorization = None
        for name, value in headers:
            if name == b"cookie":
                if cookie is not None:
                    return None
                cookie = value
            elif name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
        if cookie is None:
            return None
        for candidate in self._candidates(secure):
            if (verified := candidate.verified.get(cookie)) is not None:
                return verified.value
        return None

    async def load(self, cookie: bytes, *, secure: bool | None) -> V | None:
        """Return the session of a request's cookie, or None. This counts as a use of the session.

        Args:
            cookie: the request's Cookie header; several lines joined with ``; ``.
            secure: whether the request came over TLS.

        Raises:
            HeaderError: the cookie occurs twice or has control characters.
            StateError: cannot ask the store.
        """
        candidates = self._candidates(secure)
        if (remembered := self._remembered(cookie, candidates)) is not None:
            return remembered
        for candidate in candidates:
            identity = self._identity(cookie, candidate)
            if identity is None:
                continue
            generation = candidate.verified.generation
            session = await self._verified(identity)
            if session is None:
                continue
            left = session.until - self._clock.time()
            value = self._make_result(session, left)
            if len(cookie) <= _LONGEST:
                ttl = min(remembered_seconds(session.idle), left)
                candidate.verified.put(cookie, _Verified(session, value), ttl=ttl, generation=generation)
            return value
        return None

    async def lookup(self, cookie: bytes, *, secure: bool | None) -> Session | None:
        """Return the session that a cookie was made for if it has not ended, even if its user was revoked since.

        Args and Raises: as ``load``.
        """
        for candidate in self._candidates(secure):
            identity = self._identity(cookie, candidate)
            value = None if identity is None else await self._records.get(RevocationKey("session", identity).key)
            if identity is not None and value is not None:
                return session_from_record(identity, value)
        return None

    async def begin(  # noqa: PLR0913 (all but one by name)
        self,
        subject: Subject,
        *,
        secure: bool | None,
        client: str | None = None,
        life: float | None = None,
        idle: float | None = None,
        recheck_data: Mapping[str, Any] | None = None,
        rests_on: Iterable[RevocationKey] = (),
    ) -> bytes:
        """Begin a new session. Whatever cookie the client had is not used. The user's oldest sessions may end.

        Args:
            subject: the authenticated party. Credentials are not stored. Principals of a module's own class are stored
                as the kind that they derive from.
            secure: whether the request came over TLS. If that is unknown, the cookie is for TLS only.
            client: the client's address, if it is known.
            life: a shorter life than the realm's, in seconds.
            idle: a shorter idle time than the realm's, in seconds.
            recheck_data: what login modules need to check later that the login still holds.
            rests_on: what ends the session when it is revoked, besides its user.

        Returns:
            The value of ``Set-Cookie``.

        Raises:
            StateError: the session could not be stored.
        """
        settings = self._settings
        life = min(settings.life, life or settings.life)
        idle = min((each for each in (settings.idle, idle) if each), default=None)
        identity = secrets.token_hex(16)
        now = self._clock.time()
        record = {
            "p": subject_to_json(subject),
            "u": now + life,
            "t": now,
            "i": idle,
            "g": await self._generation(subject),
            "c": dict(recheck_data or {}),
        }
        if keys := [[each.kind, each.name, each.realm, await self._value(each)] for each in rests_on]:
            record["k"] = keys
        user = (settings.realm, subject.name)
        surplus = await self._limits.add(user, identity, client_network(client), settings.life)
        if idle is not None:
            await self._records.put_if_absent(idle_key(identity), "idle", idle + remembered_seconds(idle))
        await self._records.put_if_absent(RevocationKey("session", identity).key, json.dumps(record), life)
        if isinstance(self._state, Listing):
            await self._state.enlist(identity, json.dumps([identity, settings.realm, subject.name, now]), life)
        for ended in surplus:
            await self.end(ended)
        cookie = self._plain if secure is False else self._tls
        return cookie.set(cookie.signer.sign({"id": identity}), life)

    def signer(self, purpose: str) -> Signer:
        """Return a signer with the keys of these sessions, for another purpose and for this realm alone.

        Args:
            purpose: what the texts are for.
        """
        return Signer(self._settings.keys, f"{purpose}.{self._settings.cookie_name}")

    def companion_cookies(self, purpose: str, *, secure: bool | None) -> dict[str, str]:
        """Return the names of cookies for another purpose, each with its attributes; both where TLS is unknown.

        Args:
            purpose: what the cookies are for.
            secure: whether the request came over TLS.
        """
        name = self._settings.companion_name(purpose)
        names = {self._tls: f"__Host-{name}", self._plain: name}
        return {names[each]: each.attributes for each in self._candidates(secure)}

    def is_named(self, cookie: bytes, *, secure: bool | None) -> bool:
        """Return whether a request has a cookie of a session's name, valid or not.

        Args:
            cookie: the request's Cookie header.
            secure: whether the request came over TLS.
        """
        names = {each.name for each in self._candidates(secure)}
        return any(pair.partition("=")[0].strip() in names for pair in cookie.decode("latin-1").split(";"))

    def end_cookie(self, *, secure: bool | None) -> bytes:
        """Return the value of ``Set-Cookie`` that makes the client drop its cookie."""
        return (self._plain if secure is False else self._tls).set("", 0)

    def invalidate(self, revocation: RevocationKey | None) -> None:
        """Forget what was verified for the sessions that a revocation concerns; None: for every session."""
        for cookie in self._cookies:
            cookie.verified.remove_where(lambda verified: self._concerns(revocation, verified.session))

    def _concerns(self, revocation: RevocationKey | None, session: Session) -> bool:
        if revocation is None:
            return True
        if revocation.kind == "session":
            return session.id == revocation.name
        if revocation.kind == "user":
            return revocation.realm == self._settings.realm and session.subject.name == revocation.name
        return revocation in session.rests_on

    def _candidates(self, secure: bool | None) -> Sequence[_Cookie[V]]:
        """Return the cookies that a request may have, the one for TLS first."""
        if secure is None:
            return self._cookies
        return self._tls_only if secure else self._plain_only

    @staticmethod
    def _remembered(cookie: bytes, candidates: Sequence[_Cookie[V]]) -> V | None:
        for candidate in candidates:
            if (verified := candidate.verified.get(cookie)) is not None:
                return verified.value
        return None

    @staticmethod
    def _identity(cookie: bytes, candidate: _Cookie[V]) -> str | None:
        """Return the id in a cookie that was signed with one of the keys."""
        text = cookie_values(cookie, frozenset((candidate.name,))).get(candidate.name)
        data = candidate.signer.read(text) if text is not None else None
        identity = data.get("id") if data is not None else None
        return identity if isinstance(identity, str) else None

    async def _verified(self, identity: str) -> Session | None:
        session = await self._unexpired(identity)
        if session is None or await self._is_revoked(session):
            return None
        if session.idle is not None:
            ttl = session.idle + remembered_seconds(session.idle)
            if not await self._records.extend(idle_key(identity), "idle", ttl):
                return None
        return session

    async def _unexpired(self, identity: str) -> Session | None:
        value = await self._records.get(RevocationKey("session", identity).key)
        session = session_from_record(identity, value) if value is not None else None
        return None if session is None or session.until <= self._clock.time() else session

    async def _is_alive(self, identity: str) -> bool:
        """Return whether a session is valid, without using it."""
        session = await self._unexpired(identity)
        if session is None or await self._is_revoked(session):
            return False
        return session.idle is None or await self._records.get(idle_key(identity)) is not None

    async def end(self, identity: str) -> None:
        """End a session: its user has too many, or its login no longer holds.

        Raises:
            StateError: cannot ask the store.
        """
        key = RevocationKey("session", identity)
        value = await self._records.get(key.key)
        if value is not None:
            await self._records.remove(key.key, value)
        await self._records.remove(idle_key(identity), "idle")
        self.invalidate(key)
        if isinstance(self._state, Listing):
            await self._state.strike(identity)

    async def _is_revoked(self, session: Session) -> bool:
        """Return whether the session's user, or what else it rests on, was revoked since it began."""
        if await self._generation(session.subject) != session.generation:
            return True
        for key, value in session.rests_on.items():
            if await self._value(key) != value:
                return True
        return False

    async def _generation(self, subject: Subject) -> str:
        return await self._value(RevocationKey("user", subject.name, self._settings.realm))

    async def _value(self, key: RevocationKey) -> str:
        """Return what changes when something is revoked."""
        return await self._revocations.get(key.key) or ""


def remembered_seconds(idle: float | None) -> float:
    """Return the seconds that a verified session is remembered. Its idle time may be off by as much.

    Args:
        idle: its idle time in seconds, or None.
    """
    return _REMEMBERED_SECONDS if idle is None else min(_REMEMBERED_SECONDS, idle / 10)


def idle_key(identity: str) -> str:
    """Return the key of the entry that lives while a session is not idle for too long."""
    return json.dumps(["session idle", identity])


def session_from_record(identity: str, value: str) -> Session | None:
    """Return the session of a record; None if another release wrote it in a way that cannot be read."""
    try:
        record: dict[str, Any] = json.loads(value)
        subject, checks = subject_from_json(record["p"]), record.get("c", {})
        if not isinstance(checks, dict):
            raise TypeError("checks must be an object")
        rests_on = {RevocationKey(kind, name, realm): str(was) for kind, name, realm, was in record.get("k", ())}
        began = float(record.get("t", 0.0))
        return Session(identity, subject, float(record["u"]), record["i"], record["g"], checks, rests_on, began)
    except (ValueError, KeyError, TypeError):
        return None
