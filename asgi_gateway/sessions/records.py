"""Subjects as JSON data that a store can keep between two requests."""

from __future__ import annotations

from asgi_gateway.model import GroupPrincipal, Principal, RolePrincipal, Subject, UserPrincipal

__all__ = ["subject_from_json", "subject_to_json"]

_KINDS: dict[str, type[Principal]] = {
    kind.__name__: kind for kind in (Principal, UserPrincipal, RolePrincipal, GroupPrincipal)
}


def subject_to_json(subject: Subject) -> list[list[str]]:
    """Return the subject's principals as ``[kind, name]`` pairs; credentials are left out.

    A principal of a module's own class becomes the kind that the class derives from.
    """
    return [[_kind(principal), principal.name] for principal in subject.principals]


def subject_from_json(data: list[list[str]]) -> Subject:
    """Return the subject of such pairs. An unknown kind becomes a bare principal, which is never a role.

    Raises:
        TypeError: ``data`` is no list of pairs.
        ValueError: likewise, or a name is empty.
    """
    return Subject(tuple(_KINDS.get(kind, Principal)(name) for kind, name in data))


def _kind(principal: Principal) -> str:
    return next(kind.__name__ for kind in type(principal).__mro__ if _KINDS.get(kind.__name__) is kind)
