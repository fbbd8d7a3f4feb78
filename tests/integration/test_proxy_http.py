"""http.proxy under real servers: a gateway without an application, and what stands behind it."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.raw import HOST, connected, exchange, head, status_of
from tests.integration.servers import ask, basic, serve

pytestmark = pytest.mark.integration

MANY = 200
BOB = basic("bob", "builder")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("backend")
    options = ("--timeout-keep-alive", "60", "--limit-concurrency", "1000")
    with serve("behind_app:app", log=folder / "log", options=options) as process:
        yield process


@pytest.fixture(scope="module", params=["uvicorn", "uvicorn-no-lifespan", "hypercorn"])
def gateway(
    request: pytest.FixtureRequest, backend: Process, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("gateway")
    env = {"BACKEND": f"http://{LOOPBACK}:{backend.port}"}
    with serve("in_front_app:app", request.param, log=folder / "log", env=env) as process:
        yield process


@pytest.fixture(scope="module")
def uvicorn(backend: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("uvicorn")
    env = {"BACKEND": f"http://{LOOPBACK}:{backend.port}"}
    with serve("in_front_app:app", log=folder / "log", env=env) as process:
        yield process


@contextmanager
def answered(server: Process, method: str, target: str, **options: Any) -> Iterator[HTTPResponse]:
    """The response to a request of Python's own client."""
    connection = HTTPConnection(LOOPBACK, server.port, timeout=20)
    try:
        connection.request(method, target, **options)
        yield connection.getresponse()
    finally:
        connection.close()


