"""Check and build ``forward-auth``, where other proxies ask for decisions, and ``trusted-proxies``, which may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from asgi_gateway.config.model import ForwardAuthConfig, GatewayConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.model import Headers
from asgi_gateway.services.identity import GatewayContext
from asgi_gateway.services.original_request import ForwardAuthSettings
from asgi_gateway.services.trusted_proxies import TrustedProxies, parse_trusted_proxy

__all__ = ["build_forward_auth", "build_trusted_proxies"]

_PATH: ConfigPath = ("forward-auth",)

AddProblem = Callable[..., None]


def build_trusted_proxies(entries: Sequence[str], add_problem: AddProblem) -> TrustedProxies:
    """Return the peers whose headers about the client count. A network of all addresses gets a warning.

    Args:
        entries: ``security/trusted-proxies``.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    for index, entry in enumerate(entries):
        network = parse_trusted_proxy(entry)
        if network is not None and network.prefixlen == 0:
            path: ConfigPath = ("security", "trusted-proxies", index)
            message = "every client counts as a proxy, and can choose the address and the scheme it seems to come with"
            add_problem(path, message, "list the addresses of the proxies", "warning")
    return TrustedProxies(entries)


def build_forward_auth(
    config: GatewayConfig,
    resources: Iterable[str],
    identities: Mapping[str, Callable[[GatewayContext], Headers]],
    add_problem: AddProblem,
) -> ForwardAuthSettings | None:
    """Return where other proxies ask for decisions; None if they cannot.

    Args:
        config: the whole configuration.
        resources: paths at which the gateway serves metadata.
        identities: by the name of a service, what writes its identity headers.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    forward_auth = config.forward_auth
    if forward_auth is None:
        return None
    if not config.security.trusted_proxies:
        hint = "add security/trusted-proxies with the address of the proxy, such as 127.0.0.1"
        add_problem(_PATH, "forward-auth needs trusted-proxies: only listed proxies may ask", hint)
    _check_path(config, forward_auth, resources, add_problem)
    _check_names(config, add_problem)
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
            message = f"duplicate path: service {service.name or service.accept[0]!r} accepts the same requests"
            add_problem(path, message, "choose a path that nothing else has, such as /gateway-check")


def _check_names(config: GatewayConfig, add_problem: AddProblem) -> None:
    """Report services of one name: a service's identity headers are found by its name."""
    names: set[str] = set()
    for index, service in enumerate(config.services or ()):
        name = service.name or next(iter(service.accept), "")
        if name and name in names:
            add_problem(("services", index), f"duplicate service name {name!r}", "give each service a name of its own")
        names.add(name)
