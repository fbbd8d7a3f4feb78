"""Verify with the keys of a JSON Web Key Set (RFC 7517) from a file or a URL, read again when keys rotate.

A key is only used with the algorithms of its own type, so that a public RSA key is never taken for an HMAC secret
(RFC 8725 section 3.1).
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.error import HTTPError

import anyio
import jwt

from asgi_gateway._runtime.polling import PolledFile
from asgi_gateway._runtime.secret_files import permission_problem
from asgi_gateway.errors import ConfigError, LoginUnavailable, Problem
from asgi_gateway.modules.jwt.algorithms import ALGORITHMS, OCTETS
from asgi_gateway.plugins.clock import Clock

__all__ = ["FileKeys", "KeySet", "UrlKeys", "VerificationKey", "parse_keys"]

_MAX_SET = 1_000_000
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_FETCH_SECONDS = 5.0
_COOL_DOWN = 10.0

Fetch: TypeAlias = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key of a set, prepared for PyJWT.

    Args:
        secret: whether it signs as well as verifies.
        prepared: the key as PyJWT wants it, by algorithm.
        issuer: the only issuer whose tokens it may sign, as Microsoft Entra states it; empty for every issuer.
    """

    secret: bool
    prepared: Mapping[str, Any] = field(repr=False)
    issuer: str = ""

    def signs_for(self, issuer: object) -> bool:
        """Return whether the key may sign tokens of an issuer."""
        if not self.issuer:
            return True
        pattern = re.escape(self.issuer).replace(re.escape("{tenantid}"), r"[0-9a-fA-F-]{36}")
        return isinstance(issuer, str) and re.fullmatch(pattern, issuer) is not None


class KeySet:
    """The keys of a set that verify signatures; the others are left out.

    Args:
        data: the parsed JSON of the set.

    Raises:
        ValueError: it is not a key set, or has no key to verify signatures with.
    """

    def __init__(self, data: Any) -> None:
        if not isinstance(data, dict) or not isinstance(data.get("keys"), list) or len(data["keys"]) > _MAX_KEYS:
            raise ValueError(f"not a JSON Web Key Set of at most {_MAX_KEYS} keys")
        self._keys: list[tuple[str | None, VerificationKey]] = []
        for index, jwk in enumerate(data["keys"]):
            if jwk not in data["keys"][:index] and (key := _usable(jwk)) is not None:
                self._keys.append((jwk.get("kid"), key))
        if not self._keys:
            raise ValueError("a JSON Web Key Set without a key to verify signatures with")

    @property
    def symmetric(self) -> bool:
        """Whether one of the keys is a secret."""
        return any(key.secret for _, key in self._keys)

    def find(self, kid: str | None, algorithm: str) -> tuple[VerificationKey, ...]:
        """Return the keys that may have signed a token (RFC 7515 section 4.1.4).

        Args:
            kid: the token's ``kid``; without one every key of the algorithm is returned.
            algorithm: the token's algorithm.
        """
        return tuple(key for name, key in self._keys if kid in (None, name) and algorithm in key.prepared)


def parse_keys(text: bytes | str) -> KeySet:
    """Parse the JSON of a key set.

    Raises:
        ValueError: it is not a key set.
    """
    try:
        return KeySet(json.loads(text))
    except RecursionError:
        raise ValueError("not a JSON Web Key Set: nested too deeply") from None


class FileKeys:
    """A key set in a file that is read again when it changes; a version that cannot be used changes nothing.

    Args:
        file: the file.
        monotonic: the clock, in seconds.
        logger: where changes and errors go.

    Raises:
        ConfigError: the file cannot be read or is not a key set.
    """

    def __init__(self, file: Path, monotonic: Callable[[], float], logger: logging.Logger) -> None:
        self._file = file
        self._logger = logger
        self._keys = PolledFile((file,), self._read, monotonic=monotonic, logger=logger, changed=self._changed)

    @property
    def warning(self) -> Problem | None:
        """A warning if other users can read the secrets in the file; None without secrets."""
        if not self._keys.value.symmetric:
            return None
        return permission_problem(self._file.stat().st_mode, self._file, "key set")

    async def open(self) -> None:
        """Check for changes in the background."""
        self._keys.start()

    async def close(self) -> None:
        """Stop the background checks."""
        await self._keys.stop()

    async def find(self, kid: str | None, algorithm: str, run_blocking: Fetch) -> tuple[VerificationKey, ...]:
        """Return the keys that may have signed a token."""
        if self._keys.is_due:
            await run_blocking(self._keys.current)
        return self._keys.value.find(kid, algorithm)

    def _read(self) -> KeySet:
        try:
            return parse_keys(self._file.read_bytes())
        except OSError as error:
            raise ConfigError(f"the key set {self._file} cannot be read: {error.strerror}") from None
        except ValueError as error:
            reason = "invalid JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else error
            raise ConfigError(f"the key set {self._file} cannot be used: {reason}") from None

    def _changed(self, keys: KeySet) -> None:
        self._logger.info("%s changed and was read", self._file)


