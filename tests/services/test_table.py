"""The longest prefix, segment by segment."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.model import Protocol
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.services.table import ServiceTable

Kinds = frozenset[Protocol]

HTTP: Kinds = frozenset(("http",))
SOCKET: Kinds = frozenset(("websocket",))
BOTH = HTTP | SOCKET

segment = st.sampled_from(["a", "b", "ab", "A"])
prefixes = st.lists(segment, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
accepts = st.dictionaries(prefixes, st.sampled_from([HTTP, SOCKET, BOTH]), max_size=6)
paths = st.lists(segment | st.just(""), max_size=6).map(lambda parts: "".join(f"/{part}" for part in parts))


def naive(table: dict[str, frozenset[str]], kind: str, path: str) -> str | None:
    """What is meant: of all prefixes of whole segments the one with the most segments."""
    wanted = path.split("/")
    found = None
    for prefix in sorted(table, key=len):
        parts = prefix.split("/")
        if kind in table[prefix] and wanted[: len(parts)] == parts:
            found = prefix
    return found


@given(accepts, st.sampled_from(["http", "websocket"]), paths)
def test_longest_prefix(table: dict[str, frozenset[str]], kind: str, path: str) -> None:
    """A request goes where the plain definition says, however deep its path is."""
    services = ServiceTable([Service(prefix, (Mount(prefix, kinds),)) for prefix, kinds in table.items()])  # type: ignore[arg-type]
    found = services.find(kind, path)
    assert (None if found is None else found.name) == naive(table, kind, path)


@given(accepts, paths)
def test_hosts_narrow(table: dict[str, frozenset[str]], path: str) -> None:
    """With hosts, another host finds nothing, the right host what the path alone would find."""
    services = ServiceTable(
        [Service(prefix, (Mount(prefix, kinds, "h:*"),)) for prefix, kinds in table.items()]  # type: ignore[arg-type]
    )
    assert services.find("http", path, "other") is None
    assert services.find("http", path) is None
    found = services.find("http", path, "h:8000")
    assert (None if found is None else found.name) == naive(table, "http", path)


def table() -> ServiceTable:
    return ServiceTable(
        [
            Service("any", (Mount("/x"),)),
            Service("name", (Mount("/x", BOTH, "h"),)),
            Service("port", (Mount("/x", BOTH, "h:8000"),)),
            Service("ports", (Mount("/x", BOTH, "p:*"),)),
            Service("six", (Mount("/x", BOTH, "[::1]:*"),)),
            Service("deep", (Mount("/x/y"),)),
        ]
    )


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/x", "", "any"),
        ("/x", "other", "any"),
        ("/x", "h", "name"),
        ("/x", "h:8000", "port"),
        ("/x", "h:8001", "any"),
        ("/x", "p", "ports"),
        ("/x", "p:1", "ports"),
        ("/x", "p:x", "any"),
        ("/x", "p:\xb2", "any"),
        ("/x", "p:", "any"),
        ("/x", "[::1]:80", "six"),
        ("/x", "[::1]", "six"),
        ("/x/y", "h", "deep"),
        ("/x/z", "h", "name"),
        ("/y", "h", None),
        ("", "h", None),
    ],
)
def test_hosts(path: str, host: str, expected: str | None) -> None:
    """The path decides first; of equal paths the host's own service; an accept without port takes any."""
    found = table().find("http", path, host)
    assert (found.name if found else None) == expected


def test_two_of_one_place() -> None:
    """Two services at one place cannot both be meant."""
    for accept in (Mount("/x", HTTP), Mount("", BOTH), Mount("/x", SOCKET, "h")):
        with pytest.raises(ValueError, match="accept the same"):
            ServiceTable([Service("a", (accept,)), Service("b", (accept,))])
    ServiceTable([Service("a", (Mount("/x", HTTP), Mount("/x", HTTP))), Service("b", (Mount("/x", SOCKET),))])


def test_no_service() -> None:
    """An empty table finds nothing."""
    assert ServiceTable([]).find("http", "/a/b") is None


@pytest.mark.timing
def test_deep_paths() -> None:
    """A path of thousands of segments costs no more than looking at it once."""
    services = ServiceTable([Service("root", (Mount(""),)), Service("x", (Mount("/a/a/x"),))])
    path = "/a" * 32768
    start = time.perf_counter()
    for _ in range(20):
        found = services.find("http", path)
        assert found is not None
        assert found.name == "root"
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/\u00e4", "root"),
        ("/ad\u200cmin", None),
        ("/\uff41dmin/x", None),
        ("/admin\ufe0f", None),
        ("/\u24d0dmin", None),
        ("/admin/\u200d\uff41", "admin"),
        ("/caf\u00e9/x", "coffee"),
        ("/cafe\u0301/x", "coffee"),
        ("/\u0645\u06cc\u200c\u062e", "persian"),
        ("/\u0645\u06cc\u062e", "persian"),
        ("/\u30ac", "katakana"),
        ("/\u30ab\u3099/\uff76\uff9e", "katakana"),
        ("/\uff76\uff9e", "katakana"),
    ],
)
def test_two_readings(path: str, expected: str | None) -> None:
    """A path that belongs to another service once it is normalised has none; a service's own forms are all its own."""
    services = ServiceTable(
        [
            Service("root", (Mount(""),)),
            Service("admin", (Mount("/admin"),)),
            Service("coffee", (Mount("/cafe\u0301"),)),
            Service("persian", (Mount("/\u0645\u06cc\u200c\u062e"),)),
            Service("katakana", (Mount("/\u30ac"), Mount("/\u30ab\u3099"), Mount("/\uff76\uff9e"))),
        ]
    )
    found = services.find("http", path)
    assert (found.name if found else None) == expected


def test_two_services_of_one_folded_path() -> None:
    """Two services whose paths are the same once they are normalised take the same requests."""
    with pytest.raises(ValueError, match="accept the same"):
        ServiceTable([Service("a", (Mount("/caf\u00e9"),)), Service("b", (Mount("/cafe\u0301"),))])
