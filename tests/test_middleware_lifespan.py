"""Opening and closing: servers and applications with and without lifespan."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import Grant
from tests.gateways import App, Module, Server, World, ask, basic, scope, service, users

pytestmark = pytest.mark.anyio


class Part(Module):
    """A module that counts its openings, and may fail to open."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(users(joe="")._login)
        self.error, self.opened, self.closed = error, 0, 0

    async def login(self, attempt: Any) -> Grant | None:
        assert self.opened > self.closed
        return Grant.user("joe")

    async def open(self) -> None:
        await anyio.sleep(0)
        if self.error is not None:
            raise self.error
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1


def parted(world: World, app: Any, error: Exception | None = None) -> tuple[GatewayMiddleware, Part]:
    part = Part(error)
    return GatewayMiddleware(app, world.gateway(service("one", "", world.realm(part)))), part


STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}


async def lifespan(app: Any, *messages: Any) -> list[str]:
    server = Server(*(dict(message) for message in messages))
    with anyio.fail_after(10):
        await app({"type": "lifespan", "asgi": {}}, server.receive, server.send)
    return [message["type"] for message in server.sent]


async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
    for kind in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{kind}"
        await send({"type": f"lifespan.{kind}.complete"})


async def raising(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("only http here")


async def returning(scope: Any, receive: Any, send: Any) -> None:
    return


@pytest.mark.parametrize("inner", [with_lifespan, raising, returning])
async def test_lifespan(world: World, inner: Any) -> None:
    """The gateway opens and closes with the server, whether the application knows lifespan, raises or just returns."""
    app, part = parted(world, inner)
    assert await lifespan(app, STARTUP, SHUTDOWN) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (part.opened, part.closed) == (1, 1)


@pytest.mark.parametrize("inner", [with_lifespan, raising, returning])
async def test_a_gateway_that_cannot_open(world: World, inner: Any) -> None:
    """A gateway that cannot open fails the server's start, with its reason, and nothing is said after that."""
    app, _ = parted(world, inner, OSError("no directory"))
    server = Server(STARTUP.copy(), SHUTDOWN.copy())
    with pytest.raises(OSError, match="no directory"):
        await app({"type": "lifespan"}, server.receive, server.send)
    assert server.sent == [{"type": "lifespan.startup.failed", "message": "asgi_gateway: no directory"}]


async def test_an_application_that_hides_the_failure(world: World) -> None:
    """An application that goes on as if the gateway had opened is not believed."""

    async def optimist(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(OSError, match="no directory"):
            await receive()
        await send({"type": "lifespan.startup.complete"})

    app, _ = parted(world, optimist, OSError("no directory"))
    assert await lifespan(app, STARTUP) == ["lifespan.startup.failed"]


async def test_an_application_that_cannot_start(world: World) -> None:
    """If the application cannot start, the gateway is closed again and the failure is told."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})
        raise RuntimeError("no")

    app, part = parted(world, failing)
    with pytest.raises(RuntimeError):
        await lifespan(app, STARTUP)
    assert (part.opened, part.closed) == (1, 1)


async def test_without_lifespan(world: World) -> None:
    """Without lifespan the first requests open the gateway, once, before any of them is decided."""
    app, part = parted(world, App())
    answers: list[Server] = []

    async def one() -> None:
        answers.append(await ask(app, scope("/", basic("joe"))))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(one)
    assert [answer.status for answer in answers] == [200] * 8
    assert part.opened == 1


async def test_first_request_that_cannot_open(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where the first request cannot open the gateway it is refused with 503; a later one tries again."""
    app, part = parted(world, App(), OSError("no directory"))
    assert (await ask(app, scope("/", basic("joe")))).status == 503
    assert "no directory" in caplog.text
    part.error = None
    assert (await ask(app, scope("/", basic("joe")))).status == 200
