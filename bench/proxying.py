"""The gateway as a proxy under uvicorn: requests, a large download, WebSocket messages, bytes from WebSocket to TCP.

Proxies have one core to themselves, each when it is its turn; back ends and clients have the other. Rounds are short
and take turns. A row is the median of the paired ratios.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from asgi_gateway import GatewayMiddleware
from bench.inprocess import BASIC
from bench.peers import BACKEND
from bench.served import CONNECTIONS, PAUSE, Client, requests, resident
from tests.integration.process import LOOPBACK, free_port, running

ROUNDS, SECONDS, TALKERS = 15, 0.3, 16
WARMING = 0.3
DOWNLOADS = 3
SIZE = 1 << 30
"""Bytes of the download."""
CHUNK = 32 * 1024
"""Bytes of each message that becomes bytes of TCP."""
PUMPS = 4
PEERS = Path(".venv-peers/bin/python")
"""The interpreter that has the peers, which ``make bench`` sets up."""
USER, TCP, FOLDER = "BENCH_USERS", "BENCH_TCP", "BENCH_FOLDER"
REQUEST = (
    b"GET /app/hello HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAuthorization: "
    + BASIC
    + b"\r\n\r\n"
)
OPENING = (
    b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: " + BASIC + b"\r\n\r\n"
)
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 10000000; tcp_nodelay on;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {http}
}}
"""
_BUFFERS = "proxy_max_temp_file_size 0; proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 512k;"
"""With its own buffers an nginx passes on a third as many bytes of a large download."""


def gateway() -> GatewayMiddleware:
    """The gateway without an application: every service has a back end, and a verified credential is remembered."""
    options = {"file": os.environ[USER]}
    module = {"type": "file", "success": "required", "options": options}
    authentication = {"http-challenge-scheme": "Basic", "login-modules": [module]}
    realm = {"name": "bench", "credential-cache": "1 hour", "authentication": authentication}
    url = os.environ[BACKEND]
    services = [
        {"name": "app", "accept": "http://localhost/app", "connect": f"{url}/app", "type": "http.proxy"},
        {"name": "ws", "accept": "ws://localhost/ws", "connect": os.environ["BENCH_WS"], "type": "http.proxy"},
        {"name": "tcp", "accept": "ws://localhost/tcp", "connect": os.environ[TCP], "type": "proxy"},
    ]
    constraint = {"require-role": ["AUTHORIZED"]}
    guarded = [{**each, "realm-name": "bench", "authorization-constraint": constraint} for each in services]
    return GatewayMiddleware(None, {"security": {"realms": [realm]}, "services": guarded})


# ------------------------------------------------------------------------------------------------------------- servers


def cores() -> tuple[list[str], list[str]]:
    """What to write before a proxy's command and before a back end's, so that they are on cores of their own."""
    if (os.cpu_count() or 1) < 2:
        return [], []
    return ["taskset", "-c", "0"], ["taskset", "-c", "1"]


def have_peers() -> bool:
    """Whether the peers are set up."""
    return PEERS.exists()


