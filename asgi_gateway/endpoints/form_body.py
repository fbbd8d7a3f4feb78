"""Read the form of a POST request, strictly and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from asgi_gateway.model import AuthRequest

__all__ = ["MAX_BODY", "FormError", "Receive", "read_form"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
MAX_BODY = 64 * 1024
"""The length of a form at most, in bytes."""
_SECONDS = 30.0
_MAX_FIELDS = 20
_TYPE = b"application/x-www-form-urlencoded"


class FormError(Exception):
    """A body that is not read.

    Args:
        status: the HTTP status that says why.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def read_form(request: AuthRequest, receive: Receive) -> dict[str, str]:
    """Return the fields of a form by name.

    Args:
        request: the request.
        receive: the server's ``receive``.

    Raises:
        FormError: the body is too long or too slow, has another type, or is not such a form; or a field is a duplicate.
    """
    types = [value.partition(b";")[0].strip().lower() for name, value in request.headers if name == b"content-type"]
    if types != [_TYPE]:
        raise FormError(415)
    try:
        async with asyncio.timeout(_SECONDS):
            body = await _read(receive)
    except TimeoutError:
        raise FormError(408) from None
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:  # UnicodeError is one, too
        raise FormError(400) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise FormError(400)
    return fields


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise FormError(400)  # the client is gone
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise FormError(413)
        if not message.get("more_body", False):
            return bytes(body)
