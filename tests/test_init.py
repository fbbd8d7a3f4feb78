"""The package's public names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import asgi_gateway


def test_every_name_is_there() -> None:
    """Each public name can be imported, is what its home holds, and no other name is made up."""
    assert sorted(asgi_gateway._HOMES) == sorted(asgi_gateway.__all__) == sorted(dir(asgi_gateway))
    for name, home in asgi_gateway._HOMES.items():
        assert getattr(asgi_gateway, name) is getattr(sys.modules[home], name)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = asgi_gateway.Nothing


def test_the_client_does_not_load_the_server() -> None:
    """Importing the client imports neither Starlette nor the server's rooms."""
    script = (
        "import sys, asgi_gateway.client; "
        "print([name for name in sys.modules if name.split('.')[0] in ('starlette', 'pydantic', 'yaml', 'argon2')"
        " or name in ('asgi_gateway.middleware', 'asgi_gateway.gateway', 'asgi_gateway.plugins.login_module')])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
