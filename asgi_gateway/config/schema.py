"""Make a JSON Schema of the YAML form, for editors. It is shipped beside this file as ``gateway.schema.json``."""

from __future__ import annotations

from typing import Any

from asgi_gateway.config.element_names import IGNORED, Field, FieldKind, fields, names, singular
from asgi_gateway.config.kaazing_compat import BINDS
from asgi_gateway.config.model import ConfigElement, GatewayConfig

__all__ = ["json_schema"]

_DURATION = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*[A-Za-z]*\s*$"},
        {"$ref": "#/$defs/reference"},
    ],
    "description": "a number of seconds, or a number with a unit: 30 seconds, 1.5 minutes, 8h, 500 ms",
}
_SIZE = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^\s*[0-9]+\s*([kKmMgG]?[iI]?[bB]?)\s*$"},
        {"$ref": "#/$defs/reference"},
    ],
    "description": "a number of bytes, or a number with a unit: 64 KiB, 10 MB, 2 GiB",
}
_BOOLEAN = {"anyOf": [{"type": "boolean"}, {"enum": ["true", "false"]}, {"$ref": "#/$defs/reference"}]}
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_OPTIONS = {
    "accept-options": {
        "http.realm": "the service's realms, in order",
        **dict.fromkeys(BINDS, "where the server listens: a port, or host:port"),
    },
    "connect-options": {"http.max.authentication.attempts": "how often a challenge of a back end is answered"},
}


def json_schema() -> dict[str, Any]:
    """Return the schema of the YAML form (JSON Schema 2020-12), made from the model.

    Names in the singular and the plural, single values where lists are meant, intervals as text or numbers, and
    ``${}`` references wherever a number or a choice is expected.
    """
    definitions: dict[str, Any] = {
        "reference": {"type": "string", "pattern": r"\$\{", "description": "expanded from properties or environment"}
    }
    root = _object(GatewayConfig, definitions)
    properties = {"type": "object", "additionalProperties": _SCALAR, "description": "names for ${}"}
    defaults = definitions["ServiceConfig"] | {"description": "the defaults of every service"}
    root["properties"] |= {
        "properties": properties,
        "service-defaults": {key: value for key, value in defaults.items() if key not in ("required", "allOf")},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "asgi_gateway configuration"}
    return {**head, **root, "$defs": definitions}


def _object(cls: type[ConfigElement], definitions: dict[str, Any]) -> dict[str, Any]:
    model = cls.model_json_schema(by_alias=True)
    shapes = {entry.name: _field(entry, model["properties"][entry.name], definitions) for entry in fields(cls).values()}
    properties = {name: shapes[entry.name] for name, entry in names(cls).items()}
    properties |= {
        name: {"description": "ignored: not supported by asgi_gateway"} for name in sorted(IGNORED.get(cls, ()))
    }
    description = (cls.__doc__ or "").partition("\n")[0].replace("``", "")
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "description": description}
    if cls.__name__ == "ServiceConfig":
        properties["auth-constraint"] = properties["authorization-constraint"] | {"deprecated": True}
        for name, known in _OPTIONS.items():
            options = {option: {"description": text} for option, text in known.items()}
            properties[name] = {"type": "object", "properties": options}
    schema["properties"] = properties
    required = [name for name in model.get("required", ()) if len(_spellings(cls, name)) == 1]
    choices = [
        {"anyOf": [{"required": [spelling]} for spelling in _spellings(cls, name)]}
        for name in model.get("required", ())
        if name not in required
    ]
    return schema | ({"required": required} if required else {}) | ({"allOf": choices} if choices else {})


def _spellings(cls: type[ConfigElement], name: str) -> list[str]:
    return [spelling for spelling, entry in names(cls).items() if entry.name == name]


def _field(entry: Field, model: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if entry.kind is FieldKind.FREE:
        return {"type": ["object", "null"], "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_.-]*$"}}
    if entry.element is not None:
        return _nested(entry, entry.element, definitions)
    if entry.kind is FieldKind.TEXTS:
        return {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}}]}
    return _scalar(entry.name, model)


def _nested(entry: Field, cls: type[ConfigElement], definitions: dict[str, Any]) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = _object(cls, definitions)
    item = {"$ref": f"#/$defs/{cls.__name__}"}
    if entry.kind is FieldKind.ELEMENT and entry.name != "authorization-constraint":
        return {"anyOf": [item, {"type": "null"}]}
    shapes: list[dict[str, Any]] = [item, {"type": "array", "items": item}]
    if (one := singular(entry.name)) != entry.name:
        contained = {"anyOf": [item, {"type": "array", "items": item}]}
        shapes.append(
            {"type": "object", "properties": {one: contained}, "required": [one], "additionalProperties": False}
        )
    return {"anyOf": shapes}


def _scalar(name: str, model: dict[str, Any]) -> dict[str, Any]:
    if name.endswith("timeout") or name in (*_DURATIONS, "max-body"):
        return _SIZE if name == "max-body" else _DURATION
    if name == "require-valid-user":
        return {"anyOf": [*_BOOLEAN["anyOf"], {"type": "null"}]}
    if model.get("type") == "boolean":
        return _BOOLEAN
    if model.get("type") == "integer":
        bounds = {key: model[key] for key in ("minimum", "maximum", "type")}
        return {"anyOf": [bounds, {"type": "string", "pattern": r"^[0-9]+$"}, {"$ref": "#/$defs/reference"}]}
    if choices := _CHOICES.get(name):
        return {"anyOf": [{"enum": choices}, {"$ref": "#/$defs/reference"}]}
    return {"type": "string"}


_DURATIONS = ("time-limit", "credential-cache", "life", "maximum-age", "recheck", "connect", "response", "idle")
_CHOICES = {
    "kind": ["nginx", "traefik", "caddy", "haproxy", "envoy"],
    "message-type": ["binary", "text"],
    "origin": ["preserve", "rewrite", "remove"],
    "cors": ["gateway", "application"],
    "success": ["required", "requisite", "sufficient", "optional"],
    "authorization-mode": ["challenge", "recycle", "validate"],
}
