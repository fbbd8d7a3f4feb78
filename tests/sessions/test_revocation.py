"""Revocations: written down, announced to every process, and what happens when that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.model import RevocationKey
from asgi_gateway.plugins.state_store import Partition
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.sqlite import SqliteState
from tests.helpers import EmptyState

pytestmark = pytest.mark.anyio

Follower = tuple[Revocations, list[RevocationKey | None], SqliteState]
JOE, ANN = RevocationKey("user", "joe", "demo"), RevocationKey("user", "ann", "demo")


async def test_written_down() -> None:
    """A revocation is in the store for whoever asks later, and handlers of this process are told at once."""
    state = MemoryState()
    revocations, heard = Revocations(state), list[RevocationKey | None]()
    revocations.subscribe(heard.append)
    await revocations.open()
    records = state.partition(Partition.SESSIONS)
    await records.put_if_absent(RevocationKey("session", "s").key, "record", 60)
    assert await revocations.revoke(RevocationKey("session", "s")) is True
    assert await records.get(RevocationKey("session", "s").key) is None
    await revocations.revoke(RevocationKey("token", "t"))
    await revocations.revoke(RevocationKey("token", "t"))
    assert await state.get(RevocationKey("token", "t").key)
    generations = []
    for _ in range(3):
        await revocations.revoke(JOE)
        generations.append(await state.get(JOE.key))
    assert len(set(generations)) == 3
    assert await state.get(RevocationKey("user", "joe", "other").key) is None
    assert heard[0] == RevocationKey("session", "s")
    assert heard[-1] == JOE
    await revocations.close()


async def test_one_bad_handler() -> None:
    """A handler that fails does not keep the others from being told."""
    revocations, heard = Revocations(MemoryState()), list[RevocationKey | None]()

    def bad(revocation: RevocationKey | None) -> None:
        raise RuntimeError

    revocations.subscribe(bad)
    revocations.subscribe(heard.append)
    await revocations.revoke(JOE)
    assert heard == [JOE]


async def test_user_revoked_by_many_at_once() -> None:
    """Ten revocations of one user at once all succeed."""
    revocations = Revocations(MemoryState())
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(revocations.revoke, JOE)


async def test_store_that_never_gives_in() -> None:
    """A revocation that cannot be written down is an error, and is not announced."""

    class Stubborn(EmptyState):
        async def get(self, key: str) -> str | None:
            return "old"

        async def remove(self, key: str, value: str) -> bool:
            return False

        async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
            return "old"

    revocations, heard = Revocations(Stubborn()), list[RevocationKey | None]()
    revocations.subscribe(heard.append)
    with pytest.raises(StateUnavailable):
        await revocations.revoke(JOE)
    assert heard == []


@pytest.fixture
async def pair(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Follower]:
    """A follower on a shared store, what it hears, and its store."""
    state = SqliteState(tmp_path / "state.db", timeout=0.5)
    revocations, heard = Revocations(state), list[RevocationKey | None]()
    revocations.subscribe(heard.append)
    await revocations.open()
    await revocations.open()
    await anyio.sleep(0.1)
    yield revocations, heard, state
    await revocations.close()
    await revocations.close()
    await state.close()


async def _hears(heard: list[RevocationKey | None], what: RevocationKey | None, within: float = 2.0) -> None:
    with anyio.fail_after(within):
        while what not in heard:
            await anyio.sleep(0.01)


_REVOKE = """
import asyncio, os, signal, sys
from asgi_gateway.model import RevocationKey
from asgi_gateway.plugins.state_store import Partition
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.stores.sqlite import SqliteState

async def main():
    await Revocations(SqliteState(sys.argv[1])).revoke(RevocationKey("user", "joe", "demo"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_another_process(pair: Follower, tmp_path: Path) -> None:
    """A revocation by a process that is killed right after it is heard by the others within two seconds."""
    _, heard, _ = pair
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", _REVOKE, tmp_path / "state.db"], timeout=20).returncode
    )
    assert done == -signal.SIGKILL
    await _hears(heard, JOE)


async def test_store_was_away(pair: Follower, tmp_path: Path) -> None:
    """After the store's file was replaced, handlers are told that anything may have ended; then they hear again."""
    revocations, heard, _ = pair
    await revocations.revoke(ANN)
    await _hears(heard, ANN)
    await anyio.sleep(0.3)
    for file in tmp_path.iterdir():
        os.unlink(file)
    await _hears(heard, None, within=5)
    other = SqliteState(tmp_path / "state.db")
    await anyio.sleep(0.3)
    await Revocations(other).revoke(JOE)
    await _hears(heard, JOE)
    await other.close()


async def test_announced_later(pair: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation that was written down and could not be announced is announced when the store is back."""
    revocations, _, state = pair
    session = RevocationKey("session", "s")
    await state.partition(Partition.SESSIONS).put_if_absent(session.key, "record", 60)
    others = Revocations(SqliteState(tmp_path / "state.db"))
    others_heard: list[RevocationKey | None] = []
    others.subscribe(others_heard.append)
    await others.open()
    await anyio.sleep(0.3)
    with monkeypatch.context() as patched:

        async def down(message: str) -> None:
            raise StateUnavailable("down")

        patched.setattr(state, "append", down)
        with pytest.raises(StateUnavailable):
            await revocations.revoke(session)
    await _hears(others_heard, session, within=5)
    await others.close()
    await others._state.close()


@pytest.mark.parametrize("message", ["", "[]", '["new kind", "x", ""]', '["user", 1, ""]', "{}", '["user", "joe"]'])
async def test_messages_nobody_understands(pair: Follower, message: str) -> None:
    """A message that is not understood means that anything may have ended."""
    _, heard, state = pair
    await state.append(message)
    await _hears(heard, None)
