"""The rule on ``root_path``: the part of a request's path below which the application is mounted.

The ASGI specification wants ``path`` to begin with ``root_path``. Frameworks agree on how to read such a scope and no
other: where the path does not begin with the root, Starlette reads the whole path, Litestar what follows the first
place where the root occurs, Quart finds no route and Channels raises. So a request that breaks the rule is refused, and
the application gets the ``root_path`` that the gateway decided with.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar

from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.services.paths import ambiguity, is_below

__all__ = ["PATH_REMAINING", "ApplicationRoot", "RootPath", "Settled"]

Scope = MutableMapping[str, Any]

logger = logging.getLogger("asgi_gateway.root_path")

PATH_REMAINING = "path_remaining"
"""The key under which Channels' URLRouter hands on what it left of the path. An inner URLRouter reads it, and not the
path; every other application reads the path. So it becomes a ``root_path``."""


@dataclass(frozen=True, slots=True)
class ApplicationRoot(ABC):
    """A root path that is built into the application, which answers each of its routes with and without that prefix.

    Args:
        prefix: The root path.
    """

    prefix: str
    setting: ClassVar[str]
    """Where it is set, for messages."""

    @abstractmethod
    def read(self, path: str) -> str:
        """Return the path on which the application routes a request whose scope has this path."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A scope whose ``root_path`` is settled.

    Args:
        scope: The scope to go on with. Its ``root_path`` is a leading part of its path, or empty.
        refusal: Why the request has to be refused, or None.
    """

    scope: Scope
    refusal: str | None = None


class RootPath:
    """Settles the ``root_path`` of each scope before anything else reads its path.

    Args:
        configured: The element ``root-path``: the root of every request, whatever the server says. It has no slash at
            its end and is empty for none. None takes what the server says, unless a client can choose that.
        application: The root paths that are built into the application.

    Raises:
        ConfigError: The configured root is not empty and the application replaces it by another.
    """

    def __init__(self, configured: str | None = None, application: Iterable[ApplicationRoot] = ()) -> None:
        self._configured = configured
        self._application = tuple(application)
        self._warned = False
        for root in self._application:
            if configured and root.prefix != configured:
                message = f"root-path is {configured}, and the application replaces it by {root.prefix}"
                raise ConfigError(Problem(message, path="root-path", hint=f"remove {root.setting}"))

    @property
    def concerns_every_scope(self) -> bool:
        """Whether also a scope without a ``root_path`` must be settled."""
        return bool(self._configured or self._application)

    @property
    def warnings(self) -> list[str]:
        """What an operator has to know at start, each as one sentence."""
        return [
            f"the application answers each path below {root.prefix} a second time, by {root.setting}; requests below "
            f"{root.prefix} are refused (hint: remove the setting and configure root-path: {root.prefix} if the proxy "
            "in front keeps the prefix)"
            for root in self._application
            if self._configured != root.prefix
        ]

    def settle(self, scope: Scope) -> Settled:
        """Return the scope with the ``root_path`` that counts, or the reason to refuse the request.

        Args:
            scope: An ASGI scope of any type. It is not changed.
        """
        if scope["type"] not in ("http", "websocket"):
            return Settled(scope)
        path = scope["path"]
        root = self._root(scope)
        unchanged = root == (scope.get("root_path") or "") and PATH_REMAINING not in scope
        settled = scope if unchanged else _with_root(scope, root)
        if root and (not is_below(path, root) or ambiguity(f"{root}/") is not None):
            return Settled(_with_root(scope, ""), f"root_path {root!r} is not a leading part of the path")
        below = path[len(root) :]
        for application in self._application:
            if application.read(path) != below:
                return Settled(settled, f"the application reads this path differently, by {application.setting}")
        return Settled(settled)

    def _root(self, scope: Scope) -> str:
        if self._configured is not None:
            return self._configured
        given = scope.get("root_path") or ""
        if given and clients_choose_root():
            if not self._warned:
                self._warned = True
                logger.warning(
                    "daphne takes root_path from any client's header Daphne-Root-Path; it is ignored "
                    "(hint: configure root-path, which replaces daphne --root-path)"
                )
            return ""
        path, remaining = scope["path"], scope.get(PATH_REMAINING)
        if remaining is not None and path.endswith(remaining):
            given = path[: len(path) - len(remaining)]
        return given.removesuffix("/")


def clients_choose_root() -> bool:
    """Return whether the server takes ``root_path`` from clients: daphne does, from the header Daphne-Root-Path."""
    reactor = sys.modules.get("twisted.internet.reactor")
    return "daphne.server" in sys.modules and bool(getattr(reactor, "running", False))


def _with_root(scope: Scope, root: str) -> Scope:
    changed = {**scope, "root_path": root}
    changed.pop("app_root_path", None)  # an outer Starlette derived it from the root_path that does not count
    changed.pop(PATH_REMAINING, None)
    return changed
