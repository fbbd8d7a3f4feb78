"""Run ``asgi-gateway check``."""

from __future__ import annotations

import argparse

import anyio

from asgi_gateway.cli.definitions import definitions
from asgi_gateway.cli.output import Output
from asgi_gateway.config import build, read
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from asgi_gateway.plugins.login_module import LoginModule
from asgi_gateway.services.backend import Backend

__all__ = ["check"]

_SOURCES = {
    "definition": "-D",
    "environment": "the environment",
    "properties": "properties",
    "built-in": "this machine's host name",
}


def check(arguments: argparse.Namespace, output: Output) -> int:
    """Load the configuration, build everything it names, and with ``--connect`` try the store and the back ends."""
    if not arguments.file.exists():
        output.error(f"{arguments.file}: no such file")
        return 2
    sources: dict[str, str] = {}
    try:
        loaded = read(arguments.file, properties=definitions(arguments), by_port=True)
        sources.update(loaded.sources)
        gateway = build(loaded)
    except ConfigError as error:
        output.problems(error.problems)
        errors = sum(problem.severity == "error" for problem in error.problems)
        _print_sources(arguments, sources, output)
        output.line(f"{arguments.file}: {_count(errors, 'error')}")
        output.record({"ok": False, "errors": errors})
        return 1
    output.problems(gateway.problems)
    _print_sources(arguments, sources, output)
    failures = anyio.run(_connect, gateway) if arguments.connect else []
    for failure in failures:
        output.error(failure)
    _print_back_ends(arguments, gateway, output)
    if not failures:
        counts = f"{_count(len(gateway.services), 'service')}, {_count(len(gateway.realms), 'realm')}"
        output.line(f"{arguments.file}: good ({counts}, {_problem_count(len(gateway.problems))})")
    output.record({"ok": not failures, "services": len(gateway.services), "realms": len(gateway.realms)})
    return 1 if failures else 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _problem_count(number: int) -> str:
    return "1 warning or ignored element" if number == 1 else f"{number} warnings or ignored elements"


def _print_sources(arguments: argparse.Namespace, sources: dict[str, str], output: Output) -> None:
    """Print where the value of each reference comes from, without the value."""
    for name, source in sources.items():
        output.line(f"{arguments.file}: ${{{name}}} is from {_SOURCES[source]}")
    if sources:
        output.record({"definitions": sources})


def _print_back_ends(arguments: argparse.Namespace, gateway: Gateway, output: Output) -> None:
    """Print what stands behind services, who asks for decisions, where ``run`` listens, if only it serves the file."""
    for service in gateway.services:
        if service.backend is not None:
            output.line(f"{arguments.file}: service {service.name}: {service.backend.description}")
    if (checks := gateway.forward_auth) is not None:
        output.line(f"{arguments.file}: proxies of the kind {checks.kind} ask for decisions at {checks.accept}")
    places = [f"{each.host}:{each.port}{' (TLS)' if each.tls else ''}" for each in gateway.listeners]
    if places:
        output.line(f"{arguments.file}: run without --port listens on {', '.join(places)}")
    try:
        build(read(arguments.file, properties=definitions(arguments)))
    except ConfigError as error:
        found = next(problem for problem in error.problems if problem.severity == "error")
        output.line(f"{arguments.file}: only run without --port serves this file: {found.message}")
    behind = {each.name: each.backend.description for each in gateway.services if each.backend is not None}
    if places or behind:
        output.record({"listeners": places, "back_ends": behind})


async def _connect(gateway: Gateway) -> list[str]:
    """Return everything that fails when the state store, the login modules and the back ends are tried."""
    failures = [f"state: {message}" for message in await gateway.state.check()]
    parts: list[tuple[str, LoginModule | Backend]] = [
        (f"realm {realm.name}, login module {entry.name}", entry.module)
        for realm in gateway.realms
        for entry in realm.chain.entries
    ]
    parts += [
        (f"service {service.name}, {service.backend.description}", service.backend)
        for service in gateway.services
        if service.backend is not None
    ]
    for where, part in parts:
        try:
            await part.open()
            failures += [f"{where}: {message}" for message in await part.check()]
        except Exception as error:
            failures.append(f"{where}: {error or type(error).__name__}")
        finally:
            await part.close()
    return failures
