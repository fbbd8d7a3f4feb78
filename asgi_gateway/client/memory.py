"""Credentials that were accepted and may be sent again, so that a person is not asked for each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from asgi_gateway.client.challenge import ChallengeHandler
from asgi_gateway.client.urls import Origin, origin

__all__ = ["CredentialMemory", "ProtectionSpace"]

MAX_ENTRIES = 256

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class ProtectionSpace:
    """A frozen name for where one answer to a challenge is good (RFC 9110 section 11.5).

    Args:
        origin: scheme, host and port that challenged.
        scheme: the challenge's scheme in lower case, without ``Application``.
        realm: the challenge's realm.
        handler: who answers there. Spaces of different handlers are different, so that two handlers which a
            DispatchChallengeHandler chooses by path never send each other's credentials.
    """

    origin: Origin
    scheme: str
    realm: str
    handler: ChallengeHandler = field(compare=False, repr=False)
    handler_id: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "handler_id", id(self.handler))  # a handler may define __eq__ and have no hash


class CredentialMemory:
    """Accepted credentials by folder, to be sent at once, and by protection space, to answer challenges with.

    Credentials that were accepted for a URL are good for what lies in its folder and below (RFC 7617 section 2.2). At
    the bound the oldest entry is dropped.
    """

    def __init__(self) -> None:
        self._by_folder: dict[tuple[Origin, str], str] = {}
        self._by_space: dict[ProtectionSpace, str] = {}

    def recall(self, location: str) -> str | None:
        """Return the credentials to send to a URL at once: those of the deepest folder that holds it."""
        place, folder = origin(location), _folder(location)
        while folder:
            if (found := self._by_folder.get((place, folder))) is not None:
                return found
            folder = folder[:-1].rpartition("/")[0] + "/" if folder != "/" else ""
        return None

    def recall_space(self, space: ProtectionSpace) -> str | None:
        """Return the credentials that answer a challenge of a protection space."""
        return self._by_space.get(space)

    def store(self, location: str, space: ProtectionSpace, credentials: str) -> None:
        """Remember credentials that were accepted for a URL, after a challenge of a protection space."""
        _store(self._by_folder, (origin(location), _folder(location)), credentials)
        _store(self._by_space, space, credentials)

    def forget(self, credentials: str | None = None) -> None:
        """Forget these credentials wherever they were accepted; with None everything."""
        _forget(self._by_folder, credentials)
        _forget(self._by_space, credentials)

    def __repr__(self) -> str:
        return f"CredentialMemory({len(self._by_folder)} folders)"


def _store(entries: dict[K, str], key: K, credentials: str) -> None:
    entries.pop(key, None)
    while len(entries) >= MAX_ENTRIES:
        entries.pop(next(iter(entries)), None)
    entries[key] = credentials


def _forget(entries: dict[K, str], credentials: str | None) -> None:
    for key, value in list(entries.items()):
        if credentials in (None, value):
            entries.pop(key, None)


def _folder(location: str) -> str:
    return urlsplit(location).path.rpartition("/")[0] + "/"
