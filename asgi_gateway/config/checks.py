"""Check what must hold between the parts of a configuration, as far as no plugin needs to be asked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asgi_gateway.config.accept_checks import AddProblem, check_accepts, service_label
from asgi_gateway.config.model import (
    SERVICE_TYPES,
    UNSERVED_TYPES,
    Authentication,
    Constraint,
    CrossSiteConstraint,
    RealmConfig,
    ServiceConfig,
    known_type,
)
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.config.validate import ValidParts
from asgi_gateway.proxy.connect import parse_connect
from asgi_gateway.services.origins import check_origin

__all__ = ["check"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAMES = {
    "http-header": "header",
    "http-query-parameter": "parameter",
    "http-cookie": "cookie",
    "websocket-subprotocol": "subprotocol",
}


def check(parts: ValidParts, add_problem: AddProblem, *, by_port: bool = False) -> None:
    """Check the parts that are valid by themselves.

    Args:
        parts: the valid parts.
        add_problem: called for each problem.
        by_port: whether services are told apart by the local port on which a request comes in.
    """
    _realms(parts, add_problem)
    if parts.has_services:
        _services(parts, add_problem)
        check_accepts(parts.services, add_problem, by_port=by_port)
    elif len(parts.names) != 1 and parts.config is not None:
        message = f"no services and {len(parts.names)} realms" if parts.names else "neither services nor realms"
        add_problem((), message, "without services, exactly one realm protects everything")
    elif 0 in parts.realms:
        _usable(parts.realms[0], 0, "it protects everything", add_problem)


def _realms(parts: ValidParts, add_problem: AddProblem) -> None:
    first: dict[str, int] = {}
    for index, name in parts.names.items():
        if first.setdefault(name, index) != index:
            add_problem(("security", "realms", index, "name"), f"duplicate realm name {name!r}", "rename one of them")
    for index, realm in parts.realms.items():
        if realm.authentication is not None:
            _authentication(realm.authentication, ("security", "realms", index, "authentication"), add_problem)


def _authentication(authentication: Authentication, path: ConfigPath, add_problem: AddProblem) -> None:
    for field, noun in _NAMES.items():
        names: tuple[str, ...] = getattr(authentication, field.replace("-", "_"))
        folded = [name.lower() if field == "http-header" else name for name in names]
        for index, name in enumerate(folded):
            here: ConfigPath = (*path, field, index)
            if field != "http-query-parameter" and not _TOKEN.fullmatch(name):
                add_problem(here, f"invalid {noun} name", "write letters, digits, dash and underscore")
            elif field == "http-header" and name == "authorization":
                add_problem(here, "the Authorization header is always read", "remove it")
            elif field == "websocket-subprotocol" and "." in name:
                add_problem(here, "invalid subprotocol name: it has a dot", "write bearer for bearer.<token>")
            elif name in folded[:index]:
                add_problem(here, "duplicate value", "remove one")


def _usable(realm: RealmConfig, index: int, use: str, add_problem: AddProblem) -> None:
    path: ConfigPath = ("security", "realms", index)
    if realm.authentication is None:
        add_problem(path, f"missing authentication: {use}", "add authentication with login-modules")
    elif not realm.authentication.login_modules:
        add_problem((*path, "authentication"), f"missing login-modules: {use}", "add login-modules")


# ------------------------------------------------------------------------------------------------------------ services


def _services(parts: ValidParts, add_problem: AddProblem) -> None:
    if parts.config is not None and not parts.services:
        add_problem(("services",), "empty services: every request would be refused", "add a service")
    elif parts.config is not None and not any(_paths(service) for service in parts.services.values()):
        message = "no service accepts HTTP or WebSocket requests: every request is refused"
        add_problem(("services",), message, severity="warning")
    used = _realm_names(parts, add_problem)
    named: dict[str, int] = {}
    for index, service in parts.services.items():
        path: ConfigPath = ("services", index)
        if service.name and named.setdefault(service.name, index) != index:
            add_problem((*path, "name"), f"duplicate service name {service.name!r}", "rename one of them")
        _not_served(service, path, add_problem)
        _no_effect(service, path, add_problem)
        _constraints(service, path, add_problem)
        _connects(service, path, add_problem)
    for index, name in parts.names.items():
        if name not in used:
            add_problem(("security", "realms", index), f"unused realm {name!r}", severity="warning")


def _paths(service: ServiceConfig) -> bool:
    """Return whether a service has an accept URL with a path."""
    return any(accept.path for accept in service.accepts)


def _not_served(service: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    """Report the parts of a service that are not served. No hint may turn a refused service into a public one."""
    if service.type and not known_type(service.type):
        hint = did_you_mean(service.type, [*SERVICE_TYPES, *UNSERVED_TYPES])
        add_problem((*path, "type"), f"unknown service type {service.type[:80]!r}", hint)
    elif not service.accept:
        add_problem(path, "ignored: the service has no accept, so it has no path", severity="ignored")
    elif service.refusal and _paths(service):
        where = (*path, service.refusal.removeprefix("service ").partition(" ")[0])
        hint = "remove the service, or write a type that is served"
        add_problem(where, f"not served: every request is refused (403): {service.refusal}", hint, "warning")
    for position, accept in enumerate(service.accepts):
        here: ConfigPath = (*path, "accept", position)
        if accept.unsupported and not accept.path:
            message = f"ignored: the scheme {accept.unsupported} is not supported by asgi_gateway"
            add_problem(here, message, severity="ignored")
        elif not service.refusal and not accept.kinds:
            takes = "WebSockets" if "websocket" in SERVICE_TYPES[service.kind] else "HTTP requests"
            scheme = "ws" if takes == "WebSockets" else "http"
            message = f"a service of type {service.kind} takes {takes} only"
            add_problem(here, message, f"write a {scheme} or {scheme}s URL, or another type")


def _no_effect(service: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    """Report elements that a service of this type does not use."""
    if service.mime_mapping and service.kind != "directory":
        message = "ignored: only a service of type directory has media types of its own"
        add_problem((*path, "mime-mapping"), message, severity="ignored")


def _connects(service: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    """Report connect URLs that lead nowhere, of a service that is served, and what its type does with them."""
    if service.refusal:
        return
    needs = service.kind in ("proxy", "http.proxy")
    if service.type and needs and not service.connect:
        add_problem((*path, "type"), f"missing connect: a service of type {service.type} needs one", "add connect")
    for position, text in enumerate(service.connect):
        try:
            parse_connect(text)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            add_problem((*path, "connect", position), message, hint)
        else:
            if not needs:
                add_problem(
                    (*path, "connect", position), f"a service of type {service.type} has no connect", "remove it"
                )


def _realm_names(parts: ValidParts, add_problem: AddProblem) -> set[str]:
    """Check that every service's realms exist, once, and can protect something; return the names that are used."""
    indices = {realm.name: index for index, realm in parts.realms.items()}
    known = set(parts.names.values())
    used: set[str] = set()
    seen: set[tuple[ConfigPath, str]] = set()
    for path, name, user in _uses_of_realms(parts):
        if name and name not in known:
            add_problem(path, f"unknown realm {name!r}", did_you_mean(name, known))
        elif (path[:-1], name) in seen:
            add_problem(path, "duplicate value", "remove one")
        elif name not in used and name in indices:
            _usable(parts.realms[indices[name]], indices[name], f"{user} uses this realm", add_problem)
        seen.add((path[:-1], name))
        used.add(name)
    return used


