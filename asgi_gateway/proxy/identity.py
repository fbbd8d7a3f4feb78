"""Write who the user is into headers for a back end, or into one signed JSON Web Token.

The value of a header is text without ambiguity: in each name ``%``, ``,``, control characters, characters outside ASCII
and spaces at its ends are percent-encoded as UTF-8 (RFC 3986 section 2.1), and several names are separated by a comma.
So a reader splits at commas first and decodes each part then, and a name with a comma in it stays one name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway._runtime.secret_files import ignore_warning, read_secret_text
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.model import GroupPrincipal, Headers, RolePrincipal, Subject
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.services.identity import GatewayContext

__all__ = ["IdentityToken", "IdentityWriter", "encoded_names", "folded_name"]

_UNSAFE = re.compile(rb"[^ -~]|[%,]|\A +| +\Z")
_FOLD = bytes.maketrans(b"_.ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"--abcdefghijklmnopqrstuvwxyz")
_CACHED_SECONDS = 5.0
_CACHED_DECISIONS = 1_000
_ISSUER = "asgi-gateway"
_MIN_SECRET = 32


def folded_name(name: bytes) -> bytes:
    """Return a header's name as software folds it that takes ``-``, ``_``, ``.`` and both cases for equal."""
    return name.translate(_FOLD)


def encoded_names(names: Iterable[str]) -> bytes:
    """Return names as the value of one header: percent-encoded, separated by commas."""
    return b",".join([_UNSAFE.sub(_percent, name.encode("utf-8", "surrogatepass")) for name in names])


def _percent(match: re.Match[bytes]) -> bytes:
    return "".join([f"%{byte:02X}" for byte in match[0]]).encode()


def _principals(subject: Subject, kind: str) -> tuple[str, ...]:
    """Return the names of a subject's principals of one kind, each once."""
    if kind == "user":
        return (subject.name,) if subject.name else ()
    if kind == "roles":
        found = [each.name for each in subject.principals if isinstance(each, RolePrincipal | GroupPrincipal)]
    elif kind == "groups":
        found = [each.name for each in subject.principals if isinstance(each, GroupPrincipal)]
    else:
        classes = (kind, f"{kind}principal")
        found = [each.name for each in subject.principals if type(each).__name__.lower() in classes]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityToken:
    """A signed JSON Web Token for a back end (RFC 7519) and the header that carries it.

    Its claims: ``iss`` is ``asgi-gateway``, ``aud`` the configured audience, ``sub`` the user, ``roles``, ``groups``,
    ``realm``, ``service``, ``iat`` and ``exp``.

    Args:
        header: the header's name.
        audience: the back end it is for.
        life: seconds until it expires.
        algorithm: ``HS256``, ``EdDSA``, ``ES256`` or ``RS256``, which goes with the key.
        key: the key; never printed.
    """

    header: str
    audience: str
    life: float
    algorithm: str
    key: Any = field(repr=False)

    @classmethod
    def from_file(
        cls, file: Path, *, header: str, audience: str, life: float, warn: Callable[[str], None] = ignore_warning
    ) -> IdentityToken:
        """Return a token whose key is in a file: a secret of 32 bytes or more, or a private key in PEM.

        Args:
            file: the key's file. An Ed25519 key signs with EdDSA, one on the curve P-256 with ES256, an RSA key with
                RS256, a secret with HS256.
            header: the header's name.
            audience: the back end it is for.
            life: seconds until it expires.
            warn: called with a sentence if other users can read the file.

        Raises:
            ConfigError: the file cannot be read, the key cannot be used, or PyJWT is not installed.
        """
        text = read_secret_text(file, warn, "key file")
        try:
            import jwt  # noqa: F401
        except ImportError:
            hint = 'install it: pip install "asgi-gateway[jwt]"'
            raise ConfigError(Problem("identity-token needs PyJWT", hint=hint)) from None
        if "-----BEGIN" in text:
            algorithm, key = _private_key(text, file)
        else:
            algorithm, key = "HS256", text.strip().encode()
            if len(key) < _MIN_SECRET:
                message = f"the key file {file} is too short: {len(key)} bytes"
                raise ConfigError(Problem(message, hint=f"use {_MIN_SECRET} random bytes: openssl rand -base64 32"))
        return cls(header=header, audience=audience, life=life, algorithm=algorithm, key=key)

    def sign(self, context: GatewayContext, now: float) -> str:
        """Return the token for the user of a decision.

        Args:
            context: the decision, which has a subject.
            now: seconds since the epoch.
        """
        import jwt

        subject = context.subject or Subject()
        claims = {
            "iss": _ISSUER,
            "aud": self.audience,
            "sub": subject.name,
            "roles": list(_principals(subject, "roles")),
            "groups": list(_principals(subject, "groups")),
            "realm": context.realm,
            "service": context.service,
            "iat": int(now),
            "exp": int(now + self.life),
        }
        return str(jwt.encode(claims, self.key, algorithm=self.algorithm))


def _private_key(text: str, file: Path) -> tuple[str, Any]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.encode(), None)
    except Exception as error:
        message = f"the key file {file} has no private key that can be read"
        raise ConfigError(Problem(message, hint="write an unencrypted private key in PEM")) from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA", key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return "ES256", key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "RS256", key
    hint = "use Ed25519, P-256, or RSA with 2048 bits or more"
    raise ConfigError(Problem(f"the key file {file} has a key of a kind that is not supported", hint=hint))


class IdentityWriter:
    """Writes the identity headers of one service.

    Args:
        names: the header's name by the kind of principal: ``user``, ``roles``, ``groups``, or the name of a class of
            principals without ``Principal``, in lower case.
        token: the signed token, or None.
        clock: the time.
    """

    def __init__(self, names: Iterable[tuple[str, str]], token: IdentityToken | None, clock: Clock) -> None:
        self._names = tuple((kind.lower(), name.lower().encode("ascii")) for kind, name in names)
        self._token = token
        self._token_name = b"" if token is None else token.header.lower().encode("ascii")
        self._clock = clock
        ttl = None if token is None else min(_CACHED_SECONDS, token.life / 4)
        # By the decision's own object, which all requests of a login share: to compare its subject would cost more.
        self._cache: BoundedCache[int, tuple[GatewayContext, Headers]] = BoundedCache(
            _CACHED_DECISIONS, ttl=ttl, monotonic=clock.monotonic
        )

    @property
    def folded_names(self) -> frozenset[bytes]:
        """The folded names of the headers, none of which a client may send."""
        written = [name for _, name in self._names] + ([self._token_name] if self._token_name else [])
        return frozenset(map(folded_name, written))

    def headers(self, context: GatewayContext) -> Headers:
        """Return the headers for the user of a decision; none without a user.

        Args:
            context: the decision, as ``scope["asgi_gateway"]`` holds it.
        """
        if context.subject is None or not (self._names or self._token):
            return ()
        known = self._cache.get(id(context))
        if known is not None and known[0] is context:
            return known[1]
        written = self._write(context, context.subject)
        self._cache.put(id(context), (context, written))
        return written

    def _write(self, context: GatewayContext, subject: Subject) -> Headers:
        values = [(name, encoded_names(_principals(subject, kind))) for kind, name in self._names]
        if self._token is not None:
            values.append((self._token_name, self._token.sign(context, self._clock.time()).encode("ascii")))
        return tuple((name, value) for name, value in values if value)
