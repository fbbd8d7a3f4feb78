"""Several workers on two gateways with one state: tokens are good once, sessions everywhere, and end everywhere."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from asgi_gateway.sessions.tokens import TokenIssuer
from tests.integration.process import LOOPBACK
from tests.integration.redis import RedisServer
from tests.integration.servers import ROOT, serve

pytestmark = pytest.mark.anyio

KEY = "k" * 32
CONFIG = """
security:
  state: STATE
  session-keys: {file: keys}
  realms:
    - name: people
      authentication:
        http-challenge-scheme: Application Basic
        authorization-mode: recycle
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
    - name: tickets
      authentication:
        http-challenge-scheme: Application Token
        http-query-parameter: ticket
        login-modules:
          - {type: token, success: required, options: {keyFile: keys, audience: test, component: ticket}}
services:
  - {name: people, accept: /people, realm-name: people}
  - {name: tickets, accept: /tickets, realm-name: tickets}
"""


@dataclass
class Cluster:
    """Two gateways with two workers each."""

    config: Path
    ports: tuple[int, int]
    redis: RedisServer | None

    def url(self, number: int, path: str, scheme: str = "http") -> str:
        return f"{scheme}://{LOOPBACK}:{self.ports[number % 2]}{path}"

    def revoke(self, *words: str) -> None:
        """Revoke from a shell."""
        command = [sys.executable, "-m", "asgi_gateway", "revoke", str(self.config), *words]
        subprocess.run(command, check=True, cwd=ROOT, timeout=30)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two gateways that share a store."""
    directory = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory).running()) if request.param == "redis" else None
        options = f"url: {redis.url}" if redis is not None else "file: state.db"
        (directory / "users.yaml").write_text("users: [{name: joe, password: joe-pw}, {name: ann, password: ann-pw}]")
        (directory / "keys").write_text(KEY)
        (directory / "keys").chmod(0o600)
        config = directory / "gateway.yaml"
        config.write_text(CONFIG.replace("STATE", f"{{type: {request.param}, options: {{{options}}}}}"))
        env = {"GATEWAY_CONFIG": str(config), "WEB_CONCURRENCY": "2"}
        ports = [
            stack.enter_context(serve("shared_app:app", "gunicorn-uvicorn", log=directory / name, env=env)).port
            for name in ("log1", "log2")
        ]
        yield Cluster(config, (ports[0], ports[1]), redis)


async def test_one_ticket_fifty_times(cluster: Cluster) -> None:
    """Fifty copies of one single-use token at once over four workers on two gateways: exactly one gets in."""
    issuer = TokenIssuer([KEY.encode()], "test")
    for _ in range(3):
        ticket = issuer.issue("joe", realm="tickets", now=time.time(), life=30, single_use=True)
        statuses: list[int] = []

        async def use(number: int, ticket: str = ticket, statuses: list[int] = statuses) -> None:
            async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
                answer = await client.get(cluster.url(number, "/tickets"), params={"ticket": ticket})
            statuses.append(answer.status_code)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(use, number)
        assert sorted(statuses) == [200] + [403] * 49


async def _login(cluster: Cluster, name: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(cluster.url(0, "/people"), auth=(name, f"{name}-pw"))
    assert answer.status_code == 200
    return answer.headers["set-cookie"].split(";")[0]


async def test_session_on_every_worker(cluster: Cluster) -> None:
    """A cookie from one worker is good on all workers of both gateways, and for nobody once the session is revoked."""
    cookie = await _login(cluster, "joe")
    workers = set[str]()
    with anyio.fail_after(20):
        number = 0
        while len(workers) < 4:
            number += 1
            async with httpx.AsyncClient(trust_env=False) as client:  # a new connection may reach another worker
                answer = await client.get(cluster.url(number, "/people"), headers={"Cookie": cookie})
            assert answer.status_code == 200
            workers.add(answer.text)
    assert {text.split()[1] for text in workers} == {"joe"}


async def _closed(socket: ClientConnection) -> tuple[int, str]:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (1006, "")


async def test_revoked_user(cluster: Cluster) -> None:
    """A revoked user's sockets close on every worker within two seconds, nobody else's do, and the cookies are void."""
    joe, ann = await _login(cluster, "joe"), await _login(cluster, "ann")
    async with ExitStackOfSockets() as sockets:
        joes = [await sockets.open(cluster.url(n, "/people", "ws"), joe) for n in range(12)]
        anns = [await sockets.open(cluster.url(n, "/people", "ws"), ann) for n in range(4)]
        workers = {await socket.recv() for socket in joes}
        assert len(workers) >= 2
        await anyio.to_thread.run_sync(cluster.revoke, "user", "joe", "--realm", "people")
        with anyio.fail_after(2):
            assert {await _closed(socket) for socket in joes} == {(4004, "user revoked")}
        for number in range(6):
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(cluster.url(number, "/people"), headers={"Cookie": joe})
                assert answer.status_code == 401
                answer = await client.get(cluster.url(number, "/people"), headers={"Cookie": ann})
                assert answer.status_code == 200
        for socket in anns:
            await socket.ping()
    assert await _login(cluster, "joe")


class ExitStackOfSockets:
    """Sockets that are closed in the end."""

    def __init__(self) -> None:
        self._open: list[ClientConnection] = []

    async def __aenter__(self) -> ExitStackOfSockets:
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in self._open:
            await socket.close()

    async def open(self, url: str, cookie: str) -> ClientConnection:
        socket = await connect(url, additional_headers={"Cookie": cookie}, proxy=None)
        self._open.append(socket)
        return socket


@pytest.mark.parametrize("cluster", ["redis"], indirect=True)
async def test_store_goes_and_comes_back(cluster: Cluster) -> None:
    """While Redis is frozen tickets are 503 and passwords work; when it is back so are tickets; nothing is missed."""
    assert cluster.redis is not None
    issuer = TokenIssuer([KEY.encode()], "test")
    joe = await _login(cluster, "joe")
    async with ExitStackOfSockets() as sockets, httpx.AsyncClient(trust_env=False, timeout=10) as client:
        socket = await sockets.open(cluster.url(0, "/people", "ws"), joe)
        cluster.redis.freeze()
        ticket = issuer.issue("joe", realm="tickets", now=time.time(), life=60, single_use=True)
        answer = await client.get(cluster.url(0, "/tickets"), params={"ticket": ticket})
        assert answer.status_code == 503
        answer = await client.get(cluster.url(1, "/people"), auth=("ann", "ann-pw"))
        assert answer.status_code == 200
        await anyio.sleep(2.5)  # the followers of the log give up and try again
        cluster.redis.thaw()
        ticket = issuer.issue("joe", realm="tickets", now=time.time(), life=60, single_use=True)
        with anyio.fail_after(5):
            while (await client.get(cluster.url(0, "/tickets"), params={"ticket": ticket})).status_code != 200:
                await anyio.sleep(0.1)
        await anyio.to_thread.run_sync(cluster.revoke, "user", "joe", "--realm", "people")
        with anyio.fail_after(5):
            assert await _closed(socket) == (4004, "user revoked")
