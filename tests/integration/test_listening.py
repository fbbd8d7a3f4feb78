"""``asgi-gateway run`` listens where the file says: several ports, TLS by port, Unix sockets."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect, unix_connect

from tests.integration.process import LOOPBACK, Process, answers, free_port, live, running
from tests.integration.raw import UPGRADE, credentials, exchange, head, status_of
from tests.integration.servers import ROOT, basic
from tests.keystores import PASSWORD, STORES

pytestmark = pytest.mark.integration

APP = "tests.integration.apps.echo_scope:app"
JOE = basic("joe", "open-sesame")
REALMS = """
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Basic
        authorization-mode: recycle
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", *map(str, arguments)]


@contextmanager
def run(
    folder: Path, text: str, *arguments: object, port: int, app: str = APP, name: str = "gateway.yaml"
) -> Iterator[Process]:
    """Run a configuration; ``port`` is the one that must answer."""
    file = write(folder, text, name)
    words = command(file, *([app] if app else []), *arguments)
    with running(words, port=port, log=folder / "log", cwd=ROOT) as process:
        yield process


def write(folder: Path, text: str, name: str = "gateway.yaml") -> Path:
    (folder / "users.yaml").write_text("users: [{name: joe, password: open-sesame}]")
    (folder / "store.pw").write_text(PASSWORD)
    (folder / "keys").write_text("0123456789abcdef0123456789abcdef")
    file = folder / name
    file.write_text(text)
    return file


def defined(**ports: int) -> list[str]:
    return [word for name, port in ports.items() for word in ("-D", f"{name}={port}")]


def get(port: int, path: str = "/", host: str = LOOPBACK, **options: Any) -> httpx.Response:
    return httpx.get(f"http://{host}:{port}{path}", trust_env=False, timeout=10, **options)


def failure(folder: Path, text: str, *arguments: object, app: str = APP) -> str:
    """What ``run`` prints where it does not start; its exit code is 2."""
    file = write(folder, text)
    words = command(file, *([app] if app else []), *arguments)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


# ------------------------------------------------------------------------------------------------------------ two ports

TWO_PORTS = (
    """
services:
  - {name: site, accept: ["http://localhost:${open}/", "ws://localhost:${open}/"]}
  - {name: staff, accept: ["http://localhost:${staff}/", "ws://localhost:${staff}/"], realm-name: staff}
  - {name: deep, accept: ["http://localhost:${open}/deep", "ws://localhost:${open}/deep"], realm-name: staff}
browser-client: /client.js
security:
  session-keys: {file: keys}
"""
    + REALMS
)


class Ports:
    def __init__(self) -> None:
        self.open, self.staff = free_port(), free_port()


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Ports]]:
    """Two services that differ by their port alone, on IPv4 and IPv6; with one process and with two workers."""
    folder, ports = tmp_path_factory.mktemp("two"), Ports()
    text = TWO_PORTS + "  state: {type: sqlite, options: {file: state.db}}\n"
    more = ["--workers", request.param, *defined(open=ports.open, staff=ports.staff)]
    with run(folder, text, *more, port=ports.staff) as process:
        yield process, ports


@pytest.mark.parametrize("host", [LOOPBACK, "[::1]", "localhost"])
def test_each_service_on_its_port(two: tuple[Process, Ports], host: str) -> None:
    """localhost is IPv4 and IPv6; the port that a request came in on is what tells the services apart."""
    _, ports = two
    assert get(ports.open, host=host).json()["service"] == "site"
    assert get(ports.staff, host=host).status_code == 401
    told = get(ports.staff, host=host, headers=JOE).json()
    assert (told["service"], told["user"], told["server"][1]) == ("staff", "joe", ports.staff)
    assert get(ports.open, "/deep/er", host=host).status_code == 401


def test_sockets_too(two: tuple[Process, Ports]) -> None:
    """WebSockets are told apart by their port as requests are."""
    _, ports = two
    with connect(f"ws://{LOOPBACK}:{ports.open}/", proxy=None) as opened:
        assert json.loads(opened.recv())["service"] == "site"
    with pytest.raises(InvalidStatus, match="401"):
        connect(f"ws://{LOOPBACK}:{ports.staff}/", proxy=None)
    with connect(f"ws://{LOOPBACK}:{ports.staff}/", proxy=None, additional_headers=JOE) as opened:
        assert json.loads(opened.recv())["service"] == "staff"


