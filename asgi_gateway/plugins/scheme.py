"""Define challenge schemes: how credentials are read and challenges are written (``http-challenge-scheme``)."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from asgi_gateway.model import AuthenticationToken, Headers

__all__ = ["ChallengeScheme", "UserNamePassword"]


@dataclass(frozen=True, slots=True)
class UserNamePassword:
    """A frozen pair that a scheme of the Basic family reads from a token.

    Args:
        username: the user name.
        password: the password; never printed.
    """

    username: str
    password: str = field(repr=False)


class ChallengeScheme(abc.ABC):
    """Read credentials and write challenges for one ``http-challenge-scheme``.

    Attributes:
        name: the configured name, such as ``Application Basic``.
        wire_name: the scheme on the Authorization line in lower case, such as ``basic``.
        rejects_with_403: True if wrong credentials are answered 403 and not with the challenge again.
        recycles: True if ``authorization-mode: recycle`` makes sense with it.
        refusal_data: what the challenge says besides, after credentials of this scheme were refused.
    """

    name: ClassVar[str]
    wire_name: ClassVar[str]
    rejects_with_403: ClassVar[bool] = False
    recycles: ClassVar[bool] = True
    refusal_data: ClassVar[tuple[str, ...]] = ()

    def read(self, token: AuthenticationToken) -> UserNamePassword | None:
        """Return user name and password for schemes that carry them, None for others.

        Args:
            token: the request's credentials.

        Raises:
            HeaderError: the credentials are malformed.
        """
        return None

    @abc.abstractmethod
    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        """Return the value of a ``WWW-Authenticate`` line.

        Args:
            realm: the realm's description, else its name.
            data: what modules added with ``attempt.challenge``.
        """

    def forbidden(self, realm: str) -> str | None:
        """Return the value of a ``WWW-Authenticate`` line for a response 403 for lack of roles; None for no line.

        Args:
            realm: the realm's description, else its name.
        """
        return None

    def success(self, data: Iterable[str] = ()) -> Headers:
        """Return headers for the response to a request that was let in.

        Args:
            data: what modules added with ``attempt.respond``.
        """
        return ()
