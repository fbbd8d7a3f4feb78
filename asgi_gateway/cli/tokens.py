"""``asgi-gateway token issue``."""

from __future__ import annotations

import argparse

from asgi_gateway.cli.output import Output
from asgi_gateway.clock import SystemClock
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.modules.token import TokenLoginModule
from asgi_gateway.realm import Realm
from asgi_gateway.values import parse_interval

__all__ = ["issue"]


def issue(arguments: argparse.Namespace, output: Output) -> int:
    """Print a token that one of the configuration's realms takes."""
    gateway = load_config(arguments.file)
    taking = {realm.name: module for realm in gateway.realms if (module := _token_module(realm)) is not None}
    realm = arguments.realm or (next(iter(taking)) if len(taking) == 1 else "")
    if realm not in taking:
        message = f"realm {realm} takes no tokens" if realm else "no realm, or more than one, takes tokens"
        cure = f"--realm, one of: {', '.join(sorted(taking))}" if taking else "add a login module of type token"
        raise ConfigError(Problem(message, arguments.file, cure=cure))
    services = {service.name for service in gateway.services for each in service.realms if each.name == realm}
    if arguments.service and arguments.service not in services:
        raise ValueError(f"realm {realm} protects no service {arguments.service!r}")
    if arguments.single_use and not taking[realm].takes_tickets:
        raise ValueError(f"realm {realm} refuses tokens to be used once")
    text = taking[realm].issuer.issue(
        arguments.user,
        realm=realm,
        now=SystemClock().time(),
        life=parse_interval(arguments.life),
        roles=arguments.role,
        single_use=arguments.single_use,
        service=arguments.service,
    )
    output.line(text)
    output.record({"token": text})
    return 0


def _token_module(realm: Realm) -> TokenLoginModule | None:
    modules = (entry.module for entry in realm.chain.entries)
    return next((module for module in modules if isinstance(module, TokenLoginModule)), None)
