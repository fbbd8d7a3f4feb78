"""The path that a request is decided on, and ambiguous paths."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path

from asgi_gateway.services.paths import ambiguity, folded, is_below, path_below_root, with_encoded_slashes

parts = st.lists(st.sampled_from(["/", "a", "app", "b", "//", ".", ""]), max_size=6).map("".join)


@given(parts, parts | st.none())
def test_as_starlette(path: str, root: str | None) -> None:
    """A root_path is removed as Starlette's router removes it, or ValueError is raised."""
    scope = {"path": path} if root is None else {"path": path, "root_path": root}
    if is_below(path, root or ""):
        assert path_below_root(scope) == get_route_path(scope)
    elif root:
        with pytest.raises(ValueError, match="not a leading part"):
            path_below_root(scope)


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/app/x", "/app", "/x"),
        ("/app", "/app", ""),
        ("/app/app/x", "/app", "/app/x"),
        ("/app/x", "", "/app/x"),
        ("/app/x", None, "/app/x"),
    ],
)
def test_root(path: str, root: str | None, expected: str) -> None:
    """A root_path is removed once, from the front."""
    assert path_below_root({"path": path, "root_path": root}) == expected


@pytest.mark.parametrize(
    ("path", "root"), [("/apple", "/app"), ("/x", "/app"), ("/x/app/y", "/app"), ("/app/x", "/app/")]
)
def test_not_below(path: str, root: str) -> None:
    """A root_path that is not a leading part of the path, as whole segments, is an error and never ignored."""
    with pytest.raises(ValueError, match="not a leading part"):
        path_below_root({"path": path, "root_path": root})


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
        "/a\u2029b",
        "/a/\u200b/b",
        "/a/.\u200d./b",
        "/a/\ufeff../b",
        "/a/\u202e.",
        "/a/\u00ad.\ufe0f/b",
        "/a\u200c%\u200c2fb",
        "/a\uff0fb",
        "/a\uff3cb",
        "/a/\uff0e\uff0e/b",
        "/a/\u2024\u2024/b",
        "/a/\u2025/b",
        "/a\uff1bb",
        "/a\u037eb",
        "/a\uff0541",
        "/a\uff052fb",
        "/a\ufe68b",
        "/a\u2100b",
        "/a\ufffdb",
        "/a" + "\u0301\u0323" * 16,
        "/a" + "\u0301\u034f" * 31,
        f"/a{chr(0xDC80)}b",
        "a",
        "*",
        "/%u0061dmin",
        "/%U002e%U002e/b",
    ],
)
def test_ambiguous(path: str) -> None:
    """A path that two parties may read differently is ambiguous, with a reason."""
    assert ambiguity(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/a", "/a/", "/a.b/..c/d..", "/.well-known/x", "/a b", "/100%", "/%zz", "/ä/日本", "/a,b=c@d:e"),
        "/public/\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: the joiner is part of the spelling
        "/public/\u0915\u094d\u200d\u0937",  # Hindi
        "/\U0001f469\u200d\U0001f4bb \u2764\ufe0f/\U0001f3f4\U000e0067\U000e0062\U000e007f",  # emoji sequences
        "/cafe\u0301/\u1100\u1161",  # decomposed, as macOS names files
        "/a" + "\u0301\u0323" * 15,
        "/Screenshot at 9.41.00\u202fAM.png",  # macOS
        "/\u200e\u05d0\u200f \u2067a\u2069",  # Hebrew with direction marks
        "/\u3000\u00a0",  # spaces
        "/100\uff05/\u2026/\u2488 \u33c2",  # a full-width percent sign, an ellipsis, characters with dots
        "/\uf8ff\U0001fae9\ufdd0",  # private, newer than the interpreter's Unicode, a noncharacter
    ],
)
def test_ordinary(path: str) -> None:
    """Ordinary paths are canonical, dots within names and other scripts included."""
    assert ambiguity(path) is None


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
    """An encoded separator in the raw path is ambiguous also where the server decoded it; the query does not count."""
    assert (ambiguity(path, raw) is not None) is refused


