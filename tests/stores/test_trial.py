"""A store that is read and not changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.sqlite import SqliteState
from asgi_gateway.stores.trial import TrialState
from tests.helpers import ManualClock

pytestmark = pytest.mark.anyio


async def test_changes_stay_in_it() -> None:
    """What is put, removed and extended is seen in the trial, and nothing of it in the store below."""
    below = MemoryState(ManualClock())
    await below.put_if_absent("there", "a", 60)
    trial = TrialState(below)
    assert await trial.put_if_absent("there", "b", 60) == "a"
    assert await trial.put_if_absent("new", "b", 60) is None
    assert await trial.put_if_absent("new", "c", 60) == "b"
    assert await trial.extend("new", "b", 60)
    assert await trial.extend("there", "a", 60)
    assert not await trial.extend("there", "b", 60)
    assert await trial.remove("there", "a")
    assert not await trial.remove("there", "a")
    assert (await trial.get("there"), await trial.get("new")) == (None, "b")
    assert await trial.put_if_absent("there", "again", 60) is None
    assert await trial.remove("new", "b")
    assert (await below.get("there"), await below.get("new")) == ("a", None)


async def test_it_refuses_what_a_store_refuses() -> None:
    """A life that no store keeps is an error in the trial, too."""
    with pytest.raises(ValueError, match="ttl"):
        await TrialState(MemoryState(ManualClock())).put_if_absent("a", "b", 0)


async def test_a_store_that_was_never_created(tmp_path: Path) -> None:
    """A file that is not there yet is not created; the trial works on its own."""
    trial = TrialState(SqliteState(tmp_path / "state.db"))
    await trial.open()
    assert await trial.get("a") is None
    assert await trial.put_if_absent("a", "b", 60) is None
    await trial.close()
    assert list(tmp_path.iterdir()) == []
    assert trial.shared


async def test_a_store_that_is_down(tmp_path: Path) -> None:
    """A store that cannot be read is unavailable, not empty."""
    (tmp_path / "state.db").write_text("not a database, and long enough to be looked at" * 50)
    trial = TrialState(SqliteState(tmp_path / "state.db"))
    with pytest.raises(StateUnavailable):
        await trial.open()
    await trial.close()
