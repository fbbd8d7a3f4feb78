"""What a realm writes into the audit log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_gateway.errors import LoginFailed, LoginUnavailable, Replayed
from asgi_gateway.model import Forbid, Grant, Unavailable
from asgi_gateway.schemes import ApplicationTokenScheme
from tests.gateways import World, basic, request, tokens, users

pytestmark = pytest.mark.anyio

TOKEN = (b"authorization", b"Token good")


async def test_events_name_modules(world: World) -> None:
    """Success and failure name the modules that succeeded and failed; both events have their request's id."""
    realm = world.realm(users(joe="R"))
    requests = [request("/", basic("joe")), request("/", basic("joe", "wrong"))]
    for each in requests:
        await realm.authenticate(each)
    events = [json.loads(line) for line in world.records.lines]
    assert [(event["outcome"], event["module"]) for event in events] == [("success", "module0"), ("failure", "module0")]
    assert [event["id"] for event in events] == [each.id for each in requests]


async def test_replay(world: World) -> None:
    """A login that failed and showed a used token is a replay, whichever module's error is reported."""

    async def used(attempt: Any) -> Grant | None:
        raise Replayed("the token was used before")

    async def wrong(attempt: Any) -> Grant | None:
        raise LoginFailed("wrong")

    realm = world.realm(tokens(wrong), tokens(used), schemes=[ApplicationTokenScheme()])
    assert isinstance(await realm.authenticate(request("/", TOKEN)), Forbid)
    (event,) = (json.loads(line) for line in world.records.lines)
    assert (event["outcome"], event["module"]) == ("replay", "module0, module1")


async def test_back_end_failure(world: World) -> None:
    """A back end that cannot be asked is logged with the module that needs it."""

    async def down(attempt: Any) -> Grant | None:
        raise LoginUnavailable("down")

    assert isinstance(await world.realm(tokens(down)).authenticate(request("/", basic("joe"))), Unavailable)
    (event,) = (json.loads(line) for line in world.records.lines)
    assert (event["outcome"], event["module"]) == ("unavailable", "module0")
