"""Run the ``asgi-gateway`` command."""

from asgi_gateway.cli.main import main

__all__ = ["main"]
