"""Gateways, applications and clients in memory, for tests of the core."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.authentication.chain import Chain, ChainEntry
from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.result import result_from_session
from asgi_gateway.authentication.settings import SESSION_LIFE, RealmServices, RealmSettings
from asgi_gateway.errors import LoginFailed
from asgi_gateway.gateway import Gateway, GatewayServices
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import AuthRequest, Grant
from asgi_gateway.plugins.login_module import ControlFlag, LoginModule
from asgi_gateway.plugins.scheme import ChallengeScheme
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.schemes import BasicScheme
from asgi_gateway.services.authorization import Authorization
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.services.origins import OriginRules
from asgi_gateway.sessions.cookies import Sessions, SessionSettings
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.telemetry.audit import Audit
from tests.helpers import ManualClock

Headers = list[tuple[bytes, bytes]]
Login = Callable[[Any], Awaitable[Grant | None]]


class Module(LoginModule):
    """A login module that runs a function and counts its calls."""

    roles: dict[str, str]
    """The users that it knows, where it is one of ``users``."""

    def __init__(self, login: Login, **attributes: Any) -> None:
        self._login = login
        self.calls = self.aborts = 0
        for name, value in attributes.items():
            setattr(self, name, value)

    async def login(self, attempt: Any) -> Grant | None:
        self.calls += 1
        return await self._login(attempt)

    async def abort(self, attempt: Any) -> None:
        self.aborts += 1


def users(**roles: str) -> Module:
    """A cacheable module: the password of ``joe`` is ``joe-pw``; roles are a string of words."""

    async def login(attempt: Any) -> Grant | None:
        name = attempt.username
        if name is None or name not in module.roles or attempt.password != f"{name}-pw":
            raise LoginFailed("no such user and password")
        return Grant.user(name, module.roles[name].split())

    module = Module(login, cacheable=True, needs_credentials=True, roles=roles)
    return module


def tokens(answer: Login | None = None, **attributes: Any) -> Module:
    """A module for the scheme Application Token: the token ``good`` is joe's."""

    async def login(attempt: Any) -> Grant | None:
        if attempt.token.get() != "good":
            raise LoginFailed("not the token")
        return Grant.user("joe", ["R"])

    return Module(answer or login, **attributes)


class Records:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def isEnabledFor(self, level: int) -> bool:
        return True

    def info(self, message: str, line: str) -> None:
        self.lines.append(message % line)


@dataclass
class World:
    """What the parts of one gateway share."""

    clock: ManualClock = field(default_factory=ManualClock)
    pools: ThreadPools = field(default_factory=ThreadPools)
    records: Records = field(default_factory=Records)
    state: ExpiringState | None = None

    def __post_init__(self) -> None:
        self.audit = Audit(self.clock, self.records)  # type: ignore[arg-type]
        self.state = self.state or MemoryState(self.clock)

    def realm(
        self,
        *modules: LoginModule,
        name: str = "demo",
        schemes: Iterable[ChallengeScheme] | None = None,
        reader: CredentialReader | None = None,
        recycle: tuple[ExpiringState, Sequence[bytes]] | None = None,
        **settings: Any,
    ) -> Realm:
        """A realm with these modules, all required; ``recycle`` gives it sessions in a store, signed with keys."""
        entries = [ChainEntry(module, ControlFlag.REQUIRED, f"module{i}") for i, module in enumerate(modules)]
        return Realm(
            name,
            tuple(schemes or (BasicScheme(),)),
            reader=reader or CredentialReader(),
            chain=Chain(entries),
            services=RealmServices(pools=self.pools, clock=self.clock, audit=self.audit),
            settings=RealmSettings(**settings),
            sessions=None if recycle is None else self.sessions(name, *recycle, **settings),
        )

    def sessions(self, realm: str, state: ExpiringState, keys: Sequence[bytes], **settings: Any) -> Sessions[Any]:
        """The sessions of a realm."""
        session_settings = SessionSettings(
            realm=realm,
            keys=keys,
            life=settings.get("session_timeout") or SESSION_LIFE,
            idle=settings.get("authorization_timeout"),
        )
        return Sessions(session_settings, state, self.clock, result_from_session)

    def gateway(self, *services: Service, **settings: Any) -> Gateway:
        assert self.state is not None
        runtime = GatewayServices(state=self.state, pools=self.pools, clock=self.clock, audit=self.audit)
        return Gateway(services, runtime, **settings)


def service(name: str, path: str, *realms: Realm, roles: str = "", origins: OriginRules | None = None) -> Service:
    """A service at one path."""
    return Service(
        name, (Mount(path),), realms, Authorization(roles.split()), OriginRules() if origins is None else origins
    )


def basic(name: str, password: str | None = None) -> tuple[bytes, bytes]:
    """An Authorization header; by default with the right password."""
    text = f"{name}:{f'{name}-pw' if password is None else password}"
    return b"authorization", b"Basic " + base64.b64encode(text.encode())


def request(path: str, *headers: tuple[bytes, bytes], kind: str = "http", **more: Any) -> AuthRequest:
    """What the gateway decides on."""
    return AuthRequest(kind, more.pop("method", "GET"), path, headers=headers, **more)  # type: ignore[arg-type]


def scope(path: str, *headers: tuple[bytes, bytes], kind: str = "http", **more: Any) -> dict[str, Any]:
    """An ASGI scope."""
    common: dict[str, Any] = {
        "type": kind,
        "path": path,
        "headers": list(headers),
        "client": ["192.0.2.1", 1],
        "query_string": b"",
    }
    if kind == "http":
        common |= {"method": "GET", "scheme": "http"}
    else:
        common |= {"scheme": "ws", "subprotocols": [], "extensions": {"websocket.http.response": {}}}
    return common | more


class App:
    """An application that keeps the scopes it was entered with and answers 200, or accepts and waits for the end."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.messages: list[Mapping[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
            await send({"type": "http.response.body", "body": b"hello"})
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while not self.messages or self.messages[-1]["type"] != "websocket.disconnect":
            self.messages.append(await receive())


class Server:
    """The server's side of one request or WebSocket: it gives messages, and keeps those that it takes."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self._messages = list(messages)
        self._more: anyio.Event | None = None

    def say(self, message: dict[str, Any]) -> None:
        """Give one more message."""
        self._messages.append(message)
        if self._more is not None:
            self._more.set()

    async def receive(self) -> dict[str, Any]:
        while not self._messages:
            self._more = anyio.Event()
            await self._more.wait()
        return self._messages.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> Headers:
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1001}


async def ask(app: Any, scope: dict[str, Any]) -> Server:
    """One request; a WebSocket client connects and goes away."""
    messages: list[dict[str, Any]] = [] if scope["type"] == "http" else [CONNECT.copy(), DISCONNECT.copy()]
    server = Server(*messages)
    await app(scope, server.receive, server.send)
    return server


def wrapped(gateway: Gateway) -> tuple[GatewayMiddleware, App]:
    """The gateway in front of an application."""
    app = App()
    return GatewayMiddleware(app, gateway), app
