"""What can go wrong with a directory, told apart by what it says about the server and about the user."""

from __future__ import annotations

from asgi_gateway.errors import LoginFailed, LoginUnavailable

__all__ = ["DirectoryTimeout", "NotThere", "OutOfTime", "Referred", "Refused", "ServerLost", "TooMany"]


class ServerLost(LoginUnavailable):
    """The server cannot be asked: unreachable, too slow, busy, or gone in mid-answer. Another one may do better."""


class DirectoryTimeout(ServerLost):
    """The server did not answer in time. Asking it again would only take as long again."""


class OutOfTime(LoginUnavailable):
    """The login's time is used up, which says nothing about the server at hand."""


class NotThere(LoginUnavailable):
    """What a search begins at is not there, or must not be seen."""


class Refused(LoginFailed):
    """The server refused a bind."""


class TooMany(LoginFailed):
    """More entries than were asked for."""


class Referred(LoginUnavailable):
    """The server does not hold the entry and names others that may.

    Args:
        urls: LDAP URLs as the server gave them.
    """

    def __init__(self, urls: tuple[str, ...]) -> None:
        super().__init__("the server refers to another one, which is not followed")
        self.urls = urls
