"""What must hold between the parts of a configuration, as far as no plugin needs to be asked."""

from __future__ import annotations

import re
from collections import Counter
from typing import Protocol

from asgi_gateway.config.model import Authentication, Constraint, RealmConfig, ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.config.validate import ValidParts
from asgi_gateway.services.origins import check_origin

__all__ = ["check"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RECYCLABLE = ("basic", "negotiate")


class AddProblem(Protocol):
    """Takes a problem."""

    def __call__(self, path: ConfigPath, message: str, hint: str = "", severity: str = "error") -> None: ...


def check(parts: ValidParts, add_problem: AddProblem) -> None:
    """Check what is valid by itself.

    Args:
        parts: the valid parts.
        add_problem: is called for each problem.
    """
    _realms(parts, add_problem)
    if parts.has_services:
        _services(parts, add_problem)
    elif len(parts.names) != 1 and parts.config is not None:
        message = (
            "there are no services and several realms" if parts.names else "there is neither a service nor a realm"
        )
        add_problem((), message, "without services, exactly one realm protects everything")
    elif 0 in parts.realms:
        _usable(parts.realms[0], 0, "everything", add_problem)


def _realms(parts: ValidParts, add_problem: AddProblem) -> None:
    first: dict[str, int] = {}
    for index, name in parts.names.items():
        if first.setdefault(name, index) != index:
            here: ConfigPath = ("security", "realms", index, "name")
            add_problem(here, f"realm {first[name]} has the name {name!r} too", "rename one of them")
    for index, realm in parts.realms.items():
        if realm.authentication is not None:
            _authentication(realm.authentication, ("security", "realms", index, "authentication"), add_problem)


def _authentication(authentication: Authentication, path: ConfigPath, add_problem: AddProblem) -> None:
    for scheme in authentication.http_challenge_scheme:
        family = scheme.lower().removeprefix("application ")
        if authentication.authorization_mode == "recycle" and family not in _RECYCLABLE:
            message = f"a session cannot be recycled with the scheme {scheme!r}"
            add_problem((*path, "authorization-mode"), message, "recycle goes with Basic and Negotiate; use challenge")
    for field in ("http-header", "http-query-parameter", "http-cookie", "websocket-subprotocol"):
        names: tuple[str, ...] = getattr(authentication, field.replace("-", "_"))
        folded = [name.lower() if field == "http-header" else name for name in names]
        for index, name in enumerate(folded):
            here: ConfigPath = (*path, field, index)
            if field != "http-query-parameter" and not _TOKEN.fullmatch(name):
                add_problem(here, "no request can have such a name", "letters, digits, dash and underscore")
            elif field == "http-header" and name == "authorization":
                add_problem(here, "the Authorization header is always read", "remove it")
            elif field == "websocket-subprotocol" and "." in name:
                add_problem(here, "the first dot ends the name", "write bearer for bearer.<token>")
            elif name in folded[:index]:
                add_problem(here, "stands here a second time", "keep one")


def _usable(realm: RealmConfig, index: int, user: str, add_problem: AddProblem) -> None:
    path: ConfigPath = ("security", "realms", index)
    if realm.authentication is None:
        add_problem(path, f"protects {user} and has no authentication", "add authentication with login-modules")
    elif not realm.authentication.login_modules:
        add_problem((*path, "authentication"), f"protects {user} and has no login module", "add login-modules")


def _services(parts: ValidParts, add_problem: AddProblem) -> None:
    if parts.config is not None and not parts.services:
        add_problem(("services",), "there is no service, so that everything would be refused", "add one")
    used = _realm_names(parts, add_problem)
    named: Counter[str] = Counter()
    for index, service in parts.services.items():
        path: ConfigPath = ("services", index)
        named[service.name] += bool(service.name)
        if named[service.name] > 1:
            add_problem((*path, "name"), f"another service is called {service.name!r} too", "rename one of them")
        _constraints(service, path, add_problem)
        if service.max_authentication_attempts:
            message = "the gateway connects to no back ends, whose challenges it could answer"
            hint = "an application that does gives it to its client, as max_authentication_attempts"
            add_problem((*path, "max-authentication-attempts"), message, hint, "ignored")
    for index, name in parts.names.items():
        if name not in used:
            add_problem(("security", "realms", index), f"no service uses the realm {name!r}", severity="warning")
    _accepts(parts.services, add_problem)


def _realm_names(parts: ValidParts, add_problem: AddProblem) -> set[str]:
    """Every service's realms must be there, once, and able to protect something; gives the names that are used."""
    indices = {realm.name: index for index, realm in parts.realms.items()}
    used: set[str] = set()
    known = set(parts.names.values())
    for service, names in parts.realm_names.items():
        for position, name in enumerate(names):
            here: ConfigPath = ("services", service, "realm-name", position)
            if name and name not in known:
                add_problem(here, f"there is no realm {name!r}", did_you_mean(name, known))
            elif name in names[:position]:
                add_problem(here, "stands here a second time", "keep one")
            elif name not in used and name in indices:
                _usable(parts.realms[indices[name]], indices[name], f"service {service}", add_problem)
            used.add(name)
    for service, config in parts.services.items():
        for position, name in enumerate(config.ticket.realm_name if config.ticket is not None else ()):
            here = ("services", service, "ticket", "realm-name", position)
            if name not in known:
                add_problem(here, f"there is no realm {name!r}", did_you_mean(name, known))
            elif name not in used and name in indices:
                _usable(parts.realms[indices[name]], indices[name], f"the tickets of service {service}", add_problem)
            used.add(name)
    return used


def _constraints(service: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    constraint = service.authorization_constraint
    here: ConfigPath = (*path, "authorization-constraint")
    if constraint is not None and constraint.model_fields_set and not _applies(constraint):
        add_problem(here, "this constraint can never apply", "name a require-role, or say require-valid-user")
    if constraint is not None and not service.realm_name:
        add_problem(here, "a constraint can never apply to a service without a realm", "add a realm-name")
    for index, cross_site in enumerate(service.cross_site_constraint):
        here = (*path, "cross-site-constraint", index, "allow-origin")
        for origin in re.split(r"[\s,]+", cross_site.allow_origin.strip()):
            if origin.lower() == "null":
                add_problem(here, "the origin null stands for any sandboxed or local page", "name an origin, or *")
            elif (hint := check_origin(origin)) is not None:
                add_problem(here, "no browser sends such an origin", hint)
        for name in ("allow-methods", "allow-headers", "maximum-age"):
            if service.cors == "application" and getattr(cross_site, name.replace("-", "_")) is not None:
                add_problem((*here[:-1], name), "has no effect with cors: application", f"remove {name}")
    if service.match_host and not any(accept.host for accept in service.accepts):
        add_problem(
            (*path, "match-host"), "no accept URL has a host to match", "write ws://host:port/path, or remove it"
        )


def _applies(constraint: Constraint) -> bool:
    return bool(constraint.require_role) or constraint.require_valid_user


def _accepts(services: dict[int, ServiceConfig], add_problem: AddProblem) -> None:
    """Two services that take the same requests: the second could never match."""
    taken: dict[tuple[object, ...], tuple[int, object]] = {}
    for index, service in services.items():
        for position, accept in enumerate(service.accepts):
            host = (accept.host, accept.port)
            for kind in sorted(accept.kinds):
                key = (kind, accept.path, host if service.match_host else None)
                other, other_host = taken.setdefault(key, (index, host))
                if other == index:
                    continue
                here: ConfigPath = ("services", index, "accept", position)
                if other_host != host and key[2] is None:
                    message = f"differs from service {other} by its host alone, and hosts do not count"
                    add_problem(here, message, "set match-host: true on both, or give them different paths")
                else:
                    add_problem(
                        here, f"service {other} takes the same requests, so this one never would", "change the path"
                    )
                break
