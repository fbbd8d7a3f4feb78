"""What the ldap login module does when the directory is down, silent, broken or a stranger."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.authentication.attempt import Attempt
from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.model import AuthenticationToken
from asgi_gateway.modules.ldap import LdapLoginModule
from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.plugins.scheme import UserNamePassword
from tests.helpers import attempt
from tests.integration.neighbours import Neighbour, cutting
from tests.integration.slapd import (
    BASE,
    PEOPLE,
    READER,
    READER_PASSWORD,
    Certificates,
    Slapd,
    directory,
    ldap_module,
    slapd,
)

__all__ = ["directory"]

pytestmark = pytest.mark.anyio

CONNECT = "com.sun.jndi.ldap.connect.timeout"
READ = "com.sun.jndi.ldap.read.timeout"
SHORT = {CONNECT: 300, READ: 400}
LONGEST = 0.3 + 0.4 + 0.6  # both timeouts, and some time for a busy machine
LAG = 0.05
START_TLS_GRANTED = bytes.fromhex("300c02010178070a010004000400")


async def refused(module: LdapLoginModule, username: str = "alice", password: str = "alice-pw") -> str:
    with pytest.raises(LoginUnavailable) as error:
        await module.login(attempt(username, password))
    assert password not in str(error.value)
    return str(error.value)


@asynccontextmanager
async def responsive_loop() -> AsyncIterator[None]:
    """A ticker every 10 ms, whose 99th percentile of lag must be under 50 ms when the block ends."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + 0.01
            await anyio.sleep(0.01)
            lags.append(time.perf_counter() - due)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        yield
        await anyio.sleep(0.2)
        tasks.cancel_scope.cancel()
    assert sorted(lags)[int(len(lags) * 0.99)] < LAG


