"""What is kept of a login, and when it no longer holds."""

from __future__ import annotations

import json

import pytest

from asgi_gateway.modules.ldap.client.account_state import password_times, unique_ids
from asgi_gateway.modules.ldap.client.entries import Entry
from asgi_gateway.modules.ldap.recheck import LoginRecord

VALUES = {"USERNAME": "alice", "REALM": ""}


def entry(**attributes: str) -> Entry:
    return Entry("uid=alice,dc=x", {name.lower(): [value.encode()] for name, value in attributes.items()})


def record(*, as_account: bool = True, **attributes: str) -> LoginRecord:
    found = entry(**attributes)
    made = LoginRecord(
        values=VALUES,
        dn=found.dn,
        ids=unique_ids(found),
        password=password_times(found),
        complete=as_account,
        roles=["a", "b"],
    )
    parsed = LoginRecord.parsed(json.loads(json.dumps(made.data())))
    assert parsed == made
    return made


@pytest.mark.parametrize("data", [None, {}, [], "x", {"dn": "uid=alice,dc=x"}])
def test_other_data(data: object) -> None:
    """Data of another module, or none, is no record."""
    assert LoginRecord.parsed(data) is None


def test_what_is_kept() -> None:
    """A record survives JSON, and holds no attribute but identifiers and times."""
    kept = record(entryUUID="u", pwdChangedTime="1", userPassword="hunter2", mail="a@example.com")
    assert (kept.values, kept.ids, kept.password) == (VALUES, {"entryUUID": b"u".hex()}, {"pwdChangedTime": "1"})
    assert "hunter2" not in repr(kept)
