"""The authorization decision: a service's required roles against those of a subject."""

from __future__ import annotations

from collections.abc import Iterable

from asgi_gateway.model import Subject

__all__ = ["Authorization"]


class Authorization:
    """A compiled ``authorization-constraint``.

    Args:
        roles: The roles that a subject must all hold. ``*`` stands for any authenticated user and requires no role.
    """

    __slots__ = ("roles",)

    def __init__(self, roles: Iterable[str] = ()) -> None:
        self.roles = frozenset(roles) - {"*"}

    def missing(self, subject: Subject) -> frozenset[str]:
        """Return the required roles that the subject lacks; an empty set grants access.

        Roles come from role and group principals. A user's own name is never a role.

        Args:
            subject: The authenticated subject.
        """
        return self.roles - subject.roles