def value(server: Process, target: str) -> Any:
    status, body = ask(server, target)
    assert status == 200
    return json.loads(body)


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a condition is met in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def resident(server: Process) -> int:
    """The most memory that a process has had, in KiB."""
    status = Path(f"/proc/{server.popen.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def test_who_asks(gateway: Process) -> None:
    """The back end learns who the user is, not how they logged in, and never what the client claims to be."""
    headers = {**BOB, "X-Roles": "ROOT", "X_Forwarded_User": "root", "Cookie": "a=1", "Connection": "X-Roles"}
    with answered(gateway, "POST", "/app/a%20b?q=%20+&&", body=b"abc", headers=headers) as response:
        told = json.loads(response.read())
    assert (told["method"], told["length"]) == ("POST", 3)
    found = {}
    for name, each in told["headers"]:
        assert name not in found
        found[name] = each
    assert found["x-forwarded-user"] == "bob"
    assert "ROOT" not in str(told)
    assert "root" not in str(told)
    assert "authorization" not in found
    assert found["cookie"] == "a=1"
    assert found["x-forwarded-for"] == LOOPBACK
    assert found["via"] == "1.1 asgi-gateway"


def test_target_is_passed_byte_for_byte(uvicorn: Process) -> None:
    """Path and query reach the back end as they were sent."""
    for target in ("/public/a+b(c)~*?q=%zz&&+;=", "/public", "/public/", "/public/%41%c3%bc?", "/public?//x?y"):
        assert value(uvicorn, target)["target"] == target.replace("/public", "/inner").removesuffix("?")


def test_nobody_gets_in(gateway: Process, backend: Process) -> None:
    """Without a login nothing reaches the back end."""
    value(backend, "/seen")
    with answered(gateway, "GET", "/app/x") as response:
        assert response.status == 401
    with answered(gateway, "GET", "/app/x", headers=basic("joe", "wrong")) as response:
        assert response.status == 401
    assert value(backend, "/seen") == []


def test_redirect_of_the_back_end(gateway: Process) -> None:
    """A redirect and a cookie for the back end's own path are for the service's path."""
    with answered(gateway, "GET", "/public/moved") as response:
        assert response.status == 302
        assert response.headers["location"] == "/public/there"
        assert response.headers["set-cookie"] == "a=1; Path=/public"


def test_back_end_is_down(gateway: Process) -> None:
    """A back end that is down is 502, with an event."""
    with answered(gateway, "GET", "/down/x") as response:
        assert response.status == 502
    assert eventually(lambda: '"service": "down"' in gateway.output())


def test_download_in_flat_memory(uvicorn: Process) -> None:
    """A long download takes no memory of its length."""
    with answered(uvicorn, "GET", "/public/big?6553600") as response:
        response.read()
    before, length = resident(uvicorn), 0
    with answered(uvicorn, "GET", "/public/big?400000000") as response:
        while piece := response.read(1 << 20):
            length += len(piece)
        assert length == int(response.headers["content-length"])
    assert resident(uvicorn) - before < 30_000


def test_slow_download_in_flat_memory(uvicorn: Process, backend: Process) -> None:
    """A client that reads nothing stops the back end."""
    before = resident(uvicorn)
    with connected(uvicorn, head("/public/big?400000000")):
        assert eventually(lambda: value(backend, "/active") == 1)
        time.sleep(0.3)
        assert resident(uvicorn) - before < 30_000
    assert eventually(lambda: value(backend, "/active") == 0)


@pytest.mark.parametrize("chunked", [True, False])
def test_upload_in_flat_memory(uvicorn: Process, chunked: bool) -> None:
    """A long upload takes no memory of its length, with a stated length or in chunks."""
    piece = b"x" * (1 << 20)
    before = resident(uvicorn)
    headers = {} if chunked else {"Content-Length": str(200 << 20)}
    body = (piece for _ in range(200))
    with answered(uvicorn, "PUT", "/public/up", body=body, headers=headers, encode_chunked=chunked) as response:
        told = json.loads(response.read())
    assert told["length"] == 200 << 20
    assert dict(map(tuple, told["headers"])).get("content-length") == (None if chunked else str(200 << 20))
    assert resident(uvicorn) - before < 30_000


def test_events_arrive_as_they_are_sent(gateway: Process) -> None:
    """Server-sent events are not collected."""
    with answered(gateway, "GET", "/public/events") as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert [response.readline() for _ in range(4)] == [b"data: 0\n", b"\n", b"data: 1\n", b"\n"]


def test_max_body(uvicorn: Process) -> None:
    """A body longer than max-body is 413, before any of it is sent on or while it is."""
    stated = head("/app/up", credentials_of_bob(), "Content-Length: 2000000\r\n", method="POST")
    assert status_of(exchange(uvicorn, stated + b"x" * 2_000_000)) == 413
    chunk = b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000)
    unstated = head("/app/up", credentials_of_bob(), "Transfer-Encoding: chunked\r\n", method="POST")
    assert status_of(exchange(uvicorn, unstated + chunk * 20 + b"0\r\n\r\n")) == 413


def credentials_of_bob() -> str:
    return f"Authorization: {BOB['Authorization']}\r\n"


def test_expect_continue(uvicorn: Process) -> None:
    """A client that waits to be asked for its body is asked once there is a connection to the back end."""
    waiting = head("/public/x", "Expect: 100-continue\r\n", "Content-Length: 3\r\n", method="POST")
    with connected(uvicorn, waiting) as client:
        assert client.recv(65_536).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(b"abc")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 OK")
    down = head("/down/x", "Expect: 100-continue\r\n", "Content-Length: 3\r\n", method="POST")
    assert status_of(exchange(uvicorn, down)) == 502


