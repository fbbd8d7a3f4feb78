"""Run ``asgi-gateway explain``: send one request through the real gateway, and show every step but no secret."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import anyio

from asgi_gateway.authentication.attempt import Step
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.cli.definitions import definitions
from asgi_gateway.cli.output import Output
from asgi_gateway.cli.passwords import ask_password
from asgi_gateway.config import build, read
from asgi_gateway.gateway import Gateway
from asgi_gateway.http.headers import basic_value
from asgi_gateway.model import Allow, AuthRequest, Challenge, Decision, Unavailable
from asgi_gateway.services.model import Service

__all__ = ["explain"]

_APPLICATION = "the application"


class _Trace(logging.Handler):
    """Collects what login modules log while the request is decided."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name.removeprefix('asgi_gateway.modules.')}: {record.getMessage()}")


def explain(arguments: argparse.Namespace, output: Output) -> int:
    """Print the decision on a request and what led to it; 0 if it is allowed, 1 if it is not.

    The state store stays as it is: no session begins, and no token is used up.
    """
    request = _request(arguments)
    loaded = read(arguments.file, properties=definitions(arguments), by_port=arguments.port is not None)
    gateway = build(loaded, trial=True)
    report = anyio.run(_decide, gateway, request)
    output.record(report)
    for line in _lines(report):
        output.line(line)
    return 0 if report["decision"] == "allow" else 1


def _request(arguments: argparse.Namespace) -> AuthRequest:
    path, _, query = arguments.path.partition("?")
    if not path.startswith("/"):
        raise ValueError(f"the path must begin with a slash: {path}")
    headers = []
    for header in arguments.header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ValueError("invalid --header: write 'Name: value'")
        headers.append((name.strip().lower().encode("latin-1"), value.strip().encode("utf-8")))
    if arguments.user is not None:
        headers.append((b"authorization", basic_value(arguments.user, ask_password()).encode("ascii")))
    if not any(name == b"host" for name, _ in headers):
        headers.append((b"host", b"localhost"))
    method = arguments.method.upper()
    websocket = method in ("WS", "WEBSOCKET")
    return AuthRequest(
        "websocket" if websocket else "http",
        "GET" if websocket else method,
        unquote(path),
        query=query.encode("utf-8"),
        headers=tuple(headers),
        remote_address=arguments.address,
        scheme="ws" if websocket else "http",
        raw_path=path.encode("utf-8"),
        local_port=arguments.port,
    )


async def _decide(gateway: Gateway, request: AuthRequest) -> dict[str, Any]:
    steps: list[dict[str, str]] = []
    trace = _Trace()

    def observe(realm: Realm, done: Sequence[Step]) -> None:
        steps.extend(
            {"realm": realm.name, "module": step.module, "phase": step.phase, "outcome": step.outcome}
            | ({"error": step.error} if step.error else {})
            for step in done
        )

    modules = logging.getLogger("asgi_gateway.modules")
    level, propagate = modules.level, modules.propagate
    modules.addHandler(trace)
    modules.setLevel(logging.DEBUG)
    modules.propagate = False
    await gateway.open(serving=False)
    try:
        decision = await gateway.decide(request, LoginOptions(trace=observe))
    finally:
        await gateway.close()
        modules.removeHandler(trace)
        modules.setLevel(level)
        modules.propagate = propagate
    return _report(gateway, request, decision, steps, trace.lines)


def _report(
    gateway: Gateway, request: AuthRequest, decision: Decision, steps: list[dict[str, str]], trace: list[str]
) -> dict[str, Any]:
    service = next((service for service in gateway.services if service.name == decision.service), None)
    report: dict[str, Any] = {
        "request": f"{'WS' if request.protocol == 'websocket' else request.method} {request.path}",
        "service": decision.service or None,
        "behind": _behind(service) if service is not None else None,
        "realms": [realm.name for realm in service.realms] if service is not None else [],
        "schemes": [scheme.name for realm in service.realms for scheme in realm.schemes] if service is not None else [],
        "required_roles": sorted(service.authorization.roles) if service is not None else [],
        "steps": steps,
        "trace": trace,
        "decision": type(decision).__name__.lower(),
    }
    if isinstance(decision, Allow):
        report["status"] = 101 if request.protocol == "websocket" else 200
        if decision.subject is not None:
            report["user"] = decision.subject.name
            report["roles"] = sorted(decision.subject.roles)
    elif isinstance(decision, Challenge):
        report |= {"status": 401, "reason": decision.reason}
    elif isinstance(decision, Unavailable):
        report |= {"status": 503, "reason": decision.reason}
    else:
        report |= {"status": 403, "reason": decision.reason}
    return report


def _behind(service: Service) -> str | None:
    """Return what answers a service's requests; None if every request is refused."""
    if service.refusal:
        return None
    return service.backend.description if service.backend is not None else _APPLICATION


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [report["request"], f"  service   {report['service'] or 'none'}"]
    if report["behind"] not in (None, _APPLICATION):
        lines.append(f"  behind    {report['behind']}")
    if report["realms"]:
        lines.append(f"  realm     {', '.join(report['realms'])} ({', '.join(report['schemes'])})")
        lines.append(f"  roles     {', '.join(report['required_roles']) or 'none: any authenticated user'}")
    elif report["service"] and report["decision"] == "allow":
        lines.append("  realm     none: the service is public")
    for step in report["steps"]:
        error = f": {step['error']}" if "error" in step else ""
        lines.append(f"  {step['phase']:<9} {step['realm']}/{step['module']} {step['outcome']}{error}")
    lines += [f"  trace     {line}" for line in report["trace"]]
    if "user" in report:
        lines.append(f"  user      {report['user']} (roles: {', '.join(report['roles']) or 'none'})")
    if "reason" in report:
        lines.append(f"  because   {report['reason']}")
    lines.append(f"  decision  {report['decision']} ({report['status']})")
    return lines
