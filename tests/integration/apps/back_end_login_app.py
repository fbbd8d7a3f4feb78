"""Gateways without an application: what stands behind their services is in the file that GATEWAY_FILE names."""

from __future__ import annotations

import logging
import os
import sys

from asgi_gateway import GatewayMiddleware
from asgi_gateway.client import BasicChallengeHandler, ChallengeRequest, PasswordAuthentication

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")


def login(request: ChallengeRequest) -> PasswordAuthentication | None:
    """Know a password of joe's for the back end, and guess for all others."""
    name = request.subject.name if request.subject is not None else ""
    if name == "joe":
        return PasswordAuthentication("joe", "joe-pw")
    return PasswordAuthentication("gateway", f"guess {request.attempt}")


handler = BasicChallengeHandler(login)
app = GatewayMiddleware(None, os.environ["GATEWAY_FILE"])
if os.environ.get("GATEWAY_HANDLER"):
    app = GatewayMiddleware(None, os.environ["GATEWAY_FILE"], connect_handler=handler)
