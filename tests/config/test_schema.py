"""The JSON Schema of the YAML form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

import asgi_gateway.config.schema
from asgi_gateway.config.convert import to_yaml
from asgi_gateway.config.load import load
from asgi_gateway.config.schema import json_schema
from asgi_gateway.documents import read_yaml
from tests.config.helpers import DATA, SAMPLES, document, realm, service
from tests.documents.plain import plain

SHIPPED = Path(asgi_gateway.config.schema.__file__).with_name("gateway.schema.json")


def valid(source: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(source))


def test_shipped_schema_is_current() -> None:
    """The shipped file is what the model gives now (asgi-gateway schema writes it)."""
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == json_schema()


def test_schema_is_a_schema() -> None:
    """The schema itself is valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples(path: Path) -> None:
    """The sample, and what conversion makes of either, are valid."""
    assert valid(plain(read_yaml(to_yaml(load(path, environment={})).encode())))
    assert valid(plain(read_yaml(DATA / "gateway.yaml")))


@pytest.mark.parametrize(
    "source",
    [
        document(),
        document(service(**{"auth-constraint": {"require-roles": ["A"]}, "type": "echo"})),
        document(service(), {"name": "jmx", "type": "management.jmx"}),
        document(service(**{"accept-options": {"http.realm": "demo", "ssl.ciphers": "HIGH"}})),
        document(realms=(realm(**{"session-timeout": "${TIMEOUT}", "authorization-timeout": 1.5}),)),
        {"security": {"realm": realm()}},
        {"service-defaults": {"realm-name": "demo"}, "properties": {"port": 80}, **document()},
    ],
)
def test_valid(source: Any) -> None:
    """What the loader takes in its several spellings, editors take too."""
    assert valid(source)


@pytest.mark.parametrize(
    "source",
    [
        {"securty": {}},
        document(realms=(realm(**{"session-timeout": "soon"}),)),
        document(realms=(realm(**{"authorization-mode": "reuse"}),)),
        {"security": {"realm": {"description": "no name"}}},
    ],
)
def test_invalid(source: Any) -> None:
    """What the loader refuses for its structure, editors mark too."""
    assert not valid(source)