def _uses_of_realms(parts: ValidParts) -> Iterator[tuple[ConfigPath, str, str]]:
    """Yield where a realm is named, its name, and who uses it: services, then their tickets."""
    for index, names in parts.realm_names.items():
        label = service_label(parts.services.get(index), index)
        for position, name in enumerate(names):
            yield ("services", index, "realm-name", position), name, label
    for index, service in parts.services.items():
        label = f"ticket of {service_label(service, index)}"
        for position, name in enumerate(service.ticket.realm_name if service.ticket is not None else ()):
            yield ("services", index, "ticket", "realm-name", position), name, label


def _constraints(service: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    _authorization(service, path, add_problem)
    for index, cross_site in enumerate(service.cross_site_constraint):
        _cross_site(service, cross_site, (*path, "cross-site-constraint", index), add_problem)
    if service.match_host:
        _hosts(service, path, add_problem)


def _authorization(service: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    constraint = service.authorization_constraint
    here: ConfigPath = (*path, "authorization-constraint")
    if constraint is not None and constraint.model_fields_set and not _applies(constraint):
        hint = "name a require-role, or write require-valid-user"
        add_problem(here, "empty constraint: it requires nothing", hint)
    if constraint is not None and not service.realm_name:
        add_problem(here, "missing realm-name: a constraint needs a realm", "add a realm-name")
    for index, role in enumerate(constraint.require_role if constraint is not None else ()):
        if "=" not in role and re.search(r"[,;|]", role):  # the name of a group in a directory has commas
            message = f"one role with the name {role!r}, which looks like a list"
            add_problem((*here, "require-role", index), message, "write one require-role for each role", "warning")


def _cross_site(
    service: ServiceConfig, constraint: CrossSiteConstraint, path: ConfigPath, add_problem: AddProblem
) -> None:
    for origin in constraint.allow_origin.replace(",", " ").split():
        here: ConfigPath = (*path, "allow-origin")
        if origin.lower() == "null":
            add_problem(here, "the origin null stands for any sandboxed or local page", "name an origin, or *")
        elif (hint := check_origin(origin)) is not None:
            add_problem(here, "no browser sends such an origin", hint)
    for name in ("allow-methods", "allow-headers", "maximum-age"):
        if service.cors == "application" and getattr(constraint, name.replace("-", "_")) is not None:
            add_problem((*path, name), "has no effect with cors: application", f"remove {name}")


def _applies(constraint: Constraint) -> bool:
    return bool(constraint.require_role) or constraint.require_valid_user


def _hosts(service: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    if not any(accept.host for accept in service.accepts):
        hint = "write ws://host:port/path, or remove it"
        add_problem((*path, "match-host"), "match-host needs an accept URL with a host", hint)
    for position, accept in enumerate(service.accepts):
        if accept.host and "*" in accept.host:
            message = "match-host compares the whole host, so wildcards are not supported"
            add_problem((*path, "accept", position), message, "write one accept for each host")