def lies(port: int) -> list[tuple[str, str, list[str]]]:
    """Requests that claim another port: host, target and headers."""
    claimed = f"localhost:{port}"
    return [
        (f"Host: {claimed}\r\n", "/", []),
        (f"Host: {claimed}\r\n", f"http://{claimed}/", []),
        (f"Host: {claimed}\r\n", "/", [f"X-Forwarded-Port: {port}\r\n", f"X-Forwarded-Host: {claimed}\r\n"]),
        ("Host: x\r\n", "/", [f"Forwarded: for=127.0.0.1;host={claimed};proto=https\r\n"]),
        ("Host: x\r\n", "/", [f"X-Forwarded-Server: {claimed}\r\n", f"X-Original-URL: http://{claimed}/\r\n"]),
    ]


def test_no_client_chooses_the_port(two: tuple[Process, Ports]) -> None:
    """Neither Host nor the target nor a forwarding header makes one port's service answer on another."""
    process, ports = two
    staff = Process(process.name, process.popen, ports.staff, process.log)
    for host, target, headers in lies(ports.open):
        assert status_of(exchange(staff, head(target, *headers, host=host))) == 401, (host, target)
        assert status_of(exchange(staff, head("/", *headers, UPGRADE, host=host))) == 401, host
    assert status_of(exchange(staff, head("/", host="", version="HTTP/1.0"))) == 401
    opened = Process(process.name, process.popen, ports.open, process.log)
    for host, target, headers in lies(ports.staff):
        answer = exchange(opened, head(target, *headers, "Connection: close\r\n", host=host))
        assert b'"service": "site"' in answer, (host, target)


def test_another_host_in_the_target(two: tuple[Process, Ports]) -> None:
    """An absolute-form target whose host is not that of the Host header is refused."""
    process, ports = two
    for target in (f"http://localhost:{ports.open}/", "http://localhost/", "//localhost/", "http://"):
        staff = Process(process.name, process.popen, ports.staff, process.log)
        answer = exchange(staff, head(target, credentials("joe", "open-sesame"), host="Host: other\r\n"))
        assert status_of(answer) in (400, 403), (target, answer)


@pytest.mark.parametrize("tail", ["/;o", "/;a/x", "/;t", "/;e/cookies"])
def test_endpoints_belong_to_the_port_of_their_service(two: tuple[Process, Ports], tail: str) -> None:
    """An endpoint of a service that is on another port is no endpoint here."""
    _, ports = two
    response = httpx.post(f"http://{LOOPBACK}:{ports.open}{tail}", trust_env=False)
    there = httpx.post(f"http://{LOOPBACK}:{ports.staff}{tail}", trust_env=False)
    if tail == "/;o":
        assert there.status_code == 204
        assert response.status_code != 204
    else:
        assert response.status_code != 200


def test_a_session_of_one_port(two: tuple[Process, Ports]) -> None:
    """A login on one port is one for the services of its realm; nothing else follows from it."""
    _, ports = two
    with httpx.Client(trust_env=False) as client:
        first = client.get(f"http://{LOOPBACK}:{ports.staff}/", headers=JOE)
        assert first.json()["user"] == "joe"
        assert client.get(f"http://{LOOPBACK}:{ports.open}/").json()["user"] == ""


def test_says_where_it_listens(two: tuple[Process, Ports]) -> None:
    """The log says once where the gateway listens and what is behind each service."""
    process, ports = two
    log = process.output()
    for address in (LOOPBACK, "[::1]"):
        assert len(re.findall(rf"listening on .*http://{re.escape(address)}:{ports.open}\b", log)) == 1
    assert log.count(f"service staff (port {ports.staff} /): the application") == 1
    assert "open-sesame" not in log


def test_no_server_header_and_one_date(two: tuple[Process, Ports]) -> None:
    """Responses say when they were made, and not by which server."""
    _, ports = two
    for response in (get(ports.open), get(ports.staff)):
        assert "server" not in response.headers
        assert len(response.headers.get_list("date")) == 1


def test_stops_gracefully(tmp_path: Path) -> None:
    """Told to stop, every port is closed, and open WebSockets end with 1012."""
    ports = Ports()
    with run(tmp_path, TWO_PORTS, *defined(open=ports.open, staff=ports.staff), port=ports.staff) as process:
        with connect(f"ws://{LOOPBACK}:{ports.open}/", proxy=None) as opened:
            opened.recv()
            process.popen.send_signal(signal.SIGTERM)
            with pytest.raises(Exception, match="1012"):
                opened.recv(timeout=10)
        assert process.popen.wait(10) in (0, -signal.SIGTERM)
    for port in (ports.open, ports.staff):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((LOOPBACK, port), timeout=5)


