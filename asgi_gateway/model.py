"""Define the data that travels through the gateway: requests, tokens, principals, subjects, grants, decisions.

Everything here is immutable once built, and no ``repr`` shows a secret.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeAlias

from asgi_gateway.errors import AccountProblem
from asgi_gateway.http.headers import single_header

__all__ = [
    "Allow",
    "AuthRequest",
    "AuthenticationToken",
    "Challenge",
    "Decision",
    "Forbid",
    "Grant",
    "GroupPrincipal",
    "Headers",
    "LoginCheck",
    "Principal",
    "Protocol",
    "Refusal",
    "Response",
    "RevocationKey",
    "RolePrincipal",
    "Subject",
    "Unavailable",
    "UserPrincipal",
]

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
Protocol: TypeAlias = Literal["http", "websocket"]


# ---------------------------------------------------------------------------------------------------------- principals


@dataclass(frozen=True, slots=True)
class Principal:
    """Something a subject is known as (JAAS ``java.security.Principal``). A bare principal is never a role.

    Args:
        name: the name, never empty.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError("a principal needs a name")


@dataclass(frozen=True, slots=True)
class UserPrincipal(Principal):
    """Who the subject is. The first one of a subject gives its display name."""


@dataclass(frozen=True, slots=True)
class RolePrincipal(Principal):
    """A role the subject holds; compared with ``require-role``."""


@dataclass(frozen=True, slots=True)
class GroupPrincipal(Principal):
    """A group the subject belongs to; counts as a role of the same name."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An authenticated party: its principals, roles and credentials (JAAS ``javax.security.auth.Subject``).

    Args:
        principals: all principals, in the order in which the modules committed them, without repeats.
        public_credentials: what modules wish to pass on and may be shown, such as a certificate path.
        private_credentials: what modules wish to pass on and must never be shown, such as a key. Never printed.
    """

    principals: tuple[Principal, ...] = ()
    public_credentials: tuple[Any, ...] = field(default=(), compare=False)
    private_credentials: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    roles: frozenset[str] = field(init=False, compare=False, repr=False)
    """The names of the role and group principals."""

    def __post_init__(self) -> None:
        roles = frozenset([p.name for p in self.principals if isinstance(p, (RolePrincipal, GroupPrincipal))])
        object.__setattr__(self, "roles", roles)

    @property
    def name(self) -> str:
        """The first user principal's name, else the first principal's, else the empty string."""
        for principal in self.principals:
            if isinstance(principal, UserPrincipal):
                return principal.name
        return self.principals[0].name if self.principals else ""

    def merged(self, *others: Subject) -> Subject:
        """Return a subject with the principals and credentials of others added, without repeats of principals.

        Args:
            *others: the others, whose principals and credentials follow this one's.
        """
        subjects = (self, *others)
        return Subject(
            tuple(dict.fromkeys(p for s in subjects for p in s.principals)),
            tuple(c for s in subjects for c in s.public_credentials),
            tuple(c for s in subjects for c in s.private_credentials),
        )


@dataclass(frozen=True, slots=True)
class RevocationKey:
    """Name what can end a login before its time.

    Args:
        kind: ``user``: every login of the user; ``session``: one session; ``token``: one token.
        name: the user's name, or the session's or token's id.
        realm: the user's realm; the issuer of a JSON Web Token; empty for the others, whose ids are unique.
    """

    kind: Literal["user", "session", "token"]
    name: str
    realm: str = ""

    @property
    def key(self) -> str:
        """The key in ExpiringState that records the revocation."""
        return json.dumps([self.kind, self.name, self.realm])


