"""``ticket``: which logins a service's tickets are traded for, and which of its login modules issues them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.modules.token import TokenLoginModule
from asgi_gateway.services.table import Service, Ticket

__all__ = ["add_tickets"]


def add_tickets(
    configured: Sequence[ServiceConfig],
    services: Sequence[Service],
    realms: Mapping[str, Realm],
    add_problem: Callable[..., None],
) -> None:
    """Give services their tickets.

    Args:
        configured: the services' configuration.
        services: the services, in the same order; without configured ones, the one that protects everything.
        realms: the realms by name.
        add_problem: takes a path, a message and a hint.
    """
    for index, (config, service) in enumerate(zip(configured, services, strict=False)):
        if config.ticket is None:
            continue
        taking = {realm.name: module for realm in service.realms if (module := _token_module(realm)) is not None}
        here = ("services", index, "ticket")
        if not taking:
            message = "none of the service's realms takes tickets"
            add_problem(here, message, "name a realm with a login module of type token that takes tokens used once")
            continue
        if again := sorted(taking.keys() & set(config.ticket.realm_name)):
            add_problem((*here, "realm-name"), f"realm {again[0]} takes tickets itself", "trade another login for them")
            continue
        realm, module = next(iter(taking.items()))
        login = Service(
            f"{service.name}: ticket",
            (),
            tuple(realms[name] for name in config.ticket.realm_name),
            service.authorization,
            service.origins,
        )
        service.ticket = Ticket(login, module.issuer, realm, config.ticket.life)


def _token_module(realm: Realm) -> TokenLoginModule | None:
    modules = (entry.module for entry in realm.chain.entries)
    return next((each for each in modules if isinstance(each, TokenLoginModule) and each.takes_tickets), None)
