"""Build ``ticket``: which logins a service's tickets are traded for, and which of its login modules issues them."""

from __future__ import annotations

from collections.abc import Mapping

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.config.accept_checks import AddProblem
from asgi_gateway.config.model import TicketConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.modules.token import TokenLoginModule
from asgi_gateway.services.model import Service, Ticket

__all__ = ["build_ticket"]


def build_ticket(
    config: TicketConfig | None,
    service: Service,
    realms: Mapping[str, Realm],
    path: ConfigPath,
    add_problem: AddProblem,
) -> Ticket | None:
    """Build a service's ticket.

    Args:
        config: the configured ticket, or None.
        service: the service that the ticket opens.
        realms: all realms by name.
        path: the ticket's path.
        add_problem: called for each problem.

    Returns:
        The ticket; None without a configured one, or if it cannot work.
    """
    if config is None:
        return None
    accepting = {realm.name: module for realm in service.realms if (module := _token_module(realm)) is not None}
    if not accepting:
        hint = "name a realm with a login module of type token that takes tokens used once"
        add_problem(path, "no realm of the service accepts tickets", hint)
        return None
    if circular := sorted(accepting.keys() & set(config.realm_name)):
        message = f"realm {circular[0]!r} accepts tickets itself, so its login cannot be traded for one"
        add_problem((*path, "realm-name"), message, "name another realm")
        return None
    realm, module = next(iter(accepting.items()))
    login = Service(
        name=f"{service.name}: ticket",
        mounts=(),
        realms=tuple(realms[name] for name in config.realm_name),
        authorization=service.authorization,
        origins=service.origins,
    )
    return Ticket(login=login, issuer=module.issuer, realm=realm, life=config.life)


def _token_module(realm: Realm) -> TokenLoginModule | None:
    modules = (entry.module for entry in realm.chain.entries)
    return next((each for each in modules if isinstance(each, TokenLoginModule) and each.takes_tickets), None)
