from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.modules.keystore import KeyStoreOptions, _path_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keyStoreURL": "users.p12"}, "a file: URL is needed"),
        ({"keyStoreURL": "https://example.com/users.p12"}, "a file: URL is needed"),
        ({"keyStoreURL": "NONE"}, "a file: URL is needed"),
        ({"keyStoreURL": "file:"}, "names no file"),
        ({"keyStoreURL": "file:///"}, "names no file"),
        ({"keyStorePasswordURL": "file:a%00b"}, "names no file"),
        ({"keyStoreType": "PKCS11"}, "hardware token"),
        ({"keyStoreType": "BKS"}, "'JKS', 'JCEKS' or 'PKCS12'"),
        ({"keyStoreAlias": ""}, "the alias is empty"),
        ({"protected": True, "keyStorePasswordURL": "file:store.pw"}, "protected=true excludes"),
        ({"protected": True, "privateKeyPasswordURL": "file:store.pw"}, "protected=true excludes"),
        ({"protected": True}, "a gateway has no such token"),
        ({"debug": "yes"}, "neither true nor false"),
        ({"keystoreURL": "file:users.p12"}, "Extra inputs"),
    ],
)
def test_options_refused(options: dict[str, str] | dict[str, Any] | dict[str, bool], message: str) -> None:
    """Options that cannot work, alone or together, are refused with the reason."""
    with pytest.raises(ValidationError, match=message):
        KeyStoreOptions(**options)


def test_options() -> None:
    """Types are known in any case, and the default keystore is the JDK's."""
    assert KeyStoreOptions(keyStoreType="jceks").keyStoreType == "JCEKS"
    assert KeyStoreOptions().keyStoreURL == "file:~/.keystore"
    assert KeyStoreOptions(keyStoreType=None, keyStorePasswordURL=None) == KeyStoreOptions()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:users.p12", "users.p12"),
        ("file:sub/users.p12", "sub/users.p12"),
        ("file://users.p12", "users.p12"),
        ("file:/etc/users.p12", "/etc/users.p12"),
        ("FILE:///etc/users.p12", "/etc/users.p12"),
        ("file://localhost/etc/users.p12", "/etc/users.p12"),
        ("file:a%20b%C3%A4.p12", "a bä.p12"),
        ("file:%ff", "\udcff"),
        ("file:~/.keystore", "~/.keystore"),
        ("file://~/.keystore", "~/.keystore"),
    ],
)
def test_file_urls(url: str, path: str) -> None:
    """A file: URL names a file with one, two or three slashes, or none; percent escapes are read."""
    assert _path_of(url) == Path(path)
