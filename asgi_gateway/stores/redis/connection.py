"""Connections to Redis: a single server, Sentinel or Cluster; every command within a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from asgi_gateway.errors import ConfigError, StateError, StateFull, StateUnavailable
from asgi_gateway.stores.redis.urls import PORT, TlsFiles, options_of, parse

__all__ = ["ConnectionOptions", "RedisConnection"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How to connect; see RedisState."""

    urls: tuple[str, ...]
    password_file: str | Path | None
    tls: TlsFiles
    sentinel: str | None
    cluster: bool
    timeout: float
    max_connections: int


class RedisConnection:
    """The connections of one store. To be used in the event loop (asyncio) that first used it.

    Args:
        options: how to connect.

    Raises:
        ConfigError: redis-py is not installed, a file cannot be read, or an option is invalid.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        sentinel, cluster = options.sentinel, options.cluster
        urls = parse(options.urls)
        if sentinel is not None and cluster:
            raise ConfigError("sentinel and cluster exclude each other")
        if len(urls) > 1 and sentinel is None and not cluster:
            raise ConfigError("several Redis URLs need sentinel or cluster")
        if urls[0].scheme == "unix" and (sentinel is not None or cluster):
            raise ConfigError("a Unix socket is one server, not sentinel nor cluster")
        self._addresses = [(part.hostname or "localhost", part.port or PORT) for part in urls]
        self.where = urls[0].path if urls[0].scheme == "unix" else ",".join(f"{h}:{p}" for h, p in self._addresses)
        self._options = options_of(urls[0], options.password_file, options.tls, cluster)
        try:
            import redis.exceptions
        except ImportError as error:
            raise ConfigError("the Redis store needs redis-py: pip install 'asgi-gateway[redis]'") from error
        self._sentinel = sentinel
        self.cluster = cluster
        self._timeout = options.timeout
        self._slots = asyncio.Semaphore(options.max_connections)
        self._follower = asyncio.Semaphore(1)  # its commands wait long, and must not hold up the others
        self._max_connections = options.max_connections
        self._client: Any = None
        self._sentinels: Sequence[Any] = ()
        self._checked = False
        self._errors = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError)
        self._full = redis.exceptions.OutOfMemoryError

    async def close(self) -> None:
        """Close every connection. Wait for each at most the timeout."""
        clients, self._client, self._sentinels, self._checked = [self._client, *self._sentinels], None, (), False
        for client in clients:
            if client is not None:
                with suppress(TimeoutError, *self._errors):
                    async with asyncio.timeout(self._timeout):
                        await client.aclose()

    async def do(self, command: Callable[[Any], Awaitable[T]], wait: float = 0.0) -> T:
        """Run a command within the timeout. A command that is cut off, by it or by the caller, costs its connection.

        Args:
            command: is given the client.
            wait: further seconds that the command itself waits at the server.

        Raises:
            StateUnavailable: there was no answer in time, or an error.
            StateFull: Redis is at its ``maxmemory``.
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
                f"Redis at {self.where} did not answer within {self._timeout:g} seconds"
            )
        except self._full:
            error = StateFull(f"Redis at {self.where} is at its maxmemory")
        except self._errors as reason:
            error = StateUnavailable(f"Redis at {self.where}: {reason}")
        self._checked = False  # another server may answer next
        raise error

    async def _check(self, client: Any) -> None:
        """Check that Redis evicts no entry by itself.

        Raises:
            StateUnavailable: it would evict entries.
        """
        answer = await client.info("memory", **({"target_nodes": client.PRIMARIES} if self.cluster else {}))
        for memory in answer.values() if self.cluster and "maxmemory" not in answer else [answer]:
            policy = memory.get("maxmemory_policy", "unknown")
            if memory.get("maxmemory", 1) and policy != "noeviction":
                raise StateUnavailable(
                    f"Redis at {self.where} would evict entries early, and allow replays:"
                    f" its maxmemory-policy is {policy} and must be noeviction"
                )
        self._checked = True

    def _connect(self) -> Any:
        """Return a client. It connects when a command needs it."""
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
        if self.cluster:
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
