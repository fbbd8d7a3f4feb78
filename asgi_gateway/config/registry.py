"""Find plugins by their configured names: built-in ones, entry points of installed packages, and class paths.

Nothing is imported before a configuration asks for it, so that a module's extra is only needed where it is used.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any

from asgi_gateway.config.kaazing_compat import module_hint
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.plugins.login_module import LoginModule
from asgi_gateway.plugins.password_login import PasswordLoginModule
from asgi_gateway.plugins.scheme import ChallengeScheme
from asgi_gateway.plugins.state_store import StateStore

__all__ = [
    "check_attributes",
    "login_module",
    "login_module_names",
    "scheme",
    "scheme_names",
    "state_store",
    "state_store_names",
]


@dataclass(frozen=True, slots=True)
class PluginKind:
    """A frozen kind of plugin: its noun, base class, entry point group, and the built-in ones."""

    noun: str
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


_COROUTINES = ("open", "close", "login", "commit", "abort", "logout", "check", "authenticate")


def login_module(name: str) -> type[LoginModule]:
    """Return the class of a login module.

    Args:
        name: such as ``file``, a name of an installed package's entry point, or ``class:package.module.Class``.

    Raises:
        ConfigError: the name is unknown, or the class cannot be imported or does not work as a login module.
    """
    dotted = name.removeprefix("class:").strip() if name.startswith("class:") else None
    found: type[LoginModule] = _find(_MODULES, name, dotted)
    _check_methods(name, found)
    return found


def scheme(name: str) -> ChallengeScheme:
    """Make a challenge scheme by its configured name, such as ``Application Basic``; case and spacing do not matter.

    Raises:
        ConfigError: the name is unknown, or the scheme cannot be made.
    """
    folded = " ".join(name.split()).lower()
    canonical = next((known for known in scheme_names() if known.lower() == folded), name)
    found: type[ChallengeScheme] = _find(_SCHEMES, canonical, None)
    try:
        made = found()
    except Exception as error:
        raise _error(f"challenge scheme {name}: {type(error).__name__}: {error}") from error
    check_attributes(made, f"challenge scheme {name}")
    return made


def check_attributes(plugin: LoginModule | ChallengeScheme, name: str) -> None:
    """Refuse a plugin that sets an attribute of an earlier release: it would silently lose what the attribute did.

    Args:
        plugin: the login module or the challenge scheme.
        name: what messages call it.

    Raises:
        ConfigError: it sets such an attribute; the hint names the new one.
    """
    for old, new in _RENAMED.items():
        if hasattr(plugin, old):
            hint = f"rename it to {new}" if new else "remove it: it has no effect any more"
            raise _error(f"{name}: unknown attribute {old}", hint)


def state_store(name: str) -> type[StateStore]:
    """Return the class of an ExpiringState store.

    Raises:
        ConfigError: the name is unknown.
    """
    found: type[StateStore] = _find(_STORES, name, None)
    return found


def login_module_names() -> list[str]:
    """Return every name of a login module."""
    return _names(_MODULES)


def state_store_names() -> list[str]:
    """Return every name of a state store."""
    return _names(_STORES)


def scheme_names() -> list[str]:
    """Return every name of a challenge scheme."""
    return _names(_SCHEMES)


_RENAMED = {
    "needs_user": "requires_subject",
    "forbids": "rejects_with_403",
    "waits": "",
    "ends_within": "",
    "strength": "",
}
"""Attributes of plugins in earlier releases, and their names now; empty for those that are gone."""


def _names(kind: PluginKind) -> list[str]:
    return list(dict.fromkeys((*kind.built_in, *(point.name for point in entry_points(group=kind.group)))))


def _find(kind: PluginKind, name: str, dotted: str | None) -> Any:
    if dotted is not None:
        target = ":".join(dotted.rpartition(".")[::2])
    else:
        target = _target(kind, name)
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise _error(f"invalid class path {dotted!r}", "write class:package.module.Class")
    try:
        found = attrgetter(attribute)(importlib.import_module(module_name))
    except ModuleNotFoundError as error:
        raise _error(f"{kind.noun} {name}: no Python module named {error.name}", _import_hint(name)) from None
    except (ImportError, AttributeError) as error:
        raise _error(f"{kind.noun} {name}: {error}") from None
    except Exception as error:  # a plugin's import may do anything
        raise _error(f"{kind.noun} {name}: importing it raised {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, kind.base)):
        raise _error(f"{target} is not a {kind.base.__name__}")
    return found


def _target(kind: PluginKind, name: str) -> str:
    points = [point for point in entry_points(group=kind.group) if point.name == name]
    if name in kind.built_in:
        if points:
            raise _error(
                f"name conflict: {_distributions(points)} redefines the built-in {kind.noun} {name}",
                "uninstall it, or use another name in it",
            )
        return kind.built_in[name]
    if len(points) > 1:
        raise _error(f"name conflict: several packages define a {kind.noun} {name}: {_distributions(points)}")
    if points:
        return f"{points[0].module}:{points[0].attr}"
    hint = module_hint(name) if kind is _MODULES else ""
    if kind is _MODULES and not hint and "." in name.strip("."):
        hint = f"write class:{name} for a class"
    raise _error(f"unknown {kind.noun} {name!r}", hint)


def _import_hint(name: str) -> str:
    return module_hint(name) or "install it, or correct the name"


def _check_methods(name: str, found: type[LoginModule]) -> None:
    """Check that a login module can log in: with ``async`` methods, of which the essential one is its own.

    Raises:
        ConfigError: a method is not a coroutine function, or neither ``login`` nor ``authenticate`` is defined.
    """
    for method in _COROUTINES:
        own = getattr(found, method, None)
        if own is not None and not inspect.iscoroutinefunction(inspect.unwrap(own)):
            raise _error(f"login module {name}: {method} is not a coroutine function", f"write async def {method}")
    if found.login is LoginModule.login:
        raise _error(f"login module {name} has no login method", "define async def login(self, attempt)")
    if found.login is PasswordLoginModule.login:
        password_module: type[PasswordLoginModule] = found  # type: ignore[assignment]
        if password_module.authenticate is PasswordLoginModule.authenticate:
            hint = "define async def authenticate(self, attempt, username, password)"
            raise _error(f"login module {name} has no authenticate method", hint)


def _distributions(points: Iterable[EntryPoint]) -> str:
    return ", ".join(sorted(point.dist.name if point.dist is not None else point.value for point in points))


def _error(message: str, hint: str = "") -> ConfigError:
    return ConfigError(Problem(message, hint=hint))
