"""The client: challenge handlers and login handlers, for httpx, httpx2 and websockets.

Extra ``client`` installs httpx and websockets; each library is imported only when ``GatewayAuth``,
``Httpx2GatewayAuth`` or ``connect`` is used. Nothing of the server is imported. ``asgi_gateway.client.sync`` has
``connect`` for programs without an event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asgi_gateway.client.challenge import (
    ChallengeHandler,
    ChallengeRequest,
    ChallengeResponse,
    MutualAuthenticationError,
)
from asgi_gateway.client.dispatch import DispatchChallengeHandler
from asgi_gateway.client.extended import HandshakeError
from asgi_gateway.client.kerberos import KerberosChallengeHandler
from asgi_gateway.client.login import (
    CallableLoginHandler,
    EnvironmentLoginHandler,
    KeyringLoginHandler,
    LoginHandler,
    NetrcLoginHandler,
    PasswordAuthentication,
    PromptLoginHandler,
)
from asgi_gateway.client.negotiate import NegotiableChallengeHandler, NegotiateChallengeHandler
from asgi_gateway.client.schemes import BasicChallengeHandler, TokenChallengeHandler
from asgi_gateway.http.www_authenticate import OfferedChallenge

if TYPE_CHECKING:
    from asgi_gateway.client.httpx2_auth import Httpx2GatewayAuth
    from asgi_gateway.client.httpx_auth import GatewayAuth
    from asgi_gateway.client.websocket import connect

__all__ = [
    "BasicChallengeHandler",
    "CallableLoginHandler",
    "ChallengeHandler",
    "ChallengeRequest",
    "ChallengeResponse",
    "DispatchChallengeHandler",
    "EnvironmentLoginHandler",
    "GatewayAuth",
    "HandshakeError",
    "Httpx2GatewayAuth",
    "KerberosChallengeHandler",
    "KeyringLoginHandler",
    "LoginHandler",
    "MutualAuthenticationError",
    "NegotiableChallengeHandler",
    "NegotiateChallengeHandler",
    "NetrcLoginHandler",
    "OfferedChallenge",
    "PasswordAuthentication",
    "PromptLoginHandler",
    "TokenChallengeHandler",
    "connect",
]


_NEEDS_LIBRARY = {
    "GatewayAuth": ("httpx_auth", "asgi-gateway[client]"),
    "Httpx2GatewayAuth": ("httpx2_auth", "asgi-gateway[httpx2]"),
    "connect": ("websocket", "asgi-gateway[client]"),
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, package = _NEEDS_LIBRARY[name]
    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs {error.name}: pip install '{package}'") from error
