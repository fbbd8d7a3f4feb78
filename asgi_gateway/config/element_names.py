"""List the names that files may use: the model's, in the singular and the plural, and the original's beyond them."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from asgi_gateway.config.model import ConfigElement, GatewayConfig, ServiceConfig

__all__ = ["IGNORED", "Field", "FieldKind", "element_accepting", "fields", "ignored_option", "names", "singular"]

IGNORED: dict[type[ConfigElement], frozenset[str]] = {
    GatewayConfig: frozenset(("cluster",)),
    ServiceConfig: frozenset(
        ("balance", "notify", "notify-options"),
    ),
}
"""Elements of the original that are not supported and change nothing, by the element that they are in."""

_OPTIONS = re.compile(
    r"(httpxe?|https|mcp|pipe|rtmps?|socks|sse|ssl|tcp|tls|udp|ws[enrsx]?)\.[a-z.-]+"
    r"|http\.(keepalive|keepalive\.connections|keepalive\.timeout|max\.redirects|maximum\.redirects"
    r"|server\.header|transport|user\.agent)"
)


class FieldKind(Enum):
    """The kind of value of a field."""

    TEXT = "a single value"
    TEXTS = "values"
    ELEMENT = "elements"
    ELEMENTS = "lists of elements"
    FREE = "options of any name"


@dataclass(frozen=True, slots=True)
class Field:
    """A frozen description of a field of the model.

    Args:
        name: the name in files, which is the model's alias.
        kind: the kind of its value.
        element: the model class of an ELEMENT or ELEMENTS field.
    """

    name: str
    kind: FieldKind
    element: type[ConfigElement] | None = None


def singular(name: str) -> str:
    """Return ``login-module`` for ``login-modules``."""
    return name.removesuffix("s")


@cache
def fields(element: type[ConfigElement]) -> dict[str, Field]:
    """Return the fields of a model class by their names in files."""
    return {
        info.alias or name: _field(info.alias or name, info.annotation) for name, info in element.model_fields.items()
    }


@cache
def names(element: type[ConfigElement]) -> dict[str, Field]:
    """Return the fields by every name that files may use: fields that repeat have a singular and a plural."""
    found = dict(fields(element))
    for field in fields(element).values():
        if field.kind in (FieldKind.TEXTS, FieldKind.ELEMENTS):
            one = singular(field.name) if field.kind is FieldKind.ELEMENTS else field.name
            found[one] = field
            if not one.endswith("ies"):
                found[one + ("es" if one.endswith("s") else "s")] = field
    return found


def element_accepting(name: str) -> str | None:
    """Return the element that accepts a name, for "it belongs in ..." hints; None if no element does."""

    def search(element: type[ConfigElement], called: str) -> str | None:
        if name in names(element):
            return called
        inner = (search(field.element, singular(field.name)) for field in fields(element).values() if field.element)
        return next(filter(None, inner), None)

    return search(GatewayConfig, "gateway-config")


def ignored_option(name: str) -> bool:
    """Return whether an accept or connect option is one of the original's that are not supported."""
    return _OPTIONS.fullmatch(name) is not None


def _field(name: str, annotation: Any) -> Field:
    inner, many = _inner(annotation)
    if get_origin(inner) is dict:
        return Field(name, FieldKind.FREE)
    if isinstance(inner, type) and issubclass(inner, ConfigElement):
        return Field(name, FieldKind.ELEMENTS if many else FieldKind.ELEMENT, inner)
    return Field(name, FieldKind.TEXTS if many else FieldKind.TEXT)


def _inner(annotation: Any) -> tuple[Any, bool]:
    """Return the annotation without Annotated, None and tuple; and whether there was a tuple."""
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _inner(next(arg for arg in get_args(annotation) if arg is not type(None)))
    if get_origin(annotation) is tuple:
        return _inner(get_args(annotation)[0])[0], True
    return annotation, False
