"""Credentials that were accepted and may be sent again, so that nobody is asked for each request."""

from __future__ import annotations

from urllib.parse import urlsplit

from asgi_gateway.client.urls import Origin, origin

__all__ = ["Memory"]

MAX_ENTRIES = 256


class Memory:
    """Accepted credentials by origin and folder: they are good for what lies in the folder and below.

    Source: RFC 7617 section 2.2. At the bound the oldest entry makes room.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[Origin, str], str] = {}

    def recall(self, location: str) -> str | None:
        """The credentials for a URL, of the deepest folder that holds it."""
        place, folder = origin(location), _folder(location)
        while folder:
            if (found := self._entries.get((place, folder))) is not None:
                return found
            folder = folder[:-1].rpartition("/")[0] + "/" if folder != "/" else ""
        return None

    def store(self, location: str, credentials: str) -> None:
        """Remember what was accepted for a URL."""
        key = origin(location), _folder(location)
        self._entries.pop(key, None)
        while len(self._entries) >= MAX_ENTRIES:
            self._entries.pop(next(iter(self._entries)), None)
        self._entries[key] = credentials

    def forget(self, credentials: str | None = None) -> None:
        """Forget these credentials wherever they were good, or with None everything."""
        for key, value in list(self._entries.items()):
            if credentials in (None, value):
                self._entries.pop(key, None)

    def __repr__(self) -> str:
        return f"Memory({len(self._entries)} entries)"


def _folder(location: str) -> str:
    return urlsplit(location).path.rpartition("/")[0] + "/"
