"""Applications, and things that are none, as ``asgi-gateway run`` may be given."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from asgi_gateway.middleware import GatewayMiddleware

FILE = Path(__file__).parent / "data" / "gateway.yaml"
OTHER = Path(__file__).parent / "data" / "other.yaml"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application."""


class Application:
    """One as an object."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Old:
    """An ASGI 2 application is a class."""

    def __init__(self, scope: Any) -> None: ...


def create_app() -> Any:
    return app


def create_with_defaults(config: str = "", debug: bool = False, level: int = 0) -> Any:
    return app


def create_nothing() -> Any:
    return None


def create_badly() -> Any:
    raise RuntimeError("no database")


async def create_later() -> Any:
    return app


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def asgi2(scope: Any) -> Any:
    return None


def any_arguments(*args: Any) -> Any:
    return app(*args)


number = 3
nested = Application()
partial = functools.partial(app)
inner = Starlette()
wrapped = GatewayMiddleware(app, FILE)
wrapped_outside = CORSMiddleware(GatewayMiddleware(inner, str(FILE)))
added = Starlette()
added.add_middleware(GatewayMiddleware, config=FILE)
added_loaded = Starlette()
added_loaded.add_middleware(GatewayMiddleware, config=wrapped.gateway)
wrapped_otherwise = GatewayMiddleware(app, OTHER)
added_otherwise = Starlette()
added_otherwise.add_middleware(GatewayMiddleware, config=OTHER)
