"""The directory behind one login module: servers in order, failover, referrals, a check that names what fails."""

from __future__ import annotations

import os
import ssl
import tempfile
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from asgi_gateway.errors import ConfigError, LoginError, LoginUnavailable
from asgi_gateway.modules.ldap.client import imports as library
from asgi_gateway.modules.ldap.client import srv
from asgi_gateway.modules.ldap.client.connection import Settings
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.errors import NotThere, OutOfTime, ServerLost
from asgi_gateway.modules.ldap.client.options import DirectoryOptions, read_bind_password
from asgi_gateway.modules.ldap.client.server import Blocking, Server
from asgi_gateway.modules.ldap.client.session import Session
from asgi_gateway.modules.ldap.client.urls import Address, DirectoryURL, domain_of, parse_urls
from asgi_gateway.plugins.login_module import ModuleContext

__all__ = ["Directory"]

T = TypeVar("T")

_Targets = Sequence[tuple[Server, str]]

_REMEMBER_DEAD = 3.0
_MAX_SERVERS = 32
_MAX_WAITING = 256


class Directory:
    """One directory, as one or more servers that hold the same entries.

    Args:
        urls: the value of a URL option.
        options: the login module's options.
        context: the login module's context.
        option: the URL option's name, for errors.

    Raises:
        ConfigError: an option cannot work, a file is missing, or python-ldap is.
    """

    def __init__(self, urls: str, options: DirectoryOptions, context: ModuleContext, option: str) -> None:
        self._ldap = library.load()
        try:
            self.urls = parse_urls(urls)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}") from None
        for url in self.urls:
            if not self._ldap.dn.is_dn(url.base):
                raise ConfigError(f"{option}: {url.base!r} is no distinguished name")
        if any(url.host is None for url in self.urls):
            library.load_dns()
        self._options = options
        self._clock = context.clock
        self._logger = context.logger
        ca_file = _ca_file(options, context)
        if ca_file is not None and options.caFile is None:  # libldap takes files only
            weakref.finalize(self, _remove, ca_file, os.getpid())
        self._settings = Settings(
            options.connectTimeout / 1000,
            options.readTimeout / 1000,
            ca_file,
            options.bindPrincipal,
            read_bind_password(options, context),
        )
        self._waiting = 0
        self._turns = anyio.Semaphore(options.poolSize, fast_acquire=True)
        self._probing = False
        self._dead_until = 0.0
        """The latest of the servers' own."""
        self._servers: dict[Address, Server] = {}
        self._found: dict[DirectoryURL, tuple[float, list[Address]]] = {}
        self._fixed: list[tuple[Server, str]] = []
        self._last_failure = ""
        self.budget = self._settings.connect_timeout + self._settings.read_timeout
        """Seconds that one login may take in all, waiting for its turn included, however many servers it asks."""

    async def run(self, job: Callable[[Session], Awaitable[T]], blocking: Blocking) -> T:
        """Run a login's work on the first server that answers.

        As many logins as the pool is large are at work at once, and a bounded number waits for them. Servers that
        failed in the last seconds are tried last. While all of them are down, one caller at a time tries and the
        others are told at once.

        Args:
            job: the work.
            blocking: runs what blocks, which is opening connections and asking the DNS.

        Raises:
            LoginUnavailable: none answers, or too many wait.
            LoginError: what the job raises.
        """
        deadline, turns = Deadline(self.budget), self._turns
        if turns.value:
            turns.acquire_nowait()
        else:
            await self._wait_for_turn()
        try:
            targets = self._fixed or await self._targets(deadline, blocking)
            if self._dead_until and self._dead_until > self._clock.monotonic():
                return await self._first_of_some(targets, job, deadline, blocking)
            return await self._first(targets, job, deadline, blocking)
        finally:
            turns.release()

    async def _wait_for_turn(self) -> None:
        # No limit of its own: who is before us in the queue, or at work, came earlier and must end before we must.
        if self._waiting >= _MAX_WAITING:
            raise LoginUnavailable("too many logins at once with this directory", retry_after=1)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1

    async def _first_of_some(
        self, targets: _Targets, job: Callable[[Session], Awaitable[T]], deadline: Deadline, blocking: Blocking
    ) -> T:
        now = self._clock.monotonic()
        targets = sorted(targets, key=lambda target: target[0].dead_until > now)
        if targets[0][0].dead_until <= now:
            return await self._first(targets, job, deadline, blocking)
        if self._probing:
            raise LoginUnavailable(f"no directory server answers: {self._last_failure}")
        self._probing = True
        try:
            return await self._first(targets, job, deadline, blocking)
        finally:
            self._probing = False

    def close(self) -> None:
        """Close every connection. Connections in use are closed when their login ends."""
        servers = list(self._servers.values())
        self._servers.clear()
        self._found.clear()
        self._fixed = []
        for server in servers:
            server.close()

    async def check(self, bases: Iterable[str] = (), reads: bool = True) -> list[str]:
        """Try every server; each string names one that fails, and what: address, TLS, bind account or base DN.

        Args:
            bases: further DNs that must be there.
            reads: DNs can be read before a user is bound; else servers are only connected to.
        """
        blocking = anyio.to_thread.run_sync
        try:
            targets = await self._targets(Deadline(self.budget), blocking)
        except LoginUnavailable as error:
            return [str(error)]
        problems = []
        for server, base in targets:
            deadline = Deadline(self.budget)
            for dn in dict.fromkeys((base, *bases)):
                session = Session(server, base, deadline, self.referred, blocking)
                try:
                    if reads:
                        await session.search(dn, self._ldap.SCOPE_BASE, "(objectClass=*)", (), 1)
                    else:
                        await session.reach()
                except NotThere as error:
                    problems.append(f"{server.address}: base DN {dn!r}: {error}")
                except LoginError as error:
                    problems.append(_named(server, error))
        return list(dict.fromkeys(problems))

    def referred(self, url: str) -> tuple[Server, str]:
        """The server and base DN of a referral; spoken to with the same security as the servers of the configuration.

        Raises:
            LoginUnavailable: the URL cannot be followed.
        """
        try:
            target = parse_urls(url.partition("?")[0])[0]
        except ValueError as error:
            raise LoginUnavailable(f"a referral cannot be followed: {error}") from None
        if target.host is None:
            raise LoginUnavailable("a referral that names no host cannot be followed")
        address = Address(target.host, target.port, target.security(self._options.useSSL))
        if address not in self._servers and len(self._servers) >= _MAX_SERVERS:
            raise LoginUnavailable("the directory refers to too many servers")
        return self._server(address), target.base

    async def _first(
        self, targets: _Targets, job: Callable[[Session], Awaitable[T]], deadline: Deadline, blocking: Blocking
    ) -> T:
        for server, base in targets:
            try:
                result = await job(Session(server, base, deadline, self.referred, blocking))
            except ServerLost as error:
                self._lost(server, error)
                continue
            except OutOfTime:
                raise
            except LoginError:
                self._answered(server)
                raise
            self._answered(server)
            return result
        raise LoginUnavailable(f"no directory server answers: {self._last_failure}")

    def _lost(self, server: Server, error: ServerLost) -> None:
        now, address = self._clock.monotonic(), str(server.address)
        known = now < server.dead_until
        self._dead_until = server.dead_until = now + _REMEMBER_DEAD
        server.forget_connections()
        self._last_failure = str(error)
        if not known:  # each refused login has its own line in the audit log
            self._logger.warning("directory server lost: %s", error, extra={"server": address, "failure": str(error)})

    def _answered(self, server: Server) -> None:
        if server.dead_until:
            server.dead_until = 0.0
            self._logger.info("directory server is back: %s", server.address, extra={"server": str(server.address)})

    def _server(self, address: Address) -> Server:
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = Server(address, self._settings, self._clock, self._options.poolSize)
        return server

    async def _targets(self, deadline: Deadline, blocking: Blocking) -> list[tuple[Server, str]]:
        """Every server with its base DN, in the configured order.

        Raises:
            LoginUnavailable: the DNS gave nothing, and no URL names a host.
        """
        targets, failure = [], None
        for url in self.urls:
            try:
                addresses = await self._addresses(url, deadline, blocking)
                targets += [(self._server(address), url.base) for address in addresses]
            except LoginUnavailable as error:
                failure = error
        if not targets and failure is not None:
            raise failure
        if all(url.host is not None for url in self.urls):
            self._fixed = targets
        return targets

    async def _addresses(self, url: DirectoryURL, deadline: Deadline, blocking: Blocking) -> list[Address]:
        security = url.security(self._options.useSSL)
        if url.host is not None:
            return [Address(url.host, url.port, security)]
        now = self._clock.monotonic()
        until, addresses = self._found.get(url, (0.0, []))
        if now >= until:
            seconds = deadline.left(self._settings.connect_timeout)
            look_up = partial(srv.lookup, domain_of(url.base), secure=security == "tls", timeout=seconds)
            try:
                found, ttl = await deadline.limit(blocking(look_up))
            except LoginUnavailable:
                if not addresses:
                    raise
                ttl = 0.0  # better yesterday's servers than none
            else:
                addresses = [Address(host, port, security) for host, port in found]
            self._found[url] = (now + max(ttl, _REMEMBER_DEAD), addresses)
        return addresses


def _named(server: Server, error: LoginError) -> str:
    text = str(error)
    return text if str(server.address) in text else f"{server.address}: {text}"


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a worker forked from the owner ends, and the others still need the file
        path.unlink(missing_ok=True)


def _ca_file(options: DirectoryOptions, context: ModuleContext) -> Path | None:
    if options.caFile is not None:
        path = context.path(options.caFile)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:
            raise ConfigError(f"caFile: {path} cannot be used as CA certificates in PEM form: {error}") from None
        return path
    if context.truststore is None:
        return None
    with tempfile.NamedTemporaryFile(prefix="asgi-gateway-ca-", suffix=".pem", delete=False) as file:
        file.write(context.truststore.pem_bundle())
    return Path(file.name)
