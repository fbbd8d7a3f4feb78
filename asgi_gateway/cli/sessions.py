"""``asgi-gateway sessions list``: which sessions stand."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime

import anyio

from asgi_gateway.cli.output import Output
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from asgi_gateway.sessions.listing import ListedSession, list_sessions

__all__ = ["list_"]

_TITLES = ("SESSION", "REALM", "USER", "BEGUN", "LAST USED", "ENDS")


def list_(arguments: argparse.Namespace, output: Output) -> int:
    """Print the sessions that stand. Nothing of what is printed opens one."""
    gateway = load_config(arguments.file)
    if not gateway.state.shared:
        raise ConfigError("a memory store is its process's own; to list from outside choose sqlite or redis")
    if arguments.limit < 1:
        raise ValueError("--limit must be at least 1")
    names = {realm.name for realm in gateway.realms if realm.sessions is not None}
    if arguments.realm is not None and arguments.realm not in names:
        raise ValueError(f"there is no realm {arguments.realm!r} with sessions in {arguments.file}")
    found, more = anyio.run(_list, gateway, arguments)
    for session in found:
        output.record(asdict(session))
    if found:
        _print(output, [_TITLES, *(_row(session) for session in found)])
    else:
        output.line("no session stands")
    if more:
        print(f"asgi-gateway: there are more than these {len(found)}; use --limit, --realm or --user", file=sys.stderr)
    return 0


async def _list(gateway: Gateway, arguments: argparse.Namespace) -> tuple[list[ListedSession], bool]:
    try:
        await gateway.state.open()
        return await list_sessions(
            gateway.state, gateway.clock, realm=arguments.realm, user=arguments.user, most=arguments.limit
        )
    finally:
        await gateway.state.close()


def _row(session: ListedSession) -> tuple[str, ...]:
    used = "unknown" if session.used is None else _moment(session.used)
    names = (ascii(name)[1:-1] if not name.isprintable() else name for name in (session.realm, session.user))
    return session.id, *names, _moment(session.begun), used, _moment(session.ends)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _print(output: Output, rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        output.line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
