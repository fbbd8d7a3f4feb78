"""Subjects as data that a store can keep between two requests."""

from __future__ import annotations

from asgi_gateway.model import GroupPrincipal, Principal, RolePrincipal, Subject, UserPrincipal

__all__ = ["subject_from_json", "subject_to_json"]

_KINDS: dict[str, type[Principal]] = {
    kind.__name__: kind for kind in (Principal, UserPrincipal, RolePrincipal, GroupPrincipal)
}


def subject_to_json(subject: Subject) -> list[list[str]]:
    """The subject's principals for JSON; credentials are left out.

    A module's own kind of principal becomes the kind that it derives from.
    """
    return [[_kind(principal), principal.name] for principal in subject.principals]


def subject_from_json(data: list[list[str]]) -> Subject:
    """The subject of such data. A kind that is not known becomes a bare principal, which is never a role.

    Raises:
        TypeError: it is no such data.
        ValueError: likewise.
    """
    return Subject(tuple(_KINDS.get(kind, Principal)(name) for kind, name in data))


def _kind(principal: Principal) -> str:
    return next(kind.__name__ for kind in type(principal).__mro__ if _KINDS.get(kind.__name__) is kind)
