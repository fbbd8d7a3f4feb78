"""Define what is kept of a login with a directory, so that it can be checked again without its password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asgi_gateway.modules.ldap.client.names import canonical_dn

__all__ = ["LoginRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRecord:
    """A login as it was, or as it would be now. Holds no secret, since it is kept with the session.

    Args:
        values: the values of the placeholders, by which the user is found again.
        dn: the DN of the user's entry.
        ids: the entry's identifiers, by attribute.
        password: when the password had last changed, by attribute.
        complete: ``password`` lacks no attribute that the bind account can see.
        roles: the roles, sorted.
    """

    values: dict[str, str]
    dn: str
    ids: dict[str, str]
    password: dict[str, str]
    complete: bool
    roles: list[str]

    def data(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {
            "values": self.values,
            "dn": self.dn,
            "ids": self.ids,
            "password": self.password,
            "complete": self.complete,
            "roles": self.roles,
        }

    @classmethod
    def parsed(cls, data: Any) -> LoginRecord | None:
        """Return the record that became ``data``; None for other data."""
        if not isinstance(data, Mapping) or set(data) != set(cls.__slots__):
            return None
        return cls(**data)

    def difference(self, now: LoginRecord) -> str | None:
        """Return why a user of now is not the one who logged in; None if nothing changed.

        Args:
            now: the same user, read again by the bind account.
        """
        if canonical_dn(now.dn) != canonical_dn(self.dn):
            return f"the entry is now {now.dn}"
        if any(self.ids[attribute] != value for attribute, value in now.ids.items() if attribute in self.ids):
            return "the entry was deleted and created again"
        if attribute := self._changed_password(now.password):
            return f"the password changed ({attribute})"
        if self.roles != now.roles:
            return f"the roles are now {now.roles}"
        return None

    def _changed_password(self, now: dict[str, str]) -> str | None:
        """Return the attribute that shows a change of the password."""
        for attribute, time in now.items():
            if self.password.get(attribute, time if not self.complete else None) != time:
                return attribute
        return None
