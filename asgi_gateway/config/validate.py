"""Validation by the model, its errors in words that name the element, and the parts that are valid by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from asgi_gateway.config.model import ConfigElement, GatewayConfig, RealmConfig, ServiceConfig
from asgi_gateway.config.normalize import NormalizedTree
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.documents import Mark, Node
from asgi_gateway.errors import Problem

__all__ = ["ValidParts", "validate"]

E = TypeVar("E", bound=ConfigElement)


@dataclass(slots=True)
class ValidParts:
    """What is valid of a configuration, so that checks can go on beside other errors.

    Args:
        config: the whole, or None when anything is not valid.
        realms: the valid realms by their index.
        services: the valid services by their index.
        names: every realm's name by the realm's index, those of realms that are not valid included.
        realm_names: the realms that services name, by the service's index, likewise.
        has_services: whether the file names any service.
    """

    config: GatewayConfig | None
    realms: dict[int, RealmConfig] = field(default_factory=dict)
    services: dict[int, ServiceConfig] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    realm_names: dict[int, list[str]] = field(default_factory=dict)
    has_services: bool = False


def validate(normalized: NormalizedTree, plain: dict[str, Any], where: Callable[[ConfigPath], Mark]) -> ValidParts:
    """Validate an expanded tree; errors are added to the normalized tree's problems.

    Args:
        normalized: the tree that ``plain`` was made of.
        plain: dicts, lists and text.
        where: gives the position of a path.
    """
    config = None
    try:
        config = GatewayConfig.model_validate(plain)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        inside = {tuple(details["loc"][:-1]) for details in found}
        for details in found:
            path: ConfigPath = tuple(details["loc"])
            if details["type"] == "too_short" and path in inside:
                continue  # not empty: none of what is in it is valid, and each was told
            if not any(path[: len(bad)] == bad for bad in normalized.broken):
                normalized.problems.append(_problem(normalized.root, path, details, where))
    realms = plain.get("security", {}).get("realms", [])
    services = plain.get("services")
    return ValidParts(
        config,
        _valid(RealmConfig, realms),
        _valid(ServiceConfig, services or []),
        {index: name for index, realm in enumerate(realms) if (name := realm.get("name"))},
        {index: service.get("realm-name", []) for index, service in enumerate(services or [])},
        services is not None,
    )


def _valid(cls: type[E], items: list[Any]) -> dict[int, E]:
    found = {}
    for index, item in enumerate(items):
        try:
            found[index] = cls.model_validate(item)
        except ValidationError:
            continue
    return found


def _problem(root: Node, path: ConfigPath, details: Any, where: Callable[[ConfigPath], Mark]) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    mark = where(path)
    message, hint = details["msg"], ""
    if kind == "missing":
        message, hint = "is missing", f"add {path[-1]}"
    elif kind in ("literal_error", "enum"):
        choices = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        # the text as the file has it: what ${} expands to may be a secret
        message = f"{_text(root, path)!r} is not allowed here"
        hint = did_you_mean(_text(root, path), choices)
    elif kind in ("too_short", "string_too_short"):
        message, hint = "is empty", "give a value"
    elif kind == "value_error":
        message, _, hint = message.removeprefix("Value error, ").partition("; ")
    elif kind.startswith("int_"):
        message = "is not a whole number"
    else:
        message = message.replace("Input should", "must")
    return mark.problem(message, path=path_text(path), hint=hint)


def _text(node: Node, path: ConfigPath) -> str:
    for step in path:
        node = node.items[step] if isinstance(step, int) else node.entries[step]
    return node.text[:80]
