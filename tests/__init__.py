"""Tests of asgi_gateway; the folders mirror the package."""