class UrlKeys:
    """A key set at a URL: fetched on first use, when it is old, and when a token names a key that is not in it.

    While it cannot be fetched, the known keys stay valid for a while. Tokens that name unknown keys cause at most one
    fetch in ten seconds.

    Args:
        url: https, or http to a loopback address.
        clock: the time.
        logger: where failed fetches go.
        life: seconds after which the set is fetched again.
        stale: seconds for which keys stay valid beyond ``life`` while the set cannot be fetched.
        context: how TLS servers are checked.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        logger: logging.Logger,
        life: float,
        stale: float,
        context: ssl.SSLContext | None,
    ) -> None:
        self._url = url
        self._monotonic = clock.monotonic
        self._logger = logger
        self._life = life
        self._stale = stale
        self._context = context
        self._keys: KeySet | None = None
        self._fetched = 0.0
        self._not_before = 0.0
        self._error = ""
        self._fetching: anyio.Lock | None = None

    async def open(self) -> None:
        """Do nothing: the set is fetched on first use."""

    async def close(self) -> None:
        """Do nothing: no connection stays open."""

    async def find(self, kid: str | None, algorithm: str, run_blocking: Fetch) -> tuple[VerificationKey, ...]:
        """Return the keys that may have signed a token.

        Raises:
            LoginUnavailable: there are no keys, and they cannot be fetched.
        """
        keys = self._keys
        fresh = keys is not None and self._monotonic() - self._fetched < self._life
        if keys is not None and fresh and (found := keys.find(kid, algorithm)):
            return found
        self._fetching = self._fetching or anyio.Lock()
        async with self._fetching:
            if self._keys is keys and self._monotonic() >= self._not_before:
                await self._fetch(run_blocking)
        if self._keys is None or self._monotonic() - self._fetched >= self._life + self._stale:
            raise LoginUnavailable(f"cannot fetch JWKS from {self._url}: {self._error}", retry_after=10)
        return self._keys.find(kid, algorithm)

    async def _fetch(self, run_blocking: Fetch) -> None:
        self._not_before = self._monotonic() + _COOL_DOWN
        try:
            self._keys = await run_blocking(_download, self._url, self._context)
        except (OSError, ValueError, HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
            if reason != self._error:  # each reason once, until a fetch succeeds
                self._logger.warning("cannot fetch JWKS from %s: %s", self._url, reason)
            self._error = reason
        else:
            self._fetched, self._error = self._monotonic(), ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None  # makes the redirect an error


def _download(url: str, context: ssl.SSLContext | None) -> KeySet:
    """Fetch a key set within a bounded time and size; public keys only."""
    end = time.monotonic() + _FETCH_SECONDS
    opener = urllib.request.build_opener(_NoRedirects(), urllib.request.HTTPSHandler(context=context))
    headers = {"Accept": "application/jwk-set+json, application/json", "User-Agent": _user_agent()}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the options allow https and loopback only
    try:
        with opener.open(request, timeout=_FETCH_SECONDS) as response:
            text = b""
            while piece := response.read1(65536):
                text += piece
                if len(text) > _MAX_SET or time.monotonic() > end:
                    raise ValueError("the response is too long or too slow")
    except HTTPError as error:
        error.close()  # it holds the connection
        raise ValueError(str(error)) from None
    keys = parse_keys(text)
    if keys.symmetric:
        raise ValueError("a secret key in a key set that is public")
    return keys


def _user_agent() -> str:
    """Return a User-Agent of the gateway's own: some servers refuse urllib's, such as those behind Cloudflare."""
    try:
        return f"asgi-gateway/{version('asgi-gateway')}"
    except PackageNotFoundError:  # run from a folder, without an installation
        return "asgi-gateway"


def _usable(jwk: Any) -> VerificationKey | None:
    """Return a key to verify with; None for one that is for something else, malformed or weak.

    An empty ``key_ops`` counts as a missing one, as issuers serialize it.

    Raises:
        ValueError: it is not a key, or a private one.
    """
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid", ""), str):
        raise ValueError("an entry of the key set is not a key")
    if "d" in jwk:
        raise ValueError("a private key in the key set; it must hold public keys")
    operations = jwk.get("key_ops") or ["verify"]
    if (jwk.get("use") or "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    prepared = dict(_prepared({name: value for name, value in jwk.items() if value not in ("", [], None)}))
    issuer = jwk.get("issuer")
    return (
        VerificationKey(jwk.get("kty") == OCTETS, prepared, issuer if isinstance(issuer, str) else "")
        if prepared
        else None
    )


def _prepared(jwk: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each algorithm that a key may be used with, and the key for it."""
    kind, only, curve = jwk.get("kty"), jwk.get("alg"), jwk.get("crv")
    for name, (its_kind, curves) in ALGORITHMS.items():
        if its_kind == kind and only in (None, name) and (not curves or curve in curves):
            with suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):  # left out, as RFC 7517 section 5 has it
                key = jwt.PyJWK(dict(jwk), name).key
                if _strong(key, name):
                    yield name, key


def _strong(key: Any, algorithm: str) -> bool:
    """Return whether a key is long enough (RFC 7518 sections 3.2 and 3.3); curves have one length."""
    if isinstance(key, bytes):
        return len(key) >= int(algorithm[2:]) // 8
    return not algorithm.startswith(("RS", "PS")) or key.key_size >= _MIN_RSA_BITS
