"""Which path the application sees, and which paths are refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path

from asgi_gateway.services.paths import confusion, path_below_root

parts = st.lists(st.sampled_from(["/", "a", "app", "b", "//", ".", ""]), max_size=6).map("".join)


@given(parts, parts | st.none())
def test_as_starlette(path: str, root: str | None) -> None:
    """The root is taken off exactly as Starlette's router takes it off."""
    scope = {"path": path} if root is None else {"path": path, "root_path": root}
    assert path_below_root(scope) == get_route_path(scope)


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/app/x", "/app", "/x"),
        ("/app", "/app", ""),
        ("/apple", "/app", "/apple"),
        ("/x", "/app", "/x"),
        ("/app/app/x", "/app", "/app/x"),
        ("/app/x", "", "/app/x"),
    ],
)
def test_root(path: str, root: str, expected: str) -> None:
    """A root counts as whole segments, once, at the front."""
    assert path_below_root({"path": path, "root_path": root}) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b",
        "/a/./b",
        "/..",
        "/.",
        "/a/..",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/a;b",
        "/a;b=c/d",
        "/a\\b",
        "/a\\..\\b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%00",
        "/%2e%2e/b",
        "/a%41",
        "/a\x00b",
        "/a\n",
        "/a\r\nb",
        "/a\tb",
        "/a\x7f",
        "/a\x85b",
        "/a\u2028b",
        "/a\u200bb",
        "/a\u202eb",
        "/a\ufeffb",
        "/a\uff0fb",
        "/a\uff3cb",
        "/a/\uff0e\uff0e/b",
        "/a/\u2024\u2024/b",
        "/a/\u2025/b",
        "/a\uff1bb",
        "/a\u037eb",
        "/a\uff05b",
        "/a\u2100b",
        "/a\ufffdb",
        f"/a{chr(0xDC80)}b",
        "a",
        "*",
    ],
)
def test_refused(path: str) -> None:
    """A path that two parties may read differently is refused, with a reason."""
    assert confusion(path)


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "/a/", "/a.b/..c/d..", "/.well-known/x", "/a b", "/100%", "/%zz", "/ä/日本", "/a,b=c@d:e"]
)
def test_taken(path: str) -> None:
    """Ordinary paths, dots within names and other scripts included, are nobody's doubt."""
    assert confusion(path) is None


@pytest.mark.parametrize(
    ("path", "raw", "refused"),
    [
        ("/a/b", b"/a%2Fb", True),
        ("/a/b", b"/a%2fb", True),
        ("/a.b", b"/a%2eb", True),
        ("/a.b", b"/a%2Eb", True),
        ("/a", b"/a%00", True),
        ("/a", b"/a%5C", True),
        ("/ab", b"/%61b", False),
        ("/a b", b"/a%20b", False),
        ("/a", b"/a?next=%2Fb", False),
        ("/a", b"/a", False),
    ],
)
def test_raw_path(path: str, raw: bytes, refused: bool) -> None:
    """Separators that were sent encoded are refused even where the server decoded them; the query is no path."""
    assert (confusion(path, raw) is not None) is refused


@given(st.text(max_size=30))
def test_what_passes_has_one_reading(path: str) -> None:
    """No path that passes has an empty or dot segment, a backslash, a parameter, or a character that cannot be seen."""
    if confusion(path) is None:
        segments = path.split("/")
        assert not {".", ".."} & set(segments)
        assert "" not in segments[1:-1]
        assert segments[0] == ""
        assert path.isprintable()
        assert not set("\\;") & set(path)


@pytest.mark.timing
@pytest.mark.parametrize("unit", ["/", "/a", "/.", "%", "%4", "\uff0f", "\u0301", "\u1100", "a", "ﷺ"])
def test_linear(unit: str) -> None:
    """64 KiB of any path take no longer than some milliseconds."""
    path = "/" + (unit * 65536)[:65536]
    start = time.perf_counter()
    confusion(path, path.encode())
    assert time.perf_counter() - start < 0.5
