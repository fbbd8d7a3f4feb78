"""Gateways whose login module takes its time to open, or cannot be opened at all."""

from __future__ import annotations

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_gateway import GatewayMiddleware, Grant, LoginAttempt, LoginFailed, LoginModule, UserPrincipal


class SlowToOpen(LoginModule):
    """Lets everybody in who comes after it was opened, once."""

    opened = 0
    ready = False

    async def open(self) -> None:
        self.opened += 1
        await anyio.sleep(0.2)
        self.ready = True

    async def login(self, attempt: LoginAttempt) -> Grant:
        if not self.ready or self.opened != 1:
            raise LoginFailed("asked before it was opened, or opened twice")
        return Grant((UserPrincipal(attempt.username or "nobody"),))


class CannotOpen(LoginModule):
    """A back end that must be there at the start, and is not."""

    async def login(self, attempt: LoginAttempt) -> None:
        return None

    async def open(self) -> None:
        raise OSError("no directory answers")

    async def login(self, attempt: LoginAttempt) -> Grant:
        raise LoginFailed("never opened")


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)


def gateway(module: type[LoginModule]) -> GatewayMiddleware:
    modules = [{"type": f"class:{__name__}.{module.__name__}", "success": "required"}] * 2
    realm = {"name": "demo", "authentication": {"http-challenge-scheme": "Basic", "login-modules": modules}}
    return GatewayMiddleware(Starlette(routes=[Route("/", hello)]), {"security": {"realms": [realm]}})


slow = gateway(SlowToOpen)
broken = gateway(CannotOpen)
added = Starlette(routes=[Route("/", hello)])
added.add_middleware(GatewayMiddleware, config="no-such-gateway.yaml")