SMUGGLED = "GET /public/smuggled HTTP/1.1\r\n" + HOST + "\r\n"
LENGTH = f"Content-Length: {len(SMUGGLED) + 5}\r\n"
H2C = ("Connection: Upgrade, HTTP2-Settings\r\n", "Upgrade: h2c\r\n", "HTTP2-Settings: AAMAAABk\r\n")
VECTORS = {
    "CL.TE": head("/public/x", LENGTH, "Transfer-Encoding: chunked\r\n", method="POST") + b"0\r\n\r\n",
    "TE.CL": head("/public/x", "Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\n", method="POST"),
    "TE.TE": head("/public/x", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: x\r\n", LENGTH, method="POST"),
    "TE with space": head("/public/x", "Transfer-Encoding : chunked\r\n", LENGTH, method="POST") + b"0\r\n\r\n",
    "TE with VT": head("/public/x", "Transfer-Encoding: \x0bchunked\r\n", LENGTH, method="POST") + b"0\r\n\r\n",
    "TE underscore": head("/public/x", "Transfer_Encoding: chunked\r\n", LENGTH, method="POST") + b"0\r\n\r\n",
    "TE identity": head("/public/x", "Transfer-Encoding: identity\r\n", LENGTH, method="POST"),
    "TE last is not chunked": head("/public/x", "Transfer-Encoding: chunked, gzip\r\n", method="POST") + b"0\r\n\r\n",
    "two lengths": head("/public/x", "Content-Length: 0\r\n", LENGTH, method="POST"),
    "length list": head("/public/x", f"Content-Length: 0, {len(SMUGGLED)}\r\n", method="POST"),
    "signed length": head("/public/x", "Content-Length: +0\r\n", method="POST"),
    "empty length": head("/public/x", "Content-Length: \r\n", method="POST"),
    "bare LF": f"POST /public/x HTTP/1.1\n{HOST}Content-Length: 0\n{LENGTH}\n".encode(),
    "bare LF between": head("/public/x", "X: a\nContent-Length: 0\r\n", LENGTH, method="POST"),
    "bare CR between": head("/public/x", "X: a\rTransfer-Encoding: chunked\r\n", LENGTH, method="POST") + b"0\r\n\r\n",
    "obs-fold": head("/public/x", "X: a\r\n Transfer-Encoding: chunked\r\n", LENGTH, method="POST") + b"0\r\n\r\n",
    "folded TE": head("/public/x", "Transfer-Encoding:\r\n chunked\r\n", LENGTH, method="POST") + b"0\r\n\r\n",
    "chunk ends in LF": head("/public/x", "Transfer-Encoding: chunked\r\n", method="POST") + b"1\nx\r\n0\r\n\r\n",
    "chunk size overflow": head("/public/x", "Transfer-Encoding: chunked\r\n", method="POST")
    + b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "chunk extension with LF": head("/public/x", "Transfer-Encoding: chunked\r\n", method="POST")
    + b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "upgrade to h2c": head("/public/x", *H2C, f"Content-Length: {len(SMUGGLED)}\r\n"),
    "connect": head("/public/x", LENGTH, method="CONNECT"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_smuggling(gateway: Process, backend: Process, name: str) -> None:
    """A body that two readers would end at different places never becomes a request of its own to the back end.

    The body of a request with one sound length may hold anything: it must arrive as a body. What follows a complete
    request is the client's next request, which the gateway decides on like any other. So the request that is smuggled
    here must not be seen where the first one was refused, and never twice.
    """
    value(backend, "/seen")
    data = VECTORS[name] + SMUGGLED.encode()
    with connected(gateway, data) as client, suppress(OSError):
        client.settimeout(1.0)
        received = b""
        while piece := client.recv(65_536):
            received += piece
    seen = value(backend, "/seen")
    first = status_of(received)
    smuggled = [each for each in seen if "smuggled" in each]
    assert len(seen) <= max(1, received.count(b"HTTP/1.1 "))  # a body that turns out to be malformed cuts it off
    assert len(smuggled) <= max(0, received.count(b"HTTP/1.1 ") - 1)
    assert first < 500 or first == 501
    if first >= 400:
        assert smuggled == []


def test_many_leave(uvicorn: Process, backend: Process) -> None:
    """Clients that leave before the answer, in a download and in an upload leave nothing behind."""
    value(backend, "/seen")
    with answered(uvicorn, "GET", "/held") as response:
        before = json.loads(response.read())
    requests = [
        head("/public/silent"),
        head("/public/big?400000000"),
        head("/public/events"),
        head("/public/up", "Content-Length: 1000000\r\n", method="POST") + b"x" * 1000,
    ]
    clients: list[socket.socket] = []
    for number in range(MANY):
        client = socket.create_connection((LOOPBACK, uvicorn.port), timeout=10)
        client.sendall(requests[number % len(requests)])
        clients.append(client)
    assert eventually(lambda: value(backend, "/active") >= 100)  # as many as there are connections to the back end
    for client in clients:
        client.close()
    assert eventually(lambda: value(backend, "/active") == 0)

    def settled() -> bool:
        with answered(uvicorn, "GET", "/held") as response:
            held = json.loads(response.read())
        return bool(held["descriptors"] <= before["descriptors"] + 2 and held["tasks"] <= before["tasks"] + 1)

    assert eventually(settled, 15.0)  # kept connections to the back end end after some seconds
    assert value(uvicorn, "/public/again")["method"] == "GET"


def test_back_end_that_dies(uvicorn: Process, tmp_path: Path, backend: Process) -> None:
    """A download whose back end dies ends visibly: fewer bytes than its length says."""
    port = free_port()
    env = {"BACKEND": f"http://{LOOPBACK}:{port}"}
    with serve("in_front_app:app", log=tmp_path / "front", env=env) as front:
        code = (
            "import socket; s = socket.create_server(('127.0.0.1', %d)); print('up', flush=True)\n"
            "while True:\n"
            "    c = s.accept()[0]; d = c.recv(65536)\n"
            "    if d: c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 1000\\r\\n\\r\\nhalf'); c.close()\n"
        )
        with running([sys.executable, "-c", code % port], port=port, log=tmp_path / "dying", name="dying"):
            with answered(front, "GET", "/public/x") as response:
                assert response.status == 200
                with pytest.raises(IncompleteRead):
                    response.read()


def test_before_nginx(tmp_path: Path) -> None:
    """nginx as a back end: files, ranges and compression pass as they are."""
    port = free_port()
    (tmp_path / "html" / "inner").mkdir(parents=True)
    (tmp_path / "html" / "inner" / "page.html").write_text("hello " * 1000)
    (tmp_path / "nginx.conf").write_text(
        f"{'user root; ' if os.getuid() == 0 else ''}daemon off; worker_processes 1; pid {tmp_path}/pid;\n"
        "error_log stderr; events {}\n"
        f"http {{ access_log off; {temporary(tmp_path)} gzip on; gzip_types *; gzip_proxied any; "
        f"server {{ listen {LOOPBACK}:{port}; root {tmp_path}/html; }} }}\n"
    )
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    env = {"BACKEND": f"http://{LOOPBACK}:{port}"}
    with running(command, port=port, log=tmp_path / "log", name="nginx"):
        with serve("in_front_app:app", log=tmp_path / "front", env=env) as front:
            with answered(front, "GET", "/public/page.html", headers={"Range": "bytes=0-4"}) as response:
                assert (response.status, response.read()) == (206, b"hello")
            compressed = {"Accept-Encoding": "gzip"}
            with answered(front, "GET", "/public/page.html", headers=compressed) as response:
                assert response.headers["content-encoding"] == "gzip"
                assert response.read()[:2] == b"\x1f\x8b"
                etag = response.headers["etag"]
            with answered(front, "GET", "/public/page.html", headers={"If-None-Match": etag}) as response:
                assert (response.status, response.read()) == (304, b"")
            with answered(front, "HEAD", "/public/page.html") as response:
                assert (response.status, response.headers["content-length"]) == (200, "6000")
            with answered(front, "GET", "/public") as response:
                assert (response.status, response.headers["location"]) == (301, "/public/")


def temporary(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