def test_the_examples_of_the_documentation(tmp_path: Path) -> None:
    """The two services of the page on ``run`` are each on its port, and the public site is bound where it says."""
    page = (ROOT / "docs" / "how-to" / "run.md").read_text()
    two, public = re.findall(r"^```yaml \w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    ports, tls = Ports(), free_port()
    text = two.replace("8000", str(ports.open)).replace("8001", str(ports.staff))
    with run(tmp_path, text, port=ports.staff):
        assert get(ports.open).json()["service"] == "site"
        assert get(ports.staff).status_code == 401
        assert get(ports.staff, headers=JOE).json()["service"] == "staff"
    shutil.copy(STORES / "hosts.p12", tmp_path / "keystore.p12")
    (tmp_path / "keystore.pw").write_text(PASSWORD)
    with run(tmp_path, public.replace("8443", str(tls)), port=tls), handshake(tls, "www.example.com") as stream:
        assert b'"service": "site"' in ask(stream, "/")


# ------------------------------------------------------------------------------------------------------------------ TLS

SECURE = (
    """
services:
  - {name: plain, accept: "http://127.0.0.1:${open}/"}
  - name: one
    accept: ["https://www.example.com/", "wss://www.example.com/"]
    accept-options: {https.bind: "127.0.0.1:${tls}"}
  - name: two
    accept: "https://renewed.example.net/two"
    accept-options: {tcp.bind: "127.0.0.1:${tls}"}
    realm-name: staff
security:
  keystore: {file: hosts.p12, password-file: store.pw}
  session-keys: {file: keys}
  state: {type: sqlite, options: {file: state.db}}
"""
    + REALMS
)


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Process, int, int]]:
    """http and https side by side, with a certificate for each of two hosts; gives both ports."""
    folder, plain, tls = tmp_path_factory.mktemp("secure"), free_port(), free_port()
    shutil.copy(STORES / "hosts.p12", folder)
    more = ["--workers", request.param, *defined(open=plain, tls=tls)]
    with run(folder, SECURE, *more, port=tls) as process:
        yield process, plain, tls


def shown(port: int, name: str | None, **options: Any) -> str:
    """The common name of the certificate that a client sees who asks for a name."""
    with handshake(port, name, **options) as stream:
        encoded = stream.getpeercert(binary_form=True)
        assert encoded is not None
        attribute = x509.load_der_x509_certificate(encoded).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0]
        return str(attribute.value)


