"""A security gateway in front of any ASGI application: realms, challenge schemes and JAAS login chains.

from asgi_gateway import GatewayMiddleware

app = GatewayMiddleware(app, "gateway.yaml")
"""

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
    PasswordLoginModule,
    PasswordOptions,
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
    "RolePrincipal",
    "StateError",
    "StateFull",
    "StateUnavailable",
    "Subject",
    "UserNamePassword",
    "UserPrincipal",
    "load_config",
]
