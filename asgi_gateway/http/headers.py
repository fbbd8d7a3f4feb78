"""Read and write the headers that carry credentials, strictly and in linear time. Shared with the client.

Input that could be read in two ways is refused with HeaderError and never repaired.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from asgi_gateway.errors import HeaderError

__all__ = [
    "basic_credentials",
    "basic_value",
    "check_data",
    "cookie_header",
    "cookie_values",
    "parse_authorization",
    "query_values",
    "quoted",
    "single_header",
    "store_once",
]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_C1_CONTROL = re.compile(r"[\x80-\x9f]")
_MAX_FIELDS = 1000


def single_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of a header that may occur once, as every header that decides something may.

    Args:
        headers: names in lower case and values, as in an ASGI scope.
        name: the header's name in lower case.

    Returns:
        the value; None if the header is missing.

    Raises:
        HeaderError: the header occurs twice, even with the same value (RFC 9110 section 5.3). Which one counted would
            depend on who reads them.
    """
    found = None
    for key, value in headers:
        if key == name:
            if found is not None:
                raise _duplicate("header", name.decode("latin-1"))
            found = value
    return found


def cookie_header(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the Cookie header; HTTP/2 may send a line for each cookie (RFC 9113 section 8.2.3).

    Args:
        headers: names in lower case and values, as in an ASGI scope.

    Returns:
        the lines joined with ``; ``; empty if there are none.
    """
    return b"; ".join([value for name, value in headers if name == b"cookie"])


def parse_authorization(value: bytes) -> tuple[str, str]:
    """Split an Authorization value into its scheme, in lower case, and the rest.

    Spaces separate them, and no tab does (RFC 9110 section 11.4). A tab later on is white space as a space is, where
    the scheme has a list of parameters. The scheme's prefix ``Application`` belongs into challenges; a client that
    repeats it is understood.

    Args:
        value: the header's value.

    Returns:
        the scheme, and what follows it without the spaces between them.

    Raises:
        HeaderError: the scheme is missing or is followed by a tab, or there is another control character.
    """
    text = value.decode("latin-1").strip(" \t")
    scheme, _, rest = text.partition(" ")
    if scheme.lower() == "application":
        scheme, _, rest = rest.lstrip(" ").partition(" ")
    rest = rest.lstrip(" ")
    if not _TOKEN.fullmatch(scheme) or rest.startswith("\t"):
        raise HeaderError("malformed Authorization header")
    # a ticket is long, and isprintable() takes a fifth of the regular expression's time
    if not rest.isprintable():
        rest = rest.replace("\t", " ")
        if _CONTROL.search(rest):
            raise HeaderError("malformed Authorization header")
    return scheme.lower(), rest


def basic_credentials(rest: str, *, latin1_fallback: bool = False) -> tuple[str, str]:
    """Read the user name and the password of Basic credentials (RFC 7617): strict base64, the first colon splits.

    Args:
        rest: what follows the scheme.
        latin1_fallback: whether credentials that are not UTF-8 are read as ISO-8859-1, which clients send that do not
            know the challenge's ``charset="UTF-8"``. What is valid UTF-8 is never read otherwise, so that one pair of
            credentials has one reading.

    Returns:
        user name and password; either may be empty.

    Raises:
        HeaderError: the base64 or the text is malformed, the colon is missing, or there is a control character.
    """
    try:
        encoded = rest.encode("ascii")
        data = base64.b64decode(encoded, validate=True)
        text = _decode(data, latin1_fallback=latin1_fallback)
    except (binascii.Error, UnicodeError):
        raise HeaderError("malformed Basic credentials") from None
    username, colon, password = text.partition(":")
    # what is decoded encodes to what was sent: Python lets surplus padding and bits pass (RFC 4648 section 3.5)
    if not colon or _CONTROL.search(text) or base64.b64encode(data) != encoded:
        raise HeaderError("malformed Basic credentials")
    return username, password


def _decode(data: bytes, *, latin1_fallback: bool) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        if not latin1_fallback or _C1_CONTROL.search(text):  # ISO-8859-1 has no characters there, windows-1252 has
            raise
        return text


def basic_value(username: str, password: str) -> str:
    """Return the Authorization value for a user name and a password (RFC 7617, UTF-8).

    Raises:
        HeaderError: the user name has a colon, or either has a control character.
    """
    if ":" in username or _CONTROL.search(username + password):
        raise HeaderError("Basic credentials cannot carry control characters, nor a colon in the user name")
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def quoted(text: str) -> str:
    """Return a quoted-string (RFC 9110 section 5.6.4); control characters become spaces, other text is kept."""
    return '"' + _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def check_data(data: Iterable[str]) -> tuple[str, ...]:
    """Check challenge data for a header.

    Args:
        data: the parts, which are sent with spaces between them.

    Returns:
        the same parts.

    Raises:
        ValueError: a part is empty, is not a string, or has a control character or one outside ASCII.
    """
    parts = tuple(data)
    for part in parts:
        if not isinstance(part, str) or not part or not part.isascii() or not part.isprintable():
            raise ValueError("challenge data must be printable ASCII strings")
    return parts


def query_values(query: bytes, names: frozenset[str]) -> dict[str, str]:
    """Return the values of some query parameters.

    Args:
        query: the query without its question mark.
        names: the wanted parameters; compared exactly, after percent-decoding.

    Returns:
        the values by name; a missing parameter is left out.

    Raises:
        HeaderError: a wanted parameter is a duplicate, is not UTF-8, or has a control character; or there are more than
            1000 fields.
    """
    found: dict[str, str] = {}
    if query.count(b"&") >= _MAX_FIELDS:
        raise HeaderError("too many query parameters")
    for field in query.split(b"&"):
        raw_name, _, raw_value = field.partition(b"=")
        name = unquote_to_bytes(raw_name.replace(b"+", b" ")).decode("utf-8", "replace")
        if name not in names:
            continue
        try:
            value = unquote_to_bytes(raw_value.replace(b"+", b" ")).decode("utf-8")
        except UnicodeError:
            raise HeaderError(f"query parameter {name} is not UTF-8") from None
        store_once(found, "query parameter", name, value)
    return found


def cookie_values(header: bytes, names: frozenset[str]) -> dict[str, str]:
    """Return the values of some cookies (RFC 6265 section 4.2).

    Args:
        header: the Cookie header, as ``cookie_header`` returns it.
        names: the wanted cookies; compared exactly.

    Returns:
        the values by name; a missing cookie is left out.

    Raises:
        HeaderError: a wanted cookie is a duplicate or has a control character; or there are more than 1000 cookies.
    """
    found: dict[str, str] = {}
    if header.count(b";") >= _MAX_FIELDS:
        raise HeaderError("too many cookies")
    for pair in header.decode("latin-1").split(";"):
        name, equals, value = pair.partition("=")
        name = name.strip(" \t")
        if equals and name in names:
            store_once(found, "cookie", name, value.strip(" \t"))
    return found


def store_once(found: dict[str, str], kind: str, name: str, value: str) -> None:
    """Store a named value, which may occur once: the rule of ``single_header`` for all that is read by name.

    Args:
        found: what was read so far; gets the value.
        kind: what the name is, for the message: ``header``, ``cookie``, ``query parameter`` or ``subprotocol``.
        name: the credential's name.
        value: the credential.

    Raises:
        HeaderError: the name is stored already, or the value has a control character.
    """
    if name in found:
        raise _duplicate(kind, name)
    if _CONTROL.search(value):
        raise HeaderError(f"{kind} {name} has a control character")
    found[name] = value


def _duplicate(kind: str, name: str) -> HeaderError:
    return HeaderError(f"duplicate {kind} {name}")