@contextmanager
def handshake(
    port: int, name: str | None, *, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    context = context or trusting()
    with (
        socket.create_connection((LOOPBACK, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=name, session=session) as stream,
    ):
        yield stream


def trusting(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client that takes any certificate: the tests' are self-signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def ask(stream: ssl.SSLSocket, target: str, *headers: str) -> bytes:
    stream.sendall(head(target, "Connection: close\r\n", *headers))
    received = b""
    while more := stream.recv(65536):
        received += more
    return received


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        ("www.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("renewed.example.net", "renewed"),
        ("other.example.com", "wildcard"),
        ("unknown.example.org", "exact"),
        (None, "exact"),
    ],
)
def test_certificate_by_name(
    secure: tuple[Process, int, int], version: ssl.TLSVersion, name: str | None, common_name: str
) -> None:
    """The certificate is that of the name; without a name, or for an unknown one, that of the first accept URL."""
    _, _, tls = secure
    assert shown(tls, name, context=trusting(version)) == common_name


def test_requests_over_tls(secure: tuple[Process, int, int]) -> None:
    """https and wss come in on the TLS port, with its port and scheme; plain http on the other one."""
    _, plain, tls = secure
    with handshake(tls, "www.example.com") as stream:
        told = json.loads(ask(stream, "/").partition(b"\r\n\r\n")[2].splitlines()[1])
    assert (told["service"], told["scheme"], told["server"]) == ("one", "https", [LOOPBACK, tls])
    with handshake(tls, "renewed.example.net") as stream:
        assert status_of(ask(stream, "/two")) == 401
    with connect(f"wss://{LOOPBACK}:{tls}/", ssl=trusting(), proxy=None, server_hostname="www.example.com") as opened:
        assert json.loads(opened.recv())["scheme"] == "wss"
    assert get(plain).json()["service"] == "plain"
    assert get(plain, "/two").json()["service"] == "plain"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(secure: tuple[Process, int, int], version: ssl.TLSVersion) -> None:
    """A TLS session of one name is resumed neither under another name nor under its own."""
    _, _, tls = secure
    context = trusting(version)
    with handshake(tls, "www.example.com", context=context) as stream:
        ask(stream, "/")
        session = stream.session
    for name in ("renewed.example.net", "www.example.com"):
        with handshake(tls, name, context=context, session=session) as stream:
            assert not stream.session_reused
            assert status_of(ask(stream, "/")) == 200


def test_no_http_on_a_port_with_tls(secure: tuple[Process, int, int]) -> None:
    """Plain bytes on a TLS port are answered by no service, and the server goes on."""
    process, _, tls = secure
    there = Process(process.name, process.popen, tls, process.log)
    for data in (head("/"), b"\x16\x03\x01", b"", b"\0" * 300):
        with socket.create_connection((LOOPBACK, tls), timeout=10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                assert b"HTTP/" not in connection.recv(65536)
    assert shown(there.port, "www.example.com") == "exact"
    assert "Traceback" not in process.output()


def test_one_certificate_is_shown_for_every_name(tmp_path: Path) -> None:
    """A keystore's only certificate is shown even for a host that it is not for; the log says so."""
    tls = free_port()
    shutil.copy(STORES / "server.p12", tmp_path)
    text = """
services:
  - {name: one, accept: "https://gateway.example/", accept-options: {https.bind: "127.0.0.1:${tls}"}}
security: {keystore: {file: server.p12, password-file: store.pw}}
"""
    with run(tmp_path, text, *defined(tls=tls), port=tls) as process:
        assert shown(tls, "gateway.example") == "localhost"
        assert "is not for the host 'gateway.example'" in process.output()


def test_no_certificate_for_a_host(tmp_path: Path) -> None:
    """Where the keystore has several certificates and none is for a host of the file, it does not start."""
    shutil.copy(STORES / "hosts.p12", tmp_path)
    text = SECURE.replace("www.example.com", "www.example.org")
    assert "no key for the host 'www.example.org'" in failure(
        tmp_path, text, *defined(open=free_port(), tls=free_port())
    )


# ------------------------------------------------------------------------------------------------- where it cannot be


def test_bind_options(tmp_path: Path) -> None:
    """A foreign accept URL is served where its bind option says; an interface is the addresses it has."""
    http, ws = free_port(), free_port()
    text = """
services:
  - {name: page, accept: "http://gateway.example/", accept-options: {http.bind: "[@lo]:${http}"}}
  - {name: socket, accept: "ws://gateway.example/", accept-options: {ws.bind: "${ws}"}}
"""
    with run(tmp_path, text, *defined(http=http, ws=ws), port=ws):
        assert get(http).json()["service"] == "page"
        assert get(http, host="[::1]").json()["service"] == "page"
        with connect(f"ws://{LOOPBACK}:{ws}/", proxy=None) as opened:
            assert json.loads(opened.recv())["service"] == "socket"
        assert get(ws).status_code == 403


ONE = """
services:
  - name: page
    accept: "http://${host}:${port}/"
"""


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.77", "is not an address of this machine"),
        ("[2001:db8::7]", "is not an address of this machine"),
        ("gateway.invalid", "unknown host"),
    ],
)
def test_foreign_host(tmp_path: Path, host: str, reason: str) -> None:
    """A host of another machine stops the start; the error names service, accept URL, line and option."""
    port = free_port()
    said = failure(tmp_path, ONE, *defined(port=port), "-D", f"host={host}")
    assert "gateway.yaml:4:" in said
    assert "service 'page'" in said
    assert f"http://{host}:{port}/" in said
    assert reason in said
    assert "http.bind" in said


def test_port_in_use(tmp_path: Path) -> None:
    """A port that another process listens on stops the start, and nothing else stays bound."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        said = failure(tmp_path, ONE, *defined(port=port), "-D", "host=localhost")
    assert f"port {port} of {LOOPBACK} is in use" in said
    assert "service 'page'" in said


REACH = """
services:
  - {name: both, accept: ["http://localhost:${port}/a", "http://0.0.0.0:${port}/a"]}
  - {name: inner, accept: "http://localhost:${port}/inner"}
"""


def test_a_port_of_this_machine_alone(tmp_path: Path) -> None:
    """A service at localhost stops the start where another service opens its port to other machines."""
    said = failure(tmp_path, REACH, *defined(port=free_port()))
    assert "gateway.yaml:3:" in said
    assert "service 'inner': localhost is this machine alone" in said
    for text in (REACH.replace("0.0.0.0", LOOPBACK), REACH.replace("localhost:${port}/inner", "0.0.0.0:${port}/inner")):
        port = free_port()
        with run(tmp_path, text, *defined(port=port), port=port):
            assert get(port, "/inner").json()["service"] == "inner"


def test_unknown_interface(tmp_path: Path) -> None:
    """An interface that is not there stops the start."""
    text = ONE + '    accept-options: {http.bind: "@none7:8000"}\n'
    assert "unknown interface" in failure(tmp_path, text, *defined(port=1), "-D", "host=gateway.example")


def test_no_application(tmp_path: Path) -> None:
    """Without an application a service without a back end is an error that names it, with its line."""
    text = """
services:
  - {name: page, accept: "http://localhost:8000/"}
  - {name: not-served, accept: "http://localhost:8001/", type: balancer}
"""
    said = failure(tmp_path, text, app="")
    assert "gateway.yaml:3:" in said
    assert "no application for the service 'page'" in said
    assert "not-served" not in said
    assert "no application" in failure(
        tmp_path, "security:" + REALMS.replace("authorization-mode: recycle", ""), app=""
    )


BOTH = """
services:
  - {name: back, accept: ["http://localhost:${back}/", "ws://localhost:${back}/"], type: echo}
"""


def test_back_ends_alone(tmp_path: Path) -> None:
    """Without an application back ends are served; the log says what they are."""
    port = free_port()
    with run(tmp_path, BOTH, *defined(back=port), port=port, app="") as process:
        assert httpx.post(f"http://{LOOPBACK}:{port}/", content=b"hello", trust_env=False).content == b"hello"
        with connect(f"ws://{LOOPBACK}:{port}/", proxy=None) as opened:
            opened.send("hello")
            assert opened.recv() == "hello"
        assert f"service back (port {port} /): echo" in process.output()


@pytest.mark.parametrize("workers", [1, 2])
def test_back_ends_beside_an_application(tmp_path: Path, workers: int) -> None:
    """The application is behind the services with neither type nor connect, and behind no other."""
    back, own = free_port(), free_port()
    text = BOTH + '  - {name: own, accept: "http://localhost:${own}/"}\n'
    with run(tmp_path, text, *defined(back=back, own=own), "--workers", workers, port=own):
        assert get(own).json()["service"] == "own"
        assert httpx.post(f"http://{LOOPBACK}:{back}/", content=b"hello", trust_env=False).content == b"hello"


# ----------------------------------------------------------------------------------------------- --port, --host, --uds


def test_one_port_of_the_command_line(tmp_path: Path) -> None:
    """With --port there is one socket, and the ports of accept URLs do not count."""
    port = free_port()
    text = """
services:
  - {name: a, accept: "http://localhost:1/a"}
  - {name: b, accept: "https://gateway.example/b"}
"""
    with run(tmp_path, text, "--port", port, port=port):
        assert get(port, "/a").json()["service"] == "a"
        assert get(port, "/b").json()["service"] == "b"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("::1", port), timeout=5)


def test_another_host_for_the_same_ports(tmp_path: Path) -> None:
    """With --host alone the ports are those of the accept URLs, at that host."""
    ports = Ports()
    text = TWO_PORTS.replace("localhost", "gateway.example")
    with run(tmp_path, text, "--host", LOOPBACK, *defined(open=ports.open, staff=ports.staff), port=ports.staff):
        assert get(ports.open).json()["service"] == "site"
        assert get(ports.staff).status_code == 401
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("::1", ports.open), timeout=5)


@pytest.mark.parametrize("workers", [1, 2])
def test_unix_socket(tmp_path: Path, workers: int) -> None:
    """With --uds it listens on a Unix socket for owner and group; a peer has no address; the file goes away."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    both = '["http://${host}:${port}/", "ws://${host}:${port}/"]'
    file = write(tmp_path, ONE.replace('"http://${host}:${port}/"', both))
    words = command(file, APP, *defined(port=1), "-D", "host=gateway.example", "--uds", path, "--workers", workers)
    with running_on(words, path, tmp_path / "log") as process:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
            told = client.get("/", headers={"X-Forwarded-For": "192.0.2.9"}).json()
        assert (told["service"], told["client"], told["server"]) == ("page", None, [str(path), None])
        with unix_connect(str(path), uri="ws://localhost/") as opened:
            assert json.loads(opened.recv())["client"] is None
        again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30)
        assert again.returncode == 2
        assert "another process listens there" in again.stderr
        assert "unix:" in process.log.read_text()
    assert not path.exists()