@pytest.mark.parametrize(
    ("path", "raw", "refused"),
    [
        ("/f/a/b", b"/f/a%2Fb", False),
        ("/f/a/b", b"/f/a%2fb?x=%2e", False),
        ("/f/http://x", b"/f/http:%2F%2Fx", False),
        ("/f/\u00e4/\u200db", b"/f/%C3%A4%2F%E2%80%8Db", False),
        ("/f/../b", b"/f/..%2Fb", True),
        ("/f/a/..", b"/f/a%2F..", True),
        ("/f/./b", b"/f/%2E%2Fb", True),
        ("/f/a/b\\", b"/f/a%2Fb%5C", True),
        ("/f/a/.b", b"/f/a%2F%2eb", True),
        ("/f/a/b\x00", b"/f/a%2Fb%00", True),
        ("/f//a/b", b"/f//a%2Fb", True),
        ("/f//a", b"/f//a", True),
        ("/f/a;/b", b"/f/a;%2Fb", True),
        ("/f/%2fb", b"/f/%252Fb", True),
        ("/f/a/\u200b/b", b"/f/a%2F%E2%80%8B%2Fb", True),
    ],
)
def test_encoded_slash(path: str, raw: bytes, refused: bool) -> None:
    """An encoded slash that is allowed may stand in a segment, but never makes a dot segment or hides another fault."""
    assert (ambiguity(path, raw, encoded_slash=True) is not None) is refused


@pytest.mark.parametrize(
    ("path", "raw", "expected"),
    [
        ("/f/a/b", b"/f/a%2Fb", "/f/a%2Fb"),
        ("/f/a/b", b"/api/f/a%2fb?x=%2F", "/f/a%2Fb"),
        ("/f/\u00e4/b", b"/f/%c3%a4%2Fb", "/f/\u00e4%2Fb"),
        ("/a/b", b"/api%2Fa/b", None),
        ("/f/a/b", b"/a%2Fpi/f/a%2Fb", None),
        ("/f/a/b", b"/g/a%2Fb", None),
        ("", b"/api%2F", None),
    ],
)
def test_with_encoded_slashes(path: str, raw: bytes, expected: str | None) -> None:
    """The second reading of a path keeps encoded slashes encoded, below a root without any."""
    assert with_encoded_slashes(path, raw) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a", "/a"),
        ("/\uff41dmin", "/admin"),
        ("/ad\u200bmin", "/admin"),
        ("/cafe\u0301", "/caf\u00e9"),
        ("/\ufb01le\ufe0f", "/file"),
    ],
)
def test_folded(path: str, expected: str) -> None:
    """The folded path is in the form NFKC and has no ignorable characters."""
    assert folded(path) == expected


@given(st.text(max_size=30))
def test_canonical(path: str) -> None:
    """A canonical path has no empty or dot segment, backslash, path parameter or control character, even normalized."""
    if ambiguity(path) is None:
        segments = path.split("/")
        assert not {".", ".."} & set(segments)
        assert "" not in segments[1:-1]
        assert segments[0] == ""
        assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path)
        normalized = unicodedata.normalize("NFKC", path)
        assert not {".", ".."} & set(normalized.split("/"))
        assert normalized.count("/") == path.count("/")
        assert not set("\\;") & set(normalized)
        assert not set("\\;") & set(path)


@pytest.mark.timing
@pytest.mark.parametrize(
    "unit",
    [
        "/",
        "/a",
        "/.",
        "%",
        "%4",
        "\uff0f",
        "\u0301",
        "\u0301\u0323",
        "\u0301\u0323\u0316\u05b0",
        "\U0001d16d\u0345",
        "\u0301\u200d\u0323",
        "\u1100",
        "a",
        "ﷺ",
    ],
)
def test_linear(unit: str) -> None:
    """64 KiB of any path are checked within half a second."""
    path = "/" + (unit * 65536)[:65536]
    start = time.perf_counter()
    ambiguity(path, path.encode())
    assert time.perf_counter() - start < 0.5
