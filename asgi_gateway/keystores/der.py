"""Read ASN.1 in BER and DER (X.690): what other tools write in indefinite lengths, and the names in certificates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Certificate", "Element", "as_der", "distinguished_name", "elements", "read_certificate"]

_MAX_DEPTH = 50
_CONSTRUCTED = 0x20
_OCTET_STRING = 0x04
_SEQUENCE, _SET, _OBJECT_IDENTIFIER = 0x30, 0x31, 0x06
_VERSION = 0xA0
_END_OF_CONTENTS = b"\0\0"

_KEYWORDS = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
"""The attributes that RFC 2253 section 2.3 and RFC 4514 section 3 give names; all others are written as numbers."""
_ENCODINGS = {
    0x0C: "utf-8",  # UTF8String
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString, as all software reads it
    0x16: "ascii",  # IA5String
    0x1B: "ascii",  # GeneralString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
_ESCAPED = set(',=+<>#;"\\')


@dataclass(frozen=True, slots=True)
class Element:
    """One element in DER.

    Args:
        tag: the identifier's first octet.
        content: the content octets.
        encoded: the whole element.
    """

    tag: int
    content: bytes
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """The parts of a certificate (RFC 5280 section 4.1) that keystores go by, each in DER."""

    issuer: bytes
    subject: bytes
    public_key: bytes


def as_der(data: bytes) -> bytes:
    """Return the first element of some data with definite lengths and unsplit octet strings.

    The content of octet strings stays as it is, since digests are computed over it.

    Raises:
        ValueError: the data is truncated or malformed.
    """
    encoded, _ = _converted(data, 0, 0)
    return encoded


def elements(content: bytes) -> Iterator[Element]:
    """Yield the elements of some content in DER.

    Raises:
        ValueError: the content is truncated or malformed.
    """
    position = 0
    while position < len(content):
        start, body, length = _header(content, position)
        if length is None or body + length > len(content):
            raise ValueError("truncated element")
        position = body + length
        yield Element(content[start], content[body:position], content[start:position])


def read_certificate(encoded: bytes) -> Certificate:
    """Return issuer, subject and public key of a certificate, including one that stricter parsers refuse.

    Raises:
        ValueError: it is not a certificate.
    """
    try:
        (certificate,) = elements(encoded)
        to_be_signed = next(elements(certificate.content))
        parts = [part.encoded for part in elements(to_be_signed.content) if part.tag != _VERSION]
        _, _, issuer, _, subject, public_key = parts[:6]
    except (StopIteration, ValueError):
        raise ValueError("not a certificate") from None
    return Certificate(issuer, subject, public_key)


def distinguished_name(encoded: bytes) -> str:
    """Return an X.500 name as text, just as Java's ``X500Principal.getName()`` does (RFC 2253; also RFC 4514).

    Args:
        encoded: the name in DER.

    Raises:
        ValueError: it is not a name.
    """
    (name,) = elements(encoded)
    parts = [
        "+".join(_attribute(attribute) for attribute in elements(relative.content))
        for relative in elements(name.content)
    ]
    return ",".join(reversed(parts))


def _attribute(element: Element) -> str:
    kind, value = elements(element.content)
    number = _object_identifier(kind.content)
    keyword, encoding = _KEYWORDS.get(number), _ENCODINGS.get(value.tag)
    if keyword is None or encoding is None:
        return f"{keyword or number}=#{value.encoded.hex()}"
    return f"{keyword}={_escaped(value.content.decode(encoding))}"


def _escaped(text: str) -> str:
    characters = ["\\00" if c == "\0" else f"\\{c}" if c in _ESCAPED else c for c in text]
    blanks = len(text) - len(text.lstrip(" "))
    trailing = len(text.rstrip(" "))
    return "".join(
        "\\ " if character == " " and not blanks <= index < trailing else character
        for index, character in enumerate(characters)
    )


def _object_identifier(content: bytes) -> str:
    numbers, value = list[int](), 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise ValueError("empty object identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _converted(data: bytes, position: int, depth: int) -> tuple[bytes, int]:
    """Return the element at a position in DER, and the position after it."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    start, body, length = _header(data, position)
    identifier = data[start : _identifier_end(data, start)]
    end = len(data) if length is None else body + length
    if end > len(data):
        raise ValueError("truncated element")
    if not identifier[0] & _CONSTRUCTED:
        if length is None:
            raise ValueError("a primitive element of indefinite length")
        return _encoded(identifier, data[body:end]), end
    children = list[bytes]()
    position = body
    while position < end:
        if length is None and data[position : position + 2] == _END_OF_CONTENTS:
            position += 2
            break
        child, position = _converted(data, position, depth + 1)
        children.append(child)
    else:
        if length is None:
            raise ValueError("truncated element")
    if identifier[0] == _OCTET_STRING | _CONSTRUCTED:
        content = b"".join(next(elements(child)).content for child in children)
        return _encoded(bytes((_OCTET_STRING,)), content), position
    return _encoded(identifier, b"".join(children)), position


def _header(data: bytes, position: int) -> tuple[int, int, int | None]:
    """Return where an element starts, where its content starts, and the content's length; None if indefinite."""
    end = _identifier_end(data, position)
    first = data[end] if end < len(data) else None
    if first is None:
        raise ValueError("truncated element")
    if first < 0x80:
        return position, end + 1, first
    size = first & 0x7F
    if not size:
        return position, end + 1, None
    if size > 4 or end + 1 + size > len(data):
        raise ValueError("truncated element")
    return position, end + 1 + size, int.from_bytes(data[end + 1 : end + 1 + size])


def _identifier_end(data: bytes, position: int) -> int:
    end = position + 1
    if position < len(data) and data[position] & 0x1F == 0x1F:
        while end < len(data) and data[end] & 0x80:
            end += 1
        end += 1
    return end


def _encoded(identifier: bytes, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return identifier + bytes((size,)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return identifier + bytes((0x80 | len(length),)) + length + content
