"""``ticket``: which logins a service's tickets are traded for, and which of its login modules issues them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.config.model import ServiceConfig, TicketConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.modules.token import TokenLoginModule
from asgi_gateway.services.model import Service, Ticket

__all__ = ["with_tickets"]


def with_tickets(
    configured: Sequence[ServiceConfig],
    services: Sequence[Service],
    realms: Mapping[str, Realm],
    add_problem: Callable[..., None],
) -> list[Service]:
    """Return the services with their tickets.

    Args:
        configured: the services' configuration.
        services: the services, in the same order; without configured ones, the one that protects everything.
        realms: the realms by name.
        add_problem: takes a path, a message and a hint.
    """
    tickets = {
        index: _ticket(config.ticket, services[index], realms, partial(_add, add_problem, index))
        for index, config in enumerate(configured)
        if config.ticket is not None
    }
    return [replace(service, ticket=tickets.get(index)) for index, service in enumerate(services)]


def _ticket(
    config: TicketConfig, service: Service, realms: Mapping[str, Realm], add_problem: Callable[..., None]
) -> Ticket | None:
    taking = {realm.name: module for realm in service.realms if (module := _token_module(realm)) is not None}
    if not taking:
        message = "none of the service's realms takes tickets"
        add_problem((), message, "name a realm with a login module of type token that takes tokens used once")
        return None
    if again := sorted(taking.keys() & set(config.realm_name)):
        add_problem(("realm-name",), f"realm {again[0]} takes tickets itself", "trade another login for them")
        return None
    realm, module = next(iter(taking.items()))
    login = Service(
        f"{service.name}: ticket",
        (),
        tuple(realms[name] for name in config.realm_name),
        service.authorization,
        service.origins,
    )
    return Ticket(login, module.issuer, realm, config.life)


def _add(add_problem: Callable[..., None], index: int, path: ConfigPath, message: str, hint: str) -> None:
    add_problem(("services", index, "ticket", *path), message, hint)


def _token_module(realm: Realm) -> TokenLoginModule | None:
    modules = (entry.module for entry in realm.chain.entries)
    return next((each for each in modules if isinstance(each, TokenLoginModule) and each.takes_tickets), None)
