"""``asgi-gateway run`` as a process: the application served, its credentials kept out of every log."""

from __future__ import annotations

import json
import shutil
import ssl
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
