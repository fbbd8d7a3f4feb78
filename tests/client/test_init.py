"""The package's names."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from asgi_gateway import client


def test_every_name_is_there() -> None:
    """What the package lists can be had from it."""
    assert all(getattr(client, name) for name in client.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = client.nothing


@pytest.mark.parametrize(("name", "library"), [("GatewayAuth", "httpx"), ("connect", "websockets")])
def test_a_missing_library_is_named(name: str, library: Any) -> None:
    """Without the library the error says what to install; the rest of the package works."""
    script = f"""
import sys
sys.modules[{library!r}] = None
from asgi_gateway.client import BasicChallengeHandler
try:
    from asgi_gateway.client import {name}
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'asgi-gateway[client]'" in done.stdout


def test_libraries_are_loaded_when_they_are_needed() -> None:
    """The package loads neither httpx nor websockets nor gssapi by itself."""
    script = """
import sys
import asgi_gateway.client
print([name for name in sys.modules if name in ("httpx", "websockets", "gssapi")])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
