"""A login attempt, a clock and a module context for tests of one login module."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import AuthenticationToken, Principal, Subject
from asgi_gateway.plugins.login_module import LoginAttempt, ModuleContext
from asgi_gateway.plugins.state_store import ExpiringState, Partition
from asgi_gateway.stores.memory import MemoryState

T = TypeVar("T")


@dataclass
class ManualClock:
    """A clock that stands still until a test moves it."""

    now: float = 1_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class EmptyState(ExpiringState):
    """An ExpiringState for modules that never use it: any use is an error."""

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        raise AssertionError(f"unexpected put of {key}")

    async def get(self, key: str) -> str | None:
        raise AssertionError(f"unexpected get of {key}")

    async def remove(self, key: str, value: str) -> bool:
        raise AssertionError(f"unexpected remove of {key}")


class OnePartState(MemoryState):
    """A memory store without partitions, so that a test that overrides its methods sees all entries."""

    def partition(self, kind: Partition) -> ExpiringState:
        return self


@dataclass
class Attempt(LoginAttempt):
    """A login attempt that records what a module says. Blocking functions run in a real thread and are listed."""

    username: str | None = None
    password: str | None = None
    token: AuthenticationToken = field(default_factory=lambda: AuthenticationToken(""))
    remote_address: str | None = "192.0.2.1"
    connection: tuple[str, int] | None = ("192.0.2.1", 50_000)
    realm: str = "demo"
    service: str = "echo"
    shared_state: dict[str, Any] = field(default_factory=dict)
    principals: tuple[Principal, ...] = ()
    """What the modules before this one granted."""
    private_credentials: tuple[Any, ...] = ()
    subjects: dict[str, Subject] = field(default_factory=dict)
    """The subjects of earlier realms, by realm name."""
    challenges: list[tuple[str, ...]] = field(default_factory=list)
    responses: list[tuple[str, ...]] = field(default_factory=list)
    session_limits: list[float] = field(default_factory=list)
    authorization_limits: list[float] = field(default_factory=list)
    blocking_calls: list[Callable[..., Any]] = field(default_factory=list)

    def subject_of(self, realm_name: str) -> Subject | None:
        return self.subjects.get(realm_name)

    def subject_so_far(self) -> Subject:
        return Subject(self.principals, private_credentials=self.private_credentials)

    def challenge(self, *data: str) -> None:
        self.challenges.append(data)

    def respond(self, *data: str) -> None:
        self.responses.append(data)

    def limit_session(self, seconds: float) -> None:
        self.session_limits.append(_limit(seconds))

    def limit_authorization(self, seconds: float) -> None:
        self.authorization_limits.append(_limit(seconds))

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        self.blocking_calls.append(function)
        return await anyio.to_thread.run_sync(function, *args)


def attempt(username: str | None = None, password: str | None = None, **kw: Any) -> Attempt:
    """A login attempt with a user name and password; other attributes by keyword."""
    return Attempt(username, password, **kw)


@dataclass
class Context:
    """A module context with what the module said to it."""

    context: ModuleContext
    clock: ManualClock
    warnings: list[str]
    invalidations: list[None]


def context(directory: Path, **kw: Any) -> Context:
    """A module context whose relative files are in ``directory``, with a manual clock; fields by keyword."""
    clock, warnings, invalidations = ManualClock(), list[str](), list[None]()
    values: dict[str, Any] = {
        "directory": directory,
        "realm": "demo",
        "state": EmptyState(),
        "clock": clock,
        "logger": logging.getLogger("asgi_gateway.tests"),
        "invalidate": lambda: invalidations.append(None),
        "warn": lambda said: warnings.append(str(said)),
    }
    return Context(ModuleContext(**(values | kw)), clock, warnings, invalidations)


def _limit(seconds: float) -> float:
    if seconds < 0:
        raise ValueError("a limit is not negative")
    if seconds == 0:
        raise LoginFailed("the limit is 0")
    return seconds