@contextmanager
def running_on(words: list[str], path: Path, log: Path) -> Iterator[Process]:
    """Run a server that listens on a Unix socket."""
    with log.open("wb") as out:
        popen = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
    process = Process("gateway", popen, 0, log)
    live.append(process)
    try:
        end = time.monotonic() + 20
        while not connects(path):
            assert popen.poll() is None, process.output()
            assert time.monotonic() < end, process.output()
            time.sleep(0.02)
        yield process
    finally:
        live.remove(process)
        process.stop()


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def test_no_socket_file(tmp_path: Path) -> None:
    """A file that is no socket is left alone, and options that do not go together are an error."""
    (tmp_path / "file").write_text("precious")
    said = failure(tmp_path, ONE, *defined(port=1), "-D", "host=localhost", "--uds", tmp_path / "file")
    assert "exists and is not a socket" in said
    assert (tmp_path / "file").read_text() == "precious"
    for more in (["--port", "8000"], ["--host", "localhost"], ["--tls", "localhost"]):
        assert "--uds" in failure(tmp_path, ONE, "--uds", tmp_path / "socket", *more)
    assert "cannot listen" in failure(
        tmp_path, ONE, *defined(port=1), "-D", "host=h", "--uds", tmp_path / "none/socket"
    )


# -------------------------------------------------------------------------------------------------------------- workers


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Process, int]]:
    """Two workers, and the port."""
    port = free_port()
    with run(tmp_path, ONE, *defined(port=port), "-D", "host=localhost", "--workers", 2, port=port) as process:
        yield process, port


