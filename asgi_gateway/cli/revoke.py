"""Run ``asgi-gateway sessions revoke``, and ``revoke``: end logins from a shell."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from asgi_gateway.cli.output import Output
from asgi_gateway.cli.shared_store import load_shared, with_store
from asgi_gateway.config.suggestions import closest
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import RevocationKey
from asgi_gateway.sessions.listing import SHORT, ids_beginning, list_sessions

__all__ = ["revoke"]

_ALL = 100_000


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of a revocation.

    Args:
        ended: False if there was no such login, as far as the store shows.
        message: the result in words.
    """

    ended: bool
    message: str


def revoke(arguments: argparse.Namespace, output: Output) -> int:
    """End every login of a user, a session, or the logins of a token, on all workers and hosts."""
    gateway = load_shared(arguments)
    _check_arguments(arguments, gateway)
    key = RevocationKey(arguments.kind, arguments.name, arguments.realm or arguments.issuer or "")

    async def work(gateway: Gateway) -> _Outcome:
        return await (_revoke_user if key.kind == "user" else _revoke)(gateway, key)

    nothing = _Outcome(False, "no login to end: the state store has not been created yet")
    outcome = with_store(gateway, work, nothing)
    output.line(outcome.message)
    output.record({"revoked": outcome.ended})
    return 0 if outcome.ended else 1


def _check_arguments(arguments: argparse.Namespace, gateway: Gateway) -> None:
    realms = ", ".join(sorted(realm.name for realm in gateway.realms))
    if arguments.issuer is not None and arguments.kind != "token":
        raise ValueError("--issuer names the issuer of a token; it is not for users and sessions")
    if arguments.kind != "user" and arguments.realm is not None:
        raise ValueError("--realm names the realm of a user; it is not for sessions and tokens")
    if arguments.kind == "user" and arguments.realm is None:
        raise ValueError(f"missing --realm: the user's realm, one of: {realms}")
    if arguments.realm is not None and arguments.realm not in {realm.name for realm in gateway.realms}:
        raise ValueError(f"unknown realm {arguments.realm!r} in {arguments.file} (one of: {realms})")


async def _revoke_user(gateway: Gateway, key: RevocationKey) -> _Outcome:
    """Revoke a user's logins. It is recorded even if no session shows the user, who may have others than sessions."""
    keeps_sessions = any(realm.name == key.realm and realm.sessions is not None for realm in gateway.realms)
    users: list[str] = []
    if keeps_sessions:
        sessions, _ = await list_sessions(gateway.state, gateway.clock, realm=key.realm, most=_ALL)
        users = [session.user for session in sessions]
    await gateway.revocations.revoke(key)
    user = f"user {key.name!r} of realm {key.realm!r}"
    if not keeps_sessions:
        return _Outcome(True, f"revoked: logins of {user}, which may not exist (the realm keeps no sessions)")
    if number := users.count(key.name):
        return _Outcome(True, f"revoked: {number} {'session' if number == 1 else 'sessions'} of {user}")
    other = closest(key.name, users)
    hint = f"; did you mean {other!r}?" if other is not None else ""
    return _Outcome(False, f"no active session of {user}{hint} (other logins under this name are revoked)")


async def _revoke(gateway: Gateway, key: RevocationKey) -> _Outcome:
    if key.kind == "session" and len(key.name) >= SHORT:
        ids = await ids_beginning(gateway.state, key.name)
        if len(ids) > 1:
            raise ValueError(f"{len(ids)} sessions have an id that begins with this: give more of it")
        key = RevocationKey("session", ids[0]) if ids else key
    ended = await gateway.revocations.revoke(key)
    return _Outcome(ended, "revoked" if ended else "no such session")
