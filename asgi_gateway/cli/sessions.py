"""Run ``asgi-gateway sessions list``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime

from asgi_gateway.cli.output import Output
from asgi_gateway.cli.shared_store import load_shared, with_store
from asgi_gateway.gateway import Gateway
from asgi_gateway.sessions.listing import ListedSession, list_sessions

__all__ = ["list_"]

_TITLES = ("SESSION", "REALM", "USER", "BEGUN", "LAST USED", "ENDS")


def list_(arguments: argparse.Namespace, output: Output) -> int:
    """Print the active sessions. Nothing that is printed opens one."""
    gateway = load_shared(arguments)
    if arguments.limit < 1:
        raise ValueError("--limit must be at least 1")
    names = sorted(realm.name for realm in gateway.realms if realm.sessions is not None)
    if arguments.realm is not None and arguments.realm not in names:
        known = f"realms with sessions: {', '.join(names)}" if names else "no realm has sessions"
        raise ValueError(f"unknown realm {arguments.realm!r} in {arguments.file} ({known})")

    async def listed(gateway: Gateway) -> tuple[list[ListedSession], bool]:
        return await list_sessions(
            gateway.state, gateway.clock, realm=arguments.realm, user=arguments.user, most=arguments.limit
        )

    nothing: tuple[list[ListedSession], bool] = ([], False)
    found, more = with_store(gateway, listed, nothing)
    for session in found:
        output.record(asdict(session))
    if found:
        _print(output, [_TITLES, *(_row(session) for session in found)])
    else:
        output.line("no active sessions")
    if more:
        message = f"there are more than these {len(found)} sessions; use --limit, --realm or --user"
        print(f"asgi-gateway: {message}", file=sys.stderr)
    return 0


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
