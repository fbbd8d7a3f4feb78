"""What every store's list promises, as one class of tests that each store's own tests derive from."""

from __future__ import annotations

import pytest

from asgi_gateway.plugins.state_store import Listing
from tests.stores.contract import AWKWARD, Harness


class ListingContract:
    """The tests of a store's list; ``harness`` is as for the store's own contract."""

    async def test_what_is_listed_can_be_read(self, harness: Harness) -> None:
        """Texts are read as they were put; a second one of a name takes the first one's place."""
        store = harness.state
        assert isinstance(store, Listing)
        assert await store.listed(10) == []
        for name in AWKWARD:
            await store.enlist(name, "first", 60)
            await store.enlist(name, f"second {name}", 60)
        assert sorted(await store.listed(1000)) == sorted(f"second {name}" for name in AWKWARD)
        assert len(await store.listed(3)) == 3

    async def test_a_text_is_struck(self, harness: Harness) -> None:
        """A text that is struck is gone, others stay; what is not there is struck without an error."""
        store = harness.state
        assert isinstance(store, Listing)
        await store.enlist("a", "A", 60)
        await store.enlist("b", "B", 60)
        await store.strike("a")
        await store.strike("a")
        assert await store.listed(10) == ["B"]

    async def test_a_text_goes_away(self, harness: Harness) -> None:
        """A text goes away after its time and not before."""
        store = harness.state
        assert isinstance(store, Listing)
        for name, ttl in (("a", 10), ("b", 100)):
            await store.enlist(name, name, ttl)
        await harness.advance(8)
        assert sorted(await store.listed(10)) == ["a", "b"]
        await harness.advance(3)
        assert await store.listed(10) == ["b"]
        with pytest.raises(ValueError, match="ttl"):
            await store.enlist("c", "c", 0)

    async def test_the_list_is_no_entry(self, harness: Harness) -> None:
        """Names and keys are two things, and only the list is read through."""
        store = harness.state
        assert isinstance(store, Listing)
        await store.enlist("a", "A", 60)
        assert await store.get("a") is None
        assert await store.put_if_absent("a", "secret", 60) is None
        assert await store.listed(10) == ["A"]

    async def test_what_is_left(self, harness: Harness) -> None:
        """How long an entry lives on is told; nothing of one that is not there."""
        store = harness.state
        assert isinstance(store, Listing)
        assert await store.left("a") is None
        await store.put_if_absent("a", "value", 60)
        await harness.advance(20)
        assert await store.left("a") == pytest.approx(40, abs=2)
        await harness.advance(50)
        assert await store.left("a") is None
