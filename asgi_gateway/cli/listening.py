"""Bind the sockets of ``asgi-gateway run``: TCP sockets at the accept URLs' hosts and ports, or a Unix socket."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

from asgi_gateway.errors import ConfigError
from asgi_gateway.services.model import Listener

__all__ = ["bind_listeners", "bind_port", "bind_unix", "describe"]

_Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"
_LOOPBACK = ("127.0.0.1", "::1")
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""How the system says that an address is not this machine's, or that it has no IPv6."""
_UNIX_MODE = 0o660
_GET_ADDRESS = 0x8915
"""The request SIOCGIFADDR of Linux: the IPv4 address of an interface."""
_LINK_LOCAL = "20"
"""How /proc/net/if_inet6 marks addresses that are good on one link only, which no URL can name."""


@dataclass(frozen=True, slots=True)
class _Place:
    """An address to bind, and what asked for it.

    Args:
        family: the address family.
        address: what ``bind`` takes.
        owner: the listener, for messages; None for ``--host`` and ``--port``.
    """

    family: int
    address: _Address
    owner: Listener | None = None


@contextmanager
def bind_listeners(listeners: Iterable[Listener]) -> Iterator[list[socket.socket]]:
    """Bind every host and port of the accept URLs; the sockets are closed when the ``with`` block ends.

    A name whose addresses are partly other machines' is bound at those of this one.

    Raises:
        ConfigError: a host is unknown or another machine's, a port is in use or reserved, or a service that is for this
            machine alone shares its port with one that is not.
    """
    found = [(listener, _addresses(listener)) for listener in listeners]
    _check_reach(found)
    places: dict[tuple[int, _Address], _Place] = {}
    for listener, addresses in found:
        for family, address in addresses:
            places.setdefault((family, address), _Place(family, address, listener))
    with _bound(_without_covered(list(places.values()))) as sockets:
        yield sockets


@contextmanager
def bind_port(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Bind a host and port of the command line; the sockets are closed when the ``with`` block ends.

    Raises:
        ConfigError: as ``bind_listeners``.
        ValueError: the host is unknown.
    """
    try:
        found = _resolve(host, port)
    except (OSError, UnicodeError):
        raise ValueError(f"cannot listen on {host}: unknown host") from None
    with _bound([_Place(family, address) for family, address in found]) as sockets:
        yield sockets


@contextmanager
def bind_unix(path: Path) -> Iterator[list[socket.socket]]:
    """Bind a Unix socket, which its owner and group may use; its file is deleted when the ``with`` block ends.

    A socket file that a server left behind is replaced.

    Raises:
        ValueError: the path is in use, is another kind of file, or cannot be created.
    """
    _remove_stale(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        before = os.umask(0o777 & ~_UNIX_MODE)  # so that nobody else can connect even for a moment
        try:
            bound.bind(str(path))
        except OSError as error:
            raise ValueError(f"cannot listen on {path}: {error.strerror or error}") from None
        finally:
            os.umask(before)
        created = path.stat().st_ino
        try:
            yield [bound]
        finally:
            if path.exists() and path.stat().st_ino == created:  # else another server has replaced it
                path.unlink()


def describe(sockets: Sequence[socket.socket], tls: Iterable[int]) -> list[str]:
    """Return where sockets listen, as URLs.

    Args:
        sockets: the bound sockets.
        tls: the ports that use TLS.
    """
    encrypted = frozenset(tls)
    found = []
    for each in sockets:
        name = each.getsockname()
        if isinstance(name, str):
            found.append(f"unix:{name}")
            continue
        host, port = name[:2]
        scheme = "https" if port in encrypted else "http"
        found.append(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
    return found


# ---------------------------------------------------------------------------------------------------------- addresses


def _addresses(listener: Listener) -> list[tuple[int, _Address]]:
    try:
        if listener.host.startswith("@"):
            found = [each for text in _interface(listener.host[1:]) for each in _resolve(text, listener.port)]
        else:
            found = _resolve(listener.host, listener.port)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise _refused(listener, "unknown interface" if listener.host.startswith("@") else "unknown host")
    return found


def _check_reach(found: Sequence[tuple[Listener, list[tuple[int, _Address]]]]) -> None:
    """Refuse to make a service reachable from other machines whose accept URLs name this one alone.

    Services are told apart by their port and not by their address, so that it would be where another service's accept
    URL binds the same port at an address of the network.
    """
    public = [listener for listener, addresses in found if not _is_loopback(addresses)]
    for listener, addresses in found:
        others = [each for each in public if each.port == listener.port]
        inner = set(listener.services).difference(*(each.services for each in others))
        if others and inner and _is_loopback(addresses):
            name, other = next(each for each in listener.services if each in inner), others[0]
            message = (
                f"service {name!r}: {listener.host} is this machine alone, but port {listener.port} is bound at "
                f"{other.host} too, for service {other.services[0]!r}: other machines would reach both"
            )
            hint = "give it a port of its own, or the same host"
            raise ConfigError(listener.mark.problem(message, hint=hint))


def _is_loopback(addresses: list[tuple[int, _Address]]) -> bool:
    return all(ip_address(address[0].partition("%")[0]).is_loopback for _, address in addresses)


def _resolve(host: str, port: int) -> list[tuple[int, _Address]]:
    if host.lower().removesuffix(".").rpartition(".")[2] == "localhost":  # RFC 6761 section 6.3
        return [(family, address) for text in _LOOPBACK for family, address in _resolve(text, port)]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))  # type: ignore[misc]


def _interface(name: str) -> list[str]:
    """Return the addresses of a network interface; none where the system does not tell (it is Linux's way)."""
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
        except OSError:
            pass  # no such interface, or one without an IPv4 address
        else:
            found.append(socket.inet_ntoa(answer[20:24]))
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else ():
        digits, _, _, scope, _, interface = line.split()
        if interface == name and scope != _LINK_LOCAL:
            found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)))
    return found


