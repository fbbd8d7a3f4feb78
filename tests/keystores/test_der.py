"""BER and DER: indefinite lengths, split strings, damaged data, and names as Java writes them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from asgi_gateway.keystores.der import as_der, distinguished_name, elements, read_certificate
from asgi_gateway.keystores.load import load_keystore
from tests.keystores import PASSWORD, STORES

OTHERS = STORES / "others"
NAMES = dict(line.split("\t") for line in (OTHERS / "names.txt").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("alias", sorted(set(NAMES) - {"teletex"}))
def test_names_as_java(alias: str) -> None:
    """A subject is written just as Java's X500Principal.getName() writes it, so that roles by name match."""
    (certificate,) = load_keystore(OTHERS / "names.p12", PASSWORD).chain(alias)
    subject = read_certificate(certificate.public_bytes(Encoding.DER)).subject
    assert distinguished_name(subject) == NAMES[alias]


def test_names_that_java_confuses() -> None:
    """Letters of TeletexString beyond ASCII, which Java makes one and the same, stay apart."""
    (certificate,) = load_keystore(OTHERS / "names.p12", PASSWORD).chain("teletex")
    subject = read_certificate(certificate.public_bytes(Encoding.DER)).subject
    assert distinguished_name(subject) == "CN=Jürgen,O=Beispiel & Söhne"
    assert NAMES["teletex"] == "CN=J\ufffdrgen,O=Beispiel & S\ufffdhne"


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        (0x0C, b" a ", r"CN=\ a\ "), (0x0C, b"   ", r"CN=\ \ \ "), (0x0C, b"a\0b", r"CN=a\00b"),
        (0x1E, "é".encode("utf-16-be"), "CN=é"), (0x1C, "é".encode("utf-32-be"), "CN=é"), (0x14, b"\xe9", "CN=é"),
        (0x0C, b"", "CN="), (0x03, b"\0\1", "CN=#03020001"), (0x0C, b'a,b+c"d\\e<f>g;h=i#j',
        r"CN=a\,b\+c\"d\\e\<f\>g\;h\=i\#j"),
    ],
)  # fmt: skip
def test_one_attribute(kind: int, content: bytes, text: str) -> None:
    """Each kind of string is decoded and escaped; other values are written in hexadecimal."""
    value = bytes((kind, len(content))) + content
    attribute = b"\x06\x03\x55\x04\x03" + value
    pair = b"\x30" + bytes((len(attribute),)) + attribute
    relative = b"\x31" + bytes((len(pair),)) + pair
    assert distinguished_name(b"\x30" + bytes((len(relative),)) + relative) == text
    assert distinguished_name(b"\x30\0") == ""


@pytest.mark.parametrize(
    ("ber", "der"),
    [
        ("0401ff", "0401ff"), ("3080040161040162" + "0000", "3006040161040162"),
        ("2480040161040162" + "0000", "04026162"), ("240604016104016200", "04026162"),
        ("a0802480" + "0401610000" + "0000", "a003040161"),
        ("3081020500", "30020500"), ("30840000000204" + "00", "30020400"),
        ("1f8101020500", "1f8101020500"), ("3080308030800000" + "00000000", "300430023000"),
    ],
)  # fmt: skip
def test_as_der(ber: str, der: str) -> None:
    """Indefinite and long lengths become definite and short ones, split octet strings whole ones."""
    assert as_der(bytes.fromhex(ber)).hex() == der


@pytest.mark.parametrize(
    "data",
    ["", "30", "3005", "308004", "30800401", "3080040161", "0480", "0401", "3085010000000004", "30ff", "1f",
     "24800201610000",
     "3080" * 60 + "0000" * 60],
)  # fmt: skip
def test_damaged(data: str) -> None:
    """What is truncated, malformed or nested without end is an error."""
    if data == "24800201610000":  # an octet string that is split into something else is still bounded
        assert as_der(bytes.fromhex(data))
        return
    with pytest.raises(ValueError, match=r"truncated|primitive|nested"):
        as_der(bytes.fromhex(data))


def test_not_a_certificate() -> None:
    """What is not a certificate is an error; elements that end early are one, too."""
    for data in (b"", b"\x30\0", b"\x30\x02\x30\0", b"x" * 20):
        with pytest.raises(ValueError, match="certificate"):
            read_certificate(data)
    with pytest.raises(ValueError, match="truncated"):
        list(elements(b"\x04\x05a"))
