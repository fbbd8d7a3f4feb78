"""Build what stands behind a service, by its type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.client import ChallengeHandler
from asgi_gateway.config.backend_http import build_http_proxy
from asgi_gateway.config.backend_local import build_directory, build_echo, build_redirect
from asgi_gateway.config.backend_login import check_without_connect
from asgi_gateway.config.backend_proxy import build_proxy
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores import KeyStore
from asgi_gateway.plugins.clock import Clock
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
        files: the files that the configuration names, and itself: no client may read them.
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
    files: tuple[Path, ...]
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
    if config.refusal:
        return None
    if not config.connect:
        check_without_connect(config, path, add_problem)
        _check_elements_of_back_ends(config, path, add_problem)
    if not config.kind:
        return None
    build = _BUILDERS[config.kind]
    try:
        return build(config, context, path, add_problem)
    except ConfigError as error:
        for problem in error.problems:
            add_problem(path, problem.message, problem.hint)
        return None


def _check_elements_of_back_ends(config: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    """Warn of limits and credentials that a service without ``connect`` has no use for."""
    for name in ("max-body", "client-certificate", "pass-credentials"):
        if getattr(config, name.replace("-", "_")):
            message = f"{name} has no effect: the service has no connect"
            add_problem((*path, name), message, "it is for back ends; remove it", "warning")


_BUILDERS: dict[str, Callable[[ServiceConfig, BackendContext, ConfigPath, AddProblem], Backend | None]] = {
    "http.proxy": build_http_proxy,
    "proxy": build_proxy,
    "directory": build_directory,
    "echo": build_echo,
    "http.redirect": build_redirect,
}
