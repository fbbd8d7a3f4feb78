"""Names in configurations to plugins: what comes with the gateway, entry points of installed packages, dotted paths.

Nothing is imported before a configuration asks for it, so that a module's extra is only needed where it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any

from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.plugins.login_module import LoginModule
from asgi_gateway.plugins.scheme import ChallengeScheme
from asgi_gateway.plugins.state_store import StateStore

__all__ = ["login_module", "login_module_names", "scheme", "scheme_names", "state_store", "state_store_names"]


@dataclass(frozen=True, slots=True)
class PluginKind:
    """One kind of plugin: what it is called, its base class, its entry points, and what comes with the gateway."""

    what: str
    base: type
    group: str
    built_in: Mapping[str, str]


_MODULES = PluginKind(
    "login module",
    LoginModule,
    "asgi_gateway.login_modules",
    {
        "file": "asgi_gateway.modules.file:FileLoginModule",
        "keystore": "asgi_gateway.modules.keystore:KeyStoreLoginModule",
        "kerberos5": "asgi_gateway.modules.kerberos.kerberos5:Kerberos5LoginModule",
        "gss": "asgi_gateway.modules.kerberos.gss:GssLoginModule",
        "grant": "asgi_gateway.modules.grant:GrantLoginModule",
        "jndi": "asgi_gateway.modules.ldap.jndi:JndiLoginModule",
        "ldap": "asgi_gateway.modules.ldap:LdapLoginModule",
        "timeout": "asgi_gateway.modules.timeout:TimeoutLoginModule",
        "token": "asgi_gateway.modules.token:TokenLoginModule",
        "jwt": "asgi_gateway.modules.jwt:JwtLoginModule",
    },
)
_SCHEMES = PluginKind(
    "challenge scheme",
    ChallengeScheme,
    "asgi_gateway.challenge_schemes",
    {
        "Basic": "asgi_gateway.schemes:BasicScheme",
        "Application Basic": "asgi_gateway.schemes:ApplicationBasicScheme",
        "Bearer": "asgi_gateway.schemes:BearerScheme",
        "Application Bearer": "asgi_gateway.schemes:ApplicationBearerScheme",
        "Negotiate": "asgi_gateway.schemes:NegotiateScheme",
        "Application Negotiate": "asgi_gateway.schemes:ApplicationNegotiateScheme",
        "Application Token": "asgi_gateway.schemes:ApplicationTokenScheme",
    },
)
_STORES = PluginKind(
    "state store",
    StateStore,
    "asgi_gateway.state_stores",
    {
        "memory": "asgi_gateway.stores.memory:MemoryState",
        "sqlite": "asgi_gateway.stores.sqlite:SqliteState",
        "redis": "asgi_gateway.stores.redis:RedisState",
    },
)


def login_module(name: str) -> type[LoginModule]:
    """The class of a login module.

    Args:
        name: such as ``file``, a name of an installed package's entry point, or ``class:package.module.Class``.

    Raises:
        ConfigError: there is none of that name, or it cannot be imported.
    """
    dotted = name.removeprefix("class:").strip() if name.startswith("class:") else None
    found: type[LoginModule] = _find(_MODULES, name, dotted)
    return found


def scheme(name: str) -> ChallengeScheme:
    """A challenge scheme by its configured name, such as ``Application Basic``; case and spacing do not matter.

    Raises:
        ConfigError: there is none of that name, or it cannot be made.
    """
    folded = " ".join(name.split()).lower()
    canonical = next((known for known in scheme_names() if known.lower() == folded), name)
    found: type[ChallengeScheme] = _find(_SCHEMES, canonical, None)
    try:
        return found()
    except Exception as error:
        raise _error(f"challenge scheme {name}: {type(error).__name__}: {error}") from error


def state_store(name: str) -> type[StateStore]:
    """The class of an ExpiringState store.

    Raises:
        ConfigError: there is none of that name.
    """
    found: type[StateStore] = _find(_STORES, name, None)
    return found


def login_module_names() -> list[str]:
    """Every name that ``login_module`` knows."""
    return _names(_MODULES)


def state_store_names() -> list[str]:
    """Every name that ``state_store`` knows."""
    return _names(_STORES)


def scheme_names() -> list[str]:
    """Every name that ``scheme`` knows."""
    return _names(_SCHEMES)


def _names(kind: PluginKind) -> list[str]:
    return list(dict.fromkeys((*kind.built_in, *(point.name for point in entry_points(group=kind.group)))))


def _find(kind: PluginKind, name: str, dotted: str | None) -> Any:
    if dotted is not None:
        target = ":".join(dotted.rpartition(".")[::2])
    else:
        target = _target(kind, name)
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise _error(f"{dotted!r} is no class", "write class:package.module.Class")
    try:
        found = attrgetter(attribute)(importlib.import_module(module_name))
    except ModuleNotFoundError as error:
        raise _error(f"{kind.what} {name}: no Python module named {error.name}", "is it installed?") from None
    except (ImportError, AttributeError) as error:
        raise _error(f"{kind.what} {name}: {error}") from None
    except Exception as error:  # a plugin's import may do anything
        raise _error(f"{kind.what} {name}: importing it raised {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, kind.base)):
        raise _error(f"{target} is not a {kind.base.__name__}")
    return found


def _target(kind: PluginKind, name: str) -> str:
    points = [point for point in entry_points(group=kind.group) if point.name == name]
    if name in kind.built_in:
        if points:
            raise _error(
                f"{_distributions(points)} hides the {kind.what} {name} that comes with the gateway",
                "uninstall it, or have it use another name",
            )
        return kind.built_in[name]
    if len(points) > 1:
        raise _error(f"several packages bring a {kind.what} {name}: {_distributions(points)}")
    if points:
        return f"{points[0].module}:{points[0].attr}"
    raise _error(f"there is no {kind.what} {name!r}")


def _distributions(points: Iterable[EntryPoint]) -> str:
    return ", ".join(sorted(point.dist.name if point.dist is not None else point.value for point in points))


def _error(message: str, hint: str = "") -> ConfigError:
    return ConfigError(Problem(message, hint=hint))
