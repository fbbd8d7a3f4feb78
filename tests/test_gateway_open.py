"""Opening and closing a gateway, and what several workers would have to share."""

from __future__ import annotations

import anyio
import pytest

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.gateway import Gateway
from tests.gateways import Module, World, service, tokens, users
from tests.helpers import OnePartState

pytestmark = pytest.mark.anyio


class Part(Module):
    """A module that writes down when it is opened and closed."""

    def __init__(self, name: str, log: list[str], error: BaseException | None = None) -> None:
        super().__init__(tokens()._login)
        self.name, self.log, self.error = name, log, error

    async def open(self) -> None:
        await anyio.sleep(0)
        if self.error is not None:
            raise self.error
        self.log.append(f"open {self.name}")

    async def close(self) -> None:
        self.log.append(f"close {self.name}")
        if self.name == "unclosable":
            raise OSError("cannot close")


def parts(world: World, *modules: Part) -> Gateway:
    realms = [world.realm(module, name=module.name) for module in modules]
    return world.gateway(
        *(service(realm.name, f"/{realm.name}", realm, *realms[:1]) for realm in realms[1:]),
        service("first", "", realms[0]),
    )


async def test_open_and_close(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Everything is open, once, before any of many callers goes on, and is closed last first whatever one raises."""
    log: list[str] = []
    gateway = parts(world, Part("one", log), Part("unclosable", log), Part("three", log))

    async def open_it() -> None:
        await gateway.open()
        assert len(log) == 3  # nobody comes back before everything is open

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(open_it)
    assert sorted(log) == ["open one", "open three", "open unclosable"]
    opened = [line.removeprefix("open ") for line in log]
    log.clear()
    await gateway.close()
    assert log == [f"close {name}" for name in reversed(opened)]
    assert "cannot close" in caplog.text
    log.clear()
    await gateway.open()
    assert len(log) == 3
    await gateway.close()


@pytest.mark.parametrize("error", [StateUnavailable("down"), KeyboardInterrupt()])
async def test_failing_to_open(world: World, error: BaseException) -> None:
    """If one part cannot open, what was opened is closed again and the error is told."""
    log: list[str] = []
    broken = Part("broken", log, error)
    gateway = world.gateway(service("one", "/", world.realm(Part("one", log), broken)))
    with pytest.raises(type(error)):
        await gateway.open()
    assert log == ["open one", "close one"]
    broken.error = None
    await gateway.open()
    assert log[2:] == ["open one", "open broken"]


def test_needs_shared_state(world: World) -> None:
    """Used tokens and first factors must be shared by several workers; a store that is shared shares them."""
    nonce = tokens(replay_protected=True)
    one, other = world.realm(nonce, name="one"), world.realm(users(), name="other")
    gateway = world.gateway(service("a", "/a", one), service("b", "/b", other), service("c", "/c", other, one))
    assert [text.partition(":")[0] for text in gateway.needs_shared_state()] == [
        "realm one, login module module0",
        "service c",
    ]
    assert world.gateway(service("b", "/b", other)).needs_shared_state() == []

    class Shared(OnePartState):
        shared = True

    world.state = Shared()
    assert world.gateway(service("c", "/c", other, one)).needs_shared_state() == []
