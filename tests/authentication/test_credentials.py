"""Reading credentials from where a realm is configured for, and remembering verified ones."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgi_gateway.authentication.credentials import CredentialCache, CredentialReader, RawCredentials
from asgi_gateway.errors import HeaderError
from tests.helpers import ManualClock

READER = CredentialReader(["X-Token"], ["q"], ["c"])
ONE_OF_EACH = [(b"authorization", b"Token t"), (b"x-token", b"h"), (b"cookie", b"c=k")]


def test_every_place() -> None:
    """Authorization comes first without a name, then headers, parameters and cookies under their configured names."""
    raw = READER.read(ONE_OF_EACH, b"q=p")
    assert raw == (b"Token t", b"h", "p", "k")
    token = READER.token(raw)
    assert (token.scheme, list(token)) == ("token", ["t", "h", "p", "k"])
    assert [token.get(name) for name in ("X-Token", "q", "c")] == ["h", "p", "k"]


def test_nothing() -> None:
    """A request without credentials makes an empty token without a scheme."""
    for reader in (READER, CredentialReader()):
        token = reader.token(reader.read([(b"host", b"x"), (b"cookie", b"other=1")], b"x=1"))
        assert (len(token), token.scheme) == (0, "")


def test_only_what_is_configured() -> None:
    """Places that are not configured are not looked at, even if what stands there is doubled."""
    headers = [(b"cookie", b"c=1; c=2"), (b"x-token", b"1"), (b"x-token", b"2"), (b"authorization", b"Basic x")]
    assert CredentialReader().read(headers, b"q=1&q=2") == (b"Basic x",)


def test_cookie_lines() -> None:
    """HTTP/2 may send cookies in several lines, of which a wanted one may stand in any."""
    lines = [(b"cookie", b"a=1"), (b"cookie", b"c=k"), (b"cookie", b"b=2")]
    assert READER.read(lines, b"") == (None, None, None, "k")


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([(b"authorization", b"Basic a"), (b"authorization", b"Basic b")], b""),
        ([(b"authorization", b"Basic a"), (b"authorization", b"Basic a")], b""),
        ([(b"authorization", b""), (b"authorization", b"Basic a")], b""),
        ([(b"x-token", b"a"), (b"x-token", b"b")], b""),
        ([(b"cookie", b"c=1; c=2")], b""),
        ([(b"cookie", b"c=1"), (b"cookie", b"c=2")], b""),
        ([], b"q=1&q=2"),
    ],
)
def test_doubled(headers: list[tuple[bytes, bytes]], query: bytes) -> None:
    """The same name twice is refused in either order, whatever lies between."""
    filler = (b"host", b"x")
    for ordered in (headers, headers[::-1]):
        with pytest.raises(HeaderError):
            READER.read([filler, *[line for pair in ordered for line in (pair, filler)]], query)
    if headers and headers[0][0] == b"authorization":
        with pytest.raises(HeaderError):
            CredentialReader().read(headers[::-1], b"")


def test_one_name_in_two_places() -> None:
    """One configured name with values in two places is refused: which one a module would see is chance."""
    reader = CredentialReader(["token"], ["token"], ["token"])
    assert reader.token(reader.read([(b"cookie", b"token=1")], b"")).get("token") == "1"
    for headers, query in (([(b"token", b"1")], b"token=2"), ([(b"token", b"1"), (b"cookie", b"token=1")], b"")):
        with pytest.raises(HeaderError, match="duplicate credential"):
            reader.token(reader.read(headers, query))


@pytest.mark.parametrize("value", [b"a\x00", b"a\nb", b"\x7f"])
def test_control_characters(value: bytes) -> None:
    """A configured header with a control character is refused; a tab is none."""
    with pytest.raises(HeaderError):
        READER.token(READER.read([(b"x-token", value)], b""))
    assert READER.token(READER.read([(b"x-token", b"a\tb")], b"")).get("X-Token") == "a\tb"


names = st.sampled_from([b"authorization", b"x-token", b"cookie", b"host"])
values = st.binary(max_size=20) | st.sampled_from([b"Basic a", b"c=1", b"c=1; c=2", b"Application"])


@given(st.lists(st.tuples(names, values), max_size=5), st.binary(max_size=30))
def test_nothing_but_header_error(headers: list[tuple[bytes, bytes]], query: bytes) -> None:
    """Whatever a client sends, there is a token of at most one value for each place, or HeaderError."""
    try:
        token = READER.token(READER.read(headers, query))
    except HeaderError:
        return
    assert len(token) <= 4


@pytest.mark.timing
@pytest.mark.parametrize("count", [7000])
def test_linear(count: int) -> None:
    """Thousands of cookie lines take no longer than some milliseconds."""
    start = time.perf_counter()
    with pytest.raises(HeaderError):
        READER.read([(b"cookie", b"c=1")] * count, b"")
    assert time.perf_counter() - start < 0.1


def cache(ttl: float = 30.0, bound: int = 100) -> tuple[CredentialCache[str], ManualClock]:
    clock = ManualClock()
    return CredentialCache(clock, ttl, bound), clock


def test_cache_expires_by_the_clock() -> None:
    """An entry lives just its time, however often it is asked for."""
    verified, clock = cache()
    verified.put((b"x",), "joe", generation=0)
    clock.advance(29.9)
    assert verified.get((b"x",)) == "joe"
    clock.advance(0.1)
    assert verified.get((b"x",)) is None


def test_cache_put_again() -> None:
    """AuthenticationResult again, credentials live their time from then on, and are the youngest."""
    verified, clock = cache(bound=2)
    verified.put((b"x",), "old", generation=0)
    verified.put((b"y",), "y", generation=0)
    clock.advance(20)
    verified.put((b"x",), "new", generation=0)
    verified.put((b"z",), "z", generation=0)
    clock.advance(20)
    assert [verified.get((key,)) for key in (b"x", b"y", b"z")] == ["new", None, "z"]


def test_cache_without_life() -> None:
    """A life of 0 remembers nothing."""
    verified, _ = cache(ttl=0)
    verified.put((b"x",), "joe", generation=0)
    assert verified.get((b"x",)) is None


def test_cleared_while_a_login_is_under_way() -> None:
    """What a login began before the cache was cleared found out is not remembered; what began after is."""
    verified, _ = cache()
    verified.put((b"x",), "joe", generation=verified.generation)
    before = verified.generation
    verified.clear()
    assert verified.get((b"x",)) is None
    verified.put((b"x",), "joe, by old data", generation=before)
    assert verified.get((b"x",)) is None
    verified.put((b"x",), "joe, by new data", generation=verified.generation)
    assert verified.get((b"x",)) == "joe, by new data"


def test_cache_is_bounded() -> None:
    """However many credentials are verified, the oldest make room."""
    verified, _ = cache(bound=3)
    for number in range(10):
        verified.put((b"%d" % number,), str(number), generation=0)
    assert [verified.get((b"%d" % number,)) for number in range(10)] == [None] * 7 + ["7", "8", "9"]


component = st.none() | st.binary(max_size=4) | st.text(max_size=4)
raws: Any = st.integers(1, 3).flatmap(lambda n: st.tuples(*[component] * n))


@given(raws, raws)
@example((None,), (b"(None,)",))
@example((b"a", None), (None, b"a"))
@example((b"a", "b"), ("a", b"b"))
@example((b"ab", b""), (b"a", b"b"))
@example((b"a', b'b",), (b"a", b"b"))
def test_keys_differ_by_every_component(one: RawCredentials, other: RawCredentials) -> None:
    """Only the very same credentials, each in the very same place, find what was remembered."""
    verified, _ = cache()
    verified.put(one, "joe", generation=0)
    assert (verified.get(other) == "joe") == (one == other)


def test_no_secret_is_kept() -> None:
    """The cache holds neither the credentials nor a digest that another process could compute."""
    one, other = cache()[0], cache()[0]
    for each in (one, other):
        each.put((b"s3cret",), "joe", generation=0)
    assert not set(one._cache._entries) & set(other._cache._entries)
    assert b"s3cret" not in repr(one._cache._entries).encode()


def test_cleared_from_threads() -> None:
    """Threads that clear while others put and get break nothing, and the last clear leaves nothing."""
    verified, _ = cache(bound=5)
    done = threading.Event()

    def clear() -> None:
        while not done.is_set():
            verified.clear()

    thread = threading.Thread(target=clear)
    thread.start()
    try:
        for _ in range(3000):
            key = (b"%d" % random.randrange(10),)
            verified.put(key, "x", generation=verified.generation)
            assert verified.get(key) in ("x", None)
    finally:
        done.set()
        thread.join()
    verified.clear()
    assert all(verified.get((b"%d" % number,)) is None for number in range(10))
