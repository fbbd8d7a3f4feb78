"""Check and build ``forward-auth``: where other proxies ask for decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from asgi_gateway.config.model import ForwardAuthConfig, GatewayConfig, ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.errors import ConfigError
from asgi_gateway.model import Headers
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.proxy.identity import IdentityToken, IdentityWriter
from asgi_gateway.services.identity import GatewayContext
from asgi_gateway.services.original_request import ForwardAuthSettings

__all__ = ["build_forward_auth"]

_PATH: ConfigPath = ("forward-auth",)

AddProblem = Callable[..., None]


def build_forward_auth(
    config: GatewayConfig,
    resources: Iterable[str],
    directory: Path,
    *,
    clock: Clock,
    add_problem: AddProblem,
) -> ForwardAuthSettings | None:
    """Return where other proxies ask for decisions; None if they cannot, or where an error was added.

    Args:
        config: the whole configuration.
        resources: paths at which the gateway serves metadata.
        directory: the folder to which files are relative.
        clock: the time.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    forward_auth = config.forward_auth
    if forward_auth is None:
        return None
    if not config.security.trusted_proxies:
        hint = "add security/trusted-proxies with the address of the proxy, such as 127.0.0.1"
        add_problem(_PATH, "forward-auth needs trusted-proxies: only listed proxies may ask", hint)
    _check_path(config, forward_auth, resources, add_problem)
    identities: dict[str, Callable[[GatewayContext], Headers]] = {}
    for index, service in enumerate(config.services or ()):
        if not service.accept or not (service.identity_headers or service.identity_token):
            continue
        path: ConfigPath = ("services", index)
        name = service.name or service.accept[0]
        if name in identities:
            add_problem(path, f"duplicate service name {name!r}", "give each service a name of its own")
        writer = _identity_writer(service, directory, clock, path, add_problem)
        if writer is not None:
            identities[name] = writer.headers
    return ForwardAuthSettings(forward_auth.accept, forward_auth.kind, identities)


def _check_path(
    config: GatewayConfig, forward_auth: ForwardAuthConfig, resources: Iterable[str], add_problem: AddProblem
) -> None:
    """Report what else is served at the path at which proxies ask."""
    path: ConfigPath = (*_PATH, "accept")
    if forward_auth.accept in (config.browser_client, *resources):
        add_problem(path, "duplicate path: the gateway serves a file there", "change the path")
    for service in config.services or ():
        if any(accept.path == forward_auth.accept for accept in service.accepts):
            name = service.name or service.accept[0]
            message = f"duplicate path: service {name!r} accepts the same requests"
            add_problem(path, message, "choose a path that nothing else has, such as /.gateway/check")


def _identity_writer(
    config: ServiceConfig, directory: Path, clock: Clock, path: ConfigPath, add_problem: AddProblem
) -> IdentityWriter | None:
    """Return what writes a service's identity headers; None where an error was added."""
    token, configured = None, config.identity_token

    def warn(message: str) -> None:
        add_problem((*path, "identity-token"), message, severity="warning")

    if configured is not None:
        try:
            token = IdentityToken.from_file(
                directory / configured.key_file.expanduser(),
                header=configured.header,
                audience=configured.audience,
                life=configured.life,
                warn=warn,
            )
        except ConfigError as error:
            for problem in error.problems:
                add_problem((*path, "identity-token"), problem.message, problem.hint)
            return None
    return IdentityWriter([(kind, str(name)) for kind, name in config.identity_headers.items()], token, clock)
