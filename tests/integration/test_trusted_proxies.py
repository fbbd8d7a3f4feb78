"""``trusted-proxies`` under servers that report the peer, and under those that put another address in its place."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from tests.integration.checks import reply, reply_of
from tests.integration.process import LOOPBACK, free_port, running
from tests.integration.raw import head
from tests.integration.servers import ROOT, connect, serve

FORWARDED = "X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
CHECK = "X-Original-URI: /page\r\nX-Original-Method: GET\r\n"
SERVERS = {
    "uvicorn": ("uvicorn", ["--no-proxy-headers"]),
    "gunicorn-uvicorn": ("gunicorn-uvicorn", ["--forwarded-allow-ips", ""]),
    "gunicorn-asgi": ("gunicorn-asgi", []),
    "hypercorn": ("hypercorn", []),
    "granian": ("granian", []),
    "daphne": ("daphne", []),
}
"""Servers that report the peer, and what makes them."""
REWRITING = {
    "uvicorn": ("uvicorn", "app", [], "--no-proxy-headers"),
    "uvicorn-all": ("uvicorn", "app", ["--forwarded-allow-ips", "*"], "--no-proxy-headers"),
    "gunicorn-uvicorn": ("gunicorn-uvicorn", "app", [], "--forwarded-allow-ips ''"),
    "hypercorn": ("hypercorn", "fixed", [], "remove ProxyFixMiddleware"),
    "daphne": ("daphne", "app", ["--proxy-headers"], "start daphne without --proxy-headers"),
}
"""Servers that put another address in its place, and what their operators are told."""
BOTH = """
import asyncio, socket, sys, uvicorn
tcp, unix = socket.socket(), socket.socket(socket.AF_UNIX)
tcp.bind(("127.0.0.1", int(sys.argv[1])))
unix.bind(sys.argv[2])
config = uvicorn.Config("tests.integration.apps.proxied_app:app", proxy_headers=False)
asyncio.run(uvicorn.Server(config).serve(sockets=[unix, tcp]))
"""
"""A server that listens on a Unix socket, and on a port so that the test knows when."""


@pytest.mark.parametrize("name", SERVERS)
def test_servers_that_report_the_peer(name: str, tmp_path: Path) -> None:
    """The application sees the client's address and scheme, of WebSockets too; a listed proxy may ask."""
    server, options = SERVERS[name]
    with serve("proxied_app:app", server, log=tmp_path / "log", options=options) as process:
        told = reply(process, "/page", FORWARDED).told
        assert (told["client"], told["scheme"]) == (["192.0.2.7", 0], "https")
        assert reply(process, "/page").told["client"][0] == LOOPBACK
        assert reply(process, "/gateway-check", FORWARDED, CHECK).status == 200
        headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        with connect(process, "/page", additional_headers=headers) as websocket:
            websocket.send("hello")
            told = json.loads(websocket.recv(timeout=5))
        assert (told["client"], told["scheme"]) == (["192.0.2.7", 0], "wss")
        assert "replaces the address" not in process.output()


@pytest.mark.parametrize("name", REWRITING)
def test_servers_that_replace_the_peer(name: str, tmp_path: Path) -> None:
    """No proxy may ask, whatever address its client chose, and the log says what to turn off."""
    server, app, options, hint = REWRITING[name]
    with serve(f"proxied_app:{app}", server, log=tmp_path / "log", options=options) as process:
        for lines in ("", FORWARDED, f"X-Forwarded-For: {LOOPBACK}:4711\r\n", f"X-Forwarded-For: {LOOPBACK}\r\n"):
            assert reply(process, "/gateway-check", lines, CHECK).status == 403
        assert reply(process, "/page", FORWARDED).status == 200
        warnings = [line for line in process.output().splitlines() if "replaces the address of the peer" in line]
        assert len(warnings) == 1
        assert hint in warnings[0]


def test_a_unix_socket(tmp_path: Path) -> None:
    """Its peers are listed as ``unix``."""
    port, path = free_port(), tmp_path / "socket"
    env = {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BOTH, str(port), str(path)]
    with running(command, port=port, log=tmp_path / "log", name="uvicorn", cwd=tmp_path, env=env):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(path))
            connection.sendall(head("/page", FORWARDED, "Connection: close\r\n"))
            received = b""
            while more := connection.recv(65536):
                received += more
        told = reply_of(received).told
        assert (told["client"], told["scheme"]) == (["192.0.2.7", 0], "https")


@pytest.mark.parametrize("listed", [False, True])
def test_run_believes_those_that_are_listed(listed: bool, tmp_path: Path) -> None:
    """Under ``run`` FORWARDED_ALLOW_IPS has no effect, and a warning says what has."""
    port = free_port()
    security = "security: {trusted-proxies: [127.0.0.1]}\n" if listed else ""
    (tmp_path / "gateway.yaml").write_text(f"{security}services: [{{name: all, accept: /}}]\n")
    app = "tests.integration.apps.told_app:app"
    command = [sys.executable, "-m", "asgi_gateway", "run", "gateway.yaml", app, "--port", str(port)]
    env = {"PYTHONPATH": str(ROOT), "FORWARDED_ALLOW_IPS": "*"}
    with running(command, port=port, log=tmp_path / "log", cwd=tmp_path, env=env) as process:
        told = reply(process, "/page", FORWARDED).told
        assert (told["client"][0], told["scheme"]) == (("192.0.2.7", "https") if listed else (LOOPBACK, "http"))
        assert ("FORWARDED_ALLOW_IPS has no effect" in process.output()) is not listed