def pids(port: int, number: int = 2, other_than: frozenset[int] = frozenset()) -> frozenset[int]:
    """The processes that answer, once there are so many of them, and none of the others."""
    end = time.monotonic() + 30
    found: list[int] = []
    while time.monotonic() < end:
        found = [*found[-30:], get(port).json()["pid"]]
        if len(set(found)) == number and not other_than & set(found):
            return frozenset(found)
    raise AssertionError(f"not {number} workers: {found}")


def test_a_worker_that_ends_is_replaced(workers: tuple[Process, int]) -> None:
    """The port answers on, and soon there are two workers again."""
    process, port = workers
    before = pids(port)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    assert len(pids(port, other_than=frozenset({killed}))) == 2
    assert f"worker process {killed} ended with -9" in process.output()


def test_workers_end_with_their_parent(workers: tuple[Process, int]) -> None:
    """Where the supervisor is killed, its workers end and give the port back."""
    process, port = workers
    pids(port)
    process.popen.kill()
    end = time.monotonic() + 20
    while answers(port):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workers_are_replaced_on_sighup(workers: tuple[Process, int]) -> None:
    """A new worker serves before its predecessor ends; no request is refused meanwhile."""
    process, port = workers
    before = pids(port)
    process.popen.send_signal(signal.SIGHUP)
    assert not before & pids(port, other_than=before)
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(15) == 0


@pytest.mark.parametrize("number", [1, 2])
def test_an_application_that_does_not_start(tmp_path: Path, number: int) -> None:
    """The server ends, and says so with its exit code."""
    (tmp_path / "failing.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    file = write(tmp_path, ONE)
    words = command(file, "failing:app", *defined(port=free_port()), "-D", "host=localhost", "--workers", number)
    done = subprocess.run(words, cwd=tmp_path, env=with_root(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "no database" in done.stderr


def with_root() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_inner_gateway_of_an_application(tmp_path: Path) -> None:
    """An application with a GatewayMiddleware of its own cannot tell ports apart: several are an error."""
    write(tmp_path, 'services: [{accept: "http://localhost:${open}/a"}, {accept: "http://localhost:${staff}/b"}]')
    (tmp_path / "inner.py").write_text(
        "from asgi_gateway import GatewayMiddleware\n"
        "from tests.integration.apps.echo_scope import app as api\n"
        "app = GatewayMiddleware(api, 'gateway.yaml')\n"
    )
    environment = {**with_root(), "open": str(free_port()), "staff": str(free_port())}
    words = command("gateway.yaml", "inner:app")
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "does not tell services apart by their port" in done.stderr
