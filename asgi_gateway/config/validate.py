"""Validate by the model: errors in words that name the element, and the parts that are valid by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from asgi_gateway.config.model import (
    ConfigElement,
    GatewayConfig,
    LoginModuleConfig,
    RealmConfig,
    SecurityConfig,
    ServiceConfig,
)
from asgi_gateway.config.normalize import NormalizedTree
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.documents import Mark, Node
from asgi_gateway.errors import Problem

__all__ = ["ValidParts", "describe", "validate"]

E = TypeVar("E", bound=ConfigElement)
K = TypeVar("K")

_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "path": "a file name",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "names with values",
    "mapping": "names with values",
}


@dataclass(slots=True, kw_only=True)
class ValidParts:
    """The valid parts of a configuration, so that checks can go on in spite of errors elsewhere.

    Args:
        config: the whole, or None when anything is not valid.
        security: the valid stores, state and keys; its realms are in ``realms``.
        realms: the valid realms by their index.
        modules: the valid login modules by the indices of their realm and of themselves.
        schemes: the names of challenge schemes by the index of their realm.
        services: the valid services by their index.
        names: every realm's name by the realm's index, those of realms that are not valid included.
        realm_names: the realms that services name, by the service's index, likewise.
        has_services: whether the file has services.
    """

    config: GatewayConfig | None
    security: SecurityConfig
    realms: dict[int, RealmConfig] = field(default_factory=dict)
    modules: dict[tuple[int, int], LoginModuleConfig] = field(default_factory=dict)
    schemes: dict[int, list[str]] = field(default_factory=dict)
    services: dict[int, ServiceConfig] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    realm_names: dict[int, list[str]] = field(default_factory=dict)
    has_services: bool = False


def validate(normalized: NormalizedTree, values: dict[str, Any], where: Callable[[ConfigPath], Mark]) -> ValidParts:
    """Validate an expanded tree; errors are added to the normalized tree's problems.

    Args:
        normalized: the tree from which ``values`` were made.
        values: dicts, lists and text.
        where: gives the position of a path.
    """
    config = None
    try:
        config = GatewayConfig.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        inside = {tuple(details["loc"][:-1]) for details in found}
        for details in found:
            path: ConfigPath = tuple(details["loc"])
            if details["type"] == "too_short" and path in inside:
                continue  # the list is not empty: none of its items is valid, and each has its own error
            if not any(path[: len(bad)] == bad for bad in normalized.broken):
                normalized.problems.append(_problem(normalized.root, path, details, where))
    security = values.get("security", {})
    realms, services = security.get("realms", []), values.get("services")
    return ValidParts(
        config=config,
        security=_security(security),
        realms=_valid(RealmConfig, enumerate(realms)),
        modules=_valid(LoginModuleConfig, _modules(realms)),
        schemes={index: _authentication(realm).get("http-challenge-scheme", []) for index, realm in enumerate(realms)},
        services=_valid(ServiceConfig, enumerate(services or [])),
        names={index: name for index, realm in enumerate(realms) if (name := realm.get("name"))},
        realm_names={index: service.get("realm-name", []) for index, service in enumerate(services or [])},
        has_services=services is not None,
    )


def describe(details: Mapping[str, Any]) -> tuple[str, str]:
    """Return the message and the hint for one of pydantic's errors; neither shows a value.

    Args:
        details: an item of ``ValidationError.errors()``.
    """
    kind, message = details["type"], details["msg"]
    if kind == "value_error":
        message, _, hint = message.removeprefix("Value error, ").partition("; ")
        return message, hint
    if kind in ("too_short", "string_too_short"):
        return "is empty", "give a value"
    if kind in ("literal_error", "enum"):
        return "invalid value", f"one of: {', '.join(_choices(details))}"
    if (expected := _EXPECTED.get(kind.partition("_")[0])) and kind.endswith(("_type", "_parsing", "_from_float")):
        return f"expected {expected}", ""
    return message.replace("Input should", "must"), ""


def _modules(realms: list[Any]) -> list[tuple[tuple[int, int], Any]]:
    return [
        ((number, index), module)
        for number, realm in enumerate(realms)
        for index, module in enumerate(_authentication(realm).get("login-modules", []))
    ]


def _authentication(realm: Mapping[str, Any]) -> Mapping[str, Any]:
    return realm.get("authentication") or {}


def _security(values: Mapping[str, Any]) -> SecurityConfig:
    """Return those of the elements besides realms that are valid, each by itself."""
    found = {}
    for name in values.keys() - {"realms"}:
        try:
            found[name] = getattr(SecurityConfig.model_validate({name: values[name]}), name.replace("-", "_"))
        except ValidationError:
            continue
    return SecurityConfig.model_construct(**{name.replace("-", "_"): value for name, value in found.items()})


def _valid(cls: type[E], items: Iterable[tuple[K, Any]]) -> dict[K, E]:
    found = {}
    for key, item in items:
        try:
            found[key] = cls.model_validate(item)
        except ValidationError:
            continue
    return found


def _choices(details: Mapping[str, Any]) -> list[str]:
    return [word.strip("'") for word in details["ctx"]["expected"].replace(" or ", ", ").split(", ")]


def _problem(root: Node, path: ConfigPath, details: Mapping[str, Any], where: Callable[[ConfigPath], Mark]) -> Problem:
    if details["type"] == "missing":
        message, hint = "is missing", f"add {path[-1]}"
    elif details["type"] in ("literal_error", "enum"):
        # the text as it is in the file: what ${} expands to may be a secret
        text = _text(root, path)
        message, hint = f"invalid value {text!r}", did_you_mean(text, _choices(details))
    else:
        message, hint = describe(details)
    return where(path).problem(message, path=path_text(path), hint=hint)


def _text(node: Node, path: ConfigPath) -> str:
    for step in path:
        node = node.items[step] if isinstance(step, int) else node.entries[step]
    return node.text[:80]