@dataclass(frozen=True, slots=True)
class Grant:
    """A login module returns a Grant when the login succeeded; nothing else counts as success.

    Args:
        principals: what the subject becomes if the whole chain succeeds.
        public_credentials: passed on to later modules and the application.
        private_credentials: passed on, never printed.
        data: for the module's own second phase; no other code reads it.
        expires: when the credentials expire, in seconds since the epoch; what was opened with them ends then.
        authenticates: False if this one grant says nothing of who the client is, such as a login of the gateway's own.
        revocation_keys: what ends the login before its time, besides revoking its user.
        recheck_data: what the module's ``recheck`` needs later to tell whether the login still holds: JSON values
            without secrets, since it is kept with the session.
    """

    principals: tuple[Principal, ...] = ()
    public_credentials: tuple[Any, ...] = field(default=(), repr=False)
    _: KW_ONLY
    private_credentials: tuple[Any, ...] = field(default=(), repr=False)
    data: Any = field(default=None, repr=False, compare=False)
    expires: float | None = None
    authenticates: bool = True
    revocation_keys: tuple[RevocationKey, ...] = ()
    recheck_data: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def user(cls, name: str, roles: Iterable[str] = (), **fields: Any) -> Grant:
        """Return a Grant for one user with roles.

        Args:
            name: the user's name.
            roles: the names of the roles; a single string is one role.
            fields: further fields of the Grant.
        """
        each = (roles,) if isinstance(roles, str) else roles
        return cls((UserPrincipal(name), *map(RolePrincipal, each)), **fields)


# ------------------------------------------------------------------------------------------------------------- request


class AuthRequest:
    """Describe a request to what decides on it; made from the ASGI scope, without parsing anything.

    Args:
        protocol: ``http`` or ``websocket``.
        method: the HTTP method, ``GET`` for a WebSocket.
        path: the path as the application sees it below its ``root_path``, percent-decoded.
        query: the raw query string.
        headers: the raw headers, names in lower case.
        remote_address: the peer's address as the server reports it, or None.
        remote_port: the peer's port as the server reports it, or None.
        scheme: ``http``, ``https``, ``ws`` or ``wss``; empty if the server does not report it.
        raw_path: the path as it was sent, if the server reports it.
        local_port: the port of the server's own socket, or None.
        root_path: the path below which the application is mounted, without a slash at its end; empty for none.
        request_id: the audit log's id of the request; random if empty.
    """

    __slots__ = (
        "_id",
        "headers",
        "local_port",
        "method",
        "path",
        "protocol",
        "query",
        "raw_path",
        "remote_address",
        "remote_port",
        "root_path",
        "scheme",
    )

    def __init__(  # noqa: PLR0913 (the parts of an HTTP request, all but three by name)
        self,
        protocol: Protocol,
        method: str,
        path: str,
        *,
        query: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        remote_address: str | None = None,
        remote_port: int | None = None,
        scheme: str = "http",
        raw_path: bytes | None = None,
        local_port: int | None = None,
        root_path: str = "",
        request_id: str = "",
    ) -> None:
        self._id = request_id
        self.protocol = protocol
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.remote_address = remote_address
        self.remote_port = remote_port
        self.scheme = scheme
        self.raw_path = raw_path
        self.local_port = local_port
        self.root_path = root_path

    def replace(self, **changes: Any) -> AuthRequest:
        """Return the same request, with the same id, with some attributes changed."""
        copied = copy(self)
        copied._id = self.id
        for name, value in changes.items():
            setattr(copied, name, value)
        return copied

    @property
    def id(self) -> str:
        """The audit log's id of the request; made on first use."""
        self._id = self._id or secrets.token_hex(8)
        return self._id

    @property
    def connection(self) -> tuple[str, int] | None:
        """The peer's address and port, unique among open connections; None if the server does not report them."""
        return (self.remote_address, self.remote_port) if self.remote_address and self.remote_port else None

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header that may occur once; None if it is missing.

        Raises:
            HeaderError: the header is a duplicate.
        """
        return single_header(self.headers, name)

    def __repr__(self) -> str:  # headers and query may hold credentials
        return f"AuthRequest({self.protocol} {self.method} {self.path!r} from {self.remote_address})"


class AuthenticationToken:
    """The credentials of one request: a scheme and its components, some of them named (``AuthenticationToken``).

    The Authorization header's rest comes first and has no name; configured headers, query parameters and cookies
    follow in the order of the configuration, each under its configured name. Its ``repr`` shows no value.

    Args:
        scheme: the authentication scheme in lower case, without ``Application``; empty when there is none.
        components: ``(name, value)`` pairs; the name is None for the Authorization header's component.
    """

    __slots__ = ("_components", "_names", "scheme")

    def __init__(self, scheme: str, components: Iterable[tuple[str | None, str]] = ()) -> None:
        self.scheme = scheme
        self._components = tuple(components)
        self._names = {name: value for name, value in self._components if name is not None}

    def __len__(self) -> int:
        return len(self._components)

    def __bool__(self) -> bool:
        return bool(self._components)

    def __iter__(self) -> Iterator[str]:
        return (value for _, value in self._components)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def get(self, key: int | str = 0) -> str | None:
        """Return a component; None if it is missing.

        Args:
            key: its index, or its configured name; ``get()`` returns the first component.
        """
        if isinstance(key, str):
            return self._names.get(key)
        return self._components[key][1] if 0 <= key < len(self._components) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the named components that are present."""
        return tuple(self._names)

    def __repr__(self) -> str:
        shown = ", ".join("<authorization>" if name is None else name for name, _ in self._components)
        return f"AuthenticationToken({self.scheme or 'no scheme'}; {shown or 'empty'})"


