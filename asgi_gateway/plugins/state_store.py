"""Define state that expires by itself: ExpiringState, and the stores that a configuration can name."""

from __future__ import annotations

import abc
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

from asgi_gateway.errors import StateError
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.option_types import ModuleOptions

__all__ = [
    "MAX_TTL",
    "ExpiringState",
    "Listing",
    "MessageLog",
    "Partition",
    "PositionLost",
    "StateStore",
    "check_ttl",
    "hashed",
]

MAX_TTL = 1e9
"""The longest life of an entry in seconds, some 31 years; more is a mistake, and would overflow in some stores."""


class Partition(Enum):
    """Kinds of entries with a bound of their own, so that one kind cannot fill the store for another.

    All other entries, such as the nonces of used tokens, are in the store itself. They are never removed before they
    expire.
    """

    SESSIONS = "sessions"
    """Sessions. At the bound the entry that would expire first is removed: its user has to log in again."""
    CHALLENGES = "challenges"
    """Logins to several realms that are under way. At the bound the entry that would expire first is removed."""
    SOCKETS = "sockets"
    """Authorizations of WebSockets, left by one worker for another. At the bound the entry that would expire first is
    removed: its client has to log in again.
    """
    REVOCATIONS = "revocations"
    """Revoked users and tokens. It shares the keys of the store itself, and has a reserve beyond the store's bound."""


class ExpiringState(abc.ABC):
    """Expiring data that login modules, chains, workers and gateways share.

    Its main use: a token's nonce is put once; a second put finds it there, so the token is a replay. Keys and values
    are strings; a module should begin its keys with a name of its own. Every method may raise StateUnavailable, on
    which the caller must refuse. Source: ``org.kaazing.gateway.server.ExpiringState``.
    """

    shared: ClassVar[bool] = False
    """Whether other processes see the same data."""

    @property
    def identity(self) -> str:
        """What tells this store's data from that of other stores; equal for all gateways that share it.

        Names of session cookies are derived from it. Empty if the store does not know.
        """
        return ""

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
        """Return an entry's value, or None if there is no entry.

        Args:
            key: any string.
        """

    @abc.abstractmethod
    async def remove(self, key: str, value: str) -> bool:
        """Remove an entry if it holds this value. Atomic: one of many callers gets True.

        Args:
            key: any string.
            value: the value that the entry must hold.

        Returns:
            True if this call removed it.
        """

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        """Extend the life of an entry if it holds this value. Atomic.

        A store that does not override this keeps the life that the entry was first given.

        Args:
            key: any string.
            value: the value that the entry must hold.
            ttl: seconds from now that it lives at least.

        Returns:
            True if the entry holds the value.

        Raises:
            ValueError: ``ttl`` is not a positive number.
            StateUnavailable: the store cannot be asked.
        """
        return await self.get(key) == value

    async def replace(self, key: str, old: str | None, new: str, ttl: float) -> bool:
        """Store a value if the key holds another one. Atomic in the stores that come with the gateway.

        A store that does not override this removes the old value and puts the new one. If another caller puts in
        between, the old value is lost and the answer is False.

        Args:
            key: any string.
            old: the value that the entry must hold; None if there must be no entry.
            new: any string.
            ttl: seconds, greater than 0; the entry lives at least that long from now on.

        Returns:
            True if this call stored the value.

        Raises:
            ValueError: ``ttl`` is not a positive number.
            StateFull: the store is at its bound.
            StateUnavailable: the store cannot be asked.
        """
        if old is not None and not await self.remove(key, old):
            return False
        return await self.put_if_absent(key, new, ttl) is None

    def partition(self, kind: Partition) -> ExpiringState:
        """Return the part of this store for one kind of entries, with a bound of its own.

        All callers must use a key in the same partition. A store that does not override this has one bound for all
        kinds.

        Args:
            kind: the kind.
        """
        return self

    async def open(self) -> None:
        """Connect; called once before anything else, again after a close."""

    async def close(self) -> None:
        """Release what ``open`` acquired."""

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
    """An ExpiringState that a configuration can name (entry points ``asgi_gateway.state_stores``)."""

    Options: ClassVar[type[ModuleOptions]] = ModuleOptions
    """The class of the store's options; the gateway validates the configuration with it."""

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
    """Optional for a shared store: a short log of messages that all processes append to and follow."""

    @abc.abstractmethod
    async def append(self, message: str) -> None:
        """Append a message. Every follower of the log receives it.

        Args:
            message: any text.

        Raises:
            StateError: it was not appended, or the outcome is unknown.
        """

    @abc.abstractmethod
    async def follow(self, position: str | None, wait: float) -> tuple[str, list[str]]:
        """Return the messages that were appended after a position, the oldest first.

        Args:
            position: what an earlier call returned; None for the log's end.
            wait: seconds to wait for a message if there is none.

        Returns:
            The position after them, and the messages; an empty list if none came.

        Raises:
            PositionLost: there may have been others; begin again with None.
            StateUnavailable: the log cannot be asked.
        """


class Listing(abc.ABC):
    """Optional for a shared store: expiring texts that the command line can enumerate.

    Entries of ExpiringState cannot be enumerated: their keys are stored as hashes.
    """

    @abc.abstractmethod
    async def enlist(self, name: str, text: str, ttl: float) -> None:
        """Put a text on the list, in place of one of the same name.

        Args:
            name: the text's name.
            text: any string.
            ttl: seconds that it stays on the list.

        Raises:
            ValueError: ``ttl`` is not a positive number.
            StateError: the store could not do it.
        """

    @abc.abstractmethod
    async def strike(self, name: str) -> None:
        """Remove the text of a name from the list, if there is one.

        Args:
            name: the text's name.

        Raises:
            StateUnavailable: the store cannot be asked.
        """

    @abc.abstractmethod
    async def listed(self, most: int) -> list[str]:
        """Return the texts on the list, in no order. The store serves other commands in between.

        Args:
            most: how many at most.

        Raises:
            StateUnavailable: the store cannot be asked.
        """

    @abc.abstractmethod
    async def left(self, key: str) -> float | None:
        """Return the seconds that an entry of the ExpiringState has left; None if there is no entry.

        Args:
            key: the entry's key.

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
    """Return the 32 bytes by which a store outside this process knows a key. They do not reveal the key.

    Args:
        namespace: the store's namespace; the same key in two namespaces has two hashes.
        key: any string, lone surrogates included.
    """
    outer = blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    return blake2b(key.encode("utf-8", "surrogatepass"), key=outer, digest_size=32).digest()
