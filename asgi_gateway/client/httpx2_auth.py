"""Httpx2GatewayAuth: challenge handlers for httpx2, synchronous and asynchronous."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx2

from asgi_gateway.client.http_auth import AsyncBoundedBody, BoundedBody, HttpAuth, OneRequestHeaders

__all__ = ["Httpx2GatewayAuth"]


class _BoundedBody(BoundedBody, httpx2.SyncByteStream):
    pass


class _AsyncBoundedBody(AsyncBoundedBody, httpx2.AsyncByteStream):
    pass


class _OneRequestHeaders(OneRequestHeaders, httpx2.Headers):
    pass


class Httpx2GatewayAuth(HttpAuth, httpx2.Auth):
    """Answers a server's challenges with a challenge handler; for ``httpx2.Client`` and ``httpx2.AsyncClient``.

    A request's body is read into memory, since it may have to be sent again. Of a 401's body at most 64 KiB are read.
    """

    _library: ClassVar[Any] = httpx2
    _bounded_body = _BoundedBody
    _async_bounded_body = _AsyncBoundedBody
    _one_request_headers = _OneRequestHeaders
