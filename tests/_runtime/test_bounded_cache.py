"""The one bounded cache: its bound, its times to live, and what is removed when."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway._runtime.bounded_cache import BoundedCache
from tests.helpers import ManualClock


def test_oldest_put_is_removed_at_the_bound() -> None:
    """At the bound the entry that was put longest ago is removed, however often it was read."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [None, 2, 3]


def test_second_put_makes_an_entry_the_youngest() -> None:
    """A key that is put again is replaced and removed last."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(key, value)
    assert [cache.get(key) for key in "abc"] == [3, None, 4]


@pytest.mark.parametrize("own", [None, 5.0])
def test_entry_expires(own: float | None) -> None:
    """An entry is returned before its end and never from its end on, be the time the cache's or its own."""
    clock = ManualClock()
    cache: BoundedCache[str, int] = BoundedCache(10, ttl=5.0 if own is None else 100.0, monotonic=clock.monotonic)
    cache.put("a", 1, ttl=own)
    clock.advance(4.999)
    assert cache.get("a") == 1
    clock.advance(0.001)
    assert cache.get("a") is None
    assert cache.pop("a") is None


def test_expired_entries_leave_the_memory() -> None:
    """A put removes what has expired at the old end, although the bound is not reached."""
    clock = ManualClock()
    cache: BoundedCache[int, int] = BoundedCache(1000, ttl=5.0, monotonic=clock.monotonic)
    for number in range(100):
        cache.put(number, number)
    clock.advance(5.0)
    cache.put(100, 100)
    assert len(cache) == 1


@pytest.mark.parametrize("ttl", [0.0, -1.0])
def test_no_time_to_live_stores_nothing(ttl: float) -> None:
    """With a time to live of 0 or less nothing is stored, be it the cache's or the entry's."""
    for cache, own in (
        (BoundedCache[str, int](2, ttl=ttl, monotonic=ManualClock().monotonic), None),
        (BoundedCache[str, int](2, ttl=9.0, monotonic=ManualClock().monotonic), ttl),
    ):
        cache.put("a", 1, ttl=own)
        assert len(cache) == 0


def test_pop_returns_once() -> None:
    """What was popped is gone."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    assert (cache.pop("a"), cache.pop("a"), cache.get("a")) == (1, None, None)


def test_remove_where() -> None:
    """Values that meet the condition are removed, and no others."""
    cache: BoundedCache[str, int] = BoundedCache(9)
    for number, key in enumerate("abcd"):
        cache.put(key, number)
    cache.remove_where(lambda value: value % 2 == 1)
    assert [cache.get(key) for key in "abcd"] == [0, None, 2, None]


def test_value_that_rests_on_old_data_is_not_stored() -> None:
    """A value whose computation began before entries were removed is not stored; a later one is."""
    for remove in (BoundedCache.clear, lambda cache: cache.remove_where(lambda value: False)):
        cache: BoundedCache[str, int] = BoundedCache(9)
        before = cache.generation
        remove(cache)
        cache.put("a", 1, generation=before)
        assert cache.get("a") is None
        cache.put("a", 2, generation=cache.generation)
        assert cache.get("a") == 2


def test_bad_arguments() -> None:
    """A bound below 1 and a time to live without a clock are errors."""
    with pytest.raises(ValueError, match="at least 1"):
        BoundedCache(0)
    with pytest.raises(ValueError, match="needs a clock"):
        BoundedCache(1, ttl=1.0)
    with pytest.raises(ValueError, match="needs a clock"):
        BoundedCache[str, int](1).put("a", 1, ttl=1.0)


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 5))
def test_bound_holds(keys: list[int], bound: int) -> None:
    """Whatever is put, the cache holds the last ``bound`` distinct keys and nothing else."""
    cache: BoundedCache[int, int] = BoundedCache(bound)
    for key in keys:
        cache.put(key, key)
    last = list(dict.fromkeys(reversed(keys)))[:bound]
    assert {key for key in range(10) if cache.get(key) is not None} == set(last)
    assert len(cache) == len(last)


def test_threads() -> None:
    """Threads that put, remove and read at once never break the bound or raise."""
    cache: BoundedCache[int, int] = BoundedCache(50)
    errors: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(3000):
                cache.put((start + number) % 200, number)
                cache.get(number % 200)
                if number % 100 == 0:
                    cache.remove_where(lambda value: value % 3 == 0)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(50 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(cache) <= 50
