"""Pools, servers from the DNS, escaping and checks of directories, against real servers."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import dns.message
import dns.resolver
import dns.rrset
import ldap.dn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.errors import ConfigError, LoginUnavailable
from asgi_gateway.modules.ldap.client import srv
from asgi_gateway.modules.ldap.client.escaping import escape_dn
from asgi_gateway.modules.ldap.client.tls_probe import explain
from asgi_gateway.modules.ldap.client.urls import Address
from tests.helpers import attempt
from tests.integration.neighbours import Neighbour
from tests.integration.process import LOOPBACK, free_port
from tests.integration.slapd import BASE, PEOPLE, Slapd, directory, ldap_module

__all__ = ["directory"]

pytestmark = pytest.mark.anyio


# ----------------------------------------------------------------------------------------------------------------- DNS


class NameServer:
    """A DNS server for SRV records, on UDP."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.questions = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            wire, peer = self._socket.recvfrom(4096)
            if not wire:
                return
            self.questions += 1
            answer = dns.message.make_response(dns.message.from_wire(wire))
            question = answer.question[0]
            records = self.records.get(question.name.to_text())
            if records is None:
                answer.set_rcode(3)
            else:
                answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", "SRV", records))
            self._socket.sendto(answer.to_wire(), peer)

    def close(self) -> None:
        self._socket.sendto(b"", (LOOPBACK, self.port))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.cache = [LOOPBACK], server.port, None
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    yield server
    server.close()


def test_srv_order(names: NameServer) -> None:
    """Servers come by priority, and within one priority each comes first now and then."""
    names.records["_ldap._tcp.example.com."] = ["2 0 389 c.", "1 50 389 a.", "1 50 3389 b."]
    firsts = set()
    for _ in range(60):
        servers, ttl = srv.lookup("example.com", secure=False, timeout=2)
        assert servers[2] == ("c", 389)
        assert ttl == 60
        firsts.add(servers[0])
    assert firsts == {("a", 389), ("b", 3389)}


def test_srv_without_servers(names: NameServer) -> None:
    """A domain that has no record, or says that it has no service, is unavailable and says so."""
    names.records["_ldaps._tcp.example.com."] = ["0 0 0 ."]
    with pytest.raises(LoginUnavailable, match="no directory service _ldaps"):
        srv.lookup("example.com", secure=True, timeout=2)
    with pytest.raises(LoginUnavailable, match="no directory server found in the DNS for _ldap"):
        srv.lookup("example.org", secure=False, timeout=2)


async def test_servers_from_the_dns(directory: Slapd, names: NameServer) -> None:
    """A URL without a host finds its servers in the DNS, remembers them for the record's life, and fails over."""
    names.records["_ldap._tcp.example.com."] = [f"0 0 {free_port()} {LOOPBACK}.", f"1 0 {directory.port} {LOOPBACK}."]
    module = ldap_module(directory, userProvider=f"ldap:///{PEOPLE}")
    for _ in range(3):
        assert await module.login(attempt("alice", "alice-pw")) is not None
    assert names.questions == 1
    names.records.clear()
    module.context.clock.advance(61)  # type: ignore[attr-defined]
    assert await module.login(attempt("alice", "alice-pw")) is not None
    assert names.questions == 2


async def test_dns_that_knows_nothing(directory: Slapd, names: NameServer) -> None:
    """A domain without servers is unavailable, unless another URL names a host."""
    nowhere = "ldap:///dc=example,dc=org"
    module = ldap_module(directory, userProvider=nowhere)
    with pytest.raises(LoginUnavailable, match=r"_ldap\._tcp\.example\.org"):
        await module.login(attempt("alice", "alice-pw"))
    assert "_ldap._tcp.example.org" in (await module.check())[0]
    both = ldap_module(directory, userProvider=f"{nowhere} {directory.url()}")
    assert await both.login(attempt("alice", "alice-pw")) is not None


# ---------------------------------------------------------------------------------------------------------------- pool


async def test_idle_connections_are_checked(directory: Slapd) -> None:
    """A connection idle for long is tried before it is used, and an old one is replaced."""
    module = ldap_module(directory)
    clock: Any = module.context.clock
    await module.login(attempt("alice", "alice-pw"))
    for seconds, healthy, replaced in ((9, 0, 0), (11, 2, 0), (601, 0, 2)):
        clock.advance(seconds)
        log = (directory.folder / "slapd.log").read_text()
        await module.login(attempt("alice", "alice-pw"))
        new = (directory.folder / "slapd.log").read_text()[len(log) :]
        assert (new.count('SRCH base="" scope=0'), new.count("ACCEPT from")) == (healthy, replaced)


