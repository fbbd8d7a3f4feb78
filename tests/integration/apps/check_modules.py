"""Login modules for the tests of forward-auth: one that answers with a last token, and one whose directory is down."""

from __future__ import annotations

from asgi_gateway import Grant, LoginAttempt, LoginModule, LoginUnavailable


class LastToken(LoginModule):
    """Lets everybody in who sends a token, with a token for the client as the end of the login."""

    needs_credentials = True

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        attempt.respond("bGFzdA==")
        return Grant.user("{http.request.host} Zoë, 100%")


class Down(LoginModule):
    """Cannot ask its directory."""

    needs_credentials = True

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        raise LoginUnavailable("the directory is down", retry_after=7)
