"""Read a request's credentials from the places that a realm is configured for, and cache verified ones."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable
from typing import Generic, TypeVar

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.http.headers import cookie_values, parse_authorization, query_values, single_header, store_once
from asgi_gateway.http.subprotocols import PROTOCOL, subprotocol_values
from asgi_gateway.model import AuthenticationToken
from asgi_gateway.plugins.clock import Clock

__all__ = ["CredentialCache", "CredentialReader", "RawCredentials"]

V = TypeVar("V")

RawCredentials = tuple[bytes | str | None, ...]
"""Authorization, then each configured header, query parameter, cookie and subprotocol; None where it is missing."""


class CredentialReader:
    """Read credentials: the Authorization header always, other places as configured.

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
        lists = ((b"cookie", self.cookies), (PROTOCOL, self.subprotocols))
        self._lists = frozenset(name for name, wanted in lists if wanted)
        self.authorization_only = not (self.headers or self.query_parameters or self.cookies or self.subprotocols)

    def read(self, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> RawCredentials:
        """Return the credentials as they were sent.

        Raises:
            HeaderError: a credential is a duplicate or malformed.
        """
        if self.authorization_only:
            return (single_header(headers, b"authorization"),)
        headers = tuple(headers)
        lines: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in self._lists:
                lines.setdefault(name, []).append(value)  # HTTP/2 may send a line for each cookie
        queried = query_values(query, self._query_names) if self._query_names and query else {}
        cookies = cookie_values(b"; ".join(lines[b"cookie"]), self._cookie_names) if b"cookie" in lines else {}
        offered = subprotocol_values(lines[PROTOCOL], self.subprotocols) if PROTOCOL in lines else {}
        return (
            single_header(headers, b"authorization"),
            *(single_header(headers, name) for name in self._header_names),
            *(queried.get(name) for name in self.query_parameters),
            *(cookies.get(name) for name in self.cookies),
            *(offered.get(name) for name in self.subprotocols),
        )

    def token(self, raw: RawCredentials, schemes: Collection[str] = ()) -> AuthenticationToken:
        """Return the authentication token that login modules see.

        An Authorization header that is empty, or holds a scheme alone, carries no credentials.

        Args:
            raw: the credentials as ``read`` returns them.
            schemes: wire names of the realm's schemes. One before a configured header's value is taken off:
                ``X-Authorization: Basic am9l…`` is the same as ``X-Authorization: am9l…``.

        Raises:
            HeaderError: the Authorization header is malformed, another has a control character, or one name has values
                in two places.
        """
        scheme = ""
        components: list[tuple[str | None, str]] = []
        if isinstance(raw[0], bytes) and raw[0].strip(b" "):
            scheme, rest = parse_authorization(raw[0])
            if rest:
                components.append((None, rest))
        if self.authorization_only:
            return AuthenticationToken(scheme, components)
        names = (*self.headers, *self.query_parameters, *self.cookies, *self.subprotocols)
        found: dict[str, str] = {}
        for index, (name, value) in enumerate(zip(names, raw[1:], strict=True)):
            if value is None:
                continue
            text = value if isinstance(value, str) else value.decode("latin-1")
            if index < len(self.headers):
                word, space, rest = text.partition(" ")
                text = rest.lstrip(" ") if space and word.lower() in schemes else text
            store_once(found, "credential", name, text.replace("\t", " "))  # a tab is no control character in a header
            found[name] = text
        return AuthenticationToken(scheme, [*components, *found.items()])


class CredentialCache(Generic[V]):
    """Cache verified credentials of one realm for a while, so that not every request costs a password hash.

    Keys are BLAKE2b digests of the credentials under a random key of this process, so that memory holds neither
    the credentials nor anything that could be searched for. At the bound the oldest entry makes room.

    Args:
        clock: where time comes from.
        ttl: seconds that an entry lives.
        bound: how many entries there may be.
    """

    def __init__(self, clock: Clock, ttl: float, bound: int = 10_000) -> None:
        self._cache: BoundedCache[bytes, V] = BoundedCache(bound, ttl=ttl, monotonic=clock.monotonic)
        self._entry = self._cache.get
        key = secrets.token_bytes(32)
        self._copy = hashlib.blake2b(digest_size=16, key=key).copy
        self._copy_several = hashlib.blake2b(digest_size=16, key=key, person=b"several").copy

    @property
    def generation(self) -> int:
        """The number of times that the cache was cleared; see ``put``."""
        return self._cache.generation

    def key(self, raw: RawCredentials) -> bytes:
        """Return the digest that stands for credentials in this process."""
        first = raw[0]
        if len(raw) == 1 and type(first) is bytes:
            digest = self._copy()
            digest.update(first)
        else:
            digest = self._copy_several()
            digest.update(repr(raw).encode())
        return digest.digest()

    def get(self, raw: RawCredentials) -> V | None:
        """Return the value for these credentials, unless it expired."""
        return self._entry(self.key(raw))

    def put(self, raw: RawCredentials, value: V, *, generation: int) -> None:
        """Add a value.

        Args:
            raw: the credentials.
            value: the value.
            generation: the cache's generation when the login began. If the cache was cleared since, the login may rest
                on old data, and nothing is added.
        """
        self._cache.put(self.key(raw), value, generation=generation)

    def clear(self) -> None:
        """Remove every entry. May be called from any thread."""
        self._cache.clear()
