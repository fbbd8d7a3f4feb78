"""Kerberos for Negotiate, through python-gssapi, which is imported only when a handler is made."""

from __future__ import annotations

import base64
import binascii
import inspect
import logging
from typing import Any

import anyio.to_thread

from asgi_gateway.client.challenge import (
    ChallengeHandler,
    ChallengeRequest,
    ChallengeResponse,
    MaybeAwaitable,
    MutualAuthenticationError,
)
from asgi_gateway.client.login import LoginSource, PasswordAuthentication, login_handler
from asgi_gateway.client.negotiate import KERBEROS_OID, SPNEGO_OID, NegotiableChallengeHandler
from asgi_gateway.errors import GatewayError
from asgi_gateway.http.www_authenticate import OfferedChallenge

__all__ = ["KerberosChallengeHandler"]

logger = logging.getLogger("asgi_gateway.client")


class KerberosChallengeHandler(NegotiableChallengeHandler):
    """Answers with a Kerberos ticket, and has the server prove that it holds the key that the ticket is for.

    Args:
        login: a login handler for Kerberos user name and password; None: the tickets that ``kinit`` left.
        service: the service's first part, as in ``HTTP/host.example.com``.
        host: the service's host, where it is not the location's.
        delegate: hand the server a ticket with which it can act as the user.

    Raises:
        GatewayError: python-gssapi is not installed.
    """

    def __init__(
        self,
        login: LoginSource | None = None,
        *,
        service: str = "HTTP",
        host: str | None = None,
        delegate: bool = False,
    ) -> None:
        try:
            import gssapi
        except ImportError:
            raise GatewayError("Kerberos needs python-gssapi: pip install 'asgi-gateway[kerberos]'") from None
        self._gssapi = gssapi
        self._login = login_handler(login) if login is not None else None
        self._service = service
        self._host = host
        self._delegate = delegate

    @property
    def supported_oids(self) -> tuple[str, ...]:
        return (KERBEROS_OID,)

    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        if self._login is None:
            return self._begin(request, None)
        login = self._login.login(request)
        if not inspect.isawaitable(login):
            return self._begin_as(request, login)

        async def later() -> ChallengeResponse | None:
            return await anyio.to_thread.run_sync(self._begin_as, request, await login)

        return later()

    def _begin_as(self, request: ChallengeRequest, login: PasswordAuthentication | None) -> ChallengeResponse | None:
        if login is None:
            return None
        gssapi = self._gssapi
        try:
            name = gssapi.Name(login.username, gssapi.NameType.user)
            mechanism = gssapi.OID.from_int_seq(SPNEGO_OID)  # its context takes no credentials of Kerberos alone
            acquired = gssapi.raw.acquire_cred_with_password(
                name, login.password.encode(), mechs=[mechanism], usage="initiate"
            )
        except gssapi.exceptions.GSSError as error:
            logger.info("no Kerberos ticket for %s: %s", request.host, type(error).__name__)
            return None
        finally:
            login.clear()
        return self._begin(request, gssapi.Credentials(acquired.creds))

    def _begin(self, request: ChallengeRequest, credentials: Any) -> ChallengeResponse | None:
        try:
            return self._answer(request, credentials)
        except self._gssapi.exceptions.GSSError as error:
            logger.info("no Kerberos ticket for %s: %s", request.host, type(error).__name__)
            return None

    def _answer(self, request: ChallengeRequest, credentials: Any) -> ChallengeResponse | None:
        """Return the first token of a new context.

        Args:
            request: the challenge.
            credentials: ``gssapi.Credentials``; None for the default ones. Without SPNEGO among their mechanisms the
                token is of Kerberos alone, which acceptors of Negotiate take too.

        Raises:
            gssapi.exceptions.GSSError: there is no ticket for the service.
        """
        gssapi = self._gssapi
        flags = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.out_of_sequence_detection
        if self._delegate:
            flags |= gssapi.RequirementFlag.delegate_to_peer
        mechanism = gssapi.OID.from_int_seq(SPNEGO_OID)
        if credentials is not None and mechanism not in credentials.mechs:
            mechanism = gssapi.OID.from_int_seq(KERBEROS_OID)
        context = gssapi.SecurityContext(
            name=gssapi.Name(f"{self._service}@{self._host or request.host}", gssapi.NameType.hostbased_service),
            creds=credentials,
            mech=mechanism,
            flags=flags,
            usage="initiate",
        )
        return _Exchange(gssapi, context).answer(None)


class _Exchange(ChallengeHandler):
    """Continues one security context: sends its further tokens and checks the server's proof at the end."""

    def __init__(self, gssapi: Any, context: Any) -> None:
        self._gssapi = gssapi
        self._context = context

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == "negotiate" and bool(request.challenge.words)

    def handle(self, request: ChallengeRequest) -> ChallengeResponse | None:
        try:
            return self.answer(_token(request.challenge))
        except (self._gssapi.exceptions.GSSError, binascii.Error) as error:
            logger.info("the Negotiate exchange with %s failed: %s", request.host, type(error).__name__)
            return None

    def answer(self, token: bytes | None) -> ChallengeResponse | None:
        reply = self._context.step(token)
        if reply is None:
            return None
        return ChallengeResponse(f"Negotiate {base64.b64encode(reply).decode()}", self, self.confirm)

    def confirm(self, challenges: tuple[OfferedChallenge, ...]) -> None:
        """Check the token that came with the success (RFC 4559 section 5)."""
        mutual = self._gssapi.RequirementFlag.mutual_authentication
        try:
            for challenge in challenges:
                if challenge.scheme == "negotiate" and challenge.words and not self._context.complete:
                    self._context.step(_token(challenge))
            proven = self._context.complete and mutual in self._context.actual_flags
        except (self._gssapi.exceptions.GSSError, binascii.Error):
            proven = False
        if not proven:
            raise MutualAuthenticationError("the server did not prove its identity by Kerberos")


def _token(challenge: OfferedChallenge) -> bytes:
    return base64.b64decode(challenge.words[0], validate=True)
