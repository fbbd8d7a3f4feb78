"""A security gateway in front of any ASGI application: realms, challenge schemes and JAAS login chains.

For FastAPI and Starlette::

    app = FastAPI()
    app.add_middleware(GatewayMiddleware, config="gateway.yaml")

For any other ASGI application::

    app = GatewayMiddleware(application, "gateway.yaml")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asgi_gateway.config import load_config as load_config
    from asgi_gateway.errors import AccountProblem as AccountProblem
    from asgi_gateway.errors import AllModulesIgnored as AllModulesIgnored
    from asgi_gateway.errors import ConfigError as ConfigError
    from asgi_gateway.errors import GatewayError as GatewayError
    from asgi_gateway.errors import HeaderError as HeaderError
    from asgi_gateway.errors import LoginError as LoginError
    from asgi_gateway.errors import LoginFailed as LoginFailed
    from asgi_gateway.errors import LoginUnavailable as LoginUnavailable
    from asgi_gateway.errors import Problem as Problem
    from asgi_gateway.errors import Replayed as Replayed
    from asgi_gateway.errors import StateError as StateError
    from asgi_gateway.errors import StateFull as StateFull
    from asgi_gateway.errors import StateUnavailable as StateUnavailable
    from asgi_gateway.gateway import Gateway as Gateway
    from asgi_gateway.http.redaction import MaskCredentials as MaskCredentials
    from asgi_gateway.keystores import KeyStore as KeyStore
    from asgi_gateway.keystores import load_keystore as load_keystore
    from asgi_gateway.keystores import uvicorn_tls as uvicorn_tls
    from asgi_gateway.middleware import GatewayMiddleware as GatewayMiddleware
    from asgi_gateway.model import AuthenticationToken as AuthenticationToken
    from asgi_gateway.model import Grant as Grant
    from asgi_gateway.model import GroupPrincipal as GroupPrincipal
    from asgi_gateway.model import Principal as Principal
    from asgi_gateway.model import RolePrincipal as RolePrincipal
    from asgi_gateway.model import Subject as Subject
    from asgi_gateway.model import UserPrincipal as UserPrincipal
    from asgi_gateway.plugins import ChallengeScheme as ChallengeScheme
    from asgi_gateway.plugins import ControlFlag as ControlFlag
    from asgi_gateway.plugins import ExpiringState as ExpiringState
    from asgi_gateway.plugins import LoginAttempt as LoginAttempt
    from asgi_gateway.plugins import LoginModule as LoginModule
    from asgi_gateway.plugins import ModuleContext as ModuleContext
    from asgi_gateway.plugins import ModuleOptions as ModuleOptions
    from asgi_gateway.plugins import PasswordLoginModule as PasswordLoginModule
    from asgi_gateway.plugins import PasswordOptions as PasswordOptions
    from asgi_gateway.plugins import UserNamePassword as UserNamePassword
    from asgi_gateway.services.identity import GatewayContext as GatewayContext
    from asgi_gateway.services.identity import GatewayCredentials as GatewayCredentials
    from asgi_gateway.services.identity import GatewayUser as GatewayUser
    from asgi_gateway.services.remote_user import RemoteUser as RemoteUser
    from asgi_gateway.sessions.tokens import Token as Token
    from asgi_gateway.sessions.tokens import TokenIssuer as TokenIssuer

_NAMES = {
    "asgi_gateway.config": "load_config",
    "asgi_gateway.errors": "AccountProblem AllModulesIgnored ConfigError GatewayError HeaderError LoginError "
    "LoginFailed LoginUnavailable Problem Replayed StateError StateFull StateUnavailable",
    "asgi_gateway.gateway": "Gateway",
    "asgi_gateway.http.redaction": "MaskCredentials",
    "asgi_gateway.keystores": "KeyStore load_keystore uvicorn_tls",
    "asgi_gateway.middleware": "GatewayMiddleware",
    "asgi_gateway.model": "AuthenticationToken Grant GroupPrincipal Principal RolePrincipal Subject UserPrincipal",
    "asgi_gateway.plugins": "ChallengeScheme ControlFlag ExpiringState LoginAttempt LoginModule ModuleContext "
    "ModuleOptions PasswordLoginModule PasswordOptions UserNamePassword",
    "asgi_gateway.services.identity": "GatewayContext GatewayCredentials GatewayUser",
    "asgi_gateway.services.remote_user": "RemoteUser",
    "asgi_gateway.sessions.tokens": "Token TokenIssuer",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
"""The module that defines each public name. Imported on first use, so that the client does not load the server."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asgi_gateway' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