def _without_covered(places: list[_Place]) -> list[_Place]:
    """Leave out addresses that are covered by a wildcard address of the same family and port."""
    wild = {(each.family, each.address[1]) for each in places if _is_wildcard(each)}
    return [each for each in places if _is_wildcard(each) or (each.family, each.address[1]) not in wild]


def _is_wildcard(place: _Place) -> bool:
    return place.address[0] in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


# ------------------------------------------------------------------------------------------------------------- sockets


@contextmanager
def _bound(places: Sequence[_Place]) -> Iterator[list[socket.socket]]:
    """Bind all places. One that is not this machine's is left out where its owner has another one."""
    with ExitStack() as stack:
        sockets, missing, found = [], [], set()
        for place in places:
            try:
                sockets.append(stack.enter_context(_bind(place)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise _error(place, error) from None
                missing.append((place, error))
            else:
                found.add(place.owner)
        for place, reason in missing:
            if place.owner not in found:
                raise _error(place, reason)
        yield sockets


def _bind(place: _Place) -> socket.socket:
    bound = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(place.address)
    except BaseException:
        bound.close()
        raise
    return bound


def _error(place: _Place, error: OSError) -> ConfigError | ValueError:
    host, port = place.address[:2]
    if error.errno == errno.EADDRINUSE:
        reason, owned, given = (
            f"port {port} of {host} is in use by another process",
            "name another one",
            "another --port",
        )
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason = f"no permission to listen on port {port}"
        owned, given = "name a port of 1024 or more", "a --port of 1024 or more"
    else:
        there = error.errno in _NOT_HERE
        reason = f"{host} is not an address of this machine" if there else error.strerror or str(error)
        owned, given = "name a local address", "another --host"
    if place.owner is None:
        return ValueError(f"{reason}: choose {given}")
    return _refused(place.owner, reason, owned)


def _refused(listener: Listener, reason: str, advice: str = "name a local address") -> ConfigError:
    message = f"service {listener.services[0]!r}, accept {listener.accept}: cannot listen on {listener.host}: {reason}"
    hint = f"{advice} with the accept option {listener.option}, or run with --port"
    return ConfigError(listener.mark.problem(message, hint=hint))


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(f"cannot listen on {path}: {error.strerror or error}") from None
    if not stat.S_ISSOCK(mode):
        raise ValueError(f"cannot listen on {path}: it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()  # nobody listens: a server that was killed left it
        except OSError as error:
            raise ValueError(f"cannot listen on {path}: {error.strerror or error}") from None
        else:
            raise ValueError(f"cannot listen on {path}: another process listens there")
