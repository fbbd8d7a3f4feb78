"""Look up directory servers by DNS SRV records (RFC 2782), for LDAP URLs without a host."""

from __future__ import annotations

import random

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client import imports

__all__ = ["lookup"]


def lookup(domain: str, *, secure: bool, timeout: float) -> tuple[list[tuple[str, int]], float]:
    """Return the servers of a domain in the order in which to try them. Blocks.

    Args:
        domain: such as ``example.com``.
        secure: look up ``_ldaps`` instead of ``_ldap``.
        timeout: seconds for the whole look-up.

    Returns:
        Hosts with their ports, and the seconds for which the answer holds.

    Raises:
        LoginUnavailable: the DNS does not answer, or has no server.
    """
    dns = imports.load_dns()
    name = f"{'_ldaps' if secure else '_ldap'}._tcp.{domain}"
    try:
        answer = dns.resolver.resolve(name, "SRV", lifetime=timeout)
    except dns.exception.DNSException as error:
        raise LoginUnavailable(f"no directory server found in the DNS for {name}: {error}") from None
    # RFC 2782: by priority; within one, at random with the odds that the weights give
    records = sorted(answer, key=lambda record: (record.priority, -(random.random() ** (1 / (record.weight or 0.01)))))  # noqa: S311
    servers = [(record.target.to_text(omit_final_dot=True), record.port) for record in records]
    if servers in ([], [(".", 0)]) or records[0].target.to_text() == ".":
        raise LoginUnavailable(f"the DNS has no directory service {name}")
    return servers, float(answer.rrset.ttl)