async def test_idle_connections_to_a_dead_server(directory: Slapd) -> None:
    """A connection found dead by its check is replaced, and nobody notices."""
    module = ldap_module(directory)
    clock: Any = module.context.clock
    await module.login(attempt("alice", "alice-pw"))
    directory.stop()
    directory.start()
    clock.advance(11)
    assert await module.login(attempt("alice", "alice-pw")) is not None


async def test_pool_size(directory: Slapd) -> None:
    """No more logins are under way at once than told, nor connections open, and a closed module can be used again."""
    module = ldap_module(directory, poolSize="2")
    gc.collect()  # connections of the other tests' modules
    before = await directory.settled_connections()
    grants = []

    async def log_in() -> None:
        grants.append(await module.login(attempt("alice", "alice-pw")))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(log_in)
    assert len(grants) == 20
    assert None not in grants
    assert directory.open_connections() - before == 4  # two that search, two that users bind on
    await module.close()
    assert await directory.settled_connections() == before
    assert await module.login(attempt("alice", "alice-pw")) is not None
    await module.close()


# --------------------------------------------------------------------------------------------------------------- check


async def test_check_of_a_good_directory(directory: Slapd) -> None:
    """A good directory gives check nothing to say."""
    assert await ldap_module(directory, groupSearchBase=f"ou=groups,{BASE}").check() == []


async def test_check_names_what_fails(directory: Slapd) -> None:
    """check tries every server, and tells address, TLS, bind account and base DN apart."""
    port = free_port()
    urls = f"ldap://{LOOPBACK}:{port}/{PEOPLE} {directory.url('ou=no,' + BASE)} ldaps://{LOOPBACK}:{directory.port}/"
    problems = await ldap_module(directory, userProvider=urls, groupSearchBase=f"ou=none,{BASE}").check()
    assert any(str(port) in problem and "cannot connect" in problem for problem in problems)
    assert any(f"base DN 'ou=no,{BASE}'" in problem for problem in problems)
    assert any(f"base DN 'ou=none,{BASE}'" in problem for problem in problems)
    assert any(f"ldaps://{LOOPBACK}:{directory.port}: TLS" in problem for problem in problems)
    wrong = {"java.naming.security.principal": f"cn=reader,{BASE}", "java.naming.security.credentials": "wrong"}
    (problem,) = await ldap_module(directory, **wrong).check()
    assert "bind account" in problem


# ----------------------------------------------------------------------------------------------------------- diagnosis


def hang_up(sock: socket.socket) -> None:
    """Read a request and close the connection."""
    sock.recv(100)
    sock.close()


def trickle(sock: socket.socket) -> None:
    """Say one byte every now and then, for ever."""
    while True:
        sock.sendall(b"0")
        time.sleep(0.05)


@pytest.mark.timing
def test_diagnosis(directory: Slapd) -> None:
    """Each thing that can be wrong on the way to a server has its own words, and nothing wrong has none."""
    tls, plain = directory.tls_port, directory.port
    assert explain(Address(LOOPBACK, plain, "plain"), None, 1) is None
    assert explain(Address(LOOPBACK, plain, "starttls"), directory.ca, 1) is None
    assert explain(Address(LOOPBACK, tls, "tls"), directory.ca, 1) is None
    assert "invalid server certificate" in (explain(Address(LOOPBACK, tls, "tls"), None, 1) or "")
    assert "Hostname mismatch" in (explain(Address("localhost", tls, "tls"), directory.ca, 1) or "")
    assert "cannot connect" in (explain(Address("nowhere.invalid", 389, "plain"), None, 1) or "")
    with Neighbour() as silent:
        assert "does not answer" in (explain(Address(LOOPBACK, silent.port, "tls"), None, 0.1) or "")
    with Neighbour(lambda sock: sock.sendall(bytes.fromhex("300c02010178070a013404000400"))) as refusing:
        assert "refuses it (result code 52)" in (explain(Address(LOOPBACK, refusing.port, "starttls"), None, 1) or "")
    with Neighbour(trickle) as slow:
        start = time.monotonic()
        assert "TLS" in (explain(Address(LOOPBACK, slow.port, "starttls"), None, 0.2) or "")
        assert time.monotonic() - start < 1
    with Neighbour(hang_up) as rude:
        assert "ends the connection" in (explain(Address(LOOPBACK, rude.port, "starttls"), None, 1) or "")


# ------------------------------------------------------------------------------------------------------------ escaping


@given(st.text(min_size=1).filter(lambda value: "\0" not in value and value.isprintable()))
def test_escaped_names_read_back(value: str) -> None:
    """What is escaped for a DN is one value for the library, and the same one."""
    (((_, read, _),), _) = ldap.dn.str2dn(f"cn={escape_dn(value)},dc=x")
    assert read == value


async def test_missing_dnspython(directory: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without a host needs dnspython at the start, not at the first login."""
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    with pytest.raises(ConfigError, match="dnspython"):
        ldap_module(directory, userProvider=f"ldap:///{PEOPLE}")
