"""Turn decisions that refuse into responses: one body for each status, whatever the reason."""

from __future__ import annotations

from asgi_gateway.model import Challenge, Refusal, Response, Unavailable

__all__ = ["response_to"]


def response_to(refusal: Refusal) -> Response:
    """Return the response to a refused request: 401, 403 or 503."""
    if isinstance(refusal, Challenge):
        return Response(status=401, headers=refusal.headers, body=b"Unauthorized\n")
    if isinstance(refusal, Unavailable):
        headers = ((b"retry-after", str(refusal.retry_after).encode()), *refusal.headers)
        return Response(status=503, headers=headers, body=b"Service Unavailable\n")
    return Response(status=403, headers=refusal.headers, body=b"Forbidden\n")
