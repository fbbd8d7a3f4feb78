"""A security gateway in front of any ASGI application: realms, challenge schemes and JAAS login chains.

from asgi_gateway import GatewayMiddleware

app = GatewayMiddleware(app, "gateway.yaml")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asgi_gateway.config import load_config
    from asgi_gateway.errors import (
        AllModulesIgnored,
        ConfigError,
        GatewayError,
        HeaderError,
        LoginError,
        LoginFailed,
        LoginUnavailable,
        Problem,
        Replayed,
        StateError,
        StateFull,
        StateUnavailable,
    )
    from asgi_gateway.gateway import Gateway
    from asgi_gateway.identity import GatewayContext, GatewayCredentials, GatewayUser
    from asgi_gateway.interfaces import (
        ChallengeScheme,
        ControlFlag,
        ExpiringState,
        LoginAttempt,
        LoginModule,
        ModuleContext,
        ModuleOptions,
        UserNamePassword,
    )
    from asgi_gateway.middleware import GatewayMiddleware
    from asgi_gateway.model import (
        AuthenticationToken,
        Grant,
        GroupPrincipal,
        Principal,
        RolePrincipal,
        Subject,
        UserPrincipal,
    )
    from asgi_gateway.password_login import PasswordLoginModule, PasswordOptions

__all__ = [
    "AllModulesIgnored",
    "AuthenticationToken",
    "ChallengeScheme",
    "ConfigError",
    "ControlFlag",
    "ExpiringState",
    "Gateway",
    "GatewayContext",
    "GatewayCredentials",
    "GatewayError",
    "GatewayMiddleware",
    "GatewayUser",
    "Grant",
    "GroupPrincipal",
    "HeaderError",
    "LoginAttempt",
    "LoginError",
    "LoginFailed",
    "LoginModule",
    "LoginUnavailable",
    "ModuleContext",
    "ModuleOptions",
    "PasswordLoginModule",
    "PasswordOptions",
    "Principal",
    "Problem",
    "Replayed",
    "RolePrincipal",
    "StateError",
    "StateFull",
    "StateUnavailable",
    "Subject",
    "UserNamePassword",
    "UserPrincipal",
    "load_config",
]

_HOMES = {
    "AllModulesIgnored": "asgi_gateway.errors",
    "AuthenticationToken": "asgi_gateway.model",
    "ChallengeScheme": "asgi_gateway.interfaces",
    "ConfigError": "asgi_gateway.errors",
    "ControlFlag": "asgi_gateway.interfaces",
    "ExpiringState": "asgi_gateway.interfaces",
    "Gateway": "asgi_gateway.gateway",
    "GatewayContext": "asgi_gateway.identity",
    "GatewayCredentials": "asgi_gateway.identity",
    "GatewayError": "asgi_gateway.errors",
    "GatewayMiddleware": "asgi_gateway.middleware",
    "GatewayUser": "asgi_gateway.identity",
    "Grant": "asgi_gateway.model",
    "GroupPrincipal": "asgi_gateway.model",
    "HeaderError": "asgi_gateway.errors",
    "LoginAttempt": "asgi_gateway.interfaces",
    "LoginError": "asgi_gateway.errors",
    "LoginFailed": "asgi_gateway.errors",
    "LoginModule": "asgi_gateway.interfaces",
    "LoginUnavailable": "asgi_gateway.errors",
    "ModuleContext": "asgi_gateway.interfaces",
    "ModuleOptions": "asgi_gateway.interfaces",
    "PasswordLoginModule": "asgi_gateway.password_login",
    "PasswordOptions": "asgi_gateway.password_login",
    "Principal": "asgi_gateway.model",
    "Problem": "asgi_gateway.errors",
    "Replayed": "asgi_gateway.errors",
    "RolePrincipal": "asgi_gateway.model",
    "StateError": "asgi_gateway.errors",
    "StateFull": "asgi_gateway.errors",
    "StateUnavailable": "asgi_gateway.errors",
    "Subject": "asgi_gateway.model",
    "UserNamePassword": "asgi_gateway.interfaces",
    "UserPrincipal": "asgi_gateway.model",
    "load_config": "asgi_gateway.config",
}
"""Where each public name lives. Imported when it is asked for, so that the client does not load the server."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asgi_gateway' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
