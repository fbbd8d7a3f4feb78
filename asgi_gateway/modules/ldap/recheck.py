"""Define what is kept of a login by LDAP, so that it can be checked again without its password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asgi_gateway.modules.ldap.client.account_state import password_times, unique_ids
from asgi_gateway.modules.ldap.client.entries import Entry
from asgi_gateway.modules.ldap.client.names import canonical_dn

__all__ = ["LoginRecord", "record_of"]

_KEYS = frozenset({"values", "dn", "ids", "password", "complete", "roles"})


def record_of(
    values: Mapping[str, str], dn: str, entry: Entry | None, roles: list[str], *, as_account: bool
) -> dict[str, Any]:
    """Return what ``recheck`` needs of a login, as JSON values without secrets.

    Args:
        values: the values of the placeholders.
        dn: the DN of the user's entry.
        entry: the entry as it was read, if it was.
        roles: the roles that it gave.
        as_account: the entry was read by the bind account, which sees the same attributes again.
    """
    return {
        "values": dict(values),
        "dn": dn,
        "ids": unique_ids(entry) if entry is not None else {},
        "password": password_times(entry) if entry is not None else {},
        "complete": as_account,
        "roles": sorted(roles),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRecord:
    """A login as it was.

    Args:
        values: the values of the placeholders.
        dn: the DN of the user's entry.
        ids: the entry's identifiers, by attribute.
        password: when the password had last changed, by attribute.
        complete: an attribute that ``password`` lacks was not there, since the bind account read the entry.
        roles: the roles.
    """

    values: dict[str, str]
    dn: str
    ids: dict[str, str]
    password: dict[str, str]
    complete: bool
    roles: frozenset[str]

    @classmethod
    def parsed(cls, data: Any) -> LoginRecord | None:
        """Return the record that ``record_of`` made; None for other data."""
        if not isinstance(data, Mapping) or not data.keys() >= _KEYS:
            return None
        return cls(
            values={str(name): str(value) for name, value in data["values"].items()},
            dn=str(data["dn"]),
            ids=dict(data["ids"]),
            password=dict(data["password"]),
            complete=bool(data["complete"]),
            roles=frozenset(data["roles"]),
        )

    def difference(self, dn: str, entry: Entry | None, roles: list[str]) -> str | None:
        """Return why a user of now is not the one who logged in; None if nothing changed.

        Args:
            dn: the DN of the entry found now.
            entry: the entry found now.
            roles: the roles of now.
        """
        if canonical_dn(dn) != canonical_dn(self.dn):
            return f"the entry is now {dn}"
        if entry is not None and any(self.ids[name] != i for name, i in unique_ids(entry).items() if name in self.ids):
            return "the entry was deleted and created again"
        if entry is not None and (changed := self._password_changed(password_times(entry))):
            return f"the password changed ({changed})"
        if self.roles != frozenset(roles):
            return f"the roles are now {sorted(roles)}"
        return None

    def _password_changed(self, now: dict[str, str]) -> str | None:
        """Return the attribute that shows a change of the password."""
        for attribute, time in now.items():
            if attribute in self.password:
                if self.password[attribute] != time:
                    return attribute
            elif self.complete:
                return attribute
        return None
