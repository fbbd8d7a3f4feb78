"""Define the validated configuration: one model for XML and YAML. Field aliases are the names that files use."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from asgi_gateway.config.accept import AcceptURL, parse_accept
from asgi_gateway.model import Protocol
from asgi_gateway.plugins.login_module import ControlFlag
from asgi_gateway.plugins.option_types import parse_boolean, parse_duration, parse_size
from asgi_gateway.proxy.connect import ConnectURL, parse_connect, unsupported_scheme
from asgi_gateway.services.trusted_proxies import parse_trusted_proxy
from asgi_gateway.sessions.limits import PER_CLIENT, PER_USER

__all__ = [
    "SERVICE_TYPES",
    "UNSERVED_TYPES",
    "Authentication",
    "ConfigElement",
    "ConnectLoginConfig",
    "Constraint",
    "CrossSiteConstraint",
    "ForwardAuthConfig",
    "GatewayConfig",
    "IdentityTokenConfig",
    "LoginModuleConfig",
    "LoginPageConfig",
    "MimeMapping",
    "RealmConfig",
    "SecurityConfig",
    "ServiceConfig",
    "SessionKeysConfig",
    "StateConfig",
    "StoreConfig",
    "TicketConfig",
    "TimeoutsConfig",
    "known_type",
    "parse_flag",
]


def _file(value: object) -> object:
    if value == "":
        raise ValueError("missing file name")
    return value


def _accept(text: str) -> str:
    parse_accept(text)
    return text


def _trusted_proxy(text: str) -> str:
    parse_trusted_proxy(text)
    return text


def _header_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", text) is None:
        raise ValueError("invalid header name; write letters, digits and dashes")
    return text


def parse_flag(value: object) -> bool:
    """Return True for an element that is there and empty, such as ``<require-valid-user/>``, else the boolean it holds.

    Raises:
        ValueError: the value is neither true nor false.
    """
    return True if value is None or value == "" else parse_boolean(value)


def _mode(value: object) -> object:
    return "recycle" if value == "validate" else value  # one of the original's XSDs calls it that


SERVICE_TYPES: dict[str, frozenset[Protocol]] = {
    "http.proxy": frozenset(("http", "websocket")),
    "proxy": frozenset(("websocket",)),
    "directory": frozenset(("http",)),
    "echo": frozenset(("http", "websocket")),
    "http.redirect": frozenset(("http",)),
}
"""The service types that are served, and the requests that each answers."""

UNSERVED_TYPES = frozenset(
    (
        "amqp.proxy",
        "balancer",
        "broadcast",
        "http.balancer",
        "jms",
        "jms.proxy",
        "kerberos5.proxy",
        "management.jmx",
        "management.snmp",
        "redis",
        "session",
        "snmp",
        "stomp.jms",
        "stomp.proxy",
        "turn.proxy",
        "turn.rest",
        "update.check",
        "update.check.management",
        "xmpp.proxy",
    )
)
"""KAAZING Gateway's service types that are not served."""
_UNSERVED_FAMILIES = re.compile(
    r"(?:amqp|jms|kerberos5|management|redis|snmp|stomp|turn|update|xmpp)(?:\.[a-z0-9]+)*|[a-z0-9.]+-extension|class:.+"
)

