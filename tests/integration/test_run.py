"""``asgi-gateway run`` as a process: the application served, its credentials kept out of every log."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.servers import ROOT, basic
from tests.keystores import PASSWORD, STORES

pytestmark = pytest.mark.integration


@pytest.fixture(params=[1, 2])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    """The reference application's bare form behind a realm that reads a query parameter."""
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: open-sesame}]")
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "security:\n"
        "  realms:\n"
        "    - name: demo\n"
        "      authentication:\n"
        "        http-challenge-scheme: Application Basic\n"
        "        http-query-parameter: login\n"
        "        login-modules: [{type: file, success: required, options: {file: users.yaml}}]\n"
    )
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(config), "example_app.app:api"]
    command += ["--port", str(port), "--workers", str(request.param)]
    with running(command, port=port, log=tmp_path / "log", cwd=ROOT) as process:
        yield process


def test_serves_and_masks(server: Process) -> None:
    """The realm decides; the access log shows paths and never credentials; the audit log tells why."""
    base = f"http://{LOOPBACK}:{server.port}"
    secret = "am9lOm9wZW4tc2VzYW1l"  # joe:open-sesame
    with httpx.Client(base_url=base, trust_env=False) as client:
        assert client.get("/basic").status_code == 401
        assert client.get("/basic", params={"login": secret, "page": "7"}).json()["user"] == "joe"
        assert client.get("/basic", auth=("joe", "wrong-sesame")).status_code == 401
    with pytest.raises(InvalidStatus):
        connect(f"ws://{LOOPBACK}:{server.port}/echo")
    with connect(f"ws://{LOOPBACK}:{server.port}/echo?login={secret}") as socket:
        socket.send("hello")
        assert socket.recv() == "joe: hello"
    server.stop()
    log = server.output()
    assert "login=***" in log
    assert "page=7" in log
    assert "without completing handshake" not in log  # the refused socket was answered
    for canary in (secret, "open-sesame", "wrong-sesame"):
        assert canary not in log
    events = [json.loads(line) for line in log.splitlines() if line.startswith('{"time"')]
    assert {event["outcome"] for event in events} >= {"success", "failure", "challenge"}
    failure = next(event for event in events if event["outcome"] == "failure")
    assert failure["reason"] == "wrong password"
    assert failure["principal"].startswith("hashed:")


def test_serves_tls_from_the_keystore(tmp_path: Path) -> None:
    """With --tls the keystore's certificate for the host serves https and wss, and clients verify it."""
    shutil.copy(STORES / "server.p12", tmp_path)
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: open-sesame}]")
    (tmp_path / "store.pw").write_text(PASSWORD)
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "security:\n"
        "  keystore: {file: server.p12, password-file: store.pw}\n"
        "  realms:\n"
        "    - name: demo\n"
        "      authentication:\n"
        "        http-challenge-scheme: Basic\n"
        "        login-modules: [{type: file, success: required, options: {file: users.yaml}}]\n"
    )
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(config), "example_app.app:api"]
    trust = ssl.create_default_context(cafile=str(STORES / "ca.pem"))
    with running([*command, "--port", str(port), "--tls", "localhost"], port=port, log=tmp_path / "log", cwd=ROOT):
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trust, trust_env=False) as client:
            assert client.get("/basic").status_code == 401
            assert client.get("/basic", auth=("joe", "open-sesame")).json()["user"] == "joe"
        with connect(
            f"wss://localhost:{port}/echo", ssl=trust, additional_headers=basic("joe", "open-sesame")
        ) as socket:
            socket.send("hello")
            assert socket.recv() == "joe: hello"


FOLDER_APP = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from asgi_gateway import GatewayMiddleware

async def show(request):
    return PlainTextResponse(request.user.display_name)

api = Starlette(routes=[Route("/hello", show)])
app = GatewayMiddleware(api, "gateway.yaml")
added = Starlette(routes=[Route("/hello", show)])
added.add_middleware(GatewayMiddleware, config="gateway.yaml")

def create_app():
    return api
"""
FOLDER_CONFIG = """
properties: {where: /nowhere}
security:
  state: {type: sqlite, options: {file: state.db}}
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
services: [{accept: "${where}", realm-name: demo}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with an application in several forms, and a configuration that needs a definition."""
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: open-sesame}]")
    (tmp_path / "gateway.yaml").write_text(FOLDER_CONFIG)
    (tmp_path / "folder_app.py").write_text(FOLDER_APP)
    return tmp_path


def _run(folder: Path, app: str, *more: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", "gateway.yaml", f"folder_app:{app}", *more]


@pytest.mark.parametrize("app", ["api", "app", "added", "create_app"])
def test_one_gateway(folder: Path, app: str) -> None:
    """Whether bare, wrapped, by add_middleware or made by a factory: the application is behind one gateway."""
    port = free_port()
    (folder / "gateway.yaml").write_text(FOLDER_CONFIG.replace("/nowhere", "/hello"))
    environment = {"PYTHONPATH": str(ROOT)}
    command = _run(folder, app, "--port", str(port))
    with running(command, port=port, log=folder / "log", cwd=folder, env=environment) as process:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False) as client:
            assert client.get("/hello").status_code == 401
            assert client.get("/hello", auth=("joe", "open-sesame")).text == "joe"
            assert client.get("/other", auth=("joe", "open-sesame")).status_code == 403
        process.stop()
        events = [json.loads(line) for line in process.output().splitlines() if line.startswith('{"time"')]
    assert [event["outcome"] for event in events if event["outcome"] in ("challenge", "success")] == [
        "challenge",
        "success",
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_definitions_in_every_worker(folder: Path, workers: int) -> None:
    """What -D defines holds in the processes that serve."""
    port = free_port()
    command = _run(folder, "api", "--port", str(port), "--workers", str(workers), "-D", "where=/hello")
    with running(command, port=port, log=folder / "log", cwd=folder, env={"PYTHONPATH": str(ROOT)}):
        for _ in range(6):
            with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False) as client:
                assert client.get("/hello", auth=("joe", "open-sesame")).text == "joe"
                assert client.get("/nowhere").status_code == 403


def test_port_in_use(folder: Path) -> None:
    """A second server on the same port ends with one line and exit code 2; the first one goes on."""
    port = free_port()
    command = _run(folder, "api", "--port", str(port))
    environment = {"PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=folder / "log", cwd=folder, env=environment):
        second = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
        assert second.returncode == 2
        assert [line for line in second.stderr.splitlines() if "Warning" not in line and "warning" not in line] == [
            f"asgi-gateway: port {port} of 127.0.0.1 is in use by another process: choose another --port"
        ]
        assert httpx.get(f"http://{LOOPBACK}:{port}/x", trust_env=False).status_code == 403
