"""Challenge handlers for Basic and for Application Token."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from asgi_gateway.client.challenge import ChallengeHandler, ChallengeRequest, ChallengeResponse, MaybeAwaitable, then
from asgi_gateway.client.login import LoginSource, PasswordAuthentication, login_handler
from asgi_gateway.client.urls import is_confidential
from asgi_gateway.http.headers import basic_value

__all__ = ["BasicChallengeHandler", "TokenChallengeHandler", "TokenSource"]

logger = logging.getLogger("asgi_gateway.client")


class _SecretChallengeHandler(ChallengeHandler):
    """Answers one scheme with a secret that must not travel in the clear."""

    _scheme: str

    def __init__(self, *, allow_plain_http: bool) -> None:
        self._allow_plain_http = allow_plain_http

    def can_handle(self, request: ChallengeRequest) -> bool:
        if request.scheme != self._scheme:
            return False
        if self._allow_plain_http or is_confidential(request.location):
            return True
        logger.warning(
            "no %s credentials are sent to %s without TLS; allow_plain_http=True would send them",
            self._scheme,
            request.host,
        )
        return False


class BasicChallengeHandler(_SecretChallengeHandler):
    """Answers ``Basic`` and ``Application Basic`` (``org.kaazing.net.auth.BasicChallengeHandler``).

    Args:
        login: the general login handler, asked for realms that have none of their own: a LoginHandler, or a callable.
        allow_plain_http: send the password also without TLS to hosts other than this one.

    Source: RFC 7617.
    """

    _scheme = "basic"

    def __init__(self, login: LoginSource | None = None, *, allow_plain_http: bool = False) -> None:
        super().__init__(allow_plain_http=allow_plain_http)
        self._general = login_handler(login) if login is not None else None
        self._of_realm: dict[str, LoginSource] = {}

    def set_realm_login_handler(self, realm: str, login: LoginSource | None) -> BasicChallengeHandler:
        """Set the login handler of one realm.

        Args:
            realm: the realm's name, as its challenges give it.
            login: the login handler; None removes the realm's.

        Returns:
            this handler, so that calls can be chained.
        """
        if login is None:
            self._of_realm.pop(realm, None)
        else:
            self._of_realm[realm] = login_handler(login)
        return self

    def can_handle(self, request: ChallengeRequest) -> bool:
        return (self._general is not None or request.realm in self._of_realm) and super().can_handle(request)

    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        source = self._of_realm.get(request.realm, self._general)
        return then(login_handler(source).login(request), _basic) if source is not None else None


def _basic(login: PasswordAuthentication | None) -> ChallengeResponse | None:
    if login is None:
        return None
    try:
        return ChallengeResponse(basic_value(login.username, login.password), reusable=True)
    finally:
        login.clear()


TokenSource = Callable[[ChallengeRequest], MaybeAwaitable[str | None]]


class TokenChallengeHandler(_SecretChallengeHandler):
    """Answers ``Application Token``, or ``Bearer``, with what a function returns.

    Args:
        source: a plain or coroutine function that gets the ChallengeRequest, whose ``challenge.words`` and
            ``challenge.parameters`` hold the challenge's data; it returns the token, or None to give no answer.
        allow_plain_http: send the token also without TLS to hosts other than this one.
        scheme: the scheme that is answered, ``Token`` or ``Bearer`` (RFC 6750).
        reusable: whether a token is good for further requests.
    """

    def __init__(
        self,
        source: TokenSource,
        *,
        allow_plain_http: bool = False,
        scheme: Literal["Token", "Bearer"] = "Token",
        reusable: bool = False,
    ) -> None:
        super().__init__(allow_plain_http=allow_plain_http)
        self._source = source
        self._name = scheme
        self._scheme = scheme.lower()
        self._reusable = reusable

    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        return then(self._source(request), self._response)

    def _response(self, token: str | None) -> ChallengeResponse | None:
        return ChallengeResponse(f"{self._name} {token}", reusable=self._reusable) if token else None
