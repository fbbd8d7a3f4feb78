"""A real uvicorn that serves https and wss from a keystore, to users who log in with another keystore."""

from __future__ import annotations

import shutil
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from asgi_gateway import GatewayMiddleware, load_config
from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.keystores import load_keystore
from asgi_gateway.modules.keystore import KeyStoreLoginModule, KeyStoreOptions
from tests import helpers
from tests.integration.process import Process, free_port, running
from tests.integration.servers import ROOT, basic
from tests.keystores import NOW, PASSWORD, STORES
from tests.responsive import assert_responsive

ALICE = "CN=Alice,OU=Test+OU=Sales,O=Example\\, Inc"
MODULE = "keystore"

OWN_KEY = f"""
          - type: {MODULE}
            success: required
            options: {{keyStoreURL: "file:users.jceks", keyStorePasswordURL: "file:store.pw"}}
"""
LOCAL = f"""
          - type: {MODULE}
            success: required
            options:
              keyStoreURL: "file:users.jceks"
              keyStorePasswordURL: "file:store.pw"
              privateKeyPasswordURL: "file:alice.pw"
              keyStoreAlias: alice
"""
REALM = """
security:
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        login-modules:
"""

Served = tuple[Process, Path]


def write_config(folder: Path, login_modules: str) -> Path:
    """A gateway.yaml with these modules, and the files that they need."""
    shutil.copy(STORES / "users.jceks", folder)
    for name, text in (("gateway.yaml", REALM + login_modules), ("store.pw", PASSWORD), ("alice.pw", "Alice-secret")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return folder / "gateway.yaml"


@pytest.fixture(scope="module", params=[("server.jks", 1), ("server.jceks", 1), ("server.p12", 2)], ids=lambda p: p[0])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server's process, and the folder of its temporary files."""
    keystore, workers = request.param
    folder = tmp_path_factory.mktemp("keystore")
    temporary = folder / "tmp"
    temporary.mkdir()
    config = write_config(folder, OWN_KEY)
    port = free_port()
    command = [
        *(sys.executable, "-m", "tests.integration.apps.keystore_app"),
        *(config, STORES / keystore, str(port), str(workers)),
    ]
    env = {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    with running(command, port=port, log=folder / "log", name=keystore, env=env, cwd=folder) as process:
        yield process, temporary


def trusting(truststore: str = "truststore.jks") -> ssl.SSLContext:
    """A client's TLS context that trusts what a truststore trusts, and nothing else."""
    return ssl.create_default_context(cadata=load_keystore(STORES / truststore, PASSWORD).pem_bundle().decode())


def get(server: Served, path: str, context: ssl.SSLContext, *credentials: str) -> httpx.Response:
    url = f"https://localhost:{server[0].port}{path}"
    headers = basic(*credentials) if credentials else {}
    return httpx.get(url, headers=headers, verify=context, trust_env=False, timeout=20)


def test_https(server: Served) -> None:
    """A client that trusts the truststore reaches the application over https, with the right key's password only."""
    response = get(server, "/", trusting(), "alice", "Alice-secret")
    assert response.status_code == 200
    assert response.json() == {"name": ALICE, "scheme": "https"}
    refused = [
        get(server, "/", trusting()),
        get(server, "/", trusting(), "alice", "bob-secret"),
        get(server, "/", trusting(), "nobody", "bob-secret"),
        get(server, "/", trusting(), "alice", ""),
        get(server, "/", trusting(), "expired", "expired-secret"),
    ]
    assert [response.status_code for response in refused] == [401] * 5
    assert len({response.content for response in refused}) == 1


def test_wss(server: Served) -> None:
    """The same holds for a WebSocket over TLS."""
    url = f"wss://localhost:{server[0].port}/"
    with connect(
        url, ssl=trusting(), additional_headers=basic("bob", "bob-secret"), proxy=None, open_timeout=20
    ) as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "CN=Bob: hello"
    with pytest.raises(InvalidStatus) as caught:
        connect(url, ssl=trusting(), additional_headers=basic("bob", "falsch"), proxy=None, open_timeout=20)
    assert caught.value.response.status_code == 401


@pytest.mark.anyio
async def test_nothing_checked_lets_nobody_in(tmp_path: Path) -> None:
    """A chain that checks nothing of the request stops the start; beside a module that does, it adds its principal."""
    with pytest.raises(ConfigError, match="the chain grants access without authentication"):
        load_config(write_config(tmp_path, LOCAL))
    app = Starlette(
        routes=[Route("/", lambda request: PlainTextResponse(str([p.name for p in request.user.subject.principals])))]
    )
    transport = httpx.ASGITransport(GatewayMiddleware(app, write_config(tmp_path, OWN_KEY + LOCAL)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/", headers=basic("bob", "falsch"))).status_code == 401
        response = await client.get("/", headers=basic("bob", "bob-secret"))
        assert response.status_code == 200
        assert response.text == str(["CN=Bob", ALICE])


def test_certificate_is_verified(server: Served) -> None:
    """A client that trusts the truststore connects; one that does not, or asks for another host, gets no connection."""
    for truststore in ("truststore.p12", "truststore.jceks", "ca.pem"):
        assert get(server, "/", trusting(truststore)).status_code == 401
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(server, "/", ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'example.com'"):
        connect(
            f"wss://localhost:{server[0].port}/",
            ssl=trusting(),
            server_hostname="example.com",
            proxy=None,
            open_timeout=20,
        )


def test_no_key_is_left_behind(server: Served) -> None:
    """While the server runs, no file with the key is left in its temporary folder."""
    assert list(server[1].iterdir()) == []


@pytest.mark.timing
@pytest.mark.anyio
async def test_loop_stays_responsive(tmp_path: Path) -> None:
    """A flood of wrong passwords against the slowest format leaves the event loop responsive."""
    shutil.copy(STORES / "users.jceks", tmp_path)
    (tmp_path / "store.pw").write_text(PASSWORD)
    context = helpers.context(tmp_path)
    context.clock.now = NOW
    options = KeyStoreOptions(keyStoreURL="file:users.jceks", keyStorePasswordURL="file:store.pw")
    module = KeyStoreLoginModule(options, context.context)

    async def login() -> None:
        with pytest.raises(LoginFailed):
            await module.login(helpers.attempt("alice", "falsch"))

    async def flood() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(login)

    await assert_responsive(flood)
