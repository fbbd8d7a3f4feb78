"""Whether an account may be used, by the attributes of each brand of directory."""

from __future__ import annotations

import pytest

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client.account_state import (
    STATE_ATTRIBUTES,
    password_times,
    unique_ids,
    unusable_by_entry,
)
from asgi_gateway.modules.ldap.client.entries import Entry

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
DAYS = int(NOW // 86_400)
FILETIME = int((NOW + 11_644_473_600) * 10_000_000)


def entry(**attributes: str) -> Entry:
    return Entry("uid=a,dc=x", {name.replace("_", "-").lower(): [value.encode()] for name, value in attributes.items()})


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, None),
        ({"userAccountControl": "512"}, None),
        ({"userAccountControl": "514"}, "account disabled"),
        ({"userAccountControl": "66050"}, "account disabled"),
        ({"userAccountControl": "528"}, None),  # locked out after failed logins
        ({"accountExpires": "0"}, None),
        ({"accountExpires": "9223372036854775807"}, None),
        ({"accountExpires": str(FILETIME - 10_000_000)}, "account expired"),
        ({"accountExpires": str(FILETIME + 10_000_000)}, None),
        ({"nsAccountLock": "true"}, "account inactivated"),
        ({"nsAccountLock": "TRUE"}, "account inactivated"),
        ({"nsAccountLock": "false"}, None),
        ({"loginDisabled": "TRUE"}, "account disabled"),
        ({"ds_pwp_account_disabled": "true"}, "account disabled"),
        ({"pwdAccountLockedTime": "000001010000Z"}, "account disabled"),
        ({"pwdAccountLockedTime": "20270115075900Z"}, None),  # locked after failed logins
        ({"shadowExpire": "-1"}, None),
        ({"shadowExpire": "0"}, "account expired"),
        ({"shadowExpire": str(DAYS)}, "account expired"),
        ({"shadowExpire": str(DAYS + 1)}, None),
        ({"pwdEndTime": "20270115080000Z"}, "account expired"),
        ({"pwdEndTime": "20270115080001Z"}, None),
        ({"krbPrincipalExpiration": "20260101000000Z"}, "account expired"),
        ({"loginExpirationTime": "20270101000000.0Z"}, "account expired"),
        ({"ds_pwp_account_expiration_time": "20280101000000.000Z"}, None),
    ],
)
def test_unusable_accounts(attributes: dict[str, str], reason: str | None) -> None:
    """Disabled and expired accounts are told in words; a lockout after failed logins is not one of them."""
    assert unusable_by_entry(entry(**attributes), NOW) == reason


@pytest.mark.parametrize(
    "attributes",
    [{"shadowExpire": "soon"}, {"userAccountControl": "x"}, {"pwdEndTime": "2027"}, {"accountExpires": "-"}],
)
def test_values_that_cannot_be_read(attributes: dict[str, str]) -> None:
    """A state that cannot be read is a fault, not an account in good order."""
    with pytest.raises(LoginUnavailable, match=f"invalid {next(iter(attributes))}"):
        unusable_by_entry(entry(**attributes), NOW)


def test_password_times_and_ids() -> None:
    """The time of the last password change and the entry's identifier are kept as the entry shows them."""
    found = entry(pwdLastSet="133", shadowLastChange="19000", entryUUID="u-1", cn="A")
    assert password_times(found) == {"pwdLastSet": "133", "shadowLastChange": "19000"}
    assert unique_ids(found) == {"entryUUID": b"u-1".hex()}
    assert unique_ids(Entry("cn=a", {"objectguid": [b"\xff\x00"]})) == {"objectGUID": "ff00"}
    assert {"pwdLastSet", "entryUUID", "objectGUID", "nsAccountLock"} <= set(STATE_ATTRIBUTES)
