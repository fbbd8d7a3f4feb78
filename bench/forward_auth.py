"""Answers to the checks of an nginx: the gateway's forward-auth, and nginx-ldap-auth-service; users are in a directory.

Both know their client by a session's cookie. The gateway asks the directory again every five minutes. The peer asks it
for every check, and has no setting for that.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.proxying import PEERS, Servers, askers, clients_core, have_peers, in_turns, ratio, row
from tests.integration.process import LOOPBACK

URL = "BENCH_LDAP_URL"
USER, PASSWORD = "alice", "alice-pw"
CHECK = "GET /auth HTTP/1.1\r\nHost: www.example.com\r\nX-Original-URI: /app/hello\r\nX-Original-Method: GET\r\n"
PEERS_CHECK = "GET /check HTTP/1.1\r\nHost: localhost\r\nX-Proto-Scheme: http\r\nX-Host: localhost\r\n"


def gateway() -> Any:
    """The gateway, with sessions, for an nginx to ask."""
    from asgi_gateway import GatewayMiddleware
    from bench.apps import bare
    from tests.integration.slapd import READER, READER_PASSWORD

    options = {
        "userProvider": os.environ[URL],
        "userFilter": "(uid={USERNAME})",
        "useSSL": False,
        "java.naming.security.principal": READER,
        "java.naming.security.credentials": READER_PASSWORD,
    }
    authentication = {
        "http-challenge-scheme": "Basic",
        "authorization-mode": "recycle",
        "login-modules": [{"type": "ldap", "success": "required", "options": options}],
    }
    service = {"name": "app", "accept": "/app", "realm-name": "bench", "identity-headers": {"user": "X-User"}}
    config = {
        "security": {
            "trusted-proxies": LOOPBACK,
            "realms": [{"name": "bench", "authentication": authentication}],
        },
        "services": [service],
        "forward-auth": {"accept": "/auth", "kind": "nginx"},
    }
    return GatewayMiddleware(bare, config)


async def ask(port: int, request: str, body: str = "") -> tuple[int, dict[str, list[str]], str]:
    """One request. Return the response's status, headers and body."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(f"{request}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    head, _, text = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    status, *lines = head.split("\r\n")
    headers: dict[str, list[str]] = {}
    for name, _, value in (line.partition(": ") for line in lines):
        headers.setdefault(name.lower(), []).append(value)
    return int(status.split(" ")[1]), headers, text


def cookies(headers: dict[str, list[str]]) -> str:
    """The Cookie header's value for what a response has set."""
    return "; ".join(each.partition(";")[0] for each in headers.get("set-cookie", ()))


async def log_in(port: int) -> str:
    """Log in to the gateway by Basic. Return the session's cookie."""
    from tests.integration.servers import basic

    status, headers, _ = await ask(port, f"{CHECK}Authorization: {basic(USER, PASSWORD)['Authorization']}\r\n")
    if status != 200:
        raise RuntimeError(f"the gateway answered {status}")
    return cookies(headers)


async def log_in_to_peer(port: int) -> str:
    """Log in to the peer by its form. Return the session's cookie."""
    head = " /auth/login?service=/ HTTP/1.1\r\nHost: localhost\r\nX-Proto-Scheme: http\r\nX-Host: localhost\r\n"
    _, headers, page = await ask(port, "GET" + head)
    token = re.findall(r'name="csrf_token" value="([^"]*)"', page)[0]
    form = urlencode({"username": USER, "password": PASSWORD, "service": "/", "csrf_token": token})
    more = f"Cookie: {cookies(headers)}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    status, headers, _ = await ask(port, f"POST{head}{more}", form)
    found = [each for each in headers.get("set-cookie", ()) if each.startswith("nginxauth=")]
    if status != 302 or not found:
        raise RuntimeError(f"nginx-ldap-auth-service answered {status}")
    return found[0].partition(";")[0]


async def measure(servers: Servers, directory: Any) -> None:
    """Start both, log in, measure and print."""
    from tests.integration.slapd import PEOPLE, READER, READER_PASSWORD

    ours = servers.uvicorn("bench.forward_auth:gateway", "--factory", **{URL: directory.url()})
    theirs = servers.uvicorn(
        "nginx_ldap_auth.app.main:app",
        python=PEERS,
        SECRET_KEY="bench",
        CSRF_SECRET_KEY="bench",
        INSECURE="true",
        LOGLEVEL="ERROR",
        LDAP_URI=directory.url("").rstrip("/"),
        LDAP_STARTTLS="false",
        LDAP_BINDDN=READER,
        LDAP_PASSWORD=READER_PASSWORD,
        LDAP_BASEDN=PEOPLE,
        LDAP_MIN_POOL_SIZE="32",
        LDAP_MAX_POOL_SIZE="32",
    )
    requests = {
        "gateway": (ours, f"{CHECK}Cookie: {await log_in(ours)}\r\n\r\n"),
        "peer": (theirs, f"{PEERS_CHECK}Cookie: {await log_in_to_peer(theirs)}\r\n\r\n"),
    }
    sides = {name: await askers(port, text.encode()) for name, (port, text) in requests.items()}
    rates = await in_turns(sides, 5, 1.0)  # the peer answers so few that a shorter round may see none
    rate = statistics.median(rates["gateway"])
    row("forward-auth answers / nginx-ldap-auth-service", ratio(rates, "peer"), rate, "/s", "at least 2.00")


async def main() -> None:
    """Measure and print."""
    from tests.integration.slapd import slapd

    if not have_peers():
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = stack.enter_context(slapd(Path(folder), debug="0"))
        stack.enter_context(clients_core())
        own = Path(folder) / "servers"
        own.mkdir()
        await measure(Servers(stack, own), directory)


if __name__ == "__main__":
    asyncio.run(main())
