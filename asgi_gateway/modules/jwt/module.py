"""Define the ``jwt`` login module: options, claims, replay."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from unicodedata import category
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.model import Grant, RevocationKey
from asgi_gateway.modules.jwt.algorithms import ALGORITHMS, OCTETS
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions, parse_duration
from asgi_gateway.plugins.replay import ReplayGuard

if TYPE_CHECKING:
    from asgi_gateway.modules.jwt.keys import VerificationKey

__all__ = ["JwtLoginModule", "JwtOptions", "find_claim"]

_MAX_TOKEN = 16_384
_MAX_SINGLE_USE_LIFE = 86_400.0
_SCOPE_CLAIMS = {"scope", "scp"}
"""Claims that are one text with spaces between names (RFC 8693 section 4.2, Microsoft Entra)."""
_UNSAFE = {"Cc", "Cs"}
_WARNING_INTERVAL = 60.0


def _listed(value: object) -> object:
    """Return a list for one value, as configuration files have it."""
    return (value,) if isinstance(value, str) else value


_Interval = Annotated[float, BeforeValidator(parse_duration)]
_Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed), Field(min_length=1)]


class JwtOptions(ModuleOptions):
    """Options of ``jwt``.

    Args:
        algorithms: the signature algorithms to accept; those of secrets (HS…) and those of public keys exclude each
            other.
        issuer: the ``iss`` claims to accept.
        audience: the ``aud`` claims to accept; a token for several audiences needs one of these.
        audienceClaim: the claim that is compared with ``audience`` in place of ``aud``, such as ``client_id`` for the
            access tokens of Amazon Cognito.
        jwksFile: file with the JSON Web Key Set.
        jwksUrl: its URL instead: https, or http on a loopback address.
        caFile: certificates to trust for that URL instead of the system's.
        keyLife: how long a fetched key set is used before it is fetched again.
        keyStale: how much longer it is used while it cannot be fetched.
        component: the header, query parameter or cookie that holds the token, by its configured name; by default the
            first of the request's credentials, the Authorization header before all.
        userClaim: the claim with the user's name, a path as in ``rolesClaim``.
        rolesClaim: the claims with the roles, one or several: a claim, or claims within claims with dots between them,
            such as ``realm_access.roles``. Its value is a list of names or one name; ``scope`` and ``scp`` are texts
            with spaces between names.
        singleUse: whether a token is good for one login only; it then needs a ``jti`` and lives a day at most.
        revocable: whether each login looks if the token (its ``jti``) was revoked. Needs the shared store.
        leeway: how far the clocks of issuer and gateway may differ.
    """

    algorithms: _Names
    issuer: _Names
    audience: _Names
    audienceClaim: str = Field(default="aud", min_length=1)
    jwksFile: Path | None = None
    jwksUrl: str | None = None
    caFile: Path | None = None
    keyLife: Annotated[_Interval, Field(ge=10)] = 300.0
    keyStale: _Interval = 3600.0
    component: str | None = Field(default=None, min_length=1)
    userClaim: str = Field(default="sub", min_length=1)
    rolesClaim: _Names | None = None
    singleUse: Boolean = False
    revocable: Boolean = False
    leeway: Annotated[_Interval, Field(le=300)] = 30.0

    @field_validator("algorithms")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ALGORITHMS:
                raise ValueError(f"unknown algorithm {name}; known are {', '.join(ALGORITHMS)}")
        if len({ALGORITHMS[name][0] == OCTETS for name in names}) > 1:
            raise ValueError("algorithms of secrets (HS…) and of public keys exclude each other")
        return names

    @field_validator("jwksUrl")
    @classmethod
    def _safe(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.username or parts.password:
                raise ValueError("the URL has a password in it")
            if parts.scheme != "https" and not (parts.scheme == "http" and _loopback(parts.hostname)):
                raise ValueError("the URL must begin with https://")
        return url

    @model_validator(mode="after")
    def _one_source(self) -> JwtOptions:
        if (self.jwksFile is None) == (self.jwksUrl is None):
            raise ValueError("give jwksFile or jwksUrl, and not both")
        if self.jwksUrl is None and self.caFile is not None:
            raise ValueError("caFile is for jwksUrl")
        if self.jwksUrl is not None and ALGORITHMS[self.algorithms[0]][0] == OCTETS:
            raise ValueError("secrets are not fetched from a URL; give jwksFile")
        return self


class JwtLoginModule(LoginModule):
    """Takes a signed token of the issuer, for this audience, within its time (RFC 7519, RFC 8725).

    Times are compared with the gateway's clock. What is opened with a token ends when it expires.
    """

    Options = JwtOptions
    needs_credentials = True

    def __init__(self, options: JwtOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        try:
            import jwt

            from asgi_gateway.modules.jwt.keys import FileKeys, UrlKeys
        except ImportError as error:
            raise ConfigError("the jwt login module needs PyJWT: pip install 'asgi-gateway[jwt]'") from error
        self._jws = jwt.PyJWS(algorithms=list(options.algorithms))
        self._wrong_signature = jwt.InvalidSignatureError
        self._invalid = jwt.InvalidTokenError
        self.replay_protected = options.singleUse or options.revocable
        self._replays = ReplayGuard(context.state)
        self._next_warning = 0.0
        self._keys: FileKeys | UrlKeys
        if options.jwksFile is not None:
            self._keys = FileKeys(context.path(options.jwksFile), context.clock.monotonic, context.logger)
            if (warning := self._keys.warning) is not None:
                context.warn(warning)
        else:
            self._keys = UrlKeys(
                str(options.jwksUrl),
                context.clock,
                logger=context.logger,
                life=options.keyLife,
                stale=options.keyStale,
                context=_tls(context.path(options.caFile) if options.caFile is not None else None),
            )

    async def open(self) -> None:
        await self._keys.open()

    async def close(self) -> None:
        await self._keys.close()

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        options: JwtOptions = self.options
        text = attempt.token.get(0 if options.component is None else options.component)
        if not text:
            raise LoginFailed("the request carries no token")
        claims = await self._verified(text, attempt)
        expires = self._check(claims)
        user = _user(claims, options.userClaim)
        roles = self._roles(claims)
        now = self.context.clock.time()
        identity = self._identity(claims)
        if identity is not None and options.singleUse:
            if expires - now > _MAX_SINGLE_USE_LIFE:
                raise LoginFailed("the token lives longer than a day, and singleUse is on")
            await self._replays.use(identity.key, expires - now + options.leeway)
        elif identity is not None and options.revocable:
            await self._replays.check_revoked(identity.key)
        attempt.limit_session(expires + options.leeway - now)
        keys = (identity,) if identity is not None else ()
        return Grant.user(user, roles, private_credentials=(claims,), revocation_keys=keys)

    async def _verified(self, text: str, attempt: LoginAttempt) -> Mapping[str, Any]:
        """Return the claims of a token whose signature is valid.

        Raises:
            LoginFailed: it is not, or the text is not a token.
            LoginUnavailable: there are no keys to verify with.
        """
        if len(text) > _MAX_TOKEN or not all(map(_is_base64url, text.split("."))):
            raise LoginFailed("the credentials are not a JSON Web Token")
        try:
            header = self._jws.get_unverified_header(text)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self.options.algorithms:
                raise LoginFailed("the token's algorithm is not one of algorithms")
            if "crit" in header:
                raise LoginFailed("the token has unknown critical extensions (crit)")
            keys = await self._keys.find(kid, algorithm, attempt.run_blocking)
            claims, key = self._decoded(text, keys, algorithm)
        except (self._invalid, ValueError, RecursionError) as error:
            raise LoginFailed(f"the token is invalid: {type(error).__name__}") from None
        if not isinstance(claims, dict):
            raise LoginFailed("the token's claims are not an object")
        if not key.signs_for(claims.get("iss")):
            raise LoginFailed("the key that signed the token is for another issuer")
        return claims

    def _decoded(self, text: str, keys: Sequence[VerificationKey], algorithm: str) -> tuple[Any, VerificationKey]:
        """Return the claims and the key that verified them, the first of those that may have signed the token."""
        if not keys:
            raise LoginFailed("no key of the set has the token's kid and algorithm")
        for key in keys:
            try:
                payload = self._jws.decode(text, key.prepared[algorithm], algorithms=[algorithm])
            except self._wrong_signature:
                continue
            return json.loads(payload, object_pairs_hook=_object, parse_constant=_no_constant), key
        raise LoginFailed("the token's signature is wrong")

    def _check(self, claims: Mapping[str, Any]) -> float:
        """Check issuer, audience and times.

        Returns:
            when the token expires, in seconds since the epoch.

        Raises:
            LoginFailed: one of them is wrong.
        """
        options: JwtOptions = self.options
        if claims.get("iss") not in options.issuer:
            raise LoginFailed("the token is of another issuer")
        audiences = _texts(claims.get(options.audienceClaim))
        if not any(audience in options.audience for audience in audiences):
            raise LoginFailed("the token is for another audience")
        return self._check_times(claims)

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        now, leeway = self.context.clock.time(), self.options.leeway
        expires, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
        if expires is None:
            raise LoginFailed('claim "exp" is missing: the token never expires')
        if expires + leeway <= now:
            raise LoginFailed("the token has expired")
        if any(time is not None and time - leeway > now for time in (begins, issued)):
            raise LoginFailed("the token is not valid yet: compare the clocks of issuer and gateway")
        return expires

    def _identity(self, claims: Mapping[str, Any]) -> RevocationKey | None:
        """Return what revokes the token; None if it has no id and needs none.

        Raises:
            LoginFailed: it has none and needs one.
        """
        identity = claims.get("jti")
        if isinstance(identity, str) and identity:
            return RevocationKey("token", identity, str(claims["iss"]))
        if self.replay_protected:
            raise LoginFailed('the token has no "jti" (required by singleUse and revocable)')
        return None

    def _roles(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the roles of all configured claims; a missing claim gives none, and the log says so.

        Raises:
            LoginFailed: a claim has roles in a form that is not understood.
        """
        found: dict[str, None] = {}
        for path in self.options.rolesClaim or ():
            value = find_claim(claims, path)
            if value is None:
                self._warn_of_missing(path)
                continue
            found.update(dict.fromkeys(_role_names(path, value)))
        return tuple(found)

    def _warn_of_missing(self, path: str) -> None:
        now = self.context.clock.monotonic()
        if now >= self._next_warning:  # every token of the issuer may be so
            self._next_warning = now + _WARNING_INTERVAL
            self.context.logger.warning("a token has no claim %r (rolesClaim): its user has no roles from it", path)


