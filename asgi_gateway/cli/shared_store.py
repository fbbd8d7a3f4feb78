"""Open the state store that a running gateway uses, for commands that look at sessions or end them."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from asgi_gateway.cli.definitions import definitions
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway

__all__ = ["load_shared", "with_store"]

T = TypeVar("T")


def load_shared(arguments: argparse.Namespace) -> Gateway:
    """Load the configuration of a gateway whose state other processes see.

    Raises:
        ConfigError: the configuration has errors, or its store is memory.
    """
    gateway = load_config(arguments.file, properties=definitions(arguments))
    if not gateway.state.shared:
        message = (
            "the memory store is inside the server's process: no command can list its sessions, end them, or close "
            "their WebSockets"
        )
        hint = "choose sqlite or redis for security/state; until then, restart the server to end every login"
        raise ConfigError(Problem(message, arguments.file, hint=hint))
    return gateway


def with_store(gateway: Gateway, work: Callable[[Gateway], Awaitable[T]], missing: T) -> T:
    """Run some work with the store open.

    Args:
        gateway: the gateway; it serves nothing.
        work: given the gateway.
        missing: the result if the store has not been created yet. It is not created here, since it would belong to this
            command's user and not to the server's.
    """

    async def run() -> T:
        try:
            await gateway.state.open()
            return await work(gateway)
        finally:
            await gateway.state.close()

    return anyio.run(run) if gateway.state.exists() else missing
