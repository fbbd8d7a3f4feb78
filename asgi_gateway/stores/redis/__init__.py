"""ExpiringState for a cluster: Redis (or Valkey), a single server, Sentinel or Cluster. Needs the extra ``redis``.

An entry is a key set with ``NX PX``: Redis decides which caller was first. Redis must not evict entries by itself:
where ``maxmemory`` is set with a policy other than ``noeviction``, nothing is stored. Entries that Redis loses
(emptied, restarted without persistence, failed over before its replica had the write) are lost here, too.

Redis has no bound by number. So that sessions cannot fill its memory, a partition that may lose entries keeps an index
of them: a sorted set of their names, scored by the time when they expire.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from asgi_gateway.errors import ConfigError
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions, parse_duration
from asgi_gateway.plugins.state_store import (
    Listing,
    MessageLog,
    Partition,
    PositionLost,
    StateStore,
    check_ttl,
    hashed,
)
from asgi_gateway.stores.redis.connection import ConnectionOptions, RedisConnection
from asgi_gateway.stores.redis.urls import TlsFiles

__all__ = ["RedisOptions", "RedisState"]

T = TypeVar("T")

_COMPARE_AND_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_COMPARE_AND_EXTEND = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1"
)
_COMPARE_AND_SET = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1"
)
_INDEX = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local expires, bound = now + tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not known or tonumber(known) < expires then redis.call('ZADD', KEYS[1], expires, ARGV[1]) end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local surplus, removed = math.min(redis.call('ZCARD', KEYS[1]) - bound, 100), {}
if surplus > 0 then
    for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, surplus)) do
        if name ~= ARGV[1] and #removed < surplus then removed[#removed + 1] = name end
    end
    redis.call('ZREM', KEYS[1], unpack(removed))
end
return removed
"""
"""Adds a name to an index, drops expired ones, and returns the names beyond the bound that expire first."""
_MESSAGES = 10_000
_PAGE = 1000
_LISTING = 30.0  # seconds that reading a whole list may take
_NAMESPACE = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class RedisOptions(ModuleOptions):
    """Options of the store ``redis``: what RedisState takes, with dashes in the names."""

    url: str | tuple[str, ...]
    password_file: Path | None = Field(default=None, alias="password-file")
    ca_file: Path | None = Field(default=None, alias="ca-file")
    cert_file: Path | None = Field(default=None, alias="cert-file")
    key_file: Path | None = Field(default=None, alias="key-file")
    sentinel: str | None = Field(default=None, min_length=1)
    cluster: Boolean = False
    namespace: str = "asgi-gateway"
    timeout: Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=60)] = 1.0
    max_connections: int = Field(default=32, ge=1, alias="max-connections")
    max_entries: int = Field(default=1_000_000, ge=1, alias="max-entries")


