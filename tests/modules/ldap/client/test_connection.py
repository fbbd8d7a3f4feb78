"""Entries and deadlines; connections are tested against a real server."""

from __future__ import annotations

import pytest

from asgi_gateway.modules.ldap.client.connection import ConnectionSettings
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.entries import Entry
from asgi_gateway.modules.ldap.client.errors import DeadlineExceeded


def test_values_of_an_entry() -> None:
    """Attributes are found in any letter case; values that are no text, or empty, are left out."""
    entry = Entry("cn=a", {"jpegphoto": [b"\xff\xd8"], "cn": [b"\xff", b"", b"A", "\u00e9".encode()]})
    assert entry.texts("CN") == ["A", "\u00e9"]
    assert entry.text("cn") == "A"
    assert entry.text("jpegPhoto") is None
    assert entry.text("mail") is None
    assert "A" not in repr(entry)


def test_deadline() -> None:
    """What is left is never more than asked for, and nothing begins after the end."""
    assert Deadline(60).left(5) == 5
    assert 0 < Deadline(5).left(60) <= 5
    with pytest.raises(DeadlineExceeded):
        Deadline(0).left(1)


def test_settings_hide_the_password() -> None:
    """The bind account's password is not printed."""
    assert "hunter2" not in repr(
        ConnectionSettings(connect_timeout=1, read_timeout=1, principal="cn=a", password="hunter2")
    )
