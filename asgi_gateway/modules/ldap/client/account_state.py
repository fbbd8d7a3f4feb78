"""Read from a user's entry whether the account may be used, and when its password last changed.

The attributes are those of Active Directory and Samba, OpenLDAP with its password policy overlay, 389 Directory Server
and FreeIPA, eDirectory, PingDirectory and OpenDJ, and RFC 2307 shadow accounts. An attribute that the entry does not
show says nothing: the server does not know it, or the account that reads may not see it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client.entries import Entry

__all__ = ["STATE_ATTRIBUTES", "password_times", "unique_ids", "unusable_by_entry"]

_DISABLED = 0x2  # ADS_UF_ACCOUNTDISABLE of userAccountControl
_NEVER = (0, 0x7FFFFFFFFFFFFFFF)  # accountExpires (MS-ADA1 2.1)
_FILETIME_EPOCH = 11_644_473_600
_DAY = 86_400
_LOCKED_BY_ADMINISTRATOR = "000001010000Z"

_SWITCHES = {
    "nsAccountLock": "account inactivated",  # 389 Directory Server, FreeIPA
    "loginDisabled": "account disabled",  # eDirectory
    "ds-pwp-account-disabled": "account disabled",  # PingDirectory, OpenDJ
}
_ENDS = (
    "pwdEndTime",  # draft-behera-ldap-password-policy-10
    "krbPrincipalExpiration",  # FreeIPA
    "loginExpirationTime",  # eDirectory
    "ds-pwp-account-expiration-time",  # PingDirectory, OpenDJ
)
_PASSWORD_TIMES = (
    "pwdLastSet",  # Active Directory, Samba
    "pwdChangedTime",  # OpenLDAP (ppolicy), eDirectory, PingDirectory, OpenDJ
    "pwdUpdateTime",  # 389 Directory Server with passwordTrackUpdateTime: on
    "passwordLastChanged",
    "krbLastPwdChange",  # FreeIPA
    "shadowLastChange",  # RFC 2307
    "sambaPwdLastSet",
)
_IDS = ("objectGUID", "entryUUID", "nsUniqueId", "ipaUniqueID", "GUID")

STATE_ATTRIBUTES = (
    "userAccountControl",
    "accountExpires",
    "pwdAccountLockedTime",
    "shadowExpire",
    *_SWITCHES,
    *_ENDS,
    *_PASSWORD_TIMES,
    *_IDS,
)
"""The attributes to read."""

_SAYS_UNUSABLE = frozenset(
    name.lower()
    for name in ("userAccountControl", "accountExpires", "pwdAccountLockedTime", "shadowExpire", *_SWITCHES, *_ENDS)
)


def unusable_by_entry(entry: Entry, now: float) -> str | None:
    """Return why an account may not be used by what its entry says; None if the entry says nothing against it.

    A lockout after failed logins does not count: else anyone could end other users' sessions by wrong passwords.

    Args:
        entry: the user's entry, read with ``STATE_ATTRIBUTES``.
        now: seconds since the epoch.

    Raises:
        LoginUnavailable: a value cannot be read.
    """
    if entry.attributes.keys().isdisjoint(_SAYS_UNUSABLE):
        return None
    return _disabled(entry) or ("account expired" if _expired(entry, now) else None)


def _disabled(entry: Entry) -> str | None:
    locked = entry.text("pwdAccountLockedTime") == _LOCKED_BY_ADMINISTRATOR
    if locked or _number(entry, "userAccountControl") & _DISABLED:
        return "account disabled"
    on = (reason for name, reason in _SWITCHES.items() if (entry.text(name) or "").strip().lower() == "true")
    return next(on, None)


def _expired(entry: Entry, now: float) -> bool:
    expires = _number(entry, "accountExpires")
    if expires not in _NEVER and expires / 10_000_000 - _FILETIME_EPOCH <= now:
        return True
    days = _number(entry, "shadowExpire", absent=-1)
    if days >= 0 and days * _DAY <= now:
        return True
    return any(entry.text(attribute) is not None and _time(entry, attribute) <= now for attribute in _ENDS)


def password_times(entry: Entry) -> dict[str, str]:
    """Return when the password last changed, by attribute as the entry shows it."""
    return _shown(_PASSWORD_TIMES, entry, bytes.decode)


def unique_ids(entry: Entry) -> dict[str, str]:
    """Return the identifiers that an entry keeps when it is renamed, and that a later entry of its name lacks."""
    return _shown(_IDS, entry, bytes.hex)


def _shown(attributes: tuple[str, ...], entry: Entry, text: Callable[[bytes], str]) -> dict[str, str]:
    found = entry.attributes
    return {name: text(found[lower][0]) for name in attributes if found.get(lower := name.lower())}


def _number(entry: Entry, attribute: str, absent: int = 0) -> int:
    text = entry.text(attribute)
    try:
        return int(text) if text is not None else absent
    except ValueError:
        raise LoginUnavailable(f"invalid {attribute} in the entry {entry.dn}: not a number") from None


def _time(entry: Entry, attribute: str) -> float:
    text = (entry.text(attribute) or "").split(".")[0].rstrip("Z")
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise LoginUnavailable(f"invalid {attribute} in the entry {entry.dn}: not a time") from None
