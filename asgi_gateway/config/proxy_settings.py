"""Read what a service says of its back ends: the settings that proxies of every kind share."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.service_properties import ServiceProperties, read_properties
from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.token import TokenLoginModule
from asgi_gateway.proxy.identity import IdentityToken, IdentityWriter
from asgi_gateway.proxy.outgoing import OutgoingRequest, may_carry_identity
from asgi_gateway.proxy.settings import CredentialNames, IdentityHeaders, ProxySettings, Rewriting, Timeouts
from asgi_gateway.proxy.tls import client_tls

if TYPE_CHECKING:
    from asgi_gateway.config.backends import BackendContext
    from asgi_gateway.services.model import Service

__all__ = ["backend_tls", "identity_writer", "outgoing_request", "proxy_settings"]

AddProblem = Callable[..., None]

_Switch = Literal["enabled", "disabled"]
_IGNORED = (
    "cookie-domain-mapping",
    "cookie-path-mapping",
    "internal.maximum.transferred.bytes",
    "location-mapping",
    "maximum.pending.bytes",
    "maximum.recovery.interval",
    "prepared.connection.count",
)


class ProxyProperties(ServiceProperties):
    """``properties`` of ``http.proxy`` and ``proxy``, with the original's names.

    ``use-forwarded``: what becomes of X-Forwarded-* and Forwarded, as in ``ProxySettings``.
    """

    rewrite_location: _Switch = "enabled"
    rewrite_cookie_path: _Switch = "enabled"
    rewrite_cookie_domain: _Switch = "enabled"
    use_forwarded: Literal["inject", "ignore", "exclude"] = "inject"


def proxy_settings(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> ProxySettings:
    """Return what a service says of its back ends.

    Args:
        config: the service.
        context: what its back end is built with.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    service, realms = context.service, context.service.realms
    properties = read_properties(ProxyProperties, config, path, add_problem, _IGNORED) or ProxyProperties()
    return ProxySettings(
        service=service.name,
        accepts=tuple(dict.fromkeys(mount.path for mount in service.mounts)),
        connects=config.connects,
        public=not realms,
        credentials=CredentialNames(
            authorization=bool(realms),
            headers=service.credential_headers,
            parameters=frozenset(name for realm in realms for name in realm.reader.query_parameters),
            cookies=frozenset(name for realm in realms for name in realm.reader.cookies),
            subprotocols=frozenset(name for realm in realms for name in realm.reader.subprotocols),
            session_cookie=context.session_cookie,
            is_ticket=_tickets(service),
        ),
        pass_credentials=config.pass_credentials,
        preserve_host=config.preserve_host,
        origin=config.origin,
        forwarded=properties.use_forwarded,
        trusted_proxies=context.trusted_proxies,
        identity=IdentityHeaders(names=tuple((kind, str(name)) for kind, name in config.identity_headers.items())),
        rewriting=Rewriting(
            location=properties.rewrite_location == "enabled",
            cookie_path=properties.rewrite_cookie_path == "enabled",
            cookie_domain=properties.rewrite_cookie_domain == "enabled",
        ),
        timeouts=Timeouts(
            connect=config.timeouts.connect, response=config.timeouts.response, idle=config.timeouts.idle
        ),
        max_body=config.max_body,
        max_connections=config.max_connections,
        tls=backend_tls(config, context, path, add_problem),
        text=config.message_type == "text",
    )


def outgoing_request(
    config: ServiceConfig,
    context: BackendContext,
    settings: ProxySettings,
    path: ConfigPath,
    add_problem: AddProblem,
) -> OutgoingRequest:
    """Return what writes a service's requests to its back ends, HTTP and WebSocket.

    Args:
        config: the service.
        context: what its back end is built with.
        settings: what ``proxy_settings`` returned for the service.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    return OutgoingRequest(settings, identity_writer(config, context, path, add_problem))


def identity_writer(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> IdentityWriter:
    """Return what writes the headers that tell who the user is: ``identity-headers`` and ``identity-token``.

    Args:
        config: the service.
        context: gives the clock, and the folder of the key file.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    names: list[tuple[str, str]] = []
    for kind, name in config.identity_headers.items():
        where = (*path, "identity-headers", kind)
        if not isinstance(name, str) or _invalid_identity_name(name):
            hint = "write a name of letters, digits and dashes, such as X-Forwarded-User"
            add_problem(where, f"invalid header name {name!r} for the user's identity", hint)
        elif any(name.lower() == other.lower() for _, other in names):
            add_problem(where, f"duplicate header {name}", "give each kind of principal its own header")
        else:
            names.append((kind, name))
    token = None
    if (configured := config.identity_token) is not None:
        where = (*path, "identity-token")

        def warn(message: str) -> None:
            add_problem((*where, "key-file"), message, "", "warning")

        if _invalid_identity_name(configured.header) or any(
            configured.header.lower() == name.lower() for _, name in names
        ):
            add_problem((*where, "header"), f"invalid or duplicate header {configured.header}", "choose another name")
        try:
            token = IdentityToken.from_file(
                context.directory / configured.key_file,
                header=configured.header,
                audience=configured.audience,
                life=configured.life,
                warn=warn,
            )
        except ConfigError as error:
            for problem in error.problems:
                add_problem((*where, "key-file"), problem.message, problem.hint)
    return IdentityWriter(names, token, context.clock)


def backend_tls(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> ssl.SSLContext | None:
    """Return the TLS context of connections to a service's back ends; None where no back end uses TLS.

    Args:
        config: the service.
        context: gives the truststore and the keystore.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    where = (*path, "client-certificate")
    if not any(each.tls for each in config.connects):
        if config.client_certificate is not None:
            hint = "write https, wss or tls in connect, or remove it"
            add_problem(where, "client-certificate needs a back end with TLS", hint)
        return None
    try:
        return client_tls(context.truststore, context.keystore, config.client_certificate)
    except ConfigError as error:
        for problem in error.problems:
            add_problem(where if config.client_certificate is not None else path, problem.message, problem.hint)
        return None


def _invalid_identity_name(name: str) -> bool:
    """Return whether a header cannot carry the user's identity: it has another meaning, or is no header's name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", name) is None or not may_carry_identity(name.encode())


def _tickets(service: Service) -> Callable[[str], bool] | None:
    """Return whether a text is a ticket to the service; None if none of its realms takes tickets."""
    modules = [entry.module for realm in service.realms for entry in realm.chain.entries]
    issuers = [each.issuer for each in modules if isinstance(each, TokenLoginModule) and each.takes_tickets]
    if not issuers:
        return None
    return lambda text: any(issuer.is_single_use(text) for issuer in issuers)
