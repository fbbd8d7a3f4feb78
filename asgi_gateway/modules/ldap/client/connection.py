"""One connection to one directory server: python-ldap behind four calls, every one of which ends in time.

Opening a connection blocks: name look-up, TCP and the TLS handshake are one call of libldap's. Afterwards requests are
sent, and answers taken in, in the event loop: a request is one small write, an answer is read when it is there. A
thread for each login would do the same work and hand it to and fro, which takes longer than the work.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asgi_gateway.errors import LoginError, LoginUnavailable
from asgi_gateway.modules.ldap.client import imports as library
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.errors import (
    DirectoryTimeout,
    NotThere,
    OutOfTime,
    Referred,
    Refused,
    ServerLost,
    TooMany,
)
from asgi_gateway.modules.ldap.client.socket_reader import Readiness
from asgi_gateway.modules.ldap.client.tls_probe import explain
from asgi_gateway.modules.ldap.client.urls import Address

__all__ = ["Connection", "Entry", "Settings"]

_DIAGNOSIS_SECONDS = 1.0
_AT_ONCE = 50
"""Entries that are taken in before others have their turn."""
_REFERENCES = 100
"""Names of other servers that may come with an answer; they do not count as entries."""

# What says that the server, or the way to it, is at fault: another one may do better.
_LOST = ("BUSY", "CONNECT_ERROR", "DECODING_ERROR", "LOCAL_ERROR", "PROTOCOL_ERROR", "SERVER_DOWN", "UNAVAILABLE")
# What says that name and password do not go together, or that this account may not log in now.
_REFUSED = (
    "CONSTRAINT_VIOLATION",  # 389 Directory Server: too many failures
    "INAPPROPRIATE_AUTH",  # the entry has no password
    "INSUFFICIENT_ACCESS",
    "INVALID_CREDENTIALS",
    "INVALID_DN_SYNTAX",
    "NO_SUCH_OBJECT",
    "UNWILLING_TO_PERFORM",
)


_TOO_MANY = "a server ignores the size limit of {}"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to speak to the servers.

    Args:
        connect_timeout: seconds for reaching a server, TLS included.
        read_timeout: seconds for one answer.
        ca_file: CA certificates; None for the system's.
        principal: DN of the bind account, or None.
        password: its password.
    """

    connect_timeout: float
    read_timeout: float
    ca_file: Path | None = None
    principal: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory.

    Args:
        dn: its distinguished name.
        attributes: values by attribute name in lower case.
    """

    dn: str
    attributes: dict[str, list[bytes]] = field(default_factory=dict, repr=False)

    def texts(self, attribute: str) -> list[str]:
        """An attribute's values that are text, in the server's order."""
        found = []
        for value in self.attributes.get(attribute.lower(), ()):
            try:
                found.append(value.decode())
            except UnicodeDecodeError:
                continue
        return [text for text in found if text]

    def text(self, attribute: str) -> str | None:
        """One value of an attribute; None if it has none."""
        return next(iter(self.texts(attribute)), None)


class Connection:
    """An open connection; TLS is up where it is asked for, and certificate and host name are verified.

    Making one blocks, and belongs in a thread; everything else belongs in the event loop.

    Args:
        address: the server.
        settings: timeouts and trust.
        deadline: the end of the login that opens it.

    Raises:
        ServerLost: it cannot be reached, or TLS fails; the message says which.
    """

    def __init__(self, address: Address, settings: Settings, deadline: Deadline) -> None:
        self.address = address
        self._ldap = library.load()
        self._settings = settings
        self._partial = (self._ldap.RES_SEARCH_ENTRY, self._ldap.RES_SEARCH_REFERENCE)
        self._raw = self._prepare(deadline)
        self.idle = True
        """No answer is under way, so that the next request can be sent."""
        try:
            self._open()
            fileno = self._raw.fileno()
        except self._ldap.LDAPError as error:
            self._unbind()
            raise self._cannot_connect(error, deadline) from None
        os.set_blocking(fileno, False)  # an answer that stops halfway must not stop the loop
        self._readiness = Readiness(fileno)

    def _prepare(self, deadline: Deadline) -> Any:
        ldap, address, seconds = self._ldap, self.address, deadline.left(self._settings.connect_timeout)
        raw = ldap.initialize(address.uri)
        options = {
            ldap.OPT_PROTOCOL_VERSION: 3,
            ldap.OPT_NETWORK_TIMEOUT: seconds,
            ldap.OPT_TIMEOUT: seconds,
            ldap.OPT_CONNECT_ASYNC: 1,  # else a TLS handshake never ends that the server does not answer
            ldap.OPT_REFERRALS: 0,  # libldap would send the bind's password on, without TLS
            ldap.OPT_RESTART: 1,
            ldap.OPT_X_KEEPALIVE_IDLE: 60,
            ldap.OPT_X_KEEPALIVE_PROBES: 3,
            ldap.OPT_X_KEEPALIVE_INTERVAL: 10,
        }
        for option, value in options.items():
            raw.set_option(option, value)
        if address.security != "plain":
            raw.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
            if self._settings.ca_file is not None:
                raw.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self._settings.ca_file))
            raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # makes the two lines above count
        raw.timeout = seconds
        return raw

    def _open(self) -> None:
        if self.address.security == "starttls":
            self._raw.start_tls_s()
            return
        try:  # libldap connects with the first request
            self._raw.search_ext_s("", self._ldap.SCOPE_BASE, "(objectClass=*)", ["1.1"])
        except self._ldap.LDAPError as error:
            if isinstance(self._translated(error, "first request"), ServerLost):
                raise

    def _cannot_connect(self, error: Exception, deadline: Deadline) -> ServerLost:
        info = _details(error)
        if isinstance(error, self._ldap.TIMEOUT) or info.get("errno") == errno.ETIMEDOUT:
            return DirectoryTimeout(f"{self.address}: no answer within {self._settings.connect_timeout:g} s")
        try:
            reason = explain(self.address, self._settings.ca_file, deadline.left(_DIAGNOSIS_SECONDS))
        except OutOfTime:
            reason = None
        if reason is None and self.address.security != "plain" and self.address.host.lower() == "localhost":
            reason = "TLS: libldap compares 'localhost' with this machine's own name: write that name, or 127.0.0.1"
        return ServerLost(f"{self.address}: {reason or _words(error)}")

    async def bind(self, dn: str, password: str, deadline: Deadline) -> None:
        """Become the account with this DN (or other name that the server takes); a simple bind (RFC 4513 section 5.1).

        Raises:
            Refused: wrong password, or an account that cannot log in.
            ServerLost, LoginUnavailable: it could not be found out.
        """
        if not dn or not password:  # the server would call it an anonymous bind, and succeed (RFC 4513 section 5.1.2)
            raise Refused("a bind needs a name and a password")
        seconds = deadline.left(self._settings.read_timeout)
        try:
            await self._ask(seconds, 0, self._raw.simple_bind, dn, password)
        except self._ldap.LDAPError as error:
            raise self._translated(error, "bind") from None

    async def search(
        self,
        base: str,
        scope: int,
        filter_text: str,
        attributes: Iterable[str],
        limit: int,
        deadline: Deadline,
        *,
        follow: bool = False,
    ) -> list[Entry]:
        """Search for at most ``limit`` entries; the limit is sent along, so that no more are ever on their way.

        Args:
            base: where to begin.
            scope: ``ldap.SCOPE_BASE`` and so on.
            filter_text: an RFC 4515 filter.
            attributes: what to ask for; none at all asks for the names only.
            limit: how many entries there may be.
            deadline: the login's end.
            follow: names of other servers that may hold more count, where nothing is found on this one. Active
                Directory gives such names with every search from a domain's root.

        Raises:
            TooMany: there are more.
            Referred: the server does not hold the base, or ``follow`` and it has nothing but names of others.
            ServerLost, LoginUnavailable: it could not be found out.
        """
        seconds = deadline.left(self._settings.read_timeout)
        wanted = list(attributes) or ["1.1"]
        try:
            answer = await self._ask(
                seconds, limit, self._raw.search_ext, base, scope, filter_text, wanted, 0, None, None, seconds, limit
            )
        except self._ldap.LDAPError as error:
            raise self._translated(error, f"search below {base!r}") from None
        entries = [Entry(dn, {k.lower(): v for k, v in found.items()}) for dn, found in answer if dn is not None]
        if len(entries) > limit:
            raise TooMany(_TOO_MANY.format(limit))
        if follow and not entries and (urls := tuple(url for dn, found in answer if dn is None for url in found)):
            raise Referred(urls)
        return entries

    async def alive(self, deadline: Deadline) -> bool:
        """Whether the server still answers on this connection: a look at its root entry."""
        try:
            seconds = deadline.left(self._settings.connect_timeout)
            ask = self._raw.search_ext
            await self._ask(seconds, 1, ask, "", self._ldap.SCOPE_BASE, "(objectClass=*)", ["1.1"])
        except self._ldap.LDAPError as error:
            # an answer that refuses is an answer
            return not isinstance(self._translated(error, "health check"), ServerLost)
        return True

    def close(self) -> None:
        """Say goodbye; never fails, never waits."""
        self._readiness.leave()
        self._unbind()

    def _unbind(self) -> None:
        try:
            self._raw.unbind_ext_s()
        except (self._ldap.LDAPError, AttributeError):  # the latter: unbound already
            return

    async def _ask(self, seconds: float, limit: int, send: Callable[..., int], *request: Any) -> list[Any]:
        """Send a request and take in its answer.

        Raises:
            TooMany: more entries than ``limit``, with more to come.
            ldap.LDAPError: the answer is an error, or none came.
        """
        ldap, raw, partial = self._ldap, self._raw, self._partial
        taken: list[Any] = []

        def take() -> bool | None:
            for _ in range(_AT_ONCE):
                message = raw.result4(number, 0, 0)
                if message[0] not in partial:
                    return None if message[0] is None else True
                taken.extend(message[1])
                if len(taken) > limit + _REFERENCES:
                    raise TooMany(_TOO_MANY.format(limit))
            return False

        self.idle = False
        try:
            number = send(*request)
            await self._readiness.until(take, seconds)
        except TimeoutError:
            raise ldap.TIMEOUT from None
        except ldap.LDAPError as error:
            self._readiness.leave()  # if libldap gave up, it closed the socket
            self.idle = "msgtype" in _details(error)  # the server's answer, and its end
            raise
        self.idle = True
        return taken

    def _translated(self, error: Exception, doing: str) -> LoginError:
        ldap, text = self._ldap, f"{self.address}: {doing}: {_words(error)}"
        if isinstance(error, ldap.TIMEOUT | ldap.TIMELIMIT_EXCEEDED):
            return DirectoryTimeout(f"{self.address}: {doing}: no answer in time")
        if isinstance(error, ldap.SIZELIMIT_EXCEEDED):
            return TooMany(text)
        if isinstance(error, ldap.REFERRAL):
            urls = str(_details(error).get("info", "")).removeprefix("Referral:").split()
            return Referred(tuple(urls))
        if isinstance(error, tuple(getattr(ldap, name) for name in _LOST)):
            return ServerLost(text)
        if doing == "bind" and isinstance(error, tuple(getattr(ldap, name) for name in _REFUSED)):
            return Refused(text)
        return (
            NotThere(text)
            if isinstance(error, ldap.NO_SUCH_OBJECT | ldap.INSUFFICIENT_ACCESS)
            else LoginUnavailable(text)
        )


def _details(error: Exception) -> dict[str, Any]:
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


def _words(error: Exception) -> str:
    details = _details(error)
    return "; ".join(str(details[key]) for key in ("desc", "info") if details.get(key)) or type(error).__name__
