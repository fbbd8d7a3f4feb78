"""Logins by LDAP happen in the event loop: whatever a server does with its answers, the loop goes on."""

from __future__ import annotations

import gc
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable

import anyio
import pytest

from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.modules.ldap import LdapLoginModule
from tests.helpers import attempt
from tests.integration.ber import BIND, SEARCH, done, entry, requests
from tests.integration.neighbours import Neighbour, pump
from tests.integration.process import LOOPBACK
from tests.integration.slapd import BASE, PEOPLE, Slapd, directory, ldap_module
from tests.responsive import assert_responsive

__all__ = ["directory"]

pytestmark = pytest.mark.anyio

SHORT = {"com.sun.jndi.ldap.connect.timeout": 1000, "com.sun.jndi.ldap.read.timeout": 500}
BACKENDS = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


Answer = Callable[[socket.socket, bytes], None]


def server(answer: Answer, tls: ssl.SSLContext | None = None) -> Callable[[socket.socket], None]:
    """A directory that lets everybody bind, and leaves searches for users to a function."""

    def handle(sock: socket.socket) -> None:
        with tls.wrap_socket(sock, server_side=True) if tls is not None else sock as spoken_to:
            serve(spoken_to)

    def serve(sock: socket.socket) -> None:
        for number, operation, content in requests(sock):
            if operation == BIND:
                sock.sendall(done(number, 0x61))
            elif operation == SEARCH and b"uid" in content:
                answer(sock, number)
            elif operation == SEARCH:
                sock.sendall(done(number, 0x65))

    return handle


def tls_of(directory: Slapd) -> ssl.SSLContext:
    """The server's side of TLS with the good certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(directory.certificates.good, directory.certificates.good.with_suffix(".key"))
    return made


async def outcome(module: LdapLoginModule, username: str = "alice") -> str:
    try:
        return "in" if await module.login(attempt(username, "alice-pw")) is not None else "ignored"
    except LoginFailed as error:
        return f"refused: {error}"
    except LoginUnavailable as error:
        return f"unavailable: {error}"


@BACKENDS
@pytest.mark.parametrize("tls", [False, True])
async def test_an_answer_in_pieces(anyio_backend: str, directory: Slapd, tls: bool) -> None:
    """However an answer is cut into pieces, it is the same answer."""

    def answer(sock: socket.socket, number: bytes) -> None:
        whole = entry(number, f"uid=alice,{PEOPLE}") + done(number, 0x65)
        for start in range(0, len(whole), 3):
            sock.sendall(whole[start : start + 3])
            time.sleep(0.002)

    with Neighbour(server(answer, tls_of(directory) if tls else None)) as slow:
        use_ssl = None if tls else "false"
        module = ldap_module(directory, userProvider=slow.url(PEOPLE, tls=tls), useSSL=use_ssl)
        assert [await outcome(module) for _ in range(2)] == ["in", "in"]
        await module.close()


@pytest.mark.timing
@pytest.mark.parametrize("tls", [False, True])
async def test_an_answer_that_stops_halfway(directory: Slapd, tls: bool) -> None:
    """A server that says half an answer and then nothing costs the read timeout, and the loop no moment."""

    def answer(sock: socket.socket, number: bytes) -> None:
        sock.sendall(entry(number, f"uid=alice,{PEOPLE}")[:-4])

    with Neighbour(server(answer, tls_of(directory) if tls else None)) as half:
        use_ssl = None if tls else "false"

        async def ten_at_once() -> None:
            module = ldap_module(directory, userProvider=half.url(PEOPLE, tls=tls), useSSL=use_ssl, **SHORT)
            outcomes = []

            async def one() -> None:
                outcomes.append(await outcome(module))

            start = time.monotonic()
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(one)
            assert time.monotonic() - start < 2
            assert len([text for text in outcomes if text.startswith("unavailable")]) == 10
            await module.close()

        await assert_responsive(ten_at_once)


@pytest.mark.timing
async def test_a_tls_record_that_stops_halfway(directory: Slapd) -> None:
    """A piece of a TLS record shows on the socket and is nothing that could be read: nobody waits for its rest."""
    stalling = threading.Event()

    def relay(client: socket.socket) -> None:
        with socket.create_connection((LOOPBACK, directory.tls_port)) as behind:
            threading.Thread(target=pump, args=(client, behind), daemon=True).start()
            while data := behind.recv(65536):
                client.sendall(data[:7] if stalling.is_set() else data)

    with Neighbour(relay) as half:

        async def log_in() -> None:
            stalling.clear()
            module = ldap_module(directory, userProvider=half.url(PEOPLE, tls=True), useSSL=None, **SHORT)
            assert await outcome(module) == "in"
            stalling.set()
            start = time.monotonic()
            assert "no answer in time" in await outcome(module)
            assert time.monotonic() - start < 1
            await module.close()

        await assert_responsive(log_in)


@pytest.mark.timing
@BACKENDS
async def test_a_server_that_ignores_the_size_limit(anyio_backend: str, directory: Slapd) -> None:
    """Ten thousand entries where two were asked for are not taken in, and the connection is not used again."""
    connections = []

    def answer(sock: socket.socket, number: bytes) -> None:
        connections.append(sock)
        sock.sendall(b"".join(entry(number, f"uid=alice{i},{PEOPLE}") for i in range(10_000)) + done(number, 0x65))

    with Neighbour(server(answer)) as rogue:

        async def log_in() -> None:
            module = ldap_module(directory, userProvider=rogue.url(PEOPLE), useSSL="false", **SHORT)
            for _ in range(5):
                assert "ignores the size limit" in await outcome(module)
            await module.close()

        await assert_responsive(log_in)
    assert len(set(connections)) == len(connections)


@pytest.mark.timing
async def test_many_groups(directory: Slapd) -> None:
    """A user with a thousand groups is no pause for others: a long answer is taken in piece by piece."""
    names = [f"cn=group{i},ou=groups,{BASE}" for i in range(1000)]

    def answer(sock: socket.socket, number: bytes) -> None:
        sock.sendall(entry(number, f"uid=alice,{PEOPLE}") + done(number, 0x65))

    def groups(sock: socket.socket) -> None:
        for number, operation, content in requests(sock):
            if operation == BIND:
                sock.sendall(done(number, 0x61))
            elif b"member" in content:
                sock.sendall(b"".join(entry(number, name) for name in names) + done(number, 0x65))
            elif b"uid" in content:
                answer(sock, number)
            elif operation == SEARCH:
                sock.sendall(done(number, 0x65))

    options = {"groupSearchBase": f"ou=groups,{BASE}"}
    with Neighbour(groups) as large:

        async def log_in() -> None:
            module = ldap_module(directory, userProvider=large.url(PEOPLE), useSSL="false", **options)
            for _ in range(5):
                assert await outcome(module) == "in"
            await module.close()

        await assert_responsive(log_in)


@pytest.mark.timing
async def test_a_connection_that_ends_while_it_is_idle(directory: Slapd) -> None:
    """A server that closes idle connections keeps neither the loop busy nor the next user out."""
    module = ldap_module(directory)
    assert await outcome(module) == "in"
    directory.stop()
    before = time.process_time()
    await anyio.sleep(0.3)
    assert time.process_time() - before < 0.1
    directory.start()
    assert await outcome(module) == "in"
    await module.close()


async def test_logins_that_are_given_up(directory: Slapd) -> None:
    """Logins cancelled at any moment leave no connection open, no turn taken, and nobody else's answer behind."""
    gc.collect()
    before, files = directory.open_connections(), len(os.listdir("/proc/self/fd"))
    module = ldap_module(directory, poolSize="2")
    for milliseconds in range(40):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(outcome, module)
            await anyio.sleep(milliseconds / 2000)
            tasks.cancel_scope.cancel()
    for name, expected in (("alice", "in"), ("bob", "refused"), ("nobody", "refused"), ("alice", "in")):
        assert (await outcome(module, name)).startswith(expected)
    await module.close()
    gc.collect()
    with anyio.fail_after(5):  # those that a thread was opening close when it is done
        while directory.open_connections() > before or len(os.listdir("/proc/self/fd")) > files:
            await anyio.sleep(0.05)
            gc.collect()


