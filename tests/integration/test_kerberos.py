"""Negotiate end to end: curl, pyspnego with httpx and websockets as clients, a trusted realm, a KDC that goes away."""

from __future__ import annotations

import base64
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import spnego
from websockets.exceptions import InvalidStatus

from asgi_gateway import ConfigError, load_config
from tests.integration.apps.kerberos_config import CONFIG
from tests.integration.kdc import Kdc, realm
from tests.integration.process import LOOPBACK, Process, free_port
from tests.integration.servers import basic, connect, serve
from tests.integration.tickets import Client, Flag


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("partner") / "kdc", realm="PARTNER.ORG") as found:
        found.user("bob", "bobpw")
        yield found


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory, partner: Kdc) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc", trusted=(partner,)) as found:
        for user in ("alice", "carol"):
            found.user(user, f"{user}pw")
        found.trusts(partner)
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


@pytest.fixture(scope="module")
def alice(kdc: Kdc) -> str:
    return kdc.kinit("alice", "alicepw")


def negotiate(cache: str) -> dict[str, str]:
    """A header with a fresh token."""
    return {"Authorization": f"Negotiate {Client(cache).token()}"}


def get(server: Process, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.get(f"http://{LOOPBACK}:{server.port}{path}", headers=headers, trust_env=False, timeout=20)


def test_curl(server: Process, alice: str, kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    """curl with a ticket gets in as user@REALM and finds the final token on the 200; without a ticket it gets 401."""
    command = [
        "curl",
        "-s",
        "-i",
        "--noproxy",
        "*",
        "--negotiate",
        "-u",
        ":",
        f"http://localhost:{server.port}/tickets",
    ]
    monkeypatch.setenv("KRB5CCNAME", alice)
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    assert "HTTP/1.1 200 OK" in answer
    assert "www-authenticate: Negotiate oYG" in answer
    assert '"name":"alice@EXAMPLE.COM"' in answer
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{kdc.directory}/no-cache")
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    assert "HTTP/1.1 401" in answer
    assert "\nwww-authenticate: Negotiate\n" in answer.replace("\r", "")


def test_spnego_and_httpx(server: Process, alice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyspnego as the client finishes with the token on the 200, which proves the service."""
    monkeypatch.setenv("KRB5CCNAME", alice)
    client = spnego.client(hostname="localhost", service="HTTP", protocol="kerberos")
    token = base64.b64encode(client.step() or b"").decode()
    answer = get(server, "/tickets", {"Authorization": f"Negotiate {token}"})
    assert answer.json()["name"] == "alice@EXAMPLE.COM"
    scheme, _, final = answer.headers["www-authenticate"].partition(" ")
    assert scheme == "Negotiate"
    client.step(base64.b64decode(final))
    assert client.complete


def test_every_request(server: Process, alice: str) -> None:
    """Authentication holds for one request, not for the rest of its connection; a token is good for one."""
    token = negotiate(alice)
    with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False) as client:
        assert client.get("/tickets", headers=token).status_code == 200
        bare = client.get("/tickets")
        assert (bare.status_code, bare.headers.get_list("www-authenticate")) == (401, ["Negotiate"])
        assert client.get("/tickets", headers=token).status_code == 401
        assert client.get("/tickets", headers=negotiate(alice)).status_code == 200
    assert "replay: a token of alice@EXAMPLE.COM was used before" in server.output()


def test_application_negotiate(server: Process, alice: str) -> None:
    """The prefix stands in the challenge, for whoever may not answer by itself; the answer is the same."""
    assert get(server, "/page").headers["www-authenticate"] == "Application Negotiate"
    answer = get(server, "/page", negotiate(alice))
    assert answer.status_code == 200
    assert answer.headers["www-authenticate"].startswith("Application Negotiate oYG")


def test_websocket(server: Process, alice: str) -> None:
    """A handshake is challenged and let in like a request, with the final token on the 101."""
    with pytest.raises(InvalidStatus) as refused:
        connect(server, "/tickets/echo")
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["www-authenticate"] == "Negotiate"
    client = Client(alice)
    header = {"Authorization": f"Negotiate {client.token()}"}
    with connect(server, "/tickets/echo", additional_headers=header) as socket:
        assert socket.response is not None
        client.token(socket.response.headers["www-authenticate"].partition(" ")[2])
        assert client.context.complete
        socket.send("hello")
        assert socket.recv(timeout=10) == "alice@EXAMPLE.COM: hello"
    with pytest.raises(InvalidStatus):
        connect(server, "/tickets/echo", additional_headers=header)


def test_legs(server: Process, alice: str) -> None:
    """A handshake of several legs goes on, on its connection, with the token in the challenge."""
    client = Client(alice, flags=[Flag.mutual_authentication, Flag.dce_style])
    with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False) as http:
        first = http.get("/tickets", headers={"Authorization": f"Negotiate {client.token()}"})
        assert first.status_code == 401
        last = client.token(first.headers["www-authenticate"].removeprefix("Negotiate "))
        assert get(server, "/tickets", {"Authorization": f"Negotiate {last}"}).status_code == 401
        done = http.get("/tickets", headers={"Authorization": f"Negotiate {last}"})
    assert done.json()["name"] == "alice@EXAMPLE.COM"


def test_roles(server: Process, kdc: Kdc, alice: str) -> None:
    """A ticket has a name only: the file gives the roles, and lets nobody in whom it does not know."""
    assert "ADMINISTRATOR" in get(server, "/roles", negotiate(alice)).json()["roles"]
    assert get(server, "/roles", negotiate(kdc.kinit("carol", "carolpw"))).status_code == 401
    assert get(server, "/roles", basic("alice@EXAMPLE.COM", "")).status_code == 401


@pytest.mark.parametrize("path", ["/either", "/mixed", "/locked"])
def test_ticket_or_password(server: Process, alice: str, path: str) -> None:
    """A realm that offers both sends two challenges, and takes either answer."""
    bare = get(server, path)
    assert (bare.status_code, bare.headers.get_list("www-authenticate")) == (
        401,
        ["Negotiate", f'Basic realm="{path.strip("/").replace("locked", "mixed")}", charset="UTF-8"'],
    )
    assert get(server, path, negotiate(alice)).json()["name"] == "alice@EXAMPLE.COM"
    assert get(server, path, basic("alice", "alicepw")).json()["name"] == "alice@EXAMPLE.COM"
    for wrong in (
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("alice@EXAMPLE.COM", ""),
        {"Authorization": "Negotiate YQ=="},
    ):
        refused = get(server, path, wrong)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, bare.headers["www-authenticate"])


def test_two_challenges_on_a_handshake(server: Process) -> None:
    """A refused handshake carries both challenges in one line, which every server can send."""
    with pytest.raises(InvalidStatus) as refused:
        connect(server, "/either/echo")
    assert refused.value.response.headers.get_all("www-authenticate") == [
        'Negotiate, Basic realm="either", charset="UTF-8"'
    ]


def test_trusted_realm(server: Process, kdc: Kdc) -> None:
    """A user of a trusted realm comes in with that realm in the name, and not at all where it is refused."""
    bob = kdc.kinit("bob@PARTNER.ORG", "bobpw")
    assert get(server, "/tickets", negotiate(bob)).json()["name"] == "bob@PARTNER.ORG"
    assert get(server, "/home", negotiate(bob)).status_code == 401
    assert "bob@PARTNER.ORG: the user is not in realm EXAMPLE.COM" in server.output()


@pytest.mark.parametrize("kind", ["truncated", "random", "ntlm", "huge"])
def test_bad_tokens(server: Process, alice: str, kind: str) -> None:
    """A thousand bad tokens are refused, never with a 5xx, and leave the server's memory as it was."""
    good = base64.b64decode(Client(alice).token())
    dice = random.Random(kind)
    makers: dict[str, Callable[[], bytes]] = {
        "truncated": lambda: good[: dice.randrange(1, len(good) - 1)],
        "random": lambda: dice.randbytes(dice.randrange(1, 2000)),
        "ntlm": lambda: b"NTLMSSP\0" + dice.randbytes(40),
        "huge": lambda: good + dice.randbytes(dice.choice((45_000, 49_152))),
    }
    bad = makers[kind]
    with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False) as client:

        def status() -> int:
            return client.get(
                "/tickets", headers={"Authorization": f"Negotiate {base64.b64encode(bad()).decode()}"}
            ).status_code

        allowed = {401, 400, 431} if kind == "huge" else {401}
        assert {status() for _ in range(100)} <= allowed
        before = resident(server)
        assert {status() for _ in range(1000)} <= allowed
        assert resident(server) - before < 2_000_000


def test_kdc_down(kdc: Kdc, alice: str, tmp_path: Path) -> None:
    """Without a KDC the gateway starts, takes tickets, and answers passwords with 503 within the time limit."""
    down = Kdc(tmp_path, port=free_port())
    down.write_config()
    environment = {"KRB5_CONFIG": str(tmp_path / "krb5.conf"), "KRB5_KTNAME": f"FILE:{kdc.keytab}"}
    with serve("kerberos_app:app", log=tmp_path / "log", env=environment) as server:
        assert get(server, "/tickets", negotiate(alice)).status_code == 200
        answer = get(server, "/password", basic("alice", "alicepw"))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "the KDC is down or cannot be reached" in server.output()


@pytest.mark.timing
def test_kdc_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a KDC keeps silent, passwords get 503 within their time limit, and tickets are taken as ever."""
    own = Kdc(tmp_path / "kdc")
    own.create()
    own.user("alice", "alicepw")
    monkeypatch.setenv("KRB5_CONFIG", own.environment["KRB5_CONFIG"])
    with ExitStack() as stack:
        with own.running():
            cache = own.kinit("alice", "alicepw")
            Client(cache).token()  # its ticket for the service is in the cache from now on
            server = stack.enter_context(serve("kerberos_app:app", log=tmp_path / "log", env=own.environment))
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            silent = stack.enter_context(socket.socket(type=kind))
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            silent.bind((LOOPBACK, own.port))
            if kind == socket.SOCK_STREAM:
                silent.listen()
        with ThreadPoolExecutor(4) as pool:
            start = time.monotonic()
            passwords = [pool.submit(get, server, "/password", basic("alice", "alicepw")) for _ in range(4)]
            while time.monotonic() < start + 1:
                asked = time.monotonic()
                assert get(server, "/tickets", negotiate(cache)).status_code == 200
                assert time.monotonic() - asked < 0.5
            assert {answer.result().status_code for answer in passwords} == {503}
            assert time.monotonic() - start < 5


def test_many_passwords_at_once(server: Process) -> None:
    """Right and wrong passwords at once are each told apart."""
    with ThreadPoolExecutor(16) as pool:
        answers = [
            pool.submit(get, server, "/password", basic(user, password))
            for password in ("alicepw", "carolpw")
            for user in ("alice", "carol")
            for _ in range(10)
        ]
        assert [answer.result().status_code for answer in answers] == [200] * 10 + [401] * 20 + [200] * 10


def test_wrong_keytab_stops_the_start(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration whose keytab is of another service is refused, naming file and principal."""
    other = tmp_path / "other.keytab"
    kdc.service("HTTP/www.example.com", other)
    monkeypatch.setenv("KRB5_KTNAME", f"FILE:{other}")
    with pytest.raises(
        ConfigError, match=rf"keytab {other} has no key of HTTP/localhost; it holds HTTP/www.example.com@"
    ):
        load_config(CONFIG)


def resident(server: Process) -> int:
    """The server's resident memory in bytes."""
    assert sys.platform == "linux"
    return int(Path(f"/proc/{server.popen.pid}/statm").read_text().split()[1]) * 4096
