"""Verification keys: a JSON Web Key Set (RFC 7517) from a file or a URL, kept, and fetched again when keys rotate.

A key is only ever used with the algorithms of its own type, so that nobody can pass a public RSA key off as an HMAC
secret (RFC 8725 section 3.1).
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.error import HTTPError

import anyio
import jwt

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.jwt.algorithms import ALGORITHMS, OCTETS
from asgi_gateway.plugins.clock import Clock

__all__ = ["FileKeys", "KeySet", "UrlKeys", "parse_keys"]

_MAX_SET = 1_000_000
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_FETCH_SECONDS = 5.0
_COOL_DOWN = 10.0

Fetch: TypeAlias = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Key:
    """A key, as PyJWT wants it for each algorithm that it may be used with."""

    secret: bool
    prepared: Mapping[str, Any]


class KeySet:
    """The keys of a set that verify signatures; the others are left out.

    Args:
        data: the set as JSON says it.

    Raises:
        ValueError: it is no key set, or holds no key to verify with.
    """

    def __init__(self, data: Any) -> None:
        if not isinstance(data, dict) or not isinstance(data.get("keys"), list) or len(data["keys"]) > _MAX_KEYS:
            raise ValueError(f"not a JSON Web Key Set of at most {_MAX_KEYS} keys")
        self._keys: dict[str | None, list[_Key]] = {}
        for jwk in data["keys"]:
            if (key := _usable(jwk)) is not None:
                self._keys.setdefault(jwk.get("kid"), []).append(key)
        if not self._keys:
            raise ValueError("a JSON Web Key Set without a key to verify signatures with")

    @property
    def symmetric(self) -> bool:
        """Whether a secret is among the keys."""
        return any(key.secret for keys in self._keys.values() for key in keys)

    def find(self, kid: str | None, algorithm: str) -> Any:
        """The key for a token: the one of its ``kid``, or for a token without one the only one that fits.

        Returns:
            a key as PyJWT wants it, or None.
        """
        named = self._keys.get(kid, []) if kid is not None else [key for keys in self._keys.values() for key in keys]
        fitting = [key.prepared[algorithm] for key in named if algorithm in key.prepared]
        return fitting[0] if len(fitting) == 1 else None


def parse_keys(text: bytes | str) -> KeySet:
    """A key set from its JSON.

    Raises:
        ValueError: it is none.
    """
    return KeySet(json.loads(text))


class FileKeys:
    """A key set in a file, read again when the file changes; a bad file changes nothing.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no key set.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._stat()
        self.keys = parse_keys(file.read_bytes())

    async def find(self, kid: str | None, algorithm: str, run_blocking: Fetch) -> Any:
        """The key for a token, or None."""
        try:
            if (stamp := self._stat()) != self._stamp:
                self.keys, self._stamp = parse_keys(self._file.read_bytes()), stamp
        except (OSError, ValueError):
            pass  # half written, or gone: the keys that were good still are
        return self.keys.find(kid, algorithm)

    def _stat(self) -> tuple[int, int, int]:
        status = self._file.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


class UrlKeys:
    """A key set at a URL: fetched when it is first needed, when it is old, and when a token names a key not in it.

    While it cannot be fetched, the keys that were good stay so for a while. Tokens that name unknown keys cause one
    fetch in ten seconds at most.

    Args:
        url: https, or http to a loopback address.
        clock: where time comes from.
        life: seconds after which the set is fetched again.
        stale: seconds after which keys that could not be fetched again are good no more.
        context: how TLS servers are checked.
    """

    def __init__(self, url: str, clock: Clock, *, life: float, stale: float, context: ssl.SSLContext | None) -> None:
        self._url = url
        self._monotonic = clock.monotonic
        self._life = life
        self._stale = stale
        self._context = context
        self._keys: KeySet | None = None
        self._fetched = 0.0
        self._not_before = 0.0
        self._error = ""
        self._fetching: anyio.Lock | None = None

    async def find(self, kid: str | None, algorithm: str, run_blocking: Fetch) -> Any:
        """The key for a token, or None.

        Raises:
            LoginUnavailable: there are no keys, and none can be fetched.
        """
        keys = self._keys
        fresh = keys is not None and self._monotonic() - self._fetched < self._life
        if keys is not None and fresh and (key := keys.find(kid, algorithm)) is not None:
            return key
        self._fetching = self._fetching or anyio.Lock()
        async with self._fetching:
            if self._keys is keys and self._monotonic() >= self._not_before:
                await self._fetch(run_blocking)
        if self._keys is None or self._monotonic() - self._fetched >= self._life + self._stale:
            raise LoginUnavailable(f"the keys at {self._url} cannot be had: {self._error}", retry_after=10)
        return self._keys.find(kid, algorithm)

    async def _fetch(self, run_blocking: Fetch) -> None:
        self._not_before = self._monotonic() + _COOL_DOWN
        try:
            self._keys = await run_blocking(_download, self._url, self._context)
        except (OSError, ValueError, HTTPException) as error:
            self._error = f"{type(error).__name__}: {error}"
        else:
            self._fetched = self._monotonic()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None  # makes the redirect an error


def _download(url: str, context: ssl.SSLContext | None) -> KeySet:
    """Fetch a key set within a bounded time and size; public keys only."""
    end = time.monotonic() + _FETCH_SECONDS
    opener = urllib.request.build_opener(_NoRedirects(), urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})  # noqa: S310 - the options allow https and loopback only
    try:
        with opener.open(request, timeout=_FETCH_SECONDS) as response:
            text = b""
            while piece := response.read1(65536):
                text += piece
                if len(text) > _MAX_SET or time.monotonic() > end:
                    raise ValueError("the answer is too long or too slow")
    except HTTPError as error:
        error.close()  # it holds the connection
        raise ValueError(str(error)) from None
    keys = parse_keys(text)
    if keys.symmetric:
        raise ValueError("a secret key in a key set that is served to everybody")
    return keys


def _usable(jwk: Any) -> _Key | None:
    """A key to verify with; None for one that is for something else or that nobody should use.

    Raises:
        ValueError: it is no key at all, or a private one.
    """
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid", ""), str):
        raise ValueError("an entry of the key set is no key")
    if "d" in jwk:
        raise ValueError("a private key in the key set; it has to hold public keys")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kind, only, curve = jwk.get("kty"), jwk.get("alg"), jwk.get("crv")
    prepared = {}
    for name, (its_kind, curves) in ALGORITHMS.items():
        if its_kind == kind and only in (None, name) and (not curves or curve in curves):
            with suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):  # left out, as RFC 7517 section 5 has it
                key = jwt.PyJWK(jwk, name).key
                if _strong(key, name):
                    prepared[name] = key
    return _Key(kind == OCTETS, prepared) if prepared else None


def _strong(key: Any, algorithm: str) -> bool:
    """Whether a key is long enough (RFC 7518 sections 3.2 and 3.3); curves have one length."""
    if isinstance(key, bytes):
        return len(key) >= int(algorithm[2:]) // 8
    return not algorithm.startswith(("RS", "PS")) or key.key_size >= _MIN_RSA_BITS
