"""Define the directory of one login module: servers in order, failover, referrals, and a check of each server."""

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
from asgi_gateway.modules.ldap.client import imports, srv
from asgi_gateway.modules.ldap.client.connection import ConnectionSettings
from asgi_gateway.modules.ldap.client.deadline import Deadline, RunBlocking
from asgi_gateway.modules.ldap.client.entries import Scope, SearchRequest
from asgi_gateway.modules.ldap.client.errors import DeadlineExceeded, NoSuchBase, ServerUnreachable
from asgi_gateway.modules.ldap.client.names import canonical_dn
from asgi_gateway.modules.ldap.client.options import DEREFERENCE, DirectoryOptions, read_bind_password
from asgi_gateway.modules.ldap.client.server import DirectoryServer
from asgi_gateway.modules.ldap.client.session import LdapSession
from asgi_gateway.modules.ldap.client.urls import Address, DirectoryURL, domain_of, parse_urls
from asgi_gateway.plugins.login_module import ModuleContext

__all__ = ["Directory"]

T = TypeVar("T")

_Targets = Sequence[tuple[DirectoryServer, str]]

_REMEMBER_DEAD = 3.0
_MAX_SERVERS = 32
_MAX_WAITING = 256
_TRUSTED_CERTIFICATE = b"-----BEGIN TRUSTED CERTIFICATE-----"


