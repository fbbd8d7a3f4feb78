"""What the application finds in its scope: Starlette's user and credentials, and everything else under one key.

All of it is immutable, so that what one request does to it cannot reach another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.authentication import AuthCredentials, BaseUser

from asgi_gateway.model import Subject

__all__ = ["SCOPE_KEY", "GatewayContext", "GatewayCredentials", "GatewayUser", "scope_additions"]

SCOPE_KEY = "asgi_gateway"
"""The scope's key for a GatewayContext."""


class GatewayUser(BaseUser):
    """``request.user``: the subject as Starlette's user, or nobody on a public service; it cannot be changed.

    Args:
        subject: the authenticated subject, None for nobody.
    """

    _subject: Subject | None

    def __init__(self, subject: Subject | None) -> None:
        object.__setattr__(self, "_subject", subject)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        # One object serves every request of a remembered credential, and all requests of a public service.
        raise AttributeError("the gateway's user cannot be changed")

    @property
    def subject(self) -> Subject | None:
        """The subject with all its principals and credentials; None for nobody."""
        return self._subject

    @property
    def is_authenticated(self) -> bool:
        return self._subject is not None

    @property
    def display_name(self) -> str:
        return self._subject.name if self._subject is not None else ""

    @property
    def identity(self) -> str:
        return self.display_name

    @property
    def roles(self) -> frozenset[str]:
        """The roles that the subject holds."""
        return self._subject.roles if self._subject is not None else frozenset()

    def __repr__(self) -> str:
        return f"GatewayUser({self.display_name!r})"


class GatewayCredentials(AuthCredentials):
    """``request.auth``: its scopes are ``authenticated`` and the roles, in order; they cannot be changed."""

    def __init__(self, subject: Subject | None) -> None:
        scopes = ("authenticated", *sorted(subject.roles)) if subject is not None else ()
        object.__setattr__(self, "scopes", scopes)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("the gateway's credentials cannot be changed")


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """``scope["asgi_gateway"]``.

    Args:
        service: the name of the service that the request matched.
        realm: the name of the realm that authenticated it, empty for a public service.
        subject: who it is, None for a public service.
        socket: for a WebSocket with an authorization timeout: by what name its client authenticates again for it.
    """

    service: str
    realm: str
    subject: Subject | None
    socket: str = ""


def scope_additions(service: str, realm: str, subject: Subject | None) -> dict[str, Any]:
    """What is put into the application's scope."""
    return {
        "user": GatewayUser(subject),
        "auth": GatewayCredentials(subject),
        SCOPE_KEY: GatewayContext(service, realm, subject),
    }