class Servers:
    """Starts servers, each on a port of its own, and ends them.

    Args:
        stack: ends them.
        folder: for their files.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.pids: dict[int, int] = {}
        self.proxy_core, self.backend_core = cores()

    def start(self, name: str, command: Sequence[str], core: list[str], port: int, **environment: str) -> int:
        """Start a server. Return its port."""
        log = self.folder / f"{name}.log"
        words = [*core, *command]
        process = self.stack.enter_context(running(words, port=port, log=log, name=name, env=environment))
        self.pids[port] = process.popen.pid
        return port

    def uvicorn(self, target: str, *options: str, python: str | Path = sys.executable, **environment: str) -> int:
        """Start a proxy under uvicorn with one worker."""
        port = free_port()
        words = [str(python), "-W", "ignore", "-m", "uvicorn", target, "--port", str(port), "--no-access-log", *options]
        words.append("--no-proxy-headers")
        name = target.replace(":", ".")
        return self.start(name, [*words, "--log-level", "error"], self.proxy_core, port, **environment)

    def nginx(self, name: str, http: str, core: list[str]) -> int:
        """Start an nginx; ``%PORT%`` in its configuration is its port."""
        port, folder = free_port(), self.folder / name
        folder.mkdir()
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, http=http.replace("%PORT%", str(port))))
        command = ["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
        return self.start(name, command, core, port)


def nginx_backend(servers: Servers) -> int:
    """A back end with an answer of 1 KiB, and a file for the download."""
    file = servers.folder / "files" / "app" / "large"
    file.parent.mkdir(parents=True)
    with file.open("wb") as out:
        out.truncate(SIZE)
    servers.folder.chmod(0o755)
    http = (
        f"server {{ listen {LOOPBACK}:%PORT%; default_type text/plain; root {servers.folder}/files;"
        f' location = /app/hello {{ return 200 "{"x" * 1024}"; }} }}'
    )
    return servers.nginx("backend", http, servers.backend_core)


def nginx_proxy(servers: Servers, backend: int, check: int | None = None) -> int:
    """An nginx that passes everything on, over kept connections; with a check if it is to ask for one."""
    kept = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    http = f"upstream backend {{ server {LOOPBACK}:{backend}; keepalive 64; }}"
    asked = ""
    location = ""
    if check is not None:
        http += f" upstream check {{ server {LOOPBACK}:{check}; keepalive 64; }}"
        asked = "auth_request /check;"
        location = (
            f"location = /check {{ internal; proxy_pass http://check/check; {kept} proxy_pass_request_body off;"
            ' proxy_set_header Content-Length ""; }'
        )
    http += (
        f" server {{ listen {LOOPBACK}:%PORT%; {location}"
        f" location / {{ {asked} proxy_pass http://backend; {kept} {_BUFFERS} }} }}"
    )
    return servers.nginx("nginx" if check is None else "nginx-auth", http, servers.proxy_core)


# ------------------------------------------------------------------------------------------------------------- clients


class Talker(Client):
    """A WebSocket that says a message again as soon as it was echoed."""

    def __init__(self, path: bytes, message: bytes) -> None:
        super().__init__(len(message) + 2, bytes((0x81, 0x80 | len(message))) + bytes(4) + message)
        self.path, self.head, self.opened = path, b"", asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        transport.write(OPENING % self.path)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            super().data_received(data)
            return
        self.head += data
        if b"\r\n\r\n" in self.head:
            self.opened.set_result(self.head)


class Pump(Talker):
    """A WebSocket that sends binary messages, each when as many bytes came back as the one before had."""

    def __init__(self, path: bytes, size: int) -> None:
        super().__init__(path, b"")
        self.request = bytes((0x82, 0x80 | 126)) + size.to_bytes(2, "big") + bytes(4) + bytes(size)
        if size > 65_535:
            raise ValueError(size)
        self.size, self.due, self.rest, self.pending = size, size, 0, b""

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            super().data_received(data)
            return
        self.due -= self._payload(data)
        while self.due <= 0:
            self.due += self.size
            self.count += 1
            if self.going:
                self.transport.write(self.request)  # type: ignore[attr-defined]

    def _payload(self, data: bytes) -> int:
        """The bytes of payload in what came; what is left of a frame is noted."""
        if self.pending:
            data, self.pending = self.pending + data, b""
        at, found = 0, 0
        while at < len(data):
            if not self.rest:
                size, start = _frame_size(data, at)
                if size is None:
                    self.pending = data[at:]
                    break
                self.rest, at = size, start
            part = min(self.rest, len(data) - at)
            self.rest, at, found = self.rest - part, at + part, found + part
        return found


def _frame_size(data: bytes, at: int) -> tuple[int | None, int]:
    """The length of the payload of a frame, and where it begins; None if its head is not complete."""
    if len(data) < at + 2:
        return None, at
    size, start = data[at + 1], at + 2
    if size > 125:
        end = start + (2 if size == 126 else 8)
        if len(data) < end:
            return None, at
        return int.from_bytes(data[start:end], "big"), end
    return size, start


async def askers(port: int, request: bytes = REQUEST) -> list[Client]:
    """Connections that send a request over and over; its response must be 200 and have a length."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head.lower())
    if not head.startswith(b"HTTP/1.1 200") or found is None:
        raise RuntimeError(head.decode())
    length = len(head) + len(await reader.readexactly(int(found[1])))
    writer.close()
    clients = [Client(length, request) for _ in range(CONNECTIONS)]
    loop = asyncio.get_running_loop()
    for client in clients:
        await loop.create_connection(lambda client=client: client, LOOPBACK, port)  # type: ignore[misc]
    return clients


