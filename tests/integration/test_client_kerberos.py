"""The Kerberos challenge handler against a KDC, the gateway, and servers that cannot prove who they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from asgi_gateway.client import (
    BasicChallengeHandler,
    DispatchChallengeHandler,
    GatewayAuth,
    KerberosChallengeHandler,
    MutualAuthenticationError,
    NegotiateChallengeHandler,
    PasswordAuthentication,
    connect,
    sync,
)
from tests.integration.kdc import Kdc, realm
from tests.integration.process import Process
from tests.integration.servers import serve

ALICE = "alice@EXAMPLE.COM"


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc") as found:
        found.user("alice", "alicepw")
        yield found


@pytest.fixture(scope="module")
def server(kdc: Kdc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serve("kerberos_app:app", log=log, env=kdc.environment) as process:
        yield process


@pytest.fixture(autouse=True)
def _environment(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def ticket(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice has logged in to Kerberos."""
    monkeypatch.setenv("KRB5CCNAME", kdc.kinit("alice", "alicepw"))


def login(password: str) -> object:
    return lambda request: PasswordAuthentication("alice", password)


def kerberos(*args: object, **options: object) -> NegotiateChallengeHandler:
    return NegotiateChallengeHandler(KerberosChallengeHandler(*args, **options))  # type: ignore[arg-type]


def get(server: Process, path: str, handler: object) -> httpx.Response:
    with httpx.Client(auth=GatewayAuth(handler), trust_env=False, timeout=20) as client:  # type: ignore[arg-type]
        return client.get(f"http://localhost:{server.port}{path}")


@pytest.mark.usefixtures("ticket")
@pytest.mark.parametrize("path", ["/tickets", "/page", "/either"])
def test_a_ticket_logs_in(server: Process, path: str) -> None:
    """With a ticket the strongest scheme is answered, and the gateway proves who it is."""
    answer = get(server, path, kerberos())
    assert (answer.status_code, answer.json()["name"]) == (200, ALICE)


@pytest.mark.parametrize("coroutine", [False, True])
def test_a_password_gets_a_ticket(server: Process, coroutine: bool) -> None:
    """A login handler's password is good for a ticket; a wrong one gives no answer."""

    async def slowly(request: object) -> PasswordAuthentication:
        return PasswordAuthentication("alice", "alicepw")

    answer = get(server, "/tickets", kerberos(slowly if coroutine else login("alicepw")))
    assert answer.json()["name"] == ALICE
    assert get(server, "/tickets", kerberos(login("wrong"))).status_code == 401
    assert get(server, "/tickets", kerberos(lambda request: None)).status_code == 401


def test_without_a_ticket_the_weaker_scheme_is_tried(server: Process) -> None:
    """Where there is no ticket, Basic is answered, if the server offers it and there is a handler."""
    basic = BasicChallengeHandler(lambda request: PasswordAuthentication("alice", "alicepw"))
    both = DispatchChallengeHandler().register("*:*/*", kerberos()).register("*:*/*", basic)
    assert get(server, "/either", both).json()["name"] == ALICE
    assert get(server, "/tickets", both).status_code == 401


@pytest.mark.usefixtures("ticket")
@pytest.mark.parametrize("extended", [False, True])
def test_websockets(server: Process, extended: bool) -> None:
    """Sockets open with a ticket, plain and extended, in a thread and in a loop."""
    uri = f"ws://localhost:{server.port}/tickets/echo"
    with sync.connect(uri, handler=kerberos(), extended=extended, proxy=None) as socket:
        socket.send("hi")
        assert socket.recv(timeout=5) == f"{ALICE}: hi"

    async def talk() -> str | bytes:
        async with connect(uri, handler=kerberos(), extended=extended, proxy=None) as socket:
            await socket.send("hi")
            return await socket.recv()

    assert asyncio.run(talk()) == f"{ALICE}: hi"


@pytest.mark.usefixtures("ticket")
@pytest.mark.parametrize("proof", [None, "Negotiate", "Negotiate !", "Negotiate b2theQ==", 'Basic realm="x"'])
def test_a_server_without_proof_is_not_believed(proof: str | None) -> None:
    """A server that lets everybody in, without having the service's key, is found out."""

    def reply(request: httpx.Request) -> httpx.Response:
        if "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": "Negotiate"})
        return httpx.Response(200, headers={"WWW-Authenticate": proof} if proof else {}, text="trust me")

    with httpx.Client(transport=httpx.MockTransport(reply), auth=GatewayAuth(kerberos())) as client:
        with pytest.raises(MutualAuthenticationError):
            client.get("http://localhost/")


@pytest.mark.usefixtures("ticket")
def test_a_broken_exchange_ends() -> None:
    """A server that goes on with junk gets no further answer."""
    sent = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(401, headers={"WWW-Authenticate": "Negotiate b2theQ=="})

    with httpx.Client(transport=httpx.MockTransport(reply), auth=GatewayAuth(kerberos())) as client:
        assert client.get("http://localhost/").status_code == 401
    assert len(sent) <= 4


@pytest.mark.usefixtures("ticket")
def test_the_ticket_is_for_the_location(server: Process) -> None:
    """No ticket is asked for another host than the location's, unless the handler is told so."""
    with httpx.Client(auth=GatewayAuth(kerberos()), trust_env=False, timeout=20) as client:
        assert client.get(f"http://127.0.0.1:{server.port}/tickets").status_code == 401
    with httpx.Client(auth=GatewayAuth(kerberos(host="localhost")), trust_env=False, timeout=20) as client:
        assert client.get(f"http://127.0.0.1:{server.port}/tickets").status_code == 200


def test_gssapi_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-gssapi the error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "gssapi", None)
    with pytest.raises(Exception, match=r"asgi-gateway\[kerberos\]"):
        KerberosChallengeHandler()
