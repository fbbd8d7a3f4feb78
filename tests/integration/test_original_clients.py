"""The JavaScript and Java clients of KAAZING, unmodified, with a configuration of KAAZING Gateway."""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.kaazing_clients import ClientError, JavaClient, JavaScriptClient, KaazingClient, Passwords
from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.raw import UPGRADE, exchange, head
from tests.integration.servers import ROOT, basic, serve

pytestmark = pytest.mark.integration

NAMESPACE = "http://xmlns.kaazing.org/2014/09/gateway"
APP = "tests.integration.apps.subprotocols"
SOCKETS = "asgi_gateway.cli.websocket_protocol:GatewayWebSocketProtocol"
"""What ``uvicorn --ws`` takes."""
PHRASE = b"HTTP/1.1 101 Web Socket Protocol Handshake\r\n"
KINDS: list[type[KaazingClient]] = [JavaScriptClient, JavaClient]


def realm(name: str, users: str, extra: str = "") -> str:
    return (
        f"<realm><name>{name}</name><description>{name}</description><authentication>"
        f"<http-challenge-scheme>Application Basic</http-challenge-scheme>{extra}<login-modules><login-module>"
        f"<type>file</type><success>required</success><options><file>{users}</file></options>"
        "</login-module></login-modules></authentication></realm>"
    )


def service(path: str, *realms: str, more: str = "") -> str:
    names = f"<accept-options><http.realm>{', '.join(realms)}</http.realm></accept-options>" if realms else ""
    role = "<authorization-constraint><require-role>USER</require-role></authorization-constraint>" if realms else ""
    return f"<service><name>{path}</name><accept>ws://localhost:8001/{path}</accept>{names}{role}{more}</service>"


def users(realm: str) -> str:
    """Users of one realm: their passwords are their name and the realm's."""
    each = "".join(
        f"<user><name>{name}</name><password>{name}-{realm}</password><role-name>USER</role-name></user>"
        for name in ("joe", "ann")
    )
    return f"<jaas-config>{each}<role><name>USER</name></role></jaas-config>"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration as KAAZING Gateway has them."""
    folder = tmp_path_factory.mktemp("kaazing")
    for name in ("demo", "first", "second"):
        (folder / f"{name}.xml").write_text(users(name))
    kept = realm("kept", "demo.xml", "<authorization-mode>recycle</authorization-mode>")
    origins = "<cross-site-constraint><allow-origin>http://portal.example</allow-origin></cross-site-constraint>"
    path = folder / "gateway-config.xml"
    path.write_text(
        f'<gateway-config xmlns="{NAMESPACE}"><security>'
        f"{realm('demo', 'demo.xml')}{realm('first', 'first.xml')}{realm('second', 'second.xml')}{kept}</security>"
        f"{service('echo', 'demo')}{service('two', 'first', 'second')}{service('public')}{service('kept', 'kept')}"
        f"{service('shared', 'demo', more=origins)}</gateway-config>"
    )
    return path


@contextmanager
def run(config: Path, log: Path) -> Iterator[Process]:
    """Run the application with ``asgi-gateway run``."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(config), f"{APP}:app"]
    with running([*command, "--port", str(port)], port=port, log=log, cwd=ROOT) as process:
        yield process