# ------------------------------------------------------------------------------------------------------------ decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCheck:
    """Check from time to time whether a login still holds.

    Args:
        realm: the name of the realm that authenticated it.
        user: the user's name.
        data: what the modules keep for their rechecks, such as a digest of a stored password.
        interval: seconds between two checks.
        holds: returns whether the login still holds.
    """

    realm: str
    user: str
    data: Mapping[str, Any] = field(repr=False)
    interval: float
    holds: Callable[[], Awaitable[bool]] = field(compare=False, repr=False)

    def key(self) -> tuple[str, str]:
        """Return what is equal for equal logins of a realm, which are checked together.

        Most logins are over before their first check, and the text costs 10 microseconds, so it is made when it is
        asked for.
        """
        return self.realm, json.dumps([self.user, dict(self.data)], sort_keys=True, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Run the application.

    Args:
        subject: who it is; None for a public service.
        headers: added to the application's response (a final token, a cookie, CORS).
        service: the service's name.
        realm: the realm's name, empty for a public service.
        session_timeout: seconds after which a WebSocket is closed, or None.
        authorization_timeout: seconds within which a WebSocket must authenticate again, or None.
        additions: what the application finds in its scope beside the user; immutable values.
        revocation_keys: what ends a WebSocket before its time.
        expires: when a WebSocket is closed because its credentials expire, in seconds since the epoch, or None.
        subprotocols: names of credentials among the subprotocols, not to be shown to the application.
        checks: how the logins behind it are checked while a WebSocket or a long response lives.
        ends: whether a long HTTP response ends with the login: realms with sessions, credentials that expire.
        ends_late: whether only what follows the first piece of a response ends with the login, which costs less: realms
            without sessions.
        backend: the ASGI application that answers; None for the wrapped application.
    """

    subject: Subject | None
    headers: Headers = ()
    service: str = ""
    realm: str = ""
    session_timeout: float | None = None
    authorization_timeout: float | None = None
    additions: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    revocation_keys: tuple[RevocationKey, ...] = ()
    expires: float | None = None
    subprotocols: tuple[str, ...] = ()
    checks: tuple[LoginCheck, ...] = ()
    ends: bool = False
    ends_late: bool = False
    backend: Callable[[Any, Any, Any], Awaitable[None]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Ask for credentials: 401.

    Args:
        headers: at least one ``WWW-Authenticate``.
        service: the service's name.
        realm: the realm's name.
        reason: for the log.
        account_problem: why the right password did not log in, for a login page; None if it was not right.
    """

    headers: Headers
    service: str = ""
    realm: str = ""
    reason: str = ""
    account_problem: AccountProblem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbid:
    """Refuse: 403.

    Args:
        reason: for the log and for ``explain``, never for the client.
        headers: of the response.
        service: the service's name.
        realm: the realm's name.
        account_problem: as in Challenge.
        wrong_credentials: whether other credentials might have passed.
    """

    reason: str
    headers: Headers = ()
    service: str = ""
    realm: str = ""
    account_problem: AccountProblem | None = None
    wrong_credentials: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """Report that a back end cannot be asked now: 503.

    Args:
        reason: for the log.
        retry_after: seconds, sent as ``Retry-After``.
    """

    reason: str
    retry_after: int = 5
    headers: Headers = ()
    service: str = ""
    realm: str = ""


Refusal: TypeAlias = Challenge | Forbid | Unavailable
Decision: TypeAlias = Allow | Challenge | Forbid | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response of the gateway's own, to an HTTP request or to a WebSocket handshake that is refused.

    Args:
        status: the HTTP status.
        headers: besides the content's type and length.
        body: the content.
        content_type: the content's type; not sent with an empty body.
    """

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    content_type: str = "text/plain; charset=utf-8"
