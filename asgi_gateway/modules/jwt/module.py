"""The ``jwt`` login module itself: options, claims, replay."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable, Replayed, StateError
from asgi_gateway.model import Grant, RevocationKey
from asgi_gateway.modules.jwt.algorithms import ALGORITHMS, OCTETS
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions, parse_duration

__all__ = ["CLOCK_MARGIN", "JwtLoginModule", "JwtOptions"]

CLOCK_MARGIN = 3600.0
"""Seconds that a used token is remembered beyond its life: a clock that far behind does not make it good again."""
_MAX_TOKEN = 16_384
_MAX_SINGLE_USE_LIFE = 86_400.0


def _listed(value: object) -> object:
    """One value where a list is meant, as configuration files have it."""
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
        jwksFile: file with the JSON Web Key Set.
        jwksUrl: its URL instead: https, or http on a loopback address.
        caFile: certificates to trust for that URL instead of the system's.
        keyLife: how long a fetched key set is used before it is fetched again.
        keyStale: how much longer it is used while it cannot be fetched.
        component: the header, query parameter or cookie that holds the token, by its configured name; by default the
            first of the request's credentials, the Authorization header before all.
        userClaim: the claim with the user's name.
        rolesClaim: where the roles are: a claim, or claims within claims with dots between them, such as
            ``realm_access.roles``; a list of names, or one text with spaces between them.
        singleUse: whether a token is good for one login only; it then needs a ``jti`` and lives a day at most.
        revocable: whether each login looks if the token (its ``jti``) was revoked. Needs the shared store.
        leeway: how far the clocks of issuer and gateway may differ.
    """

    algorithms: _Names
    issuer: _Names
    audience: _Names
    jwksFile: Path | None = None
    jwksUrl: str | None = None
    caFile: Path | None = None
    keyLife: Annotated[_Interval, Field(ge=10)] = 300.0
    keyStale: _Interval = 3600.0
    component: str | None = Field(default=None, min_length=1)
    userClaim: str = Field(default="sub", min_length=1)
    rolesClaim: str | None = Field(default=None, min_length=1)
    singleUse: Boolean = False
    revocable: Boolean = False
    leeway: Annotated[_Interval, Field(le=300)] = 30.0

    @field_validator("algorithms")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ALGORITHMS:
                raise ValueError(f"{name} is no algorithm to be accepted; there are {', '.join(ALGORITHMS)}")
        if len({ALGORITHMS[name][0] == OCTETS for name in names}) > 1:
            raise ValueError("algorithms of secrets (HS…) and of public keys exclude each other")
        return names

    @field_validator("jwksUrl")
    @classmethod
    def _safe(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.username or parts.password:
                raise ValueError("a URL with a password in it")
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
    """Lets in who bears a signed token of the issuer, for this audience, within its time (RFC 7519, RFC 8725).

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
        self._invalid = jwt.InvalidTokenError
        self.replay_protected = options.singleUse or options.revocable
        self._keys: FileKeys | UrlKeys
        if options.jwksFile is not None:
            file = context.path(options.jwksFile)
            try:
                self._keys = FileKeys(file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"the key set {file} cannot be used: {error}") from None
        else:
            self._keys = UrlKeys(
                str(options.jwksUrl),
                context.clock,
                life=options.keyLife,
                stale=options.keyStale,
                context=_tls(context.path(options.caFile) if options.caFile is not None else None),
            )

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        options: JwtOptions = self.options
        text = attempt.token.get(0 if options.component is None else options.component)
        if not text:
            raise LoginFailed("the request carries no token")
        claims = await self._verified(text, attempt)
        expires = self._check(claims)
        user = claims.get(options.userClaim)
        if not isinstance(user, str) or not user:
            raise LoginFailed(f"the token's {options.userClaim} claim is no name")
        roles = _roles(claims, options.rolesClaim)
        now = self.context.clock.time()
        identity = self._identity(claims)
        if options.singleUse:
            await self._use(identity, expires - now)
        elif options.revocable:
            await self._check_revoked(identity)
        attempt.limit_session(expires + options.leeway - now)
        keys = (identity,) if identity is not None else ()
        return Grant.user(user, roles, private_credentials=(claims,), revocation_keys=keys)

    async def _verified(self, text: str, attempt: LoginAttempt) -> Mapping[str, Any]:
        """The claims of a token whose signature is good.

        Raises:
            LoginFailed: it is not, or it is no token.
            LoginUnavailable: there is no key to tell.
        """
        if len(text) > _MAX_TOKEN or not all(map(_is_base64url, text.split("."))):
            raise LoginFailed("the credentials are no JSON Web Token")
        try:
            header = self._jws.get_unverified_header(text)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self.options.algorithms:
                raise LoginFailed("the token's algorithm is not among those accepted")
            if "crit" in header:
                raise LoginFailed("the token demands extensions that are not known here")
            key = await self._keys.find(kid, algorithm, attempt.run_blocking)
            if key is None:
                raise LoginFailed("no key of the set fits the token, or more than one")
            payload = self._jws.decode(text, key, algorithms=[algorithm])
            claims = json.loads(payload, object_pairs_hook=_object, parse_constant=_no_constant)
        except (self._invalid, ValueError, RecursionError) as error:
            raise LoginFailed(f"the token is not valid: {type(error).__name__}") from None
        if not isinstance(claims, dict):
            raise LoginFailed("the token's claims are no object")
        return claims

    def _check(self, claims: Mapping[str, Any]) -> float:
        """Compare issuer, audience and times.

        Returns:
            when the token expires, in seconds since the epoch.

        Raises:
            LoginFailed: one of them is not as it must be.
        """
        options: JwtOptions = self.options
        now, leeway = self.context.clock.time(), options.leeway
        if claims.get("iss") not in options.issuer:
            raise LoginFailed("the token is of another issuer")
        audiences = claims.get("aud")
        if not any(audience in options.audience for audience in _texts(audiences)):
            raise LoginFailed("the token is for another audience")
        expires, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
        if expires is None:
            raise LoginFailed("the token never expires")
        if expires + leeway <= now:
            raise LoginFailed("the token has expired")
        if any(time is not None and time - leeway > now for time in (begins, issued)):
            raise LoginFailed("the token is not good yet: do the clocks agree?")
        return expires

    def _identity(self, claims: Mapping[str, Any]) -> RevocationKey | None:
        """What ends the token; None if it has no id, and nothing needs one.

        Raises:
            LoginFailed: it has none, and one is needed.
        """
        identity = claims.get("jti")
        if isinstance(identity, str) and identity:
            return RevocationKey("token", identity, str(claims["iss"]))
        if self.replay_protected:
            raise LoginFailed("the token has no jti, without which nobody can say whether it was used or revoked")
        return None

    async def _use(self, identity: RevocationKey | None, left: float) -> None:
        """Take the token's one use.

        Raises:
            LoginFailed: it is taken already, or the token was revoked or lives too long to remember.
            LoginUnavailable: nobody can say now.
        """
        assert identity is not None
        if left > _MAX_SINGLE_USE_LIFE:
            raise LoginFailed("the token lives longer than a day, and is to be used once")
        try:
            ttl = max(left, 0) + self.options.leeway + CLOCK_MARGIN
            used = await self.context.state.put_if_absent(identity.key, "used", ttl)
        except StateError as error:
            raise LoginUnavailable(f"whether the token was used before cannot be told: {error}") from error
        if used is not None:
            raise LoginFailed("the token was revoked") if used == "revoked" else Replayed("the token was used before")

    async def _check_revoked(self, identity: RevocationKey | None) -> None:
        assert identity is not None
        try:
            revoked = await self.context.state.get(identity.key)
        except StateError as error:
            raise LoginUnavailable(f"whether the token was revoked cannot be told: {error}") from error
        if revoked is not None:
            raise LoginFailed("the token was revoked")


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
        raise ValueError("a claim is there twice")  # RFC 7519 section 4
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else ()


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise LoginFailed(f"the token's {name} claim is no time")
    return float(value)


def _roles(claims: Mapping[str, Any], path: str | None) -> tuple[str, ...]:
    """The roles at a path; none if there is nothing."""
    if path is None:
        return ()
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    roles = value.split() if isinstance(value, str) else _texts(value)
    return tuple(dict.fromkeys(role for role in roles if role))


def _is_base64url(text: str) -> bool:
    """Return whether a text is base64url without padding, in its one spelling (RFC 7515 section 2).

    Python's decoder skips characters that are not in its alphabet, and ignores bits that no byte has.
    """
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeError, binascii.Error):
        return False
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text