@pytest.fixture(scope="module", params=["run", "uvicorn"])
def server(request: pytest.FixtureRequest, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The application under ``asgi-gateway run``, and under uvicorn with the same protocol for WebSockets."""
    log = tmp_path_factory.mktemp(request.param) / "log"
    if request.param == "run":
        with run(config, log) as process:
            yield process
    else:
        environment = {"GATEWAY_CONFIG": str(config)}
        with serve(f"{APP}:guarded", log=log, env=environment, options=("--ws", SOCKETS)) as process:
            yield process


@pytest.fixture(scope="module")
def plain(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The application under uvicorn and its own protocol for WebSockets, without compression as the docs say."""
    log, options = tmp_path_factory.mktemp("plain") / "log", ("--ws-per-message-deflate", "false")
    with serve(f"{APP}:guarded", log=log, env={"GATEWAY_CONFIG": str(config)}, options=options) as process:
        yield process


def right(challenge: str) -> str:
    """Joe's password for the realm of a challenge, as a person reads it in the dialog."""
    return f"joe:joe-{named(challenge)}"


def named(challenge: str) -> str:
    assert challenge.startswith('Application Basic realm="')
    return challenge.partition('"')[2].rstrip('"').replace("kept", "demo")


def said(*answers: str | None) -> Passwords:
    """What a person types, one after the other."""
    left = iter(answers)
    return lambda challenge: next(left, None)


def first_message(client: KaazingClient) -> list[Any]:
    message = client.receive()
    assert isinstance(message, str)
    answer: list[Any] = json.loads(message)
    return answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subprotocols", [(), ("amqp-0-9-1",), ("chat.v2", "chat.v1")])
def test_login_and_messages(server: Process, kind: type[KaazingClient], subprotocols: tuple[str, ...]) -> None:
    """A client is challenged once, logs in, gets the first subprotocol of the application, and exchanges messages."""
    with kind(port=server.port, path="/echo?a=1", passwords=right, subprotocols=subprotocols) as client:
        assert client.challenges == ['Application Basic realm="demo"']
        assert client.subprotocol == (subprotocols[0] if subprotocols else "")
        assert first_message(client) == ["joe", list(subprotocols), "a=1"]
        for message in ("Привет", b"\xef\x83\xbfR", "x" * 70_000, b"\0" * 200):
            client.send(message)
            assert client.receive() == message


@pytest.mark.parametrize("kind", KINDS)
def test_public_services(server: Process, kind: type[KaazingClient]) -> None:
    """A service without a realm lets both clients in without a challenge."""
    with kind(port=server.port, path="/public", passwords=said()) as client:
        assert client.challenges == []
        assert first_message(client) == ["", [], ""]


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_passwords(server: Process, kind: type[KaazingClient]) -> None:
    """A client may try again after a wrong password, and is refused after four."""
    with kind(port=server.port, path="/echo", passwords=said("joe:x", "eve:x", "joe:joe-demo")) as client:
        assert first_message(client)[0] == "joe"
    tries = said(*(f"joe:{number}" for number in range(9)))
    client = kind(port=server.port, path="/echo", passwords=tries)
    with pytest.raises(ClientError, match="the login ended with 403"):
        client.__enter__()
    assert len(client.challenges) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_two_realms(server: Process, kind: type[KaazingClient]) -> None:
    """A client that knows nothing of several realms is asked for each in turn, and again for the one it got wrong."""
    with kind(port=server.port, path="/two", passwords=right, subprotocols=("chat",)) as client:
        assert [named(each) for each in client.challenges] == ["first", "second"]
        assert first_message(client) == ["joe", ["chat"], ""]
    answers = said("joe:x", "joe:joe-first", "joe:joe-first", "joe:joe-second")
    with kind(port=server.port, path="/two", passwords=answers) as client:
        assert [named(each) for each in client.challenges] == ["first", "first", "second", "second"]
        assert first_message(client)[0] == "joe"


@pytest.mark.parametrize("kind", KINDS)
def test_two_realms_of_two_users(server: Process, kind: type[KaazingClient]) -> None:
    """Another user's password for the second realm is no second factor."""
    with pytest.raises(ClientError, match="the login ended with 403"):
        kind(port=server.port, path="/two", passwords=said("joe:joe-first", "ann:ann-second")).__enter__()


@pytest.mark.parametrize("kind", KINDS)
def test_two_sockets_of_one_client(server: Process, kind: type[KaazingClient]) -> None:
    """What one socket reached of two realms is nothing to the client's next socket."""
    client = kind(port=server.port, path="/two", passwords=said("joe:joe-first", None))
    with pytest.raises(ClientError, match="no credentials"):
        client.__enter__()
    assert [named(each) for each in client.challenges] == ["first", "second"]
    again = kind(port=server.port, path="/two", passwords=said("joe:joe-second", None))
    with pytest.raises(ClientError, match="no credentials"):
        again.__enter__()
    assert [named(each) for each in again.challenges] == ["first", "first"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_session_begins_inside(server: Process, kind: type[KaazingClient]) -> None:
    """A realm with sessions sets no cookie inside the socket, so that the next socket is challenged as the first."""
    for _ in range(2):
        with kind(port=server.port, path="/kept", passwords=right) as client:
            assert len(client.challenges) == 1
            assert first_message(client)[0] == "joe"


@pytest.mark.parametrize("path", ["/echo", "/shared"])
@pytest.mark.parametrize("host", ["127.0.0.1", "LocalHost", "gateway.example", "[::1]"])
def test_origin_of_the_java_client(server: Process, path: str, host: str) -> None:
    """The origin that the Java client makes of the URL it connects to is the service's own, over HTTP too."""
    with JavaClient(port=server.port, path=path, passwords=right, host=host, origin_over_http=True) as client:
        assert client.cookies == ""
        assert first_message(client)[0] == "joe"


@pytest.mark.parametrize("path", ["/echo", "/shared"])
@pytest.mark.parametrize("origin", ["privileged://evil.example:{port}", "privileged://127.0.0.1:1", "null", "file://"])
def test_other_origins(server: Process, path: str, origin: str) -> None:
    """The scheme privileged with another host or port is refused before the accept, as other origins are."""
    client = JavaClient(port=server.port, path=path, passwords=right, origin=origin.format(port=server.port))
    with pytest.raises(ClientError, match="403 Forbidden"):
        client.__enter__()
    page = JavaScriptClient(port=server.port, path=path, passwords=right, origin="http://evil.example")
    with pytest.raises(ClientError, match="403"):
        page.__enter__()


def test_a_listed_origin(server: Process) -> None:
    """A page of a listed origin logs in; on another service it is refused."""
    origin = "http://portal.example"
    with JavaScriptClient(port=server.port, path="/shared", passwords=right, origin=origin) as client:
        assert first_message(client)[0] == "joe"
    with pytest.raises(ClientError, match="403"):
        JavaScriptClient(port=server.port, path="/echo", passwords=right, origin=origin).__enter__()


def opening(path: str, *lines: str, protocols: str = "x-kaazing-handshake") -> bytes:
    offers = f"Sec-WebSocket-Protocol: {protocols}\r\n" if protocols else ""
    return head(path, UPGRADE, offers, *lines)


def test_reason_phrase(server: Process) -> None:
    """The phrase that the Java client compares stands where the extended handshake is accepted, and nowhere else."""
    for protocols in ("x-kaazing-handshake", "x-kaazing-handshake,chat", "chat, x-kaazing-handshake"):
        assert exchange(server, opening("/echo", protocols=protocols)).startswith(PHRASE)
    split = opening("/echo", "Sec-WebSocket-Protocol: x-kaazing-handshake\r\n", protocols="chat")
    assert exchange(server, split).startswith(PHRASE)
    authorization = f"Authorization: {basic('joe', 'joe-demo')['Authorization']}\r\n"
    for protocols in ("", "chat", "X-Kaazing-Handshake", "x-kaazing-handshake2"):
        answer = exchange(server, opening("/echo", authorization, protocols=protocols))
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert exchange(server, opening("/elsewhere")).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert exchange(server, opening("/echo", protocols="")).startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    wrong_key = opening("/echo").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short")
    assert exchange(server, wrong_key).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_cookie_request(server: Process) -> None:
    """The Java client's question for cookies is answered 200 and empty, with a length and without a cookie."""
    for path in ("/echo", "/two", "/kept", "/public", "/echo/below"):
        answer = httpx.get(f"http://{LOOPBACK}:{server.port}{path}/;e/cookies?.krn=5&.kl=Y", trust_env=False)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == "0"
        assert "set-cookie" not in answer.headers
    answer = httpx.get(f"http://{LOOPBACK}:{server.port}/elsewhere/;e/cookies?.krn=5", trust_env=False)
    assert answer.status_code == 403


def test_a_client_that_leaves_in_mid_login(server: Process) -> None:
    """A client that goes away between two realms leaves nothing behind that disturbs the next."""
    for _ in range(3):
        with socket.create_connection((LOOPBACK, server.port), timeout=5) as connection:
            connection.sendall(opening("/two"))
            assert connection.recv(100).startswith(PHRASE)
    with JavaClient(port=server.port, path="/two", passwords=right) as client:
        assert first_message(client)[0] == "joe"


class Upper(socketserver.BaseRequestHandler):
    """A TCP service that answers in capitals."""

    def handle(self) -> None:
        while data := self.request.recv(65_536):
            self.request.sendall(data.upper())


@pytest.fixture(scope="module")
def gateway(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway without an application, as KAAZING Gateway runs: an echo service, and one in front of TCP."""
    port, log = free_port(), tmp_path_factory.mktemp("gateway") / "log"
    with socketserver.ThreadingTCPServer((LOOPBACK, 0), Upper) as tcp:
        tcp.daemon_threads = True
        threading.Thread(target=tcp.serve_forever, daemon=True).start()
        behind = "<type>proxy</type><connect>tcp://{}:{}</connect>".format(*tcp.server_address[:2])
        services = service("echo", "demo", more="<type>echo</type>") + service("tcp", "first", "second", more=behind)
        file = config.with_name("gateway-alone.xml")
        file.write_text(
            f'<gateway-config xmlns="{NAMESPACE}"><security>{realm("demo", "demo.xml")}{realm("first", "first.xml")}'
            f"{realm('second', 'second.xml')}</security>{services}</gateway-config>".replace(
                "ws://localhost:8001", f"ws://{LOOPBACK}:{port}"
            )
        )
        command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(file)]
        with running(command, port=port, log=log, cwd=ROOT) as process:
            yield process
        tcp.shutdown()


@pytest.mark.parametrize("kind", KINDS)
def test_a_gateway_without_an_application(gateway: Process, kind: type[KaazingClient]) -> None:
    """Both clients use an echo service, and a TCP service behind two realms, of a file that listens as it says."""
    with kind(port=gateway.port, path="/echo", passwords=right) as client:
        for message in ("hello", b"\0\1"):
            client.send(message)
            assert client.receive() == message
    with kind(port=gateway.port, path="/tcp", passwords=right) as client:
        assert [named(each) for each in client.challenges] == ["first", "second"]
        client.send("hello")
        assert client.receive() == b"HELLO"
    with pytest.raises(ClientError):
        kind(port=gateway.port, path="/tcp", passwords=said("joe:joe-first", "ann:ann-second")).__enter__()


def test_uvicorn_as_it_is(plain: Process) -> None:
    """Under uvicorn alone the JavaScript client works; the Java client does not take its reason phrase."""
    with JavaScriptClient(port=plain.port, path="/two", passwords=right, subprotocols=("chat",)) as client:
        assert first_message(client) == ["joe", ["chat"], ""]
    with pytest.raises(ClientError, match="101 Switching Protocols"):
        JavaClient(port=plain.port, path="/echo", passwords=right).__enter__()
