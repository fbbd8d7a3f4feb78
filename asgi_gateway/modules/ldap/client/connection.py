"""Define one connection to one directory server: python-ldap behind a few calls, each with a time limit.

Opening a connection blocks: name look-up, TCP and the TLS handshake are one call of libldap's. Afterwards requests are
sent, and answers read, in the event loop: a request is one small write, and an answer is read once it has come. One
thread for each login would do the same work and pass it to and fro, which takes longer than the work.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asgi_gateway.errors import LoginError, LoginUnavailable
from asgi_gateway.modules.ldap.client import imports
from asgi_gateway.modules.ldap.client.bind_result import (
    account_problem,
    control_classes,
    policy_control,
    refusal_in_words,
    unusable_account,
)
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.entries import Entry, Scope, SearchRequest
from asgi_gateway.modules.ldap.client.errors import (
    BindRefused,
    DeadlineExceeded,
    DirectoryTimeout,
    NoSuchBase,
    Referral,
    ServerUnreachable,
    TooManyEntries,
)
from asgi_gateway.modules.ldap.client.socket_reader import SocketReader
from asgi_gateway.modules.ldap.client.tls_probe import explain
from asgi_gateway.modules.ldap.client.urls import Address

__all__ = ["ConnectionSettings", "LdapConnection"]

_DIAGNOSIS_SECONDS = 1.0
_ENTRIES_AT_ONCE = 50
"""Entries that are read before other tasks have their turn."""
_MAX_REFERENCES = 100
"""URLs of other servers that may come with an answer; they do not count as entries."""
_MAX_RANGES = 20
"""Parts in which a server may send an attribute's values: 30,000 of them, as Active Directory cuts them."""
_EVERY_ENTRY = "(objectClass=*)"
_NO_ATTRIBUTES = "1.1"
"""Asks for the names of entries only (RFC 4511 section 4.5.1.8)."""

# The server, or the way to it, is at fault: another one may answer.
_UNREACHABLE = (
    "BUSY",
    "CONNECT_ERROR",
    "DECODING_ERROR",
    "LOCAL_ERROR",
    "PROTOCOL_ERROR",
    "SERVER_DOWN",
    "UNAVAILABLE",
)
# Name and password do not match, or this account may not log in now.
_REFUSED = (
    "CONSTRAINT_VIOLATION",  # 389 Directory Server: too many failures
    "INAPPROPRIATE_AUTH",  # the entry has no password
    "INSUFFICIENT_ACCESS",
    "INVALID_CREDENTIALS",
    "INVALID_DN_SYNTAX",
    "NO_SUCH_OBJECT",
    "UNWILLING_TO_PERFORM",
)
_LIMIT_IGNORED = "a server ignores the size limit of {}"
_WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """How to speak to the servers.

    Args:
        connect_timeout: seconds for reaching a server, TLS included.
        read_timeout: seconds for one answer.
        ca_file: CA certificates; None for the system's.
        principal: DN of the bind account, or None.
        password: its password.
        dereference: when alias entries are followed, as libldap's number (RFC 4511 section 4.5.1.3).
    """

    connect_timeout: float
    read_timeout: float
    ca_file: Path | None = None
    principal: str | None = None
    password: str | None = field(default=None, repr=False)
    dereference: int = 3


@dataclass(frozen=True, slots=True)
class _Answer:
    """A request's whole answer: entries and references, response controls, and an extended response's value."""

    entries: list[Any]
    controls: list[tuple[str, bytes | None]]
    value: bytes | None


