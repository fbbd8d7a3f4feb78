"""GatewayAuth: challenge handlers for httpx, synchronous and asynchronous."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx

from asgi_gateway.client.http_auth import AsyncBoundedBody, BoundedBody, HttpAuth, OneRequestHeaders

__all__ = ["GatewayAuth"]


class _BoundedBody(BoundedBody, httpx.SyncByteStream):
    pass


class _AsyncBoundedBody(AsyncBoundedBody, httpx.AsyncByteStream):
    pass


class _OneRequestHeaders(OneRequestHeaders, httpx.Headers):
    pass


class GatewayAuth(HttpAuth, httpx.Auth):
    """Answers a server's challenges with a challenge handler; for ``httpx.Client`` and ``httpx.AsyncClient``.

    A request's body is read into memory, since it may have to be sent again. Of a 401's body at most 64 KiB are read.
    """

    _library: ClassVar[Any] = httpx
    _bounded_body = _BoundedBody
    _async_bounded_body = _AsyncBoundedBody
    _one_request_headers = _OneRequestHeaders
