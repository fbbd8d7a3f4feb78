"""ExpiringState for a cluster: Redis (or Valkey), a single server, Sentinel or Cluster. Needs the extra ``redis``.

``SET key value NX PX`` is the whole of it: Redis decides who was first. It must not drop entries to make room: where
``maxmemory`` is set with a policy other than ``noeviction``, nothing is stored. What Redis forgets, since it was
emptied, or restarted without persistence, or failed over before its replica had the write, is forgotten here, too.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from asgi_gateway.errors import ConfigError, StateError, StateFull, StateUnavailable
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions, parse_duration
from asgi_gateway.plugins.state_store import Listing, MessageLog, PositionLost, StateStore, check_ttl, hashed
from asgi_gateway.stores.redis.urls import PORT, options_of, parse

__all__ = ["RedisOptions", "RedisState"]

T = TypeVar("T")

_COMPARE_AND_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_COMPARE_AND_EXTEND = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1"
)
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
        max_connections: how many connections are held at most; further calls wait for one.

    Raises:
        ConfigError: redis-py is not installed, a file cannot be read, or an argument makes no sense.
    """

    shared = True
    Options = RedisOptions

    @classmethod
    def configured(cls, options: RedisOptions, directory: Path, clock: Clock) -> RedisState:
        values = dict(options)
        files = {name: directory / file.expanduser() for name, file in values.items() if isinstance(file, Path)}
        return cls(**(values | files))

    def __init__(
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
    ) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise ConfigError("a namespace is 1 to 64 letters, digits or ._:-")
        if not 0 < timeout <= 60 or max_connections < 1:
            raise ConfigError("timeout must be more than 0 and at most 60 seconds, max_connections at least 1")
        urls = parse([url] if isinstance(url, str) else url)
        if sentinel is not None and cluster:
            raise ConfigError("sentinel and cluster exclude each other")
        if len(urls) > 1 and sentinel is None and not cluster:
            raise ConfigError("several Redis URLs need sentinel or cluster")
        if urls[0].scheme == "unix" and (sentinel is not None or cluster):
            raise ConfigError("a Unix socket is one server, not sentinel nor cluster")
        self._addresses = [(part.hostname or "localhost", part.port or PORT) for part in urls]
        self._where = urls[0].path if urls[0].scheme == "unix" else ",".join(f"{h}:{p}" for h, p in self._addresses)
        self._options = options_of(urls[0], password_file, ca_file, cert_file, key_file, cluster)
        try:
            import redis.exceptions
        except ImportError as error:
            raise ConfigError("the Redis store needs redis-py: pip install 'asgi-gateway[redis]'") from error
        self._sentinel = sentinel
        self._cluster = cluster
        self._namespace = namespace
        self._log = f"{namespace}:messages"
        self._timeout = timeout
        self._slots = asyncio.Semaphore(max_connections)
        self._follower = asyncio.Semaphore(1)  # waits for long, and must keep nobody waiting
        self._max_connections = max_connections
        self._client: Any = None
        self._sentinels: Sequence[Any] = ()
        self._checked = False
        self._errors = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError)
        self._full = redis.exceptions.OutOfMemoryError

    async def open(self) -> None:
        """Get ready. Does not connect: a Redis that is down keeps nobody from starting, it refuses what needs it."""

    async def close(self) -> None:
        clients, self._client, self._sentinels, self._checked = [self._client, *self._sentinels], None, (), False
        for client in clients:
            if client is not None:
                with suppress(TimeoutError, *self._errors):
                    async with asyncio.timeout(self._timeout):
                        await client.aclose()

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        check_ttl(ttl)
        name, data, milliseconds = self._name(key), _bytes(value), math.ceil(ttl * 1000)

        async def put(client: Any) -> bytes | None:
            while not await client.set(name, data, nx=True, px=milliseconds):
                there: bytes | None = await client.get(name)
                if there is not None:  # else it expired in between
                    return there
            return None

        there = await self._do(put)
        return None if there is None else _text(there)

    async def get(self, key: str) -> str | None:
        name = self._name(key)
        there = await self._do(lambda client: client.get(name))
        return None if there is None else _text(there)

    async def remove(self, key: str, value: str) -> bool:
        name, data = self._name(key), _bytes(value)
        removed: int = await self._do(lambda client: client.eval(_COMPARE_AND_DELETE, 1, name, data))
        return removed == 1

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        check_ttl(ttl)
        name, data, life = self._name(key), _bytes(value), math.ceil(ttl * 1000)
        extended: int = await self._do(lambda client: client.eval(_COMPARE_AND_EXTEND, 1, name, data, life))
        return extended == 1

    async def append(self, message: str) -> None:
        fields = {b"text": _bytes(message)}
        await self._do(lambda client: client.xadd(self._log, fields, maxlen=_MESSAGES, approximate=True))

    async def follow(self, position: str | None, wait: float) -> tuple[str, list[str]]:
        async def after(client: Any) -> tuple[str, list[str]]:
            if position is None:
                newest = await client.xrevrange(self._log, count=1)
                return (newest[0][0].decode() if newest else "0-0"), []
            answer = await client.xread({self._log: position}, block=max(int(wait * 1000), 1))
            entries = answer[0][1] if answer else []
            await self._check_position(client, position, bool(entries))
            return (entries[-1][0].decode() if entries else position), [_text(fields[b"text"]) for _, fields in entries]

        return await self._do(after, wait)

    async def enlist(self, name: str, text: str, ttl: float) -> None:
        check_ttl(ttl)
        key, data, milliseconds = self._listed_name(name), _bytes(text), math.ceil(ttl * 1000)
        await self._do(lambda client: client.set(key, data, px=milliseconds))

    async def strike(self, name: str) -> None:
        key = self._listed_name(name)
        await self._do(lambda client: client.delete(key))

    async def listed(self, most: int) -> list[str]:
        async def read(client: Any) -> list[str]:
            names: set[bytes] = set()  # a scan may come by the same key twice
            async for name in client.scan_iter(match=f"{self._namespace}:listed:*", count=_PAGE):
                names.add(name)
                if len(names) >= most:
                    break
            ordered, texts = list(names), list[str]()
            get = client.mget_nonatomic if self._cluster else client.mget
            for start in range(0, len(ordered), _PAGE):
                there = await get(ordered[start : start + _PAGE])
                texts += [_text(text) for text in there if text is not None]
            return texts

        return await self._do(read, _LISTING)

    async def left(self, key: str) -> float | None:
        name = self._name(key)
        milliseconds: int = await self._do(lambda client: client.pttl(name))
        return milliseconds / 1000 if milliseconds >= 0 else None

    def __repr__(self) -> str:
        return f"RedisState({self._where!r}, namespace={self._namespace!r})"

    async def _check_position(self, client: Any, position: str, more: bool) -> None:
        """Make sure that nothing is missing between a position and what follows it.

        Raises:
            PositionLost: the log was emptied, or has lost its oldest messages.
        """
        edge = await (client.xrange if more else client.xrevrange)(self._log, count=1)
        known = _order(edge[0][0].decode()) if edge else (0, 0)
        if known > _order(position) > (0, 0) if more else known < _order(position):
            raise PositionLost(f"Redis at {self._where} no longer has what followed message {position}")

    async def _do(self, command: Callable[[Any], Awaitable[T]], wait: float = 0.0) -> T:
        """Run a command within the timeout; a command that is cut off, by it or by the caller, costs its connection.

        Args:
            command: the command.
            wait: seconds that it may wait for something besides.
        """
        try:
            async with asyncio.timeout(self._timeout + wait), self._follower if wait else self._slots:
                if self._client is None:
                    self._client = self._connect()
                if not self._checked:
                    await self._check(self._client)
                return await command(self._client)
        except TimeoutError:
            error: StateError = StateUnavailable(
                f"Redis at {self._where} did not answer within {self._timeout:g} seconds"
            )
        except self._full:
            error = StateFull(f"Redis at {self._where} is at its maxmemory")
        except self._errors as reason:
            error = StateUnavailable(f"Redis at {self._where}: {reason}")
        self._checked = False  # it may come back as another one
        raise error

    async def _check(self, client: Any) -> None:
        """Make sure that Redis drops no entry early.

        Raises:
            StateUnavailable: it would.
        """
        answer = await client.info("memory", **({"target_nodes": client.PRIMARIES} if self._cluster else {}))
        for memory in answer.values() if self._cluster and "maxmemory" not in answer else [answer]:
            policy = memory.get("maxmemory_policy", "unknown")
            if memory.get("maxmemory", 1) and policy != "noeviction":
                raise StateUnavailable(
                    f"Redis at {self._where} would drop entries early, and allow replays:"
                    f" its maxmemory-policy is {policy} and must be noeviction"
                )
        self._checked = True

    def _connect(self) -> Any:
        """A client; its connections are made when they are needed."""
        from redis import asyncio as client
        from redis.backoff import NoBackoff

        common = {
            **self._options,
            "retry": client.retry.Retry(NoBackoff(), 0),
            "max_connections": self._max_connections + 1,
            # Under protocol 3 redis-py 8 hands out idle connections that the server has closed, for its maintenance
            # notifications' sake.
            "protocol": 2,
            # The timeout around each call is the only one: a second one would cost a task per command.
            "socket_timeout": None,
            "socket_connect_timeout": None,
        }
        if self._cluster:
            nodes = [client.cluster.ClusterNode(host, port) for host, port in self._addresses]
            return client.RedisCluster(startup_nodes=nodes, **common)
        if self._sentinel is not None:
            plain = {name: value for name, value in common.items() if name not in ("username", "password", "db")}
            watch = client.Sentinel(self._addresses, sentinel_kwargs=plain)
            self._sentinels = watch.sentinels
            return watch.master_for(self._sentinel, **common)
        if "unix_socket_path" not in common:
            common["host"], common["port"] = self._addresses[0]
        return client.Redis(**common)

    def _listed_name(self, name: str) -> str:
        return f"{self._namespace}:listed:{hashed(self._namespace, name).hex()}"

    def _name(self, key: str) -> str:
        return f"{self._namespace}:{hashed(self._namespace, key).hex()}"


def _order(position: str) -> tuple[int, ...]:
    """A stream's entry id as numbers, which compare as the entries follow each other."""
    return tuple(int(part) for part in position.split("-"))


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
