"""Files as KAAZING Gateway's users write them, run by ``asgi-gateway run`` with real back ends."""

from __future__ import annotations

import base64
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.integration.process import LOOPBACK, Process, answers, free_port, running

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "data" / "kaazing"
NORA = ("nora", "nora-pw")
OTTO = ("otto", "otto-pw")
"""A user without the role that the services require."""
CHALLENGE = 'Application Basic realm="Ship"'


@contextmanager
def gateway(file: str, log: Path, port: int, **definitions: object) -> Iterator[Process]:
    """``asgi-gateway run`` with a file and its definitions; an underscore in their names is a dot in the file."""
    names = {name.replace("_", "."): value for name, value in definitions.items()} | {"port": port}
    defined = [word for name, value in names.items() for word in ("-D", f"{name}={value}")]
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(FILES / file), *defined]
    environment = {"PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=log / "gateway.log", name="asgi-gateway", cwd=log, env=environment) as process:
        yield process


def get(port: int, path: str, login: tuple[str, str] | None = None, **options: Any) -> httpx.Response:
    """One request; credentials are sent at once."""
    scheme = options.pop("scheme", "http")
    with httpx.Client(trust_env=False, verify=options.pop("verify", True)) as client:
        headers = options.pop("headers", {}) | ({"authorization": basic(login)} if login else {})
        return client.get(f"{scheme}://localhost:{port}{path}", headers=headers, **options)


def basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def open_socket(
    port: int, path: str, login: tuple[str, str] | None = None, host: str = "localhost", **options: Any
) -> ClientConnection:
    """A WebSocket to the gateway, whatever the host of its URL."""
    headers = {"Authorization": basic(login)} if login else {}
    connection = socket.create_connection(("localhost", port), timeout=10)
    url = f"ws://{host}:{port}{path}"
    found: ClientConnection = connect(
        url, sock=connection, proxy=None, additional_headers=headers, open_timeout=10, **options
    )
    return found


def refusal(port: int, path: str, login: tuple[str, str] | None = None, **options: Any) -> int:
    """The status with which a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as caught, open_socket(port, path, login, **options):
        pass
    return caught.value.response.status_code


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    """Serve in a thread; yields the port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TCPEcho(socketserver.StreamRequestHandler):
    """A broker in place of a real one: it answers every piece with the same bytes."""

    def handle(self) -> None:
        while data := self.request.recv(65_536):
            self.request.sendall(data)


class Books(BaseHTTPRequestHandler):
    """A back end with a password of its own; it keeps what it was asked."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        given = self.headers.get("authorization")
        self.asked.append((self.path, given))
        right = given == basic(("gateway", "gateway-pw"))
        body = b"the books" if right else b"log in first"
        self.send_response(200 if right else 401)
        if not right:
            self.send_header("WWW-Authenticate", 'Basic realm="Books"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Write nothing."""


class ThreadedTCP(socketserver.ThreadingTCPServer):
    daemon_threads = True


# ----------------------------------------------------------------------------------------------------- files, redirects


def test_two_services_that_differ_by_port(tmp_path: Path) -> None:
    """Each service is on its own port only, whatever the Host header says, and one login says nothing of the other."""
    kiosk, archive = free_port(), free_port()
    with gateway("two-doors.xml", tmp_path, kiosk, kiosk_port=kiosk, archive_port=archive):
        assert answers(archive)
        page = get(kiosk, "/")
        assert (page.status_code, page.text) == (200, "<h1>Kiosk</h1>\n")
        log = get(kiosk, "/day.log")
        assert log.headers["content-type"].startswith("text/x-log")
        lie = {"host": f"localhost:{archive}"}
        assert get(kiosk, "/night.log", NORA, headers=lie).status_code == 404
        for headers in ({}, {"host": f"localhost:{kiosk}"}):
            refused = get(archive, "/night.log", headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, CHALLENGE)
        assert get(archive, "/night.log", OTTO).status_code == 403
        assert get(archive, "/night.log", NORA).text == "for the crew\n"
        assert "night.log" in get(archive, "/", NORA).text
        assert get(archive, "/../kiosk/day.log", NORA).status_code in (403, 404)
        assert get(archive, "/day.log", NORA).status_code == 404


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    """A keystore with a certificate for localhost, its password beside it, and the certificate in ``site.pem``."""
    certificate = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out site.pem"
    store = "openssl pkcs12 -export -in site.pem -inkey key.pem -name server -passout pass:changeit -out own.p12"
    for command in (f"{certificate} -addext subjectAltName=DNS:localhost", store):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "own.p12.password").write_text("changeit")
    return tmp_path / "own.p12"


def test_a_redirect_beside_protected_files(tmp_path: Path, keystore: Path) -> None:
    """The plain port redirects every request to the one place; the files are on the other port alone, after a login."""
    plain, port = free_port(), free_port()
    with gateway("moved.xml", tmp_path, port, plain_port=plain, keystore=keystore):
        for host in ("localhost", f"localhost:{port}", "evil.example"):
            for path in ("/", "/night.log", "//evil.example"):
                found = get(plain, path, headers={"host": host})
                if path != "//evil.example":
                    assert (found.status_code, found.headers["location"]) == (301, f"https://localhost:{port}/")
                assert "evil" not in found.headers.get("location", "")
                assert "crew" not in found.text
        context = ssl.create_default_context(cafile=str(tmp_path / "site.pem"))
        tls: dict[str, Any] = {"scheme": "https", "verify": context}
        assert get(port, "/night.log", **tls).headers["www-authenticate"] == CHALLENGE
        assert get(port, "/night.log", OTTO, **tls).status_code == 403
        assert get(port, "/night.log", NORA, **tls).text == "for the crew\n"
        assert get(port, "/", NORA, **tls).text == "<h1>Archive</h1>\n"
        assert get(port, "/missing", NORA, **tls).status_code == 404