async def test_refusals_keep_their_connections(directory: Slapd) -> None:
    """Wrong passwords and unknown names cost no new connection: a guesser does not make the gateway open any."""
    module = ldap_module(directory)
    assert await outcome(module) == "in"
    log = directory.folder / "slapd.log"
    before = log.read_text().count("ACCEPT from")
    for name in ("bob", "nobody", "bob", "nobody"):
        assert (await outcome(module, name)).startswith("refused")
    assert await outcome(module) == "in"
    assert log.read_text().count("ACCEPT from") == before
    await module.close()


async def test_too_many_at_once(directory: Slapd) -> None:
    """A login for which too many wait already is told so at once; those that wait get their turns in order."""
    module = ldap_module(directory, poolSize="1")
    outcomes: list[str] = []

    async def one() -> None:
        outcomes.append(await outcome(module))

    async with anyio.create_task_group() as tasks:
        for _ in range(300):
            tasks.start_soon(one)
    refused = [text for text in outcomes if text.startswith("unavailable: too many logins at once")]
    assert (len(refused), outcomes.count("in")) == (300 - 257, 257)
    assert outcomes[0] in refused


async def test_other_loops(directory: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    """uvicorn's other loop does the same."""
    uvloop = pytest.importorskip("uvloop")
    caplog.set_level(logging.WARNING)

    async def log_in() -> list[str]:
        module = ldap_module(directory)
        try:
            return [await outcome(module, name) for name in ("alice", "bob", "alice")]
        finally:
            await module.close()

    found = await anyio.to_thread.run_sync(uvloop.run, log_in())
    assert [text[:7] for text in found] == ["in", "refused", "in"]
    assert caplog.records == []


async def test_outages_under_load(directory: Slapd) -> None:
    """While a directory comes and goes under load, and clients leave, each answer is that of its own login, or 503."""
    module = ldap_module(directory, **SHORT)
    users = (("alice", "in"), ("bob", "refused"), ("nobody", "refused"))
    seen: list[tuple[str, str]] = []
    over = False

    async def worker(first: int) -> None:
        number = first
        while not over:
            number += 1
            name, expected = users[number % len(users)]
            with anyio.move_on_after(0.002 if number % 7 == 0 else 10):
                text = await outcome(module, name)
                seen.append((expected, text.partition(":")[0]))
                if text.startswith("unavailable"):
                    await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        for first in range(20):
            tasks.start_soon(worker, first)
        for _ in range(2):
            await anyio.sleep(0.3)
            await anyio.to_thread.run_sync(directory.stop)
            await anyio.sleep(0.3)
            await anyio.to_thread.run_sync(directory.start)
        with anyio.fail_after(10):  # both kinds of answer come again
            before = len(seen)
            while len({pair for pair in seen[before:] if "unavailable" not in pair}) < 2:
                await anyio.sleep(0.05)
        over = True
    assert {pair for pair in seen if pair[0] != pair[1]} <= {("in", "unavailable"), ("refused", "unavailable")}
    assert any(answer == "unavailable" for _, answer in seen)
    await module.close()