async def sockets(port: int, make: Callable[[], Talker], number: int) -> list[Client]:
    """Open WebSockets."""
    made: list[Client] = []
    for _ in range(number):
        talker = make()
        await asyncio.get_running_loop().create_connection(lambda talker=talker: talker, LOOPBACK, port)  # type: ignore[misc]
        head = await asyncio.wait_for(talker.opened, 10)
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(head.decode())
        made.append(talker)
    return made


async def in_turns(
    sides: Mapping[str, list[Client]], rounds: int = ROUNDS, seconds: float = SECONDS
) -> dict[str, list[float]]:
    """Rates of several servers, whose rounds take turns, forwards and backwards."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for clients in sides.values():
        await requests(clients, WARMING)
    for number in range(rounds):
        for name in list(sides) if number % 2 else reversed(list(sides)):
            rates[name].append(await requests(sides[name], seconds))
    for clients in sides.values():
        for client in clients:
            client.transport.close()
    await asyncio.sleep(PAUSE)
    return rates


def ratio(rates: Mapping[str, list[float]], peer: str) -> float:
    """The median of the gateway's rates by a peer's of the same round."""
    return statistics.median(ours / theirs for ours, theirs in zip(rates["gateway"], rates[peer], strict=True))


def row(what: str, value: float, rate: float, unit: str, bound: str, form: str = "6.3f") -> None:
    """Print one row."""
    print(f"  {what:<62} {value:{form}}  {rate:8.0f}{unit}   {bound}", flush=True)


async def download(port: int) -> float:
    """Bytes a second of the large download, by curl."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{speed_download}"),
        *("-u", "user1:pw1", f"http://{LOOPBACK}:{port}/app/large"),
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    status, size, speed = out.decode().split()
    if status != "200" or int(size) != SIZE:
        raise RuntimeError(out.decode())
    return float(speed)


