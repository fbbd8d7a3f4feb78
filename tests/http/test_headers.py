"""Strict parsing: one reading, or HeaderError, in linear time."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.headers import (
    basic_credentials,
    basic_value,
    check_data,
    cookie_header,
    cookie_values,
    parse_authorization,
    query_values,
    quoted,
    single_header,
    store_once,
)

NAMES = frozenset(("a", "token"))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_single_header() -> None:
    """A header's value is returned wherever it is; a missing one is None, an empty one is empty."""
    headers = [(b"host", b"a"), (b"authorization", b"x"), (b"x-empty", b"")]
    assert single_header(headers, b"authorization") == b"x"
    assert single_header(headers, b"x-empty") == b""
    assert single_header(headers, b"cookie") is None
    assert single_header([], b"host") is None


@pytest.mark.parametrize(
    "values", [(b"a", b"b"), (b"a", b"a"), (b"", b"a"), (b"a", b""), (b"", b""), (b"a", b"b", b"c")]
)
def test_duplicate_header(values: tuple[bytes, ...]) -> None:
    """A header that occurs twice is refused by name, also where the values are the same or empty."""
    headers = [(b"host", b"x"), *((b"authorization", value) for value in values), (b"host", b"y")]
    with pytest.raises(HeaderError, match=r"^duplicate header authorization$"):
        single_header(headers, b"authorization")


@pytest.mark.parametrize("kind", ["header", "cookie", "query parameter", "subprotocol"])
def test_store_once(kind: str) -> None:
    """A name is stored once, and its value has no control character; what was stored stays."""
    found: dict[str, str] = {}
    store_once(found, kind, "a", "")
    with pytest.raises(HeaderError, match=f"^duplicate {kind} a$"):
        store_once(found, kind, "a", "")
    for control in ("\0", "a\r\nb", "\x7f"):
        with pytest.raises(HeaderError, match=f"^{kind} b has a control character$"):
            store_once(found, kind, "b", control)
    assert found == {"a": ""}


def test_cookie_header() -> None:
    """The lines that HTTP/2 sends for the cookies are one header in their order, so that duplicates are found in it."""
    headers = [(b"cookie", b"a=1"), (b"host", b"x"), (b"cookie", b"token=2; b=3"), (b"cookie", b"a=4")]
    assert cookie_header(headers) == b"a=1; token=2; b=3; a=4"
    assert cookie_header(headers[1:2]) == b""
    with pytest.raises(HeaderError, match="duplicate cookie a"):
        cookie_values(cookie_header(headers), NAMES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Basic abc", ("basic", "abc")),
        (b"BASIC  abc ", ("basic", "abc")),
        (b" \tBasic abc\t ", ("basic", "abc")),
        (b"Digest a=1,\tb=2", ("digest", "a=1, b=2")),
        (b"Application Basic abc", ("basic", "abc")),
        (b"application  Token a b", ("token", "a b")),
        (b"Negotiate", ("negotiate", "")),
        (b"Token \xe4", ("token", "ä")),
        (b"Application Application x", ("application", "x")),
    ],
)
def test_authorization(value: bytes, expected: tuple[str, str]) -> None:
    """The first word is the scheme in any case, with or without Application; the rest is kept as it is."""
    assert parse_authorization(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" ", b"Application", b"Application ", b"Ba,sic x", b"B\xe4sic x", b"Basic a\x00", b"Basic a\x7f"),
        *(b"Basic\tabc", b"Basic\t abc", b"Basic \tabc", b"Application\tBasic abc", b"Application Basic\tabc"),
        *(b"Application \tBasic abc", b"Basic\x0babc", b"Basic\xa0abc", b"Basic\r\n abc", b"\x0bBasic abc"),
    ],
)
def test_authorization_refused(value: bytes) -> None:
    """No scheme, no token for a scheme, anything but spaces after it, or a control character: HeaderError."""
    with pytest.raises(HeaderError):
        parse_authorization(value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"joe:pw", ("joe", "pw")),
        (b"joe:p:w:", ("joe", "p:w:")),
        (b":", ("", "")),
        ("jürgen:pä€".encode(), ("jürgen", "pä€")),
    ],
)
def test_basic(data: bytes, expected: tuple[str, str]) -> None:
    """The first colon splits, the rest belongs to the password, and the text is UTF-8."""
    assert basic_credentials(b64(data)) == expected


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "am9lOnB3=",
        "am9lOg",
        "am9lOh==",
        "am9l OnB3",
        "am9lOnB3\n",
        "am9lOnB",
        "am9lOnB3!",
        "=am9lOnB3",
        "YTpi====",
        "YTpiYw==YTpi",
        "_-__",
        "ä",
        b64(b"no colon"),
        b64(b"joe:p\xffw"),
        b64(b"joe:p\xc0\xaf"),
        b64(b"joe:p\x00w"),
        b64(b"jo\ne:pw"),
        b64(b"joe:pw\x7f"),
    ],
)
def test_basic_refused(rest: str) -> None:
    """Anything but strict base64 of UTF-8 with a colon and without control characters is refused (RFC 7617)."""
    with pytest.raises(HeaderError):
        basic_credentials(rest)


