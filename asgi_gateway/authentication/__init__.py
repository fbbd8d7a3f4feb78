"""Authenticate a request: read its credentials, ask the chain of login modules, build the subject."""
