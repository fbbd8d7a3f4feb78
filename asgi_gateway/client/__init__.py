"""The client's half: challenge handlers and login handlers, for httpx and websockets.

Extra ``client`` brings httpx and websockets; each is imported only when ``GatewayAuth`` or ``connect`` is used. Nothing
of the server is imported. ``asgi_gateway.client.sync`` has ``connect`` for programs without an event loop.
"""

from __future__ import annotations

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


def __getattr__(name: str) -> Any:
    try:
        if name == "GatewayAuth":
            from asgi_gateway.client.httpx_auth import GatewayAuth

            return GatewayAuth
        if name == "connect":
            from asgi_gateway.client.websocket import connect

            return connect
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs {error.name}: pip install 'asgi-gateway[client]'") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