class RedisState(StateStore, MessageLog, Listing):
    """ExpiringState in Redis, for any number of hosts. To be used in the event loop (asyncio) that first used it.

    Commands are never repeated by themselves: whether a lost one took effect, nobody knows.

    Args:
        url: ``redis://[user@]host[:port][/db]``, ``rediss://…`` for TLS, ``unix://[user@]/path[?db=n]``; several for
            Sentinel or Cluster: each names one sentinel or node.
        password_file: file whose first line is the password; better than a password in the URL.
        ca_file: certificates to trust for TLS instead of the system's.
        cert_file: the client's certificate, for TLS.
        key_file: its key, unless that is in the same file.
        sentinel: the name of the service that the sentinels at ``url`` watch. User, password and database are those of
            the service; sentinels are asked without.
        cluster: whether ``url`` is a Redis Cluster.
        namespace: what all keys begin with: ``<namespace>:<hash>``.
        timeout: seconds after which a call gives up with StateUnavailable, connecting and waiting included.
        max_connections: the number of connections at most; further calls wait for one.
        max_entries: the number of entries that each partition holds at most which may lose entries, such as that of
            sessions. The store itself is bounded by Redis's ``maxmemory``.

    Raises:
        ConfigError: redis-py is not installed, a file cannot be read, or an argument is out of range.
    """

    shared = True
    Options = RedisOptions

    @classmethod
    def configured(cls, options: RedisOptions, directory: Path, clock: Clock) -> RedisState:
        values = dict(options)
        files = {name: directory / file.expanduser() for name, file in values.items() if isinstance(file, Path)}
        return cls(**(values | files))

    def __init__(  # noqa: PLR0913 - all by keyword, one for each option
        self,
        url: str | Sequence[str],
        *,
        password_file: str | Path | None = None,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        sentinel: str | None = None,
        cluster: bool = False,
        namespace: str = "asgi-gateway",
        timeout: float = 1.0,
        max_connections: int = 32,
        max_entries: int = 1_000_000,
    ) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise ConfigError("a namespace is 1 to 64 letters, digits or ._:-")
        if not 0 < timeout <= 60 or max_connections < 1 or max_entries < 1:
            raise ConfigError(
                "timeout must be more than 0 and at most 60 seconds, max_connections and max_entries at least 1"
            )
        self._connection = RedisConnection(
            ConnectionOptions(
                urls=(url,) if isinstance(url, str) else tuple(url),
                password_file=password_file,
                tls=TlsFiles(ca=ca_file, cert=cert_file, key=key_file),
                sentinel=sentinel,
                cluster=cluster,
                timeout=timeout,
                max_connections=max_connections,
            )
        )
        self._namespace = namespace
        self._prefix = namespace
        self._index: str | None = None
        self._max_entries = max_entries
        self._log = f"{namespace}:messages"

    @property
    def identity(self) -> str:
        return f"redis {self._namespace}"

    def partition(self, kind: Partition) -> RedisState:
        if kind is Partition.REVOCATIONS:
            return self
        part = copy.copy(self)
        part._prefix = f"{self._namespace}:{kind.value}"
        part._index = f"{self._namespace}:index:{kind.value}"
        return part

    async def open(self) -> None:
        """Do nothing: a Redis that is down does not keep the gateway from starting, it refuses logins that need it."""

    async def close(self) -> None:
        await self._connection.close()

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        check_ttl(ttl)
        name, data, milliseconds = self._name(key), _bytes(value), math.ceil(ttl * 1000)

        async def put(client: Any) -> bytes | None:
            await self._add_to_index(client, name, milliseconds)  # first: no entry is ever missing in the index
            while not await client.set(name, data, nx=True, px=milliseconds):
                present: bytes | None = await client.get(name)
                if present is not None:  # else it expired in between
                    return present
            return None

        present = await self._connection.do(put)
        return None if present is None else _text(present)

    async def get(self, key: str) -> str | None:
        name = self._name(key)
        value = await self._connection.do(lambda client: client.get(name))
        return None if value is None else _text(value)

    async def remove(self, key: str, value: str) -> bool:
        name, data = self._name(key), _bytes(value)

        async def remove(client: Any) -> bool:
            removed: bool = await client.eval(_COMPARE_AND_DELETE, 1, name, data) == 1
            if removed and self._index is not None:
                await client.zrem(self._index, name)
            return removed

        return await self._connection.do(remove)

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        check_ttl(ttl)
        return await self._change(_COMPARE_AND_EXTEND, key, [_bytes(value)], ttl)

    async def replace(self, key: str, old: str | None, new: str, ttl: float) -> bool:
        if old is None:
            return await self.put_if_absent(key, new, ttl) is None
        check_ttl(ttl)
        return await self._change(_COMPARE_AND_SET, key, [_bytes(old), _bytes(new)], ttl)

    async def _change(self, script: str, key: str, values: list[bytes], ttl: float) -> bool:
        """Run a script that changes an entry if it holds the first of some values. Return whether it did."""
        name, milliseconds = self._name(key), math.ceil(ttl * 1000)

        async def change(client: Any) -> bool:
            changed: bool = await client.eval(script, 1, name, *values, milliseconds) == 1
            if changed:
                await self._add_to_index(client, name, milliseconds)
            return changed

        return await self._connection.do(change)

    async def _add_to_index(self, client: Any, name: str, milliseconds: int) -> None:
        """Note when an entry expires. Remove the entries beyond the bound that would expire first."""
        if self._index is None:
            return
        removed = await client.eval(_INDEX, 1, self._index, name, milliseconds, self._max_entries)
        for other in removed:  # one by one: in a cluster, each may be at another node
            await client.delete(other)

    async def append(self, message: str) -> None:
        fields = {b"text": _bytes(message)}
        await self._connection.do(lambda client: client.xadd(self._log, fields, maxlen=_MESSAGES, approximate=True))

    async def follow(self, position: str | None, wait: float) -> tuple[str, list[str]]:
        async def after(client: Any) -> tuple[str, list[str]]:
            if position is None:
                newest = await client.xrevrange(self._log, count=1)
                return (newest[0][0].decode() if newest else "0-0"), []
            answer = await client.xread({self._log: position}, block=max(int(wait * 1000), 1))
            entries = answer[0][1] if answer else []
            await self._check_position(client, position, bool(entries))
            return (entries[-1][0].decode() if entries else position), [_text(fields[b"text"]) for _, fields in entries]

        return await self._connection.do(after, wait)

    async def enlist(self, name: str, text: str, ttl: float) -> None:
        check_ttl(ttl)
        key, data, milliseconds = self._listed_name(name), _bytes(text), math.ceil(ttl * 1000)
        await self._connection.do(lambda client: client.set(key, data, px=milliseconds))

    async def strike(self, name: str) -> None:
        key = self._listed_name(name)
        await self._connection.do(lambda client: client.delete(key))

    async def listed(self, most: int) -> list[str]:
        async def read(client: Any) -> list[str]:
            names: set[bytes] = set()  # a scan may come by the same key twice
            async for name in client.scan_iter(match=f"{self._namespace}:listed:*", count=_PAGE):
                names.add(name)
                if len(names) >= most:
                    break
            ordered, texts = list(names), list[str]()
            get = client.mget_nonatomic if self._connection.cluster else client.mget
            for start in range(0, len(ordered), _PAGE):
                there = await get(ordered[start : start + _PAGE])
                texts += [_text(text) for text in there if text is not None]
            return texts

        return await self._connection.do(read, _LISTING)

    async def left(self, key: str) -> float | None:
        name = self._name(key)
        milliseconds: int = await self._connection.do(lambda client: client.pttl(name))
        return milliseconds / 1000 if milliseconds >= 0 else None

    def __repr__(self) -> str:
        return f"RedisState({self._connection.where!r}, namespace={self._namespace!r})"

    async def _check_position(self, client: Any, position: str, more: bool) -> None:
        """Check that no message is missing between a position and what follows it.

        Raises:
            PositionLost: the log was emptied, or has lost its oldest messages.
        """
        edge = await (client.xrange if more else client.xrevrange)(self._log, count=1)
        known = _order(edge[0][0].decode()) if edge else (0, 0)
        if known > _order(position) > (0, 0) if more else known < _order(position):
            raise PositionLost(f"Redis at {self._connection.where} no longer has what followed message {position}")

    def _listed_name(self, name: str) -> str:
        return f"{self._namespace}:listed:{hashed(self._namespace, name).hex()}"

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{hashed(self._namespace, key).hex()}"


def _order(position: str) -> tuple[int, ...]:
    """Return a stream's entry id as numbers, which are ordered as the entries are."""
    return tuple(int(part) for part in position.split("-"))


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
