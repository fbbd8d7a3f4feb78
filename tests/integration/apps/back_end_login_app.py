"""Gateways without an application: what stands behind their services is in the file that GATEWAY_FILE names."""

from __future__ import annotations

import logging
import os
import sys

from asgi_gateway import GatewayMiddleware
from tests.integration.apps.back_end_handler import handler

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")


app = GatewayMiddleware(None, os.environ["GATEWAY_FILE"])
if os.environ.get("GATEWAY_HANDLER"):
    app = GatewayMiddleware(None, os.environ["GATEWAY_FILE"], connect_handler=handler)