LATIN = [("jörg", "päss"), ("joe", "n°1½"), ("ÿ", "ÿ"), ("", "ä"), ("Ã", "Ã")]


@pytest.mark.parametrize(("username", "password"), LATIN)
def test_basic_latin1(username: str, password: str) -> None:
    """With the fallback, credentials that cannot be UTF-8 are read as ISO-8859-1; without it they are refused."""
    rest = b64(f"{username}:{password}".encode("latin-1"))
    assert basic_credentials(rest, latin1_fallback=True) == (username, password)
    with pytest.raises(HeaderError):
        basic_credentials(rest)


@pytest.mark.parametrize(("username", "password"), [*LATIN, ("joe", "pw"), ("ж", "日本")])
def test_basic_fallback_leaves_utf8_alone(username: str, password: str) -> None:
    """What is UTF-8 has this reading only, with the fallback or without it."""
    rest = b64(f"{username}:{password}".encode())
    assert basic_credentials(rest, latin1_fallback=True) == basic_credentials(rest) == (username, password)


@pytest.mark.parametrize("data", [b"joe:\x80", b"j\x9fe:\xe4", b"joe\xe4", b"joe:\xe4\x00", b"joe:\xe4\x7f"])
def test_basic_latin1_refused(data: bytes) -> None:
    """Bytes without a character in ISO-8859-1, control characters and a missing colon are refused in both readings."""
    for fallback in (False, True):
        with pytest.raises(HeaderError):
            basic_credentials(b64(data), latin1_fallback=fallback)


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=":")),
    st.text(st.characters(exclude_categories=["Cc", "Cs"])),
)
def test_basic_round_trip(username: str, password: str) -> None:
    """What basic_value writes, parse_authorization and basic_credentials read back."""
    scheme, rest = parse_authorization(basic_value(username, password).encode("ascii"))
    assert (scheme, *basic_credentials(rest)) == ("basic", username, password)


@pytest.mark.parametrize(("username", "password"), [("a:b", "c"), ("a\n", "c"), ("a", "c\r")])
def test_basic_value_refused(username: str, password: str) -> None:
    """Credentials that Basic cannot carry are refused and not sent as something else."""
    with pytest.raises(HeaderError):
        basic_value(username, password)


@given(st.text())
def test_quoted(text: str) -> None:
    """A quoted-string ends where it should: no control character, and quotes and backslashes escaped."""
    result = quoted(text)
    inner = result[1:-1]
    assert result[0] == result[-1] == '"'
    assert not any(ord(character) < 32 or ord(character) == 127 for character in result)
    unescaped, rest = "", inner
    while rest:
        assert rest[0] != '"'
        if rest[0] == "\\":
            assert rest[1] in '\\"'
            rest = rest[1:]
        unescaped, rest = unescaped + rest[0], rest[1:]
    assert len(unescaped) == len(text)