class LdapConnection:
    """An open connection. TLS is on where it is configured; certificate and host name are verified.

    The constructor blocks and belongs in a thread. Everything else belongs in the event loop.

    Args:
        address: the server.
        settings: timeouts and trust.
        deadline: the end of the login that opens it.

    Raises:
        ServerUnreachable: it is unreachable, or TLS fails; the message says which.
    """

    def __init__(self, address: Address, settings: ConnectionSettings, deadline: Deadline) -> None:
        self.address = address
        self._ldap = imports.load_ldap()
        self._settings = settings
        self._controls = control_classes()
        self._bind_controls = [policy_control()]
        self._partial = (self._ldap.RES_SEARCH_ENTRY, self._ldap.RES_SEARCH_REFERENCE)
        self._raw = self._prepare(deadline)
        self.idle = True
        """Whether no answer is pending, so that the next request can be sent."""
        try:
            self._open()
            fileno = self._raw.fileno()
        except self._ldap.LDAPError as error:
            self._unbind()
            raise self._cannot_connect(error, deadline) from None
        os.set_blocking(fileno, False)  # an answer that stops halfway must not stop the loop
        self._reader = SocketReader(fileno)

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
            self._raw.search_ext_s("", self._ldap.SCOPE_BASE, _EVERY_ENTRY, [_NO_ATTRIBUTES])
        except self._ldap.LDAPError as error:
            if isinstance(self._translated(error, "first request"), ServerUnreachable):
                raise

    def _cannot_connect(self, error: Exception, deadline: Deadline) -> ServerUnreachable:
        info = _details(error)
        if isinstance(error, self._ldap.TIMEOUT) or info.get("errno") == errno.ETIMEDOUT:
            return DirectoryTimeout(f"{self.address}: no answer within {self._settings.connect_timeout:g} s")
        try:
            reason = explain(self.address, self._settings.ca_file, deadline.left(_DIAGNOSIS_SECONDS))
        except DeadlineExceeded:
            reason = None
        if reason is None and self.address.security != "plain" and self.address.host.lower() == "localhost":
            reason = "TLS: libldap compares 'localhost' with this machine's own name: write that name, or 127.0.0.1"
        return ServerUnreachable(f"{self.address}: {reason or _words(error)}")

    async def bind(self, dn: str, password: str, deadline: Deadline) -> None:
        """Bind as an account by its DN, or by another name that the server takes (RFC 4513 section 5.1).

        Raises:
            BindRefused: wrong password, or an account that may not log in or must change its password first.
            ServerUnreachable: the server cannot be asked.
            LoginUnavailable: the server answers with another error.
        """
        if not dn or not password:  # the server would call it an anonymous bind, and succeed (RFC 4513 section 5.1.2)
            raise BindRefused("a bind needs a name and a password")
        seconds = deadline.left(self._settings.read_timeout)
        try:
            answer = await self._ask(seconds, 0, self._raw.simple_bind, dn, password, self._bind_controls)
        except self._ldap.LDAPError as error:
            raise self._translated(error, "bind") from None
        if reason := unusable_account(answer.controls):
            raise BindRefused(f"{self.address}: bind: {reason}", account_problem=account_problem(reason))

    async def search(self, request: SearchRequest, deadline: Deadline) -> list[Entry]:
        """Search, and fetch all values of attributes that the server sends in parts.

        Raises:
            TooManyEntries: there are more entries than the request's limit.
            Referral: the server does not hold the base, or has references only and the request asks for them.
            NoSuchBase: the base does not exist, or may not be read.
            ServerUnreachable: the server cannot be asked.
            LoginUnavailable: the server answers with another error.
        """
        entries = await self._search_once(request, deadline)
        return [await self._completed(entry, deadline) if entry.ranges() else entry for entry in entries]

    async def _search_once(self, request: SearchRequest, deadline: Deadline) -> list[Entry]:
        limit, seconds = request.limit, deadline.left(self._settings.read_timeout)
        wanted = list(request.attributes) or [_NO_ATTRIBUTES]
        query = (request.base, int(request.scope), request.filter, wanted, 0, None, None, seconds, limit)
        # read when the request is encoded, which is before anything is awaited
        self._raw.set_option(self._ldap.OPT_DEREF, self._settings.dereference if request.aliases else 0)
        try:
            answer = await self._ask(seconds, limit, self._raw.search_ext, *query)
        except self._ldap.LDAPError as error:
            raise self._translated(error, f"search below {request.base!r}") from None
        found = answer.entries
        entries = [
            Entry(dn, {k.lower(): v for k, v in attributes.items()}) for dn, attributes in found if dn is not None
        ]
        if len(entries) > limit:
            raise TooManyEntries(_LIMIT_IGNORED.format(limit))
        if request.references and not entries and (urls := tuple(u for dn, us in found if dn is None for u in us)):
            raise Referral(urls)
        return entries

    async def _completed(self, entry: Entry, deadline: Deadline) -> Entry:
        """Return the entry with all values of the attributes of which the server sent a part.

        Raises:
            LoginUnavailable: the other parts do not come, or do not follow one another.
        """
        for part in entry.ranges():
            values = list(part.values)
            last = part.last
            if part.first != 0:
                raise LoginUnavailable(f"{self.address}: the values of {part.name} begin at {part.first}")
            for _ in range(_MAX_RANGES):
                if last is None:
                    break
                wanted = f"{part.name};range={last + 1}-*"
                request = SearchRequest(base=entry.dn, scope=Scope.BASE, attributes=(wanted,))
                found = await self._search_once(request, deadline)
                more = next((r for e in found for r in e.ranges() if r.name == part.name), None)
                if more is None or more.first != last + 1 or not more.values:
                    raise LoginUnavailable(f"{self.address}: cannot read the values of {part.name} from {last + 1} on")
                values += more.values
                last = more.last
            if last is not None:
                raise LoginUnavailable(f"{self.address}: {part.name} has more than {len(values)} values")
            entry = entry.with_values(part.name, values)
        return entry

    async def who_am_i(self, deadline: Deadline) -> str | None:
        """Return the authorization identity of the bound account, such as ``dn:uid=a,dc=b`` (RFC 4532).

        Returns:
            None if the server does not support the operation.

        Raises:
            ServerUnreachable: the server cannot be asked.
        """
        seconds = deadline.left(self._settings.read_timeout)
        request = self._ldap.extop.ExtendedRequest(_WHO_AM_I, None)
        try:
            answer = await self._ask(seconds, 0, self._raw.extop, request)
        except self._ldap.LDAPError as error:
            translated = self._translated(error, "who am I")
            if isinstance(translated, ServerUnreachable) and not isinstance(error, self._ldap.PROTOCOL_ERROR):
                raise translated from None
            return None
        return (answer.value or b"").decode(errors="replace")

    async def alive(self, deadline: Deadline) -> bool:
        """Return whether the server still answers on this connection: read its root entry."""
        try:
            seconds = deadline.left(self._settings.connect_timeout)
            query = ("", int(Scope.BASE), _EVERY_ENTRY, [_NO_ATTRIBUTES])
            await self._ask(seconds, 1, self._raw.search_ext, *query)
        except self._ldap.LDAPError as error:
            # an answer that refuses is an answer
            return not isinstance(self._translated(error, "health check"), ServerUnreachable)
        return True

    def close(self) -> None:
        """Unbind and close. Never raises, never blocks."""
        self._reader.leave()
        self._unbind()

    def _unbind(self) -> None:
        try:
            self._raw.unbind_ext_s()
        except (self._ldap.LDAPError, AttributeError):  # the latter: unbound already
            return

    async def _ask(self, seconds: float, limit: int, send: Callable[..., int], *request: Any) -> _Answer:
        """Send a request and read its answer.

        Raises:
            TooManyEntries: more entries than ``limit``, with more to come.
            ldap.LDAPError: the answer is an error, or none came.
        """
        ldap, raw, partial, classes = self._ldap, self._raw, self._partial, self._controls
        entries: list[Any] = []
        last: list[tuple[Any, ...]] = []

        def read() -> bool | None:
            for _ in range(_ENTRIES_AT_ONCE):
                message = raw.result4(number, 0, 0, 0, 0, 1, classes)
                if message[0] is None:
                    return None
                if message[0] not in partial:
                    last.append(message)
                    return True
                entries.extend(message[1])
                if len(entries) > limit + _MAX_REFERENCES:
                    raise TooManyEntries(_LIMIT_IGNORED.format(limit))
            return False

        self.idle = False
        try:
            number = send(*request)
            await self._reader.until(read, seconds)
        except TimeoutError:
            raise ldap.TIMEOUT from None
        except ldap.LDAPError as error:
            self._reader.leave()  # if libldap gave up, it closed the socket
            self.idle = "msgtype" in _details(error)  # the server's answer, and its end
            raise
        self.idle = True
        _, _, _, controls, _, value = last[0]
        return _Answer(entries, [(c.controlType, c.encodedControlValue) for c in controls], value)

    def _translated(self, error: Exception, doing: str) -> LoginError:
        ldap, text = self._ldap, f"{self.address}: {doing}: {_words(error)}"
        if isinstance(error, ldap.TIMEOUT | ldap.TIMELIMIT_EXCEEDED):
            return DirectoryTimeout(f"{self.address}: {doing}: no answer in time")
        if isinstance(error, ldap.SIZELIMIT_EXCEEDED):
            return TooManyEntries(text)
        if isinstance(error, ldap.REFERRAL):
            urls = str(_details(error).get("info", "")).removeprefix("Referral:").split()
            return Referral(tuple(urls))
        if isinstance(error, tuple(getattr(ldap, name) for name in _UNREACHABLE)):
            return ServerUnreachable(text)
        return self._answered_error(error, doing, text)

    def _answered_error(self, error: Exception, doing: str, text: str) -> LoginError:
        ldap = self._ldap
        if doing == "bind" and isinstance(error, tuple(getattr(ldap, name) for name in _REFUSED)):
            details = _details(error)
            controls = [(oid, value) for oid, _, value in details.get("ctrls", ())]
            reason = refusal_in_words(str(details.get("info", "")), controls)
            words = f"{self.address}: bind: {reason} ({_words(error)})" if reason else text
            return BindRefused(words, account_problem=account_problem(reason))
        if isinstance(error, ldap.NO_SUCH_OBJECT | ldap.INSUFFICIENT_ACCESS):
            return NoSuchBase(text)
        return LoginUnavailable(text)


def _details(error: Exception) -> dict[str, Any]:
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


def _words(error: Exception) -> str:
    details = _details(error)
    said = [str(details[key]).rstrip("\0 ") for key in ("desc", "info") if details.get(key)]
    return "; ".join(said) or type(error).__name__