class Directory:
    """One directory: one or more servers that hold the same entries.

    Args:
        urls: the value of a URL option.
        options: the login module's options.
        context: the login module's context.
        option: the URL option's name, for errors.

    Raises:
        ConfigError: an option cannot work, a file is missing, or python-ldap is.
    """

    def __init__(self, urls: str, options: DirectoryOptions, context: ModuleContext, option: str) -> None:
        self._ldap = imports.load_ldap()
        try:
            self.urls = parse_urls(urls)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}") from None
        for url in self.urls:
            if not self._ldap.dn.is_dn(url.base):
                raise ConfigError(f"{option}: {url.base!r} is not a distinguished name")
        if any(url.host is None for url in self.urls):
            imports.load_dns()
        if len({canonical_dn(url.base) for url in self.urls}) > 1:
            context.warn(
                f"{option}: the URLs have different base DNs; a later URL is used only while the servers before it are "
                "down, and does not add its entries (for users in several places, name a base DN above all of them)"
            )
        if options.ignored and option != "group.provider.url":
            context.warn(f"ignored, changes nothing here: {', '.join(options.ignored)}")
        self._options = options
        self._clock = context.clock
        self._logger = context.logger
        ca_file = _ca_file(options, context)
        if ca_file is not None and options.caFile is None:  # libldap takes files only
            weakref.finalize(self, _remove, ca_file, os.getpid())
        self._settings = ConnectionSettings(
            connect_timeout=options.connectTimeout / 1000,
            read_timeout=options.readTimeout / 1000,
            ca_file=ca_file,
            principal=options.bindPrincipal,
            password=read_bind_password(options, context),
            dereference=DEREFERENCE.index(options.derefAliases),
        )
        self._waiting = 0
        self._turns = anyio.Semaphore(options.poolSize, fast_acquire=True)
        self._probing = False
        self._dead_until = 0.0
        """The latest ``dead_until`` of the servers."""
        self._servers: dict[Address, DirectoryServer] = {}
        self._found: dict[DirectoryURL, tuple[float, list[Address]]] = {}
        self._fixed: list[tuple[DirectoryServer, str]] = []
        self._last_failure = ""
        self.budget = self._settings.connect_timeout + self._settings.read_timeout
        """Seconds that one login may take in all, the wait for its turn included, however many servers it asks."""

    async def run(self, job: Callable[[LdapSession], Awaitable[T]], run_blocking: RunBlocking | None = None) -> T:
        """Run one login's requests on the first server that answers.

        As many logins as the pool is large run at once, and a bounded number waits. Servers that failed in the last
        seconds are tried last. While all of them are down, one caller at a time tries; the others fail at once.

        Args:
            job: sends the requests.
            run_blocking: runs what blocks, which is opening connections and asking the DNS; None for AnyIO's threads.

        Raises:
            LoginUnavailable: none answers, or too many wait.
            LoginError: what the job raises.
        """
        deadline, turns = Deadline(self.budget, run_blocking or anyio.to_thread.run_sync), self._turns
        if turns.value:
            turns.acquire_nowait()
        else:
            await self._wait_for_turn()
        try:
            targets = self._fixed or await self._targets(deadline)
            if self._dead_until and self._dead_until > self._clock.monotonic():
                return await self._first_of_some(targets, job, deadline)
            return await self._first(targets, job, deadline)
        finally:
            turns.release()

    async def _wait_for_turn(self) -> None:
        # No limit of its own: logins that wait or run already began earlier, and end before this one must.
        if self._waiting >= _MAX_WAITING:
            raise LoginUnavailable("too many logins at once with this directory", retry_after=1)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1

    async def _first_of_some(
        self, targets: _Targets, job: Callable[[LdapSession], Awaitable[T]], deadline: Deadline
    ) -> T:
        now = self._clock.monotonic()
        targets = sorted(targets, key=lambda target: target[0].dead_until > now)
        if targets[0][0].dead_until <= now:
            return await self._first(targets, job, deadline)
        if self._probing:
            raise LoginUnavailable(f"no directory server answers: {self._last_failure}")
        self._probing = True
        try:
            return await self._first(targets, job, deadline)
        finally:
            self._probing = False

    def close(self) -> None:
        """Close every connection; those in use when their login ends."""
        servers = list(self._servers.values())
        self._servers.clear()
        self._found.clear()
        self._fixed = []
        for server in servers:
            server.close()

    async def check(self, bases: Iterable[str] = (), reads: bool = True) -> list[str]:
        """Try every server.

        Args:
            bases: further DNs that must exist.
            reads: DNs can be read before a user is bound; else servers are only connected to.

        Returns:
            One string for each failure, which names the server and its address, TLS, bind account or base DN.
        """
        try:
            targets = await self._targets(Deadline(self.budget))
        except LoginUnavailable as error:
            return [str(error)]
        problems = []
        for server, base in targets:
            deadline = Deadline(self.budget)
            for dn in dict.fromkeys((base, *bases)):
                session = LdapSession(server, base, deadline, self.referred)
                try:
                    if reads:
                        await session.search(SearchRequest(base=dn, scope=Scope.BASE))
                    else:
                        await session.connect()
                except NoSuchBase as error:
                    problems.append(f"{server.address}: base DN {dn!r}: {error}")
                except LoginError as error:
                    problems.append(_named(server, error))
        return list(dict.fromkeys(problems))

    def referred(self, url: str) -> tuple[DirectoryServer, str]:
        """Return the server and base DN of a referral, with the same TLS as the servers of the configuration.

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

    async def _first(self, targets: _Targets, job: Callable[[LdapSession], Awaitable[T]], deadline: Deadline) -> T:
        for server, base in targets:
            try:
                result = await job(LdapSession(server, base, deadline, self.referred))
            except ServerUnreachable as error:
                self._lost(server, error)
                continue
            except DeadlineExceeded:
                raise
            except LoginError:
                self._answered(server)
                raise
            self._answered(server)
            return result
        raise LoginUnavailable(f"no directory server answers: {self._last_failure}")

    def _lost(self, server: DirectoryServer, error: ServerUnreachable) -> None:
        now, address = self._clock.monotonic(), str(server.address)
        known = now < server.dead_until
        self._dead_until = now + _REMEMBER_DEAD
        server.mark_dead(self._dead_until)
        self._last_failure = str(error)
        if not known:  # each refused login has its own line in the audit log
            self._logger.warning("directory server lost: %s", error, extra={"server": address, "failure": str(error)})

    def _answered(self, server: DirectoryServer) -> None:
        if server.dead_until:
            server.mark_alive()
            self._logger.info("directory server is back: %s", server.address, extra={"server": str(server.address)})

    def _server(self, address: Address) -> DirectoryServer:
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = DirectoryServer(
                address, self._settings, self._clock, self._options.poolSize
            )
        return server

    async def _targets(self, deadline: Deadline) -> list[tuple[DirectoryServer, str]]:
        """Return every server with its base DN, in the configured order.

        Raises:
            LoginUnavailable: no URL names a host, and the DNS has no server.
        """
        targets, failure = [], None
        for url in self.urls:
            try:
                addresses = await self._addresses(url, deadline)
                targets += [(self._server(address), url.base) for address in addresses]
            except LoginUnavailable as error:
                failure = error
        if not targets and failure is not None:
            raise failure
        if all(url.host is not None for url in self.urls):
            self._fixed = targets
        return targets

    async def _addresses(self, url: DirectoryURL, deadline: Deadline) -> list[Address]:
        security = url.security(self._options.useSSL)
        if url.host is not None:
            return [Address(url.host, url.port, security)]
        now = self._clock.monotonic()
        until, addresses = self._found.get(url, (0.0, []))
        if now >= until:
            seconds = deadline.left(self._settings.connect_timeout)
            look_up = partial(srv.lookup, domain_of(url.base), secure=security == "tls", timeout=seconds)
            try:
                found, ttl = await deadline.run_in_thread(look_up)
            except LoginUnavailable:
                if not addresses:
                    raise
                ttl = 0.0  # use the servers found before
            else:
                addresses = [Address(host, port, security) for host, port in found]
            self._found[url] = (now + max(ttl, _REMEMBER_DEAD), addresses)
        return addresses


def _named(server: DirectoryServer, error: LoginError) -> str:
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
            trusted = _TRUSTED_CERTIFICATE in path.read_bytes()
        except OSError as error:
            raise ConfigError(f"caFile: {path} has no CA certificates in PEM form: {error}") from None
        if trusted:  # Python's TLS takes them, libldap's does not
            raise ConfigError(
                f"caFile: {path} holds a BEGIN TRUSTED CERTIFICATE, a form of OpenSSL's own; "
                "write a plain one: openssl x509 -in FILE -out ca.pem"
            )
        return path
    if context.truststore is None:
        return None
    with tempfile.NamedTemporaryFile(prefix="asgi-gateway-ca-", suffix=".pem", delete=False) as file:
        file.write(context.truststore.pem_bundle())
    return Path(file.name)