@contextlib.contextmanager
def clients_core() -> Iterator[None]:
    """Keep this process on the back ends' core, so that a proxy has its own to itself."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, {1})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def measure(servers: Servers) -> None:
    """Start everything, measure and print."""
    from asgi_gateway.passwords import hash_password

    users = servers.folder / "users.yaml"
    users.write_text(
        "roles: [{name: AUTHORIZED}]\nusers:\n"
        f"  - {{name: user1, password: '{hash_password('pw1')}', roles: [AUTHORIZED]}}\n"
    )
    ws, tcp = free_port(), free_port()
    servers.start("backends", [sys.executable, "-m", "bench.backends", str(ws), str(tcp)], servers.backend_core, tcp)
    backend = nginx_backend(servers)
    url = f"http://{LOOPBACK}:{backend}"
    environment = {
        BACKEND: url,
        USER: str(users),
        "BENCH_WS": f"ws://{LOOPBACK}:{ws}/ws",
        TCP: f"tcp://{LOOPBACK}:{tcp}",
    }
    ours = servers.uvicorn("bench.proxying:gateway", "--factory", **environment)
    await http(servers, ours, backend, environment)
    await websockets(servers, ours, {**environment, BACKEND: f"http://{LOOPBACK}:{ws}"})
    await tunnels(servers, ours, tcp)


async def http(servers: Servers, ours: int, backend: int, environment: Mapping[str, str]) -> None:
    """Requests, and the download."""
    nginx = nginx_proxy(servers, backend)
    checker = servers.uvicorn("bench.peers:check", "--factory", python=PEERS)
    ports = {
        "gateway": ours,
        "minimal": servers.uvicorn("bench.peers:minimal", "--factory", **environment),
        "asgiproxy": servers.uvicorn("bench.peers:asgiproxy", "--factory", python=PEERS, **environment),
        "nginx": nginx,
        "auth_request": nginx_proxy(servers, backend, checker),
    }
    rates = await in_turns({name: await askers(port) for name, port in ports.items()})
    rate = statistics.median(rates["gateway"])
    for peer, what, bound in (
        ("minimal", "a minimal ASGI proxy on the same client library", "at least 0.90"),
        ("asgiproxy", "asgiproxy, which asks for no credentials", "at least 1.50"),
        ("nginx", "nginx proxy_pass", "aim 0.40"),
        ("auth_request", "nginx auth_request to FastAPI, then proxy_pass", "aim 1.00"),
    ):
        row(f"requests / {what}", ratio(rates, peer), rate, "/s", bound)
    before = resident(servers.pids[ours])
    watching = asyncio.create_task(peak(servers.pids[ours]))
    pairs = [(await download(ours), await download(nginx)) for _ in range(DOWNLOADS)]
    watching.cancel()
    grown = (await watching - before) / 1024 / 1024
    speed = statistics.median(a for a, _ in pairs) / 1e6
    row("download of 1 GiB / nginx proxy_pass", statistics.median(a / b for a, b in pairs), speed, " MB/s", "aim 0.70")
    print(f"  {'MiB that the gateway grows by meanwhile':<62} {grown:6.2f}  {'':>10}   at most 8", flush=True)


async def peak(pid: int) -> int:
    """The most bytes of memory that a process holds until this is cancelled."""
    most = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            most = max(most, resident(pid))
            await asyncio.sleep(0.01)
    return most


async def websockets(servers: Servers, ours: int, environment: Mapping[str, str]) -> None:
    """Messages that a back end echoes."""
    ports = {
        "gateway": ours,
        "asgiproxy": servers.uvicorn("bench.peers:asgiproxy", "--factory", python=PEERS, **environment),
    }
    sides = {name: await sockets(port, lambda: Talker(b"/ws", bytes(64)), TALKERS) for name, port in ports.items()}
    rates = await in_turns(sides)
    rate = statistics.median(rates["gateway"])
    row("WebSocket messages / asgiproxy", ratio(rates, "asgiproxy"), rate, "/s", "at least 1.50")


async def tunnels(servers: Servers, ours: int, tcp: int) -> None:
    """Bytes that a TCP back end sends back."""
    port = free_port()
    command = [str(PEERS), "-m", "websockify", f"{LOOPBACK}:{port}", f"{LOOPBACK}:{tcp}"]
    servers.start("websockify", command, servers.proxy_core, port)
    sides = {
        "gateway": await sockets(ours, lambda: Pump(b"/tcp", CHUNK), PUMPS),
        "websockify": await sockets(port, lambda: Pump(b"/websockify", CHUNK), PUMPS),
    }
    rates = await in_turns(sides)
    speed = statistics.median(rates["gateway"]) * CHUNK / 1e6
    row("WebSocket to TCP and back, bytes / websockify", ratio(rates, "websockify"), speed, " MB/s", "at least 2.00")


async def main() -> None:
    """Measure and print."""
    print("\nAs a proxy under uvicorn (medians of rounds in turn, the proxies on one core)")
    if not have_peers():
        return print("  not measured: make bench sets up the peers")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, clients_core():
        await measure(Servers(stack, Path(folder)))
    return None


if __name__ == "__main__":
    asyncio.run(main())
