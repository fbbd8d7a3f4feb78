"""Build what stands behind a service, by its type."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.client import ChallengeHandler
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores import KeyStore
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.proxy.settings import CredentialNames, IdentityHeaders, ProxySettings, Timeouts
from asgi_gateway.services.backend import Backend
from asgi_gateway.services.model import Service
from asgi_gateway.services.trusted_proxies import TrustedProxies
from asgi_gateway.telemetry.audit import Audit

__all__ = ["BackendContext", "build_backend"]

AddProblem = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendContext:
    """What back ends are built with.

    Args:
        service: the service, without its back end.
        directory: the folder to which files are relative.
        file: the configuration file, or None.
        web_root: ``web-root``, or None.
        keystore: client certificates.
        truststore: the authorities that sign back ends' certificates; None for the system's.
        clock: the time.
        audit: takes events.
        pools: run blocking work.
        trusted_proxies: the peers whose headers about the client count.
        session_cookie: what the names of session cookies begin with.
        connect_handler: answers the 401s of back ends whose service has no ``connect-login``; None for nobody.
    """

    service: Service
    directory: Path
    file: Path | None
    web_root: Path | None
    keystore: KeyStore | None
    truststore: KeyStore | None
    clock: Clock
    audit: Audit
    pools: ThreadPools
    trusted_proxies: TrustedProxies
    session_cookie: str
    connect_handler: ChallengeHandler | None = None


def build_backend(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> Backend | None:
    """Return what stands behind a service; None for the wrapped application, or where a problem was added.

    Args:
        config: the service.
        context: what it is built with.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    if config.refusal or not config.kind:
        return None
    build = _BUILDERS[config.kind]
    try:
        return build(config, context, path, add_problem)
    except ConfigError as error:
        for problem in error.problems:
            add_problem(path, problem.message, problem.hint)
        return None


def proxy_settings(config: ServiceConfig, context: BackendContext, tls: ssl.SSLContext | None = None) -> ProxySettings:
    """Return what a service says of its back ends.

    Args:
        config: the service.
        context: what its back end is built with.
        tls: for connections to back ends over TLS.
    """
    realms = context.service.realms
    return ProxySettings(
        service=context.service.name,
        accepts=tuple(dict.fromkeys(mount.path for mount in context.service.mounts)),
        connects=config.connects,
        public=not realms,
        credentials=CredentialNames(
            authorization=bool(realms),
            headers=context.service.credential_headers,
            parameters=frozenset(name for realm in realms for name in realm.reader.query_parameters),
            cookies=frozenset(name for realm in realms for name in realm.reader.cookies),
            subprotocols=frozenset(name for realm in realms for name in realm.reader.subprotocols),
            session_cookie=context.session_cookie,
        ),
        pass_credentials=config.pass_credentials,
        preserve_host=config.preserve_host,
        origin=config.origin,
        trusted_proxies=context.trusted_proxies,
        identity=IdentityHeaders(names=tuple((kind, str(name)) for kind, name in config.identity_headers.items())),
        timeouts=Timeouts(
            connect=config.timeouts.connect, response=config.timeouts.response, idle=config.timeouts.idle
        ),
        max_body=config.max_body,
        max_connections=config.max_connections,
        tls=tls,
        text=config.message_type == "text",
    )


def _not_built(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> Backend | None:
    add_problem(path, f"type {config.kind} is not served yet")
    return None


_BUILDERS: dict[str, Callable[[ServiceConfig, BackendContext, ConfigPath, AddProblem], Backend | None]] = {
    "http.proxy": _not_built,
    "proxy": _not_built,
    "directory": _not_built,
    "echo": _not_built,
    "http.redirect": _not_built,
}
