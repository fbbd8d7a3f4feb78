"""Define what can fail with a directory, by what it says about the server and about the user."""

from __future__ import annotations

from asgi_gateway.errors import LoginFailed, LoginUnavailable

__all__ = [
    "BindRefused",
    "DeadlineExceeded",
    "DirectoryTimeout",
    "NoSuchBase",
    "Referral",
    "ServerUnreachable",
    "TooManyEntries",
]


class ServerUnreachable(LoginUnavailable):
    """The server is unreachable, too slow, busy, or ended the connection. Another server may answer."""


class DirectoryTimeout(ServerUnreachable):
    """The server did not answer in time. The same request is not sent to it again."""


class DeadlineExceeded(LoginUnavailable):
    """The login's time is used up, which says nothing about the server."""


class NoSuchBase(LoginUnavailable):
    """The base of a search does not exist, or may not be read."""


class BindRefused(LoginFailed):
    """The server refused a bind."""


class TooManyEntries(LoginFailed):
    """A search found more entries than its limit."""


class Referral(LoginUnavailable):
    """The server does not hold the entry and names others that may.

    Args:
        urls: LDAP URLs as the server gave them.
    """

    def __init__(self, urls: tuple[str, ...]) -> None:
        super().__init__("the server refers to another one, which is not followed")
        self.urls = urls
