"""What ``asgi-gateway run`` takes for one request: bytes that two servers could read in two ways are refused."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.raw import HOST, UPGRADE, credentials, head
from tests.integration.servers import ROOT

pytestmark = pytest.mark.integration

CONFIG = """
services:
  - {name: open, accept: /}
  - {name: staff, accept: /staff, realm-name: staff}
security:
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
"""
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
JOE = credentials("joe", "open-sesame")
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """An application that tells what it was asked."""
    folder, port = tmp_path_factory.mktemp("front"), free_port()
    (folder / "gateway.yaml").write_text(CONFIG)
    (folder / "users.yaml").write_text("users: [{name: joe, password: open-sesame}]")
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(folder / "gateway.yaml")]
    command += ["tests.integration.apps.echo_scope:app", "--port", str(port)]
    with running(command, port=port, log=folder / "log", cwd=ROOT) as process:
        yield process


def conversation(server: Process, *pieces: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Send pieces, then end the sending side; gives status and JSON of every response until the server closes."""
    received = b""
    with socket.create_connection((LOOPBACK, server.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.sendall(head("/last", "Connection: close\r\n"))
        try:
            while more := connection.recv(65536):
                received += more
        except ConnectionError:
            pass
    return list(responses(received))


def responses(received: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Split what a connection brought into its responses."""
    while received:
        top, _, rest = received.partition(b"\r\n\r\n")
        status = int(top.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" in top.lower():
            body = b""
            while True:
                size, _, rest = rest.partition(b"\r\n")
                length = int(size, 16)
                body, rest = body + rest[:length], rest[length + 2 :]
                if not length:
                    break
        else:
            fields = dict(line.lower().split(b": ", 1) for line in top.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", b"0"))
            body, rest = rest[:length], rest[length:]
        yield status, json.loads(body) if body.startswith(b"{") else {}
        received = rest


def post(*headers: str, body: bytes = b"", target: str = "/", version: str = "HTTP/1.1") -> bytes:
    return head(target, *headers, method="POST", version=version) + body


TE, CL = "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n"
END = b"0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(post(CL, TE, body=END + SMUGGLED), id="CL.TE"),
        pytest.param(post(TE, CL, body=END + SMUGGLED), id="TE.CL"),
        pytest.param(post(TE, "Transfer-Encoding: x\r\n", body=END), id="TE.TE"),
        pytest.param(post(TE, TE, body=END), id="TE twice"),
        pytest.param(post("Transfer-Encoding: chunked, chunked\r\n", body=END), id="chunked twice"),
        pytest.param(post("Transfer-Encoding: gzip, chunked\r\n", body=END), id="another coding"),
        pytest.param(post("Transfer-Encoding: identity\r\n", CL, body=b"01234"), id="identity"),
        pytest.param(post("Transfer-Encoding: xchunked\r\n", body=END), id="xchunked"),
        pytest.param(post("Transfer-Encoding: \x0bchunked\r\n", body=END), id="vertical tab"),
        pytest.param(post("Transfer-Encoding:\r\n chunked\r\n", body=END), id="folded TE"),
        pytest.param(post("Transfer-Encoding : chunked\r\n", body=END), id="space before the colon"),
        pytest.param(post(TE, version="HTTP/1.0", body=END), id="TE in HTTP/1.0"),
        pytest.param(post("Content-Length: 5, 5\r\n", body=b"01234"), id="list of lengths"),
        pytest.param(post(CL, CL, body=b"01234"), id="equal lengths"),
        pytest.param(post(CL, "Content-Length: 6\r\n", body=b"012345"), id="differing lengths"),
        pytest.param(post("Content-Length: \r\n"), id="empty length"),
        pytest.param(post("Content-Length: +5\r\n", body=b"01234"), id="signed length"),
        pytest.param(post("Content-Length: 0x5\r\n", body=b"01234"), id="hexadecimal length"),
        pytest.param(post("Content-Length: 1_0\r\n", body=b"0123456789"), id="underscore"),
        pytest.param(post("Content-Length: 99999999999999999999\r\n"), id="too large a length"),
        pytest.param(post(TE, body=b"3\nabc\r\n" + END), id="chunk size ends in LF"),
        pytest.param(post(TE, body=b"3\r\nabcXX" + END), id="chunk without its end"),
        pytest.param(post(TE, body=b"3\r\nabc\n" + END), id="chunk ends in LF"),
        pytest.param(post(TE, body=b"3;a\nb\r\nabc\r\n" + END), id="LF in an extension"),
        pytest.param(post(TE, body=b"0x3\r\nabc\r\n" + END), id="hexadecimal prefix"),
        pytest.param(post(TE, body=b"3 \r\nabc\r\n" + END), id="space behind a chunk size"),
        pytest.param(post(TE, body=b"fffffffffffffffff\r\nabc\r\n" + END), id="too large a chunk"),
        pytest.param(post(TE, body=b"3\r\nabc\r\n0\r\n\n"), id="trailers end in LF"),
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n", id="bare LF behind a field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n", id="bare CR"),
        pytest.param(head("/", "X-A: a\rb\r\n"), id="CR in a value"),
        pytest.param(head("/", "X-A: a\r\n b\r\n"), id="folded line"),
        pytest.param(head("/", "X-A\xa0: a\r\n"), id="no-break space in a name"),
        pytest.param(head("/", "\x0bX-A: a\r\n"), id="vertical tab in a name"),
        pytest.param(head("/", "X-A: a\x00b\r\n"), id="NUL"),
        pytest.param(head("/", host=""), id="no Host"),
        pytest.param(head("/", HOST), id="two Hosts"),
        pytest.param(head("http://other/"), id="another host in the target"),
        pytest.param(head("/#/smuggled"), id="fragment"),
        pytest.param(head("/", version="HTTP/2.0"), id="HTTP/2.0"),
        pytest.param(head("/", version="HTTP/1.2"), id="HTTP/1.2"),
        pytest.param(b"GET /\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(head("gateway.example:443", method="CONNECT"), id="CONNECT"),
        pytest.param(head("/", method="CONNECT"), id="CONNECT to a path"),
        pytest.param(head("/", UPGRADE, CL) + b"01234", id="WebSocket with a body"),
        pytest.param(head("/", UPGRADE, TE) + END, id="WebSocket with a chunked body"),
        pytest.param(head("/", UPGRADE, method="POST"), id="WebSocket by POST"),
        pytest.param(head("/", UPGRADE, version="HTTP/1.0"), id="WebSocket in HTTP/1.0"),
        pytest.param(head("/", *(f"X-{n}: {'a' * 1000}\r\n" for n in range(70))), id="too long a head"),
    ],
)
def test_refused(server: Process, data: bytes) -> None:
    """It is answered with 400 at most, the connection is closed, and nothing behind it is read as a request."""
    found = conversation(server, data)
    assert [status for status, _ in found if status != 400] == []
    assert len(found) <= 1


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("target", ["/staff", "/"])
@pytest.mark.parametrize("upgrade", ["", H2C, "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"])
def test_a_body_is_never_a_request(server: Process, pieces: int, framing: str, target: str, upgrade: str) -> None:
    """What a request carries is its body: where it was refused before, and where it asks for another protocol."""
    if framing == "length":
        top, body = head(target, upgrade, f"Content-Length: {len(SMUGGLED)}\r\n", method="POST"), SMUGGLED
    else:
        top = head(target, upgrade, TE, method="POST")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    found = conversation(server, *([top + body] if pieces == 1 else [top, body]))
    assert [status for status, _ in found] == [401 if target == "/staff" else 200, 200]
    assert [told.get("path") for _, told in found] == [None if target == "/staff" else "/", "/last"]
    if target == "/":
        assert found[0][1]["body"] == SMUGGLED.decode()


def test_no_upgrade_to_http2(server: Process) -> None:
    """Upgrade: h2c is served as HTTP/1.1, and what is pipelined behind it, too."""
    found = conversation(server, head("/a", H2C) + head("/b", H2C), head("/c"))
    assert [told["path"] for _, told in found] == ["/a", "/b", "/c", "/last"]


def test_trailers_are_dropped(server: Process) -> None:
    """Fields behind a body are no headers: they neither log in nor say anything to the application."""
    trailers = f"0\r\nX-User: admin\r\n{JOE}Host: other\r\n\r\n".encode()
    found = conversation(server, post(TE, body=b"3\r\nabc\r\n" + trailers), post(TE, target="/staff", body=trailers))
    assert [status for status, _ in found] == [200, 401, 200]
    assert {name for name, _ in found[0][1]["headers"]} == {"host", "transfer-encoding"}
    assert found[0][1]["body"] == "abc"


def test_absolute_form(server: Process) -> None:
    """A target with the same host as the Host header is a path like any other."""
    found = conversation(server, head("http://gateway.example/a?b=c"), head("http://gateway.example/staff"))
    assert [status for status, _ in found] == [200, 401, 200]
    assert found[0][1]["path"] == "/a"


def test_a_response_under_way_is_not_written_into(server: Process) -> None:
    """Garbage behind a request whose response is not complete closes the connection; no 400 becomes its answer."""
    found = conversation(server, head("/a") + b"garbage\r\n\r\n")
    assert [status for status, _ in found] in ([], [200])


def test_a_large_body_after_a_refusal(server: Process) -> None:
    """A client that sends 20 MB before it reads gets its 401, and the connection is good for another request."""
    size = 20_000_000
    found = conversation(server, head("/staff", f"Content-Length: {size}\r\n", method="POST"), b"x" * size)
    assert [status for status, _ in found] == [401, 200]


def test_no_websocket_before_the_last_response(server: Process) -> None:
    """A handshake behind a request that is not answered yet is refused: the response would be taken for messages."""
    found = conversation(server, head("/a") + head("/", UPGRADE))
    assert [status for status, _ in found] in ([], [200])
