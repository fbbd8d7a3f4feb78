"""Tests of asgi_gateway.keystores, on the stores that tests/data/keystores/make.sh made with the JDK and OpenSSL."""

from __future__ import annotations

from pathlib import Path

STORES = Path(__file__).parent.parent / "data" / "keystores"
PASSWORD = "changeit"
NOW = 1_800_000_000.0
"""January 2027: after everything that is called expired, before everything that is called future."""
