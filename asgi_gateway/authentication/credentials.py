"""Reading a request's credentials from the places a realm is configured for, and remembering verified ones."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.headers import cookie_values, parse_authorization, query_values
from asgi_gateway.http.subprotocols import PROTOCOL, subprotocol_values
from asgi_gateway.model import AuthenticationToken
from asgi_gateway.plugins.clock import Clock

__all__ = ["CredentialCache", "CredentialReader", "RawCredentials"]

V = TypeVar("V")

RawCredentials = tuple[bytes | str | None, ...]
"""Authorization, then each configured header, query parameter, cookie and subprotocol; None where there is none."""


class CredentialReader:
    """Reads credentials: the Authorization header always, other places as configured.

    Args:
        headers: names of further headers, in any case.
        query_parameters: names of query parameters, exact.
        cookies: names of cookies, exact.
        subprotocols: names of credentials among the WebSocket's subprotocols, exact: ``bearer`` for ``bearer.<token>``.
    """

    def __init__(
        self,
        headers: Iterable[str] = (),
        query_parameters: Iterable[str] = (),
        cookies: Iterable[str] = (),
        subprotocols: Iterable[str] = (),
    ) -> None:
        self.headers = tuple(headers)
        self.query_parameters = tuple(query_parameters)
        self.cookies = tuple(cookies)
        self.subprotocols = tuple(subprotocols)
        self._header_names = tuple(name.lower().encode("latin-1") for name in self.headers)
        self._query_names, self._cookie_names = frozenset(self.query_parameters), frozenset(self.cookies)
        wanted = {b"authorization", *self._header_names}
        lists = ((b"cookie", self.cookies), (PROTOCOL, self.subprotocols))
        self._lists = frozenset(name for name, wanted_of_it in lists if wanted_of_it)
        self._wanted = frozenset(wanted | self._lists)
        self.plain = not (self.headers or self.query_parameters or self.cookies or self.subprotocols)

    def read(self, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> RawCredentials:
        """The credentials as they were sent.

        Raises:
            HeaderError: one of them is there twice, or is not what strict parsing takes.
        """
        if self.plain:
            authorization = None
            for name, value in headers:
                if name == b"authorization":
                    if authorization is not None:
                        raise HeaderError("header authorization occurs twice")
                    authorization = value
            return (authorization,)
        found: dict[bytes, bytes] = {}
        lines: dict[bytes, list[bytes]] = {}
        wanted, lists = self._wanted, self._lists
        for name, value in headers:
            if name in wanted:
                if name in lists:
                    lines.setdefault(name, []).append(value)  # HTTP/2 may send a line for each cookie
                elif name in found:
                    raise HeaderError(f"header {name.decode('latin-1')} occurs twice")
                else:
                    found[name] = value
        queried = query_values(query, self._query_names) if self._query_names and query else {}
        cookies = cookie_values(b"; ".join(lines[b"cookie"]), self._cookie_names) if b"cookie" in lines else {}
        offered = subprotocol_values(lines[PROTOCOL], self.subprotocols) if PROTOCOL in lines else {}
        return (
            found.get(b"authorization"),
            *(found.get(name) for name in self._header_names),
            *(queried.get(name) for name in self.query_parameters),
            *(cookies.get(name) for name in self.cookies),
            *(offered.get(name) for name in self.subprotocols),
        )

    def token(self, raw: RawCredentials) -> AuthenticationToken:
        """The authentication token that login modules see.

        Raises:
            HeaderError: the Authorization header is malformed, another has a control character, or one name has values
                in two places.
        """
        scheme = ""
        components: list[tuple[str | None, str]] = []
        if isinstance(raw[0], bytes):
            scheme, rest = parse_authorization(raw[0])
            components.append((None, rest))
        if self.plain:
            return AuthenticationToken(scheme, components)
        names = (*self.headers, *self.query_parameters, *self.cookies, *self.subprotocols)
        for name, value in zip(names, raw[1:], strict=True):
            if value is None:
                continue
            text = value if isinstance(value, str) else value.decode("latin-1")
            if name in (earlier for earlier, _ in components):
                raise HeaderError(f"credential {name} occurs in two places")
            if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in text):
                raise HeaderError(f"header {name} has a control character")
            components.append((name, text))
        return AuthenticationToken(scheme, components)


class CredentialCache(Generic[V]):
    """AuthenticationResult credentials of one realm, for a while, so that not every request costs a password hash.

    Keys are BLAKE2b digests of the credentials under a random key of this process, so that neither the credentials nor
    anything that could be searched for stands in memory. At the bound the oldest entry makes room.

    Args:
        clock: where time comes from.
        ttl: seconds that an entry lives.
        bound: how many entries there may be.
    """

    def __init__(self, clock: Clock, ttl: float, bound: int = 10_000) -> None:
        self._monotonic = clock.monotonic
        self._ttl = ttl
        self._bound = bound
        self._entries: dict[bytes, tuple[float, V]] = {}  # until when, what; oldest first
        key = secrets.token_bytes(32)
        self._copy = hashlib.blake2b(digest_size=16, key=key).copy
        self._copy_several = hashlib.blake2b(digest_size=16, key=key, person=b"several").copy
        self.generation = 0
        self._lock = threading.Lock()  # a module's thread may clear; get needs no lock, it reads one entry

    def _key(self, raw: RawCredentials) -> bytes:
        first = raw[0]
        if len(raw) == 1 and type(first) is bytes:
            digest = self._copy()
            digest.update(first)
        else:
            digest = self._copy_several()
            digest.update(repr(raw).encode())
        return digest.digest()

    def get(self, raw: RawCredentials) -> V | None:
        """What was remembered for these credentials, unless it expired."""
        entry = self._entries.get(self._key(raw))
        if entry is None or self._monotonic() >= entry[0]:
            return None
        return entry[1]

    def get_plain(self, headers: Iterable[tuple[bytes, bytes]]) -> V | None:
        """What was remembered for the headers' Authorization, where nothing else counts: most requests go this way.

        The same as reading plain credentials and ``get``, in one function, since calls are what costs there.

        Raises:
            HeaderError: the Authorization header is there twice.
        """
        authorization = None
        for name, value in headers:
            if name == b"authorization":
                if authorization is not None:
                    raise HeaderError("header authorization occurs twice")
                authorization = value
        if authorization is None:
            return None
        digest = self._copy()
        digest.update(authorization)
        entry = self._entries.get(digest.digest())
        return None if entry is None or self._monotonic() >= entry[0] else entry[1]

    def put(self, raw: RawCredentials, value: V, *, generation: int) -> None:
        """Remember a value.

        Args:
            raw: the credentials.
            value: what to remember.
            generation: the cache's generation when the login began. If the cache was cleared since, the login may have
                been decided on old data, and nothing is remembered.
        """
        if self._ttl <= 0:
            return
        key = self._key(raw)
        with self._lock:
            if generation != self.generation:
                return
            self._entries.pop(key, None)  # so that it becomes the youngest
            while len(self._entries) >= self._bound:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = (self._monotonic() + self._ttl, value)

    def clear(self) -> None:
        """Forget everything. May be called from any thread."""
        with self._lock:
            self.generation += 1
            self._entries.clear()
