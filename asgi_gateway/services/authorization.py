"""Whether a subject may use a service: the constraint's roles against the subject's."""

from __future__ import annotations

from collections.abc import Iterable

from asgi_gateway.model import Subject

__all__ = ["Authorization"]


class Authorization:
    """An ``authorization-constraint``, worked out.

    Args:
        roles: the roles that must all be held; ``*`` asks for none beyond a valid user.
    """

    __slots__ = ("roles",)

    def __init__(self, roles: Iterable[str] = ()) -> None:
        self.roles = frozenset(roles) - {"*"}

    def missing(self, subject: Subject) -> frozenset[str]:
        """The roles that the subject lacks; empty means allowed. A user's own name is never a role."""
        return self.roles - subject.roles
