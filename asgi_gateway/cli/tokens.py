"""Run ``asgi-gateway token``: issue tokens for the ``token`` login module."""

from __future__ import annotations

import argparse
import logging

from asgi_gateway.cli.output import Output
from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.plugins.option_types import parse_duration
from asgi_gateway.sessions.signing import load_keys
from asgi_gateway.sessions.tokens import TokenIssuer

__all__ = ["issue"]

_logger = logging.getLogger("asgi_gateway.cli")


def issue(arguments: argparse.Namespace, output: Output) -> int:
    """Print a new token. It is a credential: it admits anyone who reads it."""
    keys = load_keys(arguments.key_file, arguments.key_environment, _logger.warning)
    issuer = TokenIssuer(keys, arguments.audience)
    now, life = SystemClock().time(), parse_duration(arguments.life)
    until = now + parse_duration(arguments.session) if arguments.session is not None else None
    token = issuer.issue(
        arguments.user,
        realm=arguments.realm,
        now=now,
        life=life,
        roles=arguments.role,
        single_use=arguments.single_use,
        until=until,
        service=arguments.service,
    )
    output.line(token)
    output.record({"token": token, "expires": now + life})
    return 0
