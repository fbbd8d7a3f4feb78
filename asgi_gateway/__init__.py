"""A security gateway in front of any ASGI application."""
