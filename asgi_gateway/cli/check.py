"""``asgi-gateway check``."""

from __future__ import annotations

import argparse

import anyio

from asgi_gateway.cli.output import Output
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway

__all__ = ["check"]


def check(arguments: argparse.Namespace, output: Output) -> int:
    """Load the configuration, build everything it names, and with ``--connect`` try the back ends."""
    if not arguments.file.exists():
        output.error(f"{arguments.file}: there is no such file")
        return 2
    try:
        gateway = load_config(arguments.file)
    except ConfigError as error:
        output.problems(error.problems)
        errors = sum(problem.severity == "error" for problem in error.problems)
        output.line(f"{arguments.file}: {_count(errors, 'error')}")
        output.record({"ok": False, "errors": errors})
        return 1
    output.problems(gateway.problems)
    failures = anyio.run(_connect, gateway) if arguments.connect else []
    for failure in failures:
        output.error(failure)
    if not failures:
        counts = f"{_count(len(gateway.services), 'service')}, {_count(len(gateway.realms), 'realm')}"
        output.line(f"{arguments.file}: good ({counts}, {len(gateway.problems)} warnings or ignored elements)")
    output.record({"ok": not failures, "services": len(gateway.services), "realms": len(gateway.realms)})
    return 1 if failures else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


async def _connect(gateway: Gateway) -> list[str]:
    """Everything that fails when the login modules are opened and tried."""
    failures: list[str] = []
    for realm in gateway.realms:
        for entry in realm.chain.entries:
            where = f"realm {realm.name}, login module {entry.name}"
            try:
                await entry.module.open()
                failures += [f"{where}: {message}" for message in await entry.module.check()]
            except Exception as error:
                failures.append(f"{where}: {error or type(error).__name__}")
            finally:
                await entry.module.close()
    return failures
