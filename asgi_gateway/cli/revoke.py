"""``asgi-gateway sessions revoke``, and ``revoke``: end logins from a shell."""

from __future__ import annotations

import argparse

import anyio

from asgi_gateway.cli.output import Output
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import RevocationKey
from asgi_gateway.sessions.listing import SHORT, ids_beginning

__all__ = ["revoke"]


def revoke(arguments: argparse.Namespace, output: Output) -> int:
    """End every login of a user, a session, or what a token opened, on all workers and hosts."""
    gateway = load_config(arguments.file)
    if not gateway.state.shared:
        raise ConfigError("a memory store is its process's own; to revoke from outside choose sqlite or redis")
    if arguments.issuer is not None and arguments.kind != "token":
        raise ValueError("--issuer says whose token it is, and is for tokens")
    if (arguments.kind == "user") != (arguments.realm is not None):
        raise ValueError("--realm says whose user it is, and is for users")
    if arguments.realm is not None and arguments.realm not in {realm.name for realm in gateway.realms}:
        raise ValueError(f"there is no realm {arguments.realm!r} in {arguments.file}")
    there = anyio.run(
        _revoke, gateway, RevocationKey(arguments.kind, arguments.name, arguments.realm or arguments.issuer or "")
    )
    output.line("revoked" if there else "there is no such session")
    output.record({"revoked": there})
    return 0 if there else 1


async def _revoke(gateway: Gateway, revocation: RevocationKey) -> bool:
    try:
        await gateway.state.open()
        if revocation.kind == "session" and len(revocation.name) >= SHORT:
            ids = await ids_beginning(gateway.state, revocation.name)
            if len(ids) > 1:
                raise ValueError(f"{len(ids)} sessions begin so: give more of the id")
            revocation = RevocationKey("session", ids[0]) if ids else revocation
        return await gateway.revocations.revoke(revocation)
    finally:
        await gateway.state.close()