def test_check_data() -> None:
    """Challenge data is printable ASCII, part by part, and handed back as it is."""
    assert check_data(["a b", 'nonce="x"']) == ("a b", 'nonce="x"')
    for bad in (["a\r\nSet-Cookie: x"], ["a\n"], ["\0"], [""], ["ä"], [b"a"], [1], ["ok", "\x7f"]):
        with pytest.raises(ValueError, match="challenge data"):
            check_data(bad)  # type: ignore[arg-type]


def test_query() -> None:
    """Only wanted parameters are read, names and values decoded, an empty value is a value."""
    assert query_values(b"x=1&token=a%20b+c&%61=&y", NAMES) == {"token": "a b c", "a": ""}
    assert query_values(b"token", NAMES) == {"token": ""}
    assert query_values(b"TOKEN=1&x=%ff&%ff=1", NAMES) == {}


@pytest.mark.parametrize(
    "query",
    [
        b"token=1&token=2",
        b"token=&x=1&token",
        b"token=1&%74oken=1",
        b"token=%ff",
        b"token=%00",
        b"token=a%0d%0ab",
        b"a=1" + b"&" * 1000,
    ],
)
def test_query_refused(query: bytes) -> None:
    """A parameter twice in either spelling, bytes that are not UTF-8, control characters, too many fields: refused."""
    with pytest.raises(HeaderError):
        query_values(query, NAMES)


def test_cookies() -> None:
    """Only wanted cookies are read, by exact name; blanks around are not part of a value."""
    assert cookie_values(b'x=1; token = v=w ;a="q";token2=1', NAMES) == {"token": "v=w", "a": '"q"'}
    assert cookie_values(b"token; Token=1; ;=;", NAMES) == {}


@pytest.mark.parametrize(
    "header", [b"token=1; token=2", b"token=; a=1;token=1", b"token=a\x01b", b"token=\x7f", b";" * 1000]
)
def test_cookies_refused(header: bytes) -> None:
    """A cookie twice, a control character, too many: refused."""
    with pytest.raises(HeaderError):
        cookie_values(header, NAMES)


PARSERS: list[Callable[[bytes], object]] = [
    parse_authorization,
    lambda data: basic_credentials(data.decode("latin-1")),
    lambda data: query_values(data, NAMES),
    lambda data: cookie_values(data, NAMES),
]
pieces = st.sampled_from(
    [b"token", b"=", b"&", b";", b"%", b"%7", b"%00", b" ", b"\t", b"Basic", b"Application", b"YTpi", b"\xff"]
)


@given(st.sampled_from(PARSERS), st.binary(max_size=60) | st.lists(pieces, max_size=12).map(b"".join))
def test_nothing_but_header_error(parser: Callable[[bytes], object], data: bytes) -> None:
    """Whatever a client sends, a parser answers or raises HeaderError."""
    with contextlib.suppress(HeaderError):
        parser(data)


@pytest.mark.timing
@pytest.mark.parametrize(
    "unit", [b"%", b"%41", b"+", b"=", b"a=", b" ", b"\t", b"A", b"Application ", b"token=%", b"\\", b'"', b", "]
)
@pytest.mark.parametrize("parser", PARSERS)
def test_linear(parser: Callable[[bytes], object], unit: bytes) -> None:
    """64 KiB of the worst input take no longer than a few milliseconds."""
    data = (unit * 65536)[:65536]
    for hostile in (data, b"Basic " + data, b"token=" + data):
        start = time.perf_counter()
        with contextlib.suppress(HeaderError):
            parser(hostile)
        assert time.perf_counter() - start < 0.25