def _loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"the certificates {ca_file} cannot be used: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate claim")  # RFC 7519 section 4
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else ()


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise LoginFailed(f'claim "{name}" is not a time')
    return float(value)


def _user(claims: Mapping[str, Any], path: str) -> str:
    user = find_claim(claims, path)
    if not isinstance(user, str) or not user:
        raise LoginFailed(f'claim "{path}" is missing or not a string')
    if not user.isprintable() and any(category(character) in _UNSAFE for character in user):
        raise LoginFailed(f'claim "{path}" holds control characters')
    return user


def find_claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim at a path, or None.

    A name may itself have dots, as that of ``https://example.com/claims`` has: of several readings of a path the one
    with the longest names first wins.

    Args:
        claims: the token's claims.
        path: names with dots between them, from the outermost claim to the innermost.
    """
    names = path.split(".")
    for length in range(len(names), 0, -1):
        value = claims.get(".".join(names[:length]))
        if length == len(names):
            found = value
        else:
            found = find_claim(value, ".".join(names[length:])) if isinstance(value, dict) else None
        if found is not None:
            return found
    return None


def _role_names(path: str, value: Any) -> Iterable[str]:
    """Return the roles of a claim: a list of names, or one name; ``scope`` and ``scp`` have spaces between theirs.

    Raises:
        LoginFailed: it is neither.
    """
    if isinstance(value, str):
        is_scope = path.rpartition(".")[2] in _SCOPE_CLAIMS
        value = value.split() if is_scope else [value.strip()]
    if not isinstance(value, list) or not all(isinstance(role, str) for role in value):
        raise LoginFailed(f'claim "{path}" (rolesClaim) is not a list of role names')
    return [role for role in value if role]


def _is_base64url(text: str) -> bool:
    """Return whether a text is base64url without padding, in its one spelling (RFC 7515 section 2).

    Python's decoder skips characters that are not in its alphabet, and ignores bits that no byte has.
    """
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeError, binascii.Error):
        return False
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text