# ------------------------------------------------------------------------------------------- what works beside the rest


def echoes(port: int, path: str) -> None:
    """Check that an echo service asks for a login with the role, and then echoes."""
    assert refusal(port, path) == 401
    assert refusal(port, path, OTTO) == 403
    with open_socket(port, path, NORA, subprotocols=["chat"]) as client:
        assert client.subprotocol == "chat"
        for message in ("hello", b"\x00\xff", "", "ü" * 100_000):
            client.send(message)
            assert client.recv(timeout=10) == message


def test_services_of_other_transports(tmp_path: Path) -> None:
    """They are named, open nothing, and the echo service beside them works."""
    port = free_port()
    with gateway("other-transports.xml", tmp_path, port) as process:
        echoes(port, "/mirror")
        for login in (None, NORA):
            assert get(port, "/ticker", login).status_code == 403
            assert get(port, "/anything", login).status_code == 403
        assert not answers(7100)
        for words in ("'broadcast' is not supported", "the scheme tcp is not supported", "the scheme pipe"):
            assert words in process.output()


def test_services_that_accept_nothing(tmp_path: Path) -> None:
    """They are listed as ignored with their lines, and no path leads to them."""
    port = free_port()
    with gateway("monitored.xml", tmp_path, port) as process:
        echoes(port, "/mirror")
        assert get(port, "/jmx", NORA).status_code == 403
        lines = [line for line in process.output().splitlines() if "has no accept" in line]
        assert {line.partition("monitored.xml:")[2].partition(":")[0] for line in lines} == {"11", "18"}


def test_names_from_outside(tmp_path: Path) -> None:
    """The machine's name is built in, and what is given with -D goes before the file's own."""
    port = free_port()
    with gateway("built-in.xml", tmp_path, port, stage="live"):
        echoes(port, "/live")
        assert refusal(port, "/test", NORA) == 403


def test_a_balancer(tmp_path: Path) -> None:
    """A balancer refuses everybody, and lets nobody in at the place of the member, whatever the Host header says."""
    port = free_port()
    with serving(ThreadedTCP((LOOPBACK, 0), TCPEcho)) as back_end:
        with gateway("balanced.xml", tmp_path, port, back_end=back_end) as process:
            for login in (None, NORA):
                assert refusal(port, "/elsewhere", login) == 403
            for host in ("localhost", "quotes.example.com"):
                assert refusal(port, "/quotes", host=host) == 401
                assert refusal(port, "/quotes", OTTO, host=host) == 403
            with open_socket(port, "/quotes", NORA) as client:
                client.send(b"\x01quote")
                assert client.recv(timeout=10) == b"\x01quote"
            assert "'balancer' is not supported" in process.output()


# ------------------------------------------------------------------------------------------------------------ back ends


def test_a_broker_over_tcp(tmp_path: Path) -> None:
    """Bytes go both ways after a login, for pages of the same host and of no other."""
    port = free_port()
    with serving(ThreadedTCP((LOOPBACK, 0), TCPEcho)) as back_end:
        with gateway("broker.xml", tmp_path, port, broker=f"localhost:{back_end}"):
            assert refusal(port, "/broker") == 401
            assert refusal(port, "/broker", OTTO) == 403
            assert refusal(port, "/broker", NORA, origin="http://evil.example") == 403
            with open_socket(port, "/broker", NORA, origin=f"http://localhost:{port}") as client:
                client.send(b"CONNECT\n\n\x00")
                assert client.recv(timeout=10) == b"CONNECT\n\n\x00"
                client.send("text goes as its bytes")
                assert client.recv(timeout=10) == b"text goes as its bytes"


def test_a_broker_that_is_down(tmp_path: Path) -> None:
    """A back end that refuses connections never looks like an open socket."""
    port = free_port()
    with gateway("broker.xml", tmp_path, port, broker=f"localhost:{free_port()}"):
        assert refusal(port, "/broker", NORA) == 502


def test_answering_the_challenge_of_a_back_end(tmp_path: Path) -> None:
    """The gateway answers the back end's 401 so that the client never sees it; with 0 attempts the client gets it."""
    asked: list[tuple[str, str | None]] = []
    handler = type("OwnBooks", (Books,), {"asked": asked})
    port = free_port()
    with serving(ThreadingHTTPServer((LOOPBACK, 0), handler)) as back_end:
        authenticator = {"http.authenticator": "tests.integration.apps.books_login:log_in"}
        with gateway("answers-401.xml", tmp_path, port, back_end=back_end, **authenticator):
            assert get(port, "/ledger/may").headers["www-authenticate"] == CHALLENGE
            assert asked == []
            found = get(port, "/ledger/may", NORA)
            assert (found.status_code, found.text) == (200, "the books")
            assert "www-authenticate" not in found.headers
            assert [path for path, _ in asked] == ["/books/may", "/books/may"]
            assert asked[0][1] is None, "the client's own credentials are the gateway's, not the back end's"
            passed = get(port, "/passed-on/may", NORA)
            assert (passed.status_code, passed.text) == (401, "log in first")
            assert passed.headers["www-authenticate"] == 'Basic realm="Books"'


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """A port of the file that is in use stops the start with a message that names it."""
    with socket.create_server((LOOPBACK, free_port())) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "asgi_gateway", "run", str(FILES / "monitored.xml"), "-D", f"port={port}"]
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env={"PYTHONPATH": str(ROOT)}, check=False
        )
    assert found.returncode != 0
    assert str(port) in found.stderr
