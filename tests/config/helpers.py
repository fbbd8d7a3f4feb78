"""What the tests of configurations share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config.load import LoadedConfig, load, loads
from asgi_gateway.errors import ConfigError

DATA = Path(__file__).parent / "data"
SAMPLES = [DATA / "gateway-config.xml", DATA / "gateway.yaml"]


def module(**more: Any) -> dict[str, Any]:
    return {"type": "file", "success": "required", "options": {"file": "users.xml"}, **more}


def realm(name: str = "demo", /, **more: Any) -> dict[str, Any]:
    authentication = {"http-challenge-scheme": "Basic", "login-modules": [module()], **more}
    return {"name": name, "authentication": authentication}


def service(**more: Any) -> dict[str, Any]:
    return {"name": "one", "accept": "/one", "realm-name": "demo", **more}


def document(*services: dict[str, Any], realms: tuple[dict[str, Any], ...] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"security": {"realms": [realm()] if realms is None else list(realms)}}
    return found | ({"services": list(services)} if services else {})


def loaded(*services: dict[str, Any], **more: Any) -> LoadedConfig:
    return load(document(*services, **more), environment={})


def problems(source: Any, form: Any = "yaml") -> list[str]:
    """Every error of a configuration that has some, as ``line:column path: message (hint)``."""
    read = partial(loads, form=form) if isinstance(source, str | bytes) else load
    with pytest.raises(ConfigError) as caught:
        read(source, environment={})
    found = [problem for problem in caught.value.problems if problem.severity == "error"]
    return [f"{p.line}:{p.column} {p.path}: {p.message} ({p.hint})" for p in found]