@asynccontextmanager
async def crowd(module: LdapLoginModule, size: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A blocking pool of the gateway's, and a function that lets so many log in at once, all in vain."""
    pool = ThreadPools(threads=4, waiting=100)
    credentials = UserNamePassword("alice", "alice-pw")
    outcomes: list[Exception] = []

    async def one() -> None:
        try:
            await module.login(Attempt(AuthenticationToken(""), credentials, pool))
        except LoginUnavailable as error:
            outcomes.append(error)

    async def all_at_once() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(size):
                tasks.start_soon(one)
        assert len(outcomes) == size

    try:
        yield all_at_once
    finally:
        pool.close()


@pytest.mark.timing
@pytest.mark.parametrize(("tls", "use_ssl"), [(False, "false"), (False, None), (True, None)])
async def test_silent_server(directory: Slapd, tls: bool, use_ssl: str | None) -> None:
    """A server that accepts and says nothing costs each attempt its timeouts, and the loop nothing."""
    with Neighbour() as silent:
        module = ldap_module(directory, userProvider=silent.url(PEOPLE, tls=tls), useSSL=use_ssl, **SHORT)
        async with responsive_loop(), crowd(module, 20) as all_at_once:
            start = time.monotonic()
            await all_at_once()
            assert time.monotonic() - start < 2 * LONGEST
        assert "no answer within 0.3 s" in await refused(module)


@pytest.mark.timing
async def test_silent_after_start_tls(directory: Slapd) -> None:
    """A server that grants StartTLS and then says nothing costs the connect timeout."""

    def grant_and_stop(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(START_TLS_GRANTED)

    with Neighbour(grant_and_stop) as server:
        start = time.monotonic()
        await refused(ldap_module(directory, userProvider=server.url(PEOPLE), **SHORT))
        assert time.monotonic() - start < LONGEST


@pytest.mark.timing
@pytest.mark.parametrize("use_ssl", ["false", None])
async def test_answer_without_end(directory: Slapd, use_ssl: str | None) -> None:
    """A server that sends its answer a byte at a time, and never ends it, costs the timeouts and no more."""

    def trickle(sock: socket.socket) -> None:
        sock.sendall(bytes.fromhex("308400ffffff020101"))
        while True:
            sock.sendall(b"0")
            time.sleep(0.05)

    with Neighbour(trickle) as server:
        start = time.monotonic()
        await refused(ldap_module(directory, userProvider=server.url(PEOPLE), useSSL=use_ssl, **SHORT))
        assert time.monotonic() - start < LONGEST


@pytest.mark.timing
@pytest.mark.parametrize(
    ("use_ssl", "size"),
    [*(("false", size) for size in (1, 14, 20, 45, 60)), *((None, size) for size in (1, 14, 60, 700, 1000))],
)
async def test_cut_in_mid_answer(directory: Slapd, use_ssl: str | None, size: int) -> None:
    """A connection that is cut at any point of an answer is no login, at once."""
    with Neighbour(cutting(directory.port, size)) as server:
        start = time.monotonic()
        module = ldap_module(directory, userProvider=server.url(PEOPLE), useSSL=use_ssl, **SHORT)
        await refused(module)
        assert time.monotonic() - start < LONGEST


async def test_server_that_talks_nonsense(directory: Slapd) -> None:
    """What is no LDAP is no login."""

    def http(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100))
        sock.recv(100)
        sock.close()

    with Neighbour(http) as server:
        for use_ssl in ("false", None):
            await refused(ldap_module(directory, userProvider=server.url(PEOPLE), useSSL=use_ssl, **SHORT))


@pytest.mark.parametrize(
    ("shown", "reason"), [("expired", "certificate has expired"), ("other_host", "IP address mismatch")]
)
@pytest.mark.parametrize("tls", [False, True])
async def test_wrong_certificates(
    directory: Slapd, tmp_path: Path, caplog: pytest.LogCaptureFixture, shown: str, reason: str, tls: bool
) -> None:
    """An expired certificate, or one for another host, is refused before the password is sent, and the log says why."""
    certificate = getattr(directory.certificates, shown)
    with slapd(tmp_path / "other", certificates=directory.certificates, certificate=certificate) as server:
        module = ldap_module(server, userProvider=server.url(tls=tls))
        assert reason in await refused(module)
        assert reason in caplog.text
        assert reason in (await module.check())[0]
        with server.operations() as operations:
            await refused(module)
        assert operations == []


async def test_certificate_of_a_stranger(directory: Slapd, tmp_path: Path) -> None:
    """A certificate of an unknown CA is refused."""
    other = Certificates(tmp_path)
    assert "invalid server certificate" in await refused(ldap_module(directory, caFile=str(other.ca)))


async def test_locked_bind_account(directory: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    """A locked bind account is a fault of the gateway's, which is named, and not asked for with every login."""
    account = {
        "java.naming.security.principal": f"cn=locked,{BASE}",
        "java.naming.security.credentials": "locked-pw",
    }
    module = ldap_module(directory, **account)
    with directory.operations() as operations:
        for _ in range(5):
            assert f"the bind account 'cn=locked,{BASE}' is refused" in await refused(module)
    assert len([operation for operation in operations if operation.startswith("BIND")]) == 1
    assert "locked-pw" not in caplog.text
    assert "bind account" in (await module.check())[0]


@pytest.mark.parametrize(
    ("base", "referral", "reason"),
    [
        ("ou=loop", "ignore", "not followed"),
        ("ou=loop", "follow", "lead back"),
        ("ou=elsewhere", "follow", "cannot connect"),
        ("ou=hostless", "follow", "names no host"),
        ("ou=odd", "follow", "cannot be followed"),
        ("ou=many-places", "follow", "more than 10 places"),
    ],
)
async def test_bad_referrals(directory: Slapd, base: str, referral: str, reason: str) -> None:
    """Referrals that are not to be followed, go round in circles, or lead nowhere, end at once."""
    options = {"userProvider": directory.url(f"{base},{BASE}"), "java.naming.referral": referral}
    assert reason in await refused(ldap_module(directory, **options))


async def test_server_without_start_tls(directory: Slapd) -> None:
    """A server that refuses StartTLS is not spoken to in plain text instead."""
    heard = []

    def refuse(sock: socket.socket) -> None:
        heard.append(sock.recv(1000))
        sock.sendall(bytes.fromhex("300c02010178070a013404000400"))
        heard.append(sock.recv(1000))

    with Neighbour(refuse) as server:
        module = ldap_module(directory, userProvider=server.url(PEOPLE), authIdentity=f"uid={{USERNAME}},{PEOPLE}")
        assert "refuses it (result code 52)" in await refused(module)
    assert not [data for data in heard if b"alice" in data]


async def test_localhost(directory: Slapd, tmp_path: Path) -> None:
    """Where libldap alone refuses a certificate, which it does for localhost, the log says what to write instead."""
    certificate = directory.certificates.localhost
    with slapd(tmp_path / "other", certificates=directory.certificates, certificate=certificate) as server:
        url = f"ldap://localhost:{server.port}/{PEOPLE}"
        assert "write that name, or 127.0.0.1" in await refused(ldap_module(server, userProvider=url))


async def test_bind_account_cut_off(directory: Slapd) -> None:
    """A connection that is cut while the bind account is bound is no refusal of the account."""
    account = {"java.naming.security.principal": READER, "java.naming.security.credentials": READER_PASSWORD}
    answer_to_first_request = 21
    with Neighbour(cutting(directory.port, answer_to_first_request + 5)) as server:
        module = ldap_module(directory, userProvider=server.url(PEOPLE), useSSL="false", **account, **SHORT)
        for _ in range(2):
            assert "bind account" not in await refused(module)


async def test_server_for_known_users_only(tmp_path: Path) -> None:
    """A server that answers nothing to strangers is fine where there is a bind account."""
    account = {"java.naming.security.principal": READER, "java.naming.security.credentials": READER_PASSWORD}
    with slapd(tmp_path / "slapd", extra="require authc\n") as server:
        for tls in (False, True):
            module = ldap_module(server, userProvider=server.url(tls=tls), **account)
            assert await module.login(attempt("alice", "alice-pw")) is not None
            assert await module.check() == []
        strangers = ldap_module(server)
        assert "search below" in await refused(strangers)


async def test_good_referral(directory: Slapd) -> None:
    """A referral that is to be followed leads to the entry, over TLS like everything else."""
    options = {"userProvider": directory.url(f"ou=moved,{BASE}"), "java.naming.referral": "follow"}
    module = ldap_module(directory, **options)
    assert await module.login(attempt("alice", "alice-pw")) is not None
    with pytest.raises(LoginFailed):
        await module.login(attempt("alice", "wrong"))


@pytest.mark.parametrize(("referral", "expected"), [("ignore", LoginFailed), ("follow", LoginUnavailable)])
async def test_references_beside_a_search(directory: Slapd, referral: str, expected: type[Exception]) -> None:
    """References that come with a search do not turn an unknown user into a fault, unless they are to be followed."""
    options = {"userProvider": directory.url(BASE), "java.naming.referral": referral}
    module = ldap_module(directory, **options)
    assert await module.login(attempt("alice", "alice-pw")) is not None
    with pytest.raises(expected):
        await module.login(attempt("nobody", "alice-pw"))


@pytest.mark.timing
async def test_failover(directory: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    """The next server is taken when one is dead, which is remembered for a moment and then tried again."""
    caplog.set_level(logging.WARNING)
    with Neighbour() as dead:
        urls = f"{dead.url(PEOPLE)} {directory.url()}"
        module = ldap_module(directory, userProvider=urls, **SHORT)
        clock = module.context.clock
        times = []
        for _ in range(3):
            start = time.monotonic()
            assert await module.login(attempt("alice", "alice-pw")) is not None
            times.append(time.monotonic() - start)
        assert times[0] > 0.25 > max(times[1:])
        assert len(caplog.records) == 1
        clock.advance(4.0)  # type: ignore[attr-defined]
        assert await module.login(attempt("alice", "alice-pw")) is not None
        assert len(caplog.records) == 2


async def test_restarted_server(directory: Slapd) -> None:
    """Connections that the server ended meanwhile are replaced without anybody noticing."""
    module = ldap_module(directory)
    for _ in range(2):
        assert await module.login(attempt("alice", "alice-pw")) is not None
        directory.stop()
        directory.start()
    assert await module.login(attempt("alice", "alice-pw")) is not None


@pytest.mark.timing
@pytest.mark.parametrize("how", ["stop", "freeze"])
async def test_outage(directory: Slapd, how: str) -> None:
    """While the directory is down or frozen nobody gets in, quickly; when it is back, so are logins, within 5 s."""
    module = ldap_module(directory, SystemClock(), **SHORT)
    assert await module.login(attempt("alice", "alice-pw")) is not None
    threads = threading.active_count()
    getattr(directory, how)()
    try:
        async with responsive_loop(), crowd(module, 40) as all_at_once:
            start = time.monotonic()
            await all_at_once()
            assert time.monotonic() - start < 4 * LONGEST
    finally:
        directory.start() if how == "stop" else directory.thaw()
    with anyio.fail_after(5):
        while True:
            try:
                assert await module.login(attempt("alice", "alice-pw")) is not None
                break
            except LoginUnavailable:
                await anyio.sleep(0.05)
    await module.close()
    assert threading.active_count() <= threads + 4  # the crowd's pool ends its own when idle


async def test_client_that_goes_away(directory: Slapd) -> None:
    """A login that is given up in mid-search ends by its timeout, and no connection is left open behind it."""
    gc.collect()
    before = await directory.settled_connections()
    module = ldap_module(directory, **SHORT)
    assert await module.login(attempt("alice", "alice-pw")) is not None
    directory.freeze()
    try:
        pool = ThreadPools(threads=1, waiting=1)
        given_up = Attempt(AuthenticationToken(""), UserNamePassword("alice", "alice-pw"), pool)
        with anyio.move_on_after(0.05):
            await module.login(given_up)
        await pool.blocking.run(lambda: None)  # the pool's one thread is free again
        pool.close()
    finally:
        directory.thaw()
    assert await module.login(attempt("alice", "alice-pw")) is not None
    await module.close()
    assert await directory.settled_connections() == before
