"""Sessions: after a login a signed cookie stands for the credentials (``authorization-mode: recycle``).

The cookie holds a random id and nothing else. Who it stands for is a record in ExpiringState that lives as long as the
session may at most; a second entry lives for the idle time and is extended while the session is used. Both are timed by
the store, so that nobody's clock revives or extends a session, and ending one is removing its record.

What a worker has verified it remembers for a few seconds; only then is the store asked again, and the idle time
extended. A revocation empties that memory at once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from asgi_gateway.http.headers import cookie_values
from asgi_gateway.model import Headers, RevocationKey, Subject
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState, Listing
from asgi_gateway.sessions.records import subject_from_json, subject_to_json
from asgi_gateway.sessions.signing import Signer

__all__ = ["DEPENDS_ON_COOKIE", "MAX_LIFE", "Session", "Sessions", "idle_key", "recheck", "session_of"]

V = TypeVar("V")

MAX_LIFE = 366 * 86_400.0
"""The longest life of a session in seconds."""
DEPENDS_ON_COOKIE: Headers = ((b"cache-control", b"no-store"), (b"vary", b"Cookie"))
"""For every answer that depends on a session, refusals included."""
_RECHECK = 10.0
_REMEMBERED = 10_000
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Session:
    """A login that a cookie stands for.

    Args:
        id: the random id.
        subject: who it is.
        until: when it ends at the latest, in seconds since the epoch.
        idle: seconds without a request after which it ends, or None.
        generation: the user's generation when it began; another one now: the user was revoked since.
    """

    id: str
    subject: Subject
    until: float
    idle: float | None
    generation: str


class _Known(Generic[V]):
    __slots__ = ("session", "until", "value")

    def __init__(self, session: Session, until: float, value: V) -> None:
        self.session = session
        self.until = until
        self.value = value


class Sessions(Generic[V]):
    """The sessions of one realm.

    Args:
        realm: the realm's name.
        state: where sessions are kept; shared by all workers that serve the same clients.
        clock: where time comes from.
        keys: the first signs, all verify; 32 bytes at least.
        life: seconds that a session lives at most.
        idle: seconds without a request after which it ends; None for never.
        make_result: makes what ``peek`` and ``load`` return of a session and the seconds that it has left.

    Raises:
        ConfigError: a key is too short, or there is none.
        ValueError: a time makes no sense.
    """

    def __init__(
        self,
        realm: str,
        state: ExpiringState,
        clock: Clock,
        keys: Sequence[bytes],
        *,
        life: float,
        idle: float | None,
        make_result: Callable[[Session, float], V],
    ) -> None:
        if not 0 < life <= MAX_LIFE or (idle is not None and not 0 < idle <= MAX_LIFE):
            raise ValueError("a session lives, and may be idle, more than 0 seconds and at most 366 days")
        self._realm = realm
        self._state = state
        self._clock = clock
        self._monotonic = clock.monotonic
        self._signer = Signer(keys, f"session.{realm}")
        self._life = life
        self._idle = idle
        self._make_result = make_result
        name = f"asgi-gateway-{hashlib.blake2b(realm.encode(), digest_size=6).hexdigest()}"
        self._names = {False: name, True: f"__Host-{name}"}
        # by the whole header, since to parse it and check the signature costs more than all else; one over TLS or not
        self._known: tuple[dict[bytes, _Known[V]], dict[bytes, _Known[V]]] = ({}, {})
        self._invalidations = 0

    def peek(self, headers: Iterable[tuple[bytes, bytes]], *, secure: bool) -> V | None:
        """What was verified a moment ago for this cookie; asks nobody and waits for nothing.

        Args:
            headers: the request's. Where Cookie or Authorization is there twice, nothing is recalled.
            secure: whether it came over TLS.
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
        return None if cookie is None else self._remembered(cookie, secure)

    async def load(self, cookie: bytes, *, secure: bool) -> V | None:
        """The session that a request's cookie stands for, if it is good; this counts as its use.

        Args:
            cookie: the request's Cookie header; several lines joined with ``; ``.
            secure: whether it came over TLS.

        Raises:
            HeaderError: the cookie is there twice or has control characters.
            StateError: whether it is good cannot be told now.
        """
        if (remembered := self._remembered(cookie, secure)) is not None:
            return remembered
        identity = self._identity(cookie, secure)
        if identity is None:
            return None
        invalidations = self._invalidations
        session = await self._verified(identity)
        if session is None:
            return None
        left = session.until - self._clock.time()
        value = self._make_result(session, left)
        if invalidations == self._invalidations:  # else it may have been revoked while the store was asked
            self._remember(cookie, secure, _Known(session, self._monotonic() + min(recheck(session.idle), left), value))
        return value

    async def lookup(self, cookie: bytes, *, secure: bool) -> Session | None:
        """The session that a cookie was made for, if it has not ended, whether or not it is still good for anything.

        Args and Raises: as ``load``.
        """
        identity = self._identity(cookie, secure)
        value = None if identity is None else await self._state.get(RevocationKey("session", identity).key)
        return None if identity is None or value is None else session_of(identity, value)

    async def begin(
        self, subject: Subject, *, secure: bool, life: float | None = None, idle: float | None = None
    ) -> bytes:
        """A new session, whatever cookie the client had.

        Args:
            subject: who it is for. Credentials are not kept, and principals of a module's own class are kept as the
                kind they derive from.
            secure: whether the request came over TLS.
            life: a shorter life than the realm's, in seconds.
            idle: a shorter idle time than the realm's, in seconds.

        Returns:
            the value of ``Set-Cookie``.

        Raises:
            StateError: it could not be kept.
        """
        life = min(self._life, life or self._life)
        idle = min((each for each in (self._idle, idle) if each), default=None)
        identity = secrets.token_hex(16)
        now = self._clock.time()
        record = {
            "p": subject_to_json(subject),
            "u": now + life,
            "i": idle,
            "g": await self._generation(subject),
        }
        if idle is not None:
            await self._state.put_if_absent(idle_key(identity), "idle", idle + recheck(idle))
        await self._state.put_if_absent(RevocationKey("session", identity).key, json.dumps(record), life)
        if isinstance(self._state, Listing):
            await self._state.enlist(identity, json.dumps([identity, self._realm, subject.name, now]), life)
        return self._cookie(self._signer.sign({"id": identity}), secure, f"; Max-Age={int(life)}")

    def end_cookie(self, *, secure: bool) -> bytes:
        """The value of ``Set-Cookie`` that has the client drop its cookie."""
        return self._cookie("", secure, "; Max-Age=0")

    def invalidate(self, revocation: RevocationKey | None) -> None:
        """Ask the store again for what a revocation concerns; None: for every session."""
        self._invalidations += 1
        if revocation is None:
            self._drop(lambda session: True)
        elif revocation.kind == "session":
            self._drop(lambda session: session.id == revocation.name)
        elif revocation.kind == "user" and revocation.realm == self._realm:
            self._drop(lambda session: session.subject.name == revocation.name)

    def _identity(self, cookie: bytes, secure: bool) -> str | None:
        """The id in a cookie that was signed with one of the keys."""
        text = cookie_values(cookie, frozenset((self._names[secure],))).get(self._names[secure])
        data = self._signer.read(text) if text is not None else None
        identity = data.get("id") if data is not None else None
        return identity if isinstance(identity, str) else None

    async def _verified(self, identity: str) -> Session | None:
        value = await self._state.get(RevocationKey("session", identity).key)
        session = session_of(identity, value) if value is not None else None
        if session is None or session.until <= self._clock.time():
            return None
        if await self._generation(session.subject) != session.generation:
            return None
        if session.idle is not None:
            ttl = session.idle + recheck(session.idle)
            if not await self._state.extend(idle_key(identity), "idle", ttl):
                return None
        return session

    async def _generation(self, subject: Subject) -> str:
        return await self._state.get(RevocationKey("user", subject.name, self._realm).key) or ""

    def _drop(self, concerned: Callable[[Session], bool]) -> None:
        for remembered in self._known:
            for cookie in [cookie for cookie, known in remembered.items() if concerned(known.session)]:
                del remembered[cookie]

    def _remembered(self, cookie: bytes, secure: bool) -> V | None:
        known = self._known[secure].get(cookie)
        return known.value if known is not None and self._monotonic() < known.until else None

    def _remember(self, cookie: bytes, secure: bool, known: _Known[V]) -> None:
        remembered = self._known[secure]
        if len(cookie) <= _LONGEST:
            remembered.pop(cookie, None)  # so that it becomes the youngest
            while len(remembered) >= _REMEMBERED:
                del remembered[next(iter(remembered))]
            remembered[cookie] = known

    def _cookie(self, value: str, secure: bool, more: str) -> bytes:
        flags = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        return f"{self._names[secure]}={value}{flags}{more}".encode("ascii")


def recheck(idle: float | None) -> float:
    """Seconds that a verified session is remembered: by as much its idle time may be off."""
    return _RECHECK if idle is None else min(_RECHECK, idle / 10)


def idle_key(identity: str) -> str:
    """Where ExpiringState knows for how long a session may stay idle from now on."""
    return json.dumps(["session idle", identity])


def session_of(identity: str, value: str) -> Session | None:
    """A session from its record; None for one of another release that cannot be read."""
    try:
        record: dict[str, Any] = json.loads(value)
        return Session(identity, subject_from_json(record["p"]), float(record["u"]), record["i"], record["g"])
    except (ValueError, KeyError, TypeError):
        return None
