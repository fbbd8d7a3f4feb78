"""Define state that expires by itself: ExpiringState, and the stores that a configuration can name."""

from __future__ import annotations

import abc
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

from asgi_gateway.errors import StateError
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.option_types import ModuleOptions

__all__ = ["MAX_TTL", "ExpiringState", "Listing", "MessageLog", "PositionLost", "StateStore", "check_ttl", "hashed"]

MAX_TTL = 1e9
"""The longest life of an entry in seconds, some 31 years; more is a mistake, and would overflow in some stores."""


class ExpiringState(abc.ABC):
    """Data shared by login modules, chains, workers and gateways that goes away by itself.

    Its main use: a token's nonce is put once; a second put finds it there, so the token is a replay. Keys and values
    are strings; a module should begin its keys with a name of its own. Every method may raise StateUnavailable, on
    which the caller must refuse. Source: ``org.kaazing.gateway.server.ExpiringState``.
    """

    shared: ClassVar[bool] = False
    """Whether other processes see the same data."""

    @abc.abstractmethod
    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        """Store a value for ``ttl`` seconds unless the key is there; atomic.

        Args:
            key: any string.
            value: any string.
            ttl: seconds, greater than 0; the entry lives at least that long.

        Returns:
            None if this call stored the value, else the value that is there.

        Raises:
            ValueError: ``ttl`` is not a positive number.
            StateFull: the store is at its bound.
            StateUnavailable: the store cannot be asked.
        """

    @abc.abstractmethod
    async def get(self, key: str) -> str | None:
        """The value that is there, or None."""

    @abc.abstractmethod
    async def remove(self, key: str, value: str) -> bool:
        """Remove the entry if it holds just this value; True if it did. Atomic: one of many callers gets True."""

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        """Let the entry live at least ``ttl`` seconds from now if it holds just this value; True if it does. Atomic.

        In a store that does not know how, entries live as long as they were first given.

        Raises:
            ValueError: ``ttl`` is not a positive number.
            StateUnavailable: the store cannot be asked.
        """
        return await self.get(key) == value

    async def open(self) -> None:
        """Connect; called once before anything else, again after a close."""

    async def close(self) -> None:
        """Let go of what ``open`` took."""

    def exists(self) -> bool:
        """Return whether the store has been created. A command that only reads must not create it for its own user."""
        return True

    def problems(self) -> list[str]:
        """Return what is wrong with the store's files, for ``asgi-gateway check``. Opens and creates nothing."""
        return []

    async def check(self) -> list[str]:
        """Try the store for ``asgi-gateway check --connect`` without changing it; return what fails."""
        if not self.exists():
            return self.problems()
        try:
            await self.open()
            await self.get("asgi_gateway check")
        except StateError as error:
            return [str(error)]
        finally:
            await self.close()
        return []


class StateStore(ExpiringState):
    """An ExpiringState that a configuration can ask for by name (entry points ``asgi_gateway.state_stores``)."""

    Options: ClassVar[type[ModuleOptions]] = ModuleOptions

    @classmethod
    @abc.abstractmethod
    def configured(cls, options: Any, directory: Path, clock: Clock) -> StateStore:
        """Make the store of a configuration.

        Args:
            options: an instance of the class's ``Options``.
            directory: the configuration file's directory; relative files are relative to it.
            clock: the time.

        Raises:
            ConfigError: the options cannot work.
        """


class PositionLost(StateError):
    """Messages may have been missed: too many were appended since, or the log was emptied."""


class MessageLog(abc.ABC):
    """What a shared store is besides: a short log of messages that all processes append to and follow."""

    @abc.abstractmethod
    async def append(self, message: str) -> None:
        """Append a message; whoever follows the log is given it.

        Raises:
            StateError: it could not be appended, or nobody knows.
        """

    @abc.abstractmethod
    async def follow(self, position: str | None, wait: float) -> tuple[str, list[str]]:
        """Messages that were appended after a position, the oldest first.

        Args:
            position: what an earlier call returned; None for the log's end.
            wait: seconds to wait for a message if there is none.

        Returns:
            the position after them, and the messages; none if none came.

        Raises:
            PositionLost: there may have been others; begin again with None.
            StateUnavailable: the log cannot be asked.
        """


class Listing(abc.ABC):
    """What a shared store is besides: texts that go away by themselves as entries do, and can all be read from a shell.

    Entries cannot: stores outside the process are told hashes of their keys and nothing else.
    """

    @abc.abstractmethod
    async def enlist(self, name: str, text: str, ttl: float) -> None:
        """Put a text on the list for ``ttl`` seconds, in the place of what has the same name.

        Raises:
            ValueError: ``ttl`` is not a positive number.
            StateError: it could not be done.
        """

    @abc.abstractmethod
    async def strike(self, name: str) -> None:
        """Take the text of a name off the list, if it is there.

        Raises:
            StateUnavailable: the store cannot be asked.
        """

    @abc.abstractmethod
    async def listed(self, most: int) -> list[str]:
        """The texts on the list, in no order; other commands go on in between.

        Args:
            most: how many at most.

        Raises:
            StateUnavailable: the store cannot be asked.
        """

    @abc.abstractmethod
    async def left(self, key: str) -> float | None:
        """How many seconds an entry of the ExpiringState lives on; None if it is not there.

        Raises:
            StateUnavailable: the store cannot be asked.
        """


def check_ttl(ttl: float) -> None:
    """Refuse a time to live that no store can keep.

    Raises:
        ValueError: ``ttl`` is not a positive number of seconds, or more than ``MAX_TTL``.
    """
    if not 0 < ttl <= MAX_TTL:  # written so that NaN fails, too
        raise ValueError(f"ttl must be greater than 0 and at most {MAX_TTL:.0f} seconds, not {ttl!r}")


def hashed(namespace: str, key: str) -> bytes:
    """What a store outside this process calls a key: 32 bytes that tell nothing, and are nobody else's.

    Args:
        namespace: whose keys they are; the same key under two names is two keys.
        key: any string, lone surrogates included.
    """
    outer = blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    return blake2b(key.encode("utf-8", "surrogatepass"), key=outer, digest_size=32).digest()