NonEmpty = Annotated[str, Field(min_length=1)]
TrustedProxy = Annotated[str, AfterValidator(_trusted_proxy)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
AcceptURLText = Annotated[str, AfterValidator(_accept)]
File = Annotated[Path, BeforeValidator(_file)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
DurationOrZero = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Mode = Annotated[Literal["challenge", "recycle"], BeforeValidator(_mode)]
Flag = Annotated[bool, BeforeValidator(parse_flag)]
Boolean = Annotated[bool, BeforeValidator(parse_boolean)]


def _cookie_name(text: str) -> str:
    if re.fullmatch(r"(?!__)[A-Za-z0-9_-]{1,64}", text) is None:
        raise ValueError("takes 1 to 64 letters, digits, dashes or underscores, and not two underscores in front")
    return text


def _dashes(name: str) -> str:
    return name.replace("_", "-")


def known_type(name: str) -> bool:
    """Return whether a service type is served, or is one of KAAZING Gateway's, those of its extensions included.

    Args:
        name: the type as the configuration has it.
    """
    return name in SERVICE_TYPES or name in UNSERVED_TYPES or _UNSERVED_FAMILIES.fullmatch(name) is not None


class ConfigElement(BaseModel):
    """Base class of all elements: unknown keys are errors, and objects are frozen."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=_dashes, populate_by_name=True, frozen=True, hide_input_in_errors=True
    )


class StoreConfig(ConfigElement):
    """``keystore`` and ``truststore``."""

    type: Literal["JKS", "JCEKS", "PKCS12"] | None = None
    file: File
    password_file: File | None = None


class StateConfig(ConfigElement):
    """``state``: the store of the data that login modules and sessions share among workers. Ours."""

    type: NonEmpty
    options: dict[str, Any] = Field(default={}, repr=False)


class SessionKeysConfig(ConfigElement):
    """``session-keys``: where the keys are that sign session cookies, one of the two. Ours."""

    file: File | None = None
    environment: NonEmpty | None = None


class LoginModuleConfig(ConfigElement):
    """``login-module``. ``time-limit`` is ours: how long the module may take, 30 seconds by default.

    Option values are text, lists of at least two values, or mappings, in whichever spelling they were written.
    """

    type: NonEmpty
    success: ControlFlag
    options: dict[str, Any] = Field(default={}, repr=False)
    time_limit: Duration = 30.0


def _https(url: str) -> str:
    if re.fullmatch(r"https?://[!#-\[\]-~]+", url) is None:
        raise ValueError("invalid URL; write https://host/path")
    return url


def _metadata_path(path: str) -> str:
    if re.fullmatch(r"/\.well-known(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", path) is None:
        raise ValueError("invalid path; write /.well-known/oauth-protected-resource, or a path below it")
    return path


class ProtectedResource(ConfigElement):
    """``protected-resource``, ours: the metadata that challenges of Bearer point to (RFC 9728)."""

    resource: Annotated[str, AfterValidator(_https)]
    authorization_server: tuple[Annotated[str, AfterValidator(_https)], ...] = Field(min_length=1)
    scope: tuple[NonEmpty, ...] = ()
    path: Annotated[str, AfterValidator(_metadata_path)] = "/.well-known/oauth-protected-resource"


def _own_path(path: str) -> str:
    if re.fullmatch(r"/|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?", path) is None:
        raise ValueError("invalid path; write a path of this site, such as /goodbye")
    return path


def _language(text: str) -> str:
    if re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", text) is None:
        raise ValueError("invalid language; write one such as en or de")
    return text


class LoginPageConfig(ConfigElement):
    """``login-page``, ours: the page on which people log in, and those that refuse and log out.

    ``logo``: an image file, which becomes a part of the page. ``colors``: by name, as ``#rrggbb``. ``texts``: by name,
    or by language and name. ``language``: the only one; by default the browser's. ``templates``: a folder of Jinja2
    templates in place of the built-in pages. ``after-logout``: where the logout leads, a path of this site.
    """

    title: str = ""
    logo: File | None = None
    colors: dict[str, Any] = {}
    texts: dict[str, Any] = {}
    language: Annotated[str, AfterValidator(_language)] | None = None
    templates: File | None = None
    after_logout: Annotated[str, AfterValidator(_own_path)] | None = None


class Authentication(ConfigElement):
    """``authentication``. Four of its elements are ours.

    ``login-page``: people log in by a page, which begins a session. ``websocket-subprotocol``: ``bearer`` reads
    ``Sec-WebSocket-Protocol: bearer.…``. ``basic-charset-fallback``: read Basic credentials that are not UTF-8 as
    ISO-8859-1. ``protected-resource``: for the scheme Bearer.
    """

    http_challenge_scheme: tuple[NonEmpty, ...] = Field(min_length=1)
    http_header: tuple[NonEmpty, ...] = ()
    http_query_parameter: tuple[NonEmpty, ...] = ()
    http_cookie: tuple[NonEmpty, ...] = ()
    websocket_subprotocol: tuple[NonEmpty, ...] = ()
    authorization_mode: Mode = "challenge"
    authorization_timeout: Duration | None = None
    session_timeout: Duration | None = None
    basic_charset_fallback: Boolean = False
    protected_resource: ProtectedResource | None = None
    login_page: LoginPageConfig | None = None
    login_modules: tuple[LoginModuleConfig, ...] = ()

    @property
    def has_sessions(self) -> bool:
        """Whether a login may begin a session."""
        return self.authorization_mode == "recycle" or self.login_page is not None


class RealmConfig(ConfigElement):
    """``realm``. Three of its elements are ours.

    ``credential-cache``: how long a verified credential is cached; 0 turns the cache off. ``sessions-per-user`` and
    ``sessions-per-client``: how many sessions a user has at most, in all and at one address; the oldest ones end.
    """

    name: NonEmpty
    description: str = ""
    user_principal_class: tuple[NonEmpty, ...] = ()
    authentication: Authentication | None = None
    credential_cache: DurationOrZero = 30.0
    recheck: DurationOrZero = 300.0
    sessions_per_user: int = Field(default=PER_USER, ge=1, le=10_000)
    sessions_per_client: int = Field(default=PER_CLIENT, ge=1, le=10_000)


class SecurityConfig(ConfigElement):
    """``security``. Two of its elements are ours.

    ``session-cookie``: what the names of session cookies begin with. ``trusted-proxies``: the addresses and networks of
    the proxies whose headers about the client count.
    """

    keystore: StoreConfig | None = None
    truststore: StoreConfig | None = None
    state: StateConfig | None = None
    session_keys: SessionKeysConfig | None = None
    session_cookie: Annotated[str, AfterValidator(_cookie_name)] | None = None
    trusted_proxies: tuple[TrustedProxy, ...] = ()
    realms: tuple[RealmConfig, ...] = ()


class Constraint(ConfigElement):
    """``authorization-constraint``: every ``require-role`` must be held; ``*`` means any authenticated user."""

    require_role: tuple[NonEmpty, ...] = ()
    require_valid_user: Flag = False


class CrossSiteConstraint(ConfigElement):
    """``cross-site-constraint``."""

    allow_origin: NonEmpty
    allow_methods: str | None = None
    allow_headers: str | None = None
    maximum_age: Duration | None = None


def _extension(text: str) -> str:
    if re.fullmatch(r"\.?[A-Za-z0-9_+-]{1,32}", text) is None:
        raise ValueError("invalid file name extension; write it without dot, such as html")
    return text


def _mime_type(text: str) -> str:
    word = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
    if re.fullmatch(rf"{word}/{word}(?:\s*;\s*{word}=(?:{word}|\"[ !#-\[\]-~]*\"))*", text) is None:
        raise ValueError("invalid media type; write one such as text/html")
    return text


class MimeMapping(ConfigElement):
    """``mime-mapping``: the media type of files whose names have an extension, for services of type ``directory``."""

    extension: Annotated[str, AfterValidator(_extension)]
    mime_type: Annotated[str, AfterValidator(_mime_type)]


class TicketConfig(ConfigElement):
    """``ticket``, which is ours: a login to these realms is traded for a ticket that opens one of the WebSockets."""

    realm_name: tuple[NonEmpty, ...] = Field(min_length=1)
    life: Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=3600)] = 30.0


class TimeoutsConfig(ConfigElement):
    """``timeouts``, which is ours: how long a back end may take.

    ``connect``: until the connection stands. ``response``: from the end of the request to the first byte of the
    response. ``idle``: between two pieces of a body, or without a byte in a tunnel.
    """

    connect: Duration = 10.0
    response: Duration = 60.0
    idle: Duration = 300.0


class IdentityTokenConfig(ConfigElement):
    """``identity-token``, which is ours: who the user is, for the back end, as a signed JSON Web Token."""

    header: HeaderName = "X-Identity-Token"
    key_file: File
    audience: NonEmpty
    life: Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=3600)] = 60.0


class ConnectLoginConfig(ConfigElement):
    """``connect-login``, which is ours: the credentials with which the gateway answers a back end's 401.

    ``pass-basic``: the user's own name and password. ``kerberos``: the gateway's own principal, by its keytab.
    ``delegate``: the user's, by constrained delegation (S4U2Proxy). ``plain-http``: credentials may travel unencrypted.
    """

    username: NonEmpty | None = None
    password_file: File | None = None
    token_file: File | None = None
    pass_basic: Boolean = False
    kerberos: NonEmpty | None = None
    keytab: File | None = None
    delegate: Boolean = False
    plain_http: Boolean = False


class ServiceConfig(ConfigElement):
    """``service``. Several realms (``accept-options/http.realm``) must all succeed, in order.

    A service without ``accept`` is ignored. ``type`` and ``connect`` say what stands behind it; without either that is
    the wrapped application. Types and accepts that are not served refuse every request.

    ``allow-encoded-slash`` is ours: whether a segment of its paths may hold a slash that was sent as ``%2F``.
    ``cors`` is ours: who answers preflights and sends the headers of CORS.
    ``same-user`` is ours: whether several realms must authenticate the same user.
    Ours too is what follows ``bind``: how requests and messages are passed to a back end.
    """

    name: str = ""
    description: str = ""
    accept: tuple[AcceptURLText, ...] = ()
    connect: tuple[NonEmpty, ...] = ()
    type: str = ""
    properties: dict[str, Any] = {}
    mime_mapping: tuple[MimeMapping, ...] = ()
    match_host: Boolean = False
    allow_encoded_slash: Boolean = False
    same_user: Boolean = True
    cors: Literal["gateway", "application"] = "gateway"
    realm_name: tuple[NonEmpty, ...] = ()
    authorization_constraint: Constraint | None = None
    cross_site_constraint: tuple[CrossSiteConstraint, ...] = ()
    ticket: TicketConfig | None = None
    max_authentication_attempts: int = Field(default=0, ge=0, le=100)
    bind: dict[str, Any] = {}
    preserve_host: Boolean = False
    origin: Literal["preserve", "rewrite", "remove"] = "preserve"
    pass_credentials: Boolean = False
    identity_headers: dict[str, Any] = {}
    identity_token: IdentityTokenConfig | None = None
    connect_login: ConnectLoginConfig | None = None
    client_certificate: NonEmpty | None = None
    max_body: Size | None = None
    max_connections: int = Field(default=100, ge=1, le=10_000)
    message_type: Literal["binary", "text"] = "binary"
    timeouts: TimeoutsConfig = TimeoutsConfig()

    @property
    def accepts(self) -> tuple[AcceptURL, ...]:
        """The accept URLs, parsed, with those kinds of requests that the service's type answers."""
        answered = SERVICE_TYPES.get(self.kind)
        parsed = map(parse_accept, self.accept)
        return tuple(each if answered is None else replace(each, kinds=each.kinds & answered) for each in parsed)

    @property
    def connects(self) -> tuple[ConnectURL, ...]:
        """The connect URLs of a service that is served, parsed; ``check`` reports those that are invalid."""
        return tuple(map(parse_connect, self.connect))

    @property
    def kind(self) -> str:
        """The type; where only ``connect`` is given, the type that goes with its URLs; empty for the application."""
        if self.type or not self.connect:
            return self.type
        schemes = {text.lower().partition(":")[0].removesuffix("+unix") for text in self.connect}
        return "http.proxy" if schemes <= {"http", "https"} else "proxy"

    @property
    def refusal(self) -> str:
        """The reason why every request to the service is refused; empty if requests are decided on.

        A service of KAAZING Gateway that balances, or speaks another protocol, is not the application: it would be a
        way into it.
        """
        if self.type and self.type not in SERVICE_TYPES:
            return f"service type {self.type!r} is not supported"
        for accept in self.accepts:
            if accept.unsupported:
                return f"accept scheme {accept.unsupported!r} is not supported"
        for text in self.connect:
            if scheme := unsupported_scheme(text):
                return f"connect scheme {scheme!r} is not supported"
        return ""


def _url_path(path: str) -> str:
    if re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", path) is None:
        raise ValueError("invalid path; write one such as /asgi-gateway-client.js")
    return path


def _root(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("does not begin with a slash; write /api, or / for none")
    return parse_accept(text).path.removesuffix("/")


class ForwardAuthConfig(ConfigElement):
    """``forward-auth``, which is ours: where another proxy asks for decisions, and which kind of proxy it is."""

    accept: Annotated[str, AfterValidator(_url_path)]
    kind: Literal["nginx", "traefik", "caddy", "haproxy", "envoy"]


class GatewayConfig(ConfigElement):
    """The whole file. Without services, the one realm protects everything.

    ``browser-client`` is ours: the path of the client for browsers, an ES module that is served without a login.
    ``extended-handshake`` is ours: whether clients may log in inside a WebSocket, which is accepted before. An XML file
    whose root is in a namespace of the original has it on unless it says otherwise.
    ``root-path`` is ours: the part of each path below which the application is mounted, instead of the server's.
    ``web-root`` is ours: the folder that holds the folders of ``directory`` services; by default ``web``.
    ``forward-auth`` is ours: where other proxies ask for decisions.
    """

    security: SecurityConfig = SecurityConfig()
    services: tuple[ServiceConfig, ...] | None = None
    browser_client: Annotated[str, AfterValidator(_url_path)] | None = None
    root_path: Annotated[str, AfterValidator(_root)] | None = None
    extended_handshake: Boolean = False
    web_root: File | None = None
    forward_auth: ForwardAuthConfig | None = None
