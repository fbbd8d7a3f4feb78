"""What ``-D http.authenticator=…`` names in the tests: it answers every challenge of a back end with one password."""

from __future__ import annotations

from asgi_gateway.client import ChallengeRequest, PasswordAuthentication


def log_in(request: ChallengeRequest) -> PasswordAuthentication:
    """Return the gateway's own name and password."""
    return PasswordAuthentication("gateway", "gateway-pw")
