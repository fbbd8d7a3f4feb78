"""Answer the 401s of back ends with credentials."""

from __future__ import annotations

from dataclasses import dataclass, field

from asgi_gateway.model import Headers, Subject

__all__ = ["BackendChallenge", "BackendCredentials", "BackendLogin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChallenge:
    """A frozen 401 of a back end.

    Args:
        url: the URL that was requested, without a query.
        headers: the response's headers, names in lower case.
        subject: the authenticated user; None on a public service.
        authorization: the client's own Authorization header, or None.
        attempt: the number of the attempt that would follow, from 1.
    """

    url: str
    headers: Headers = field(repr=False)
    subject: Subject | None = None
    authorization: bytes | None = field(default=None, repr=False)
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCredentials:
    """Frozen credentials for a back end.

    Args:
        authorization: the value of the Authorization header; never printed.
        connection_bound: whether they authenticate the connection, which then serves nobody else (NTLM, Negotiate).
    """

    authorization: str = field(repr=False)
    connection_bound: bool = False


class BackendLogin:
    """Answers the 401s of a service's back ends. Opened and closed with the back end.

    Args:
        attempts: how often one request is sent again with credentials at most; 0 for never.
    """

    def __init__(self, attempts: int = 0) -> None:
        self.attempts = attempts

    async def open(self) -> None:
        """Open what the credentials come from."""

    async def close(self) -> None:
        """Close what ``open`` opened."""

    async def answer(self, challenge: BackendChallenge) -> BackendCredentials | None:
        """Return the credentials with which the request is sent again; None to pass the 401 on to the client.

        Args:
            challenge: the 401.
        """
        return None
