"""Keep what a login form has to come back with: where the person was going, and that this browser was given the form.

The state travels in the form, signed by the keys of the realm's sessions, and counts for the path that it was made for
only. A random cookie, which no other site can read or send, ties it to the browser. The path itself is never taken from
the form.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any

from asgi_gateway.authentication.realm import came_over_tls
from asgi_gateway.http.headers import cookie_header
from asgi_gateway.model import AuthRequest, Headers
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.sessions.cookies import Sessions

__all__ = ["LIFE", "FormState", "LoginStates"]

LIFE = 3600.0
"""Seconds for which a form can be sent."""
_COOKIE = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class FormState:
    """What a form came back with.

    Args:
        query: the query of the page that the person was going to.
        slash: whether its path ended with a slash.
        fresh: False if the form was open for too long, or is another browser's: it is shown anew.
    """

    query: str = ""
    slash: bool = False
    fresh: bool = False


class LoginStates:
    """Makes and reads the states of one realm's forms.

    Args:
        sessions: the realm's sessions, whose keys sign.
        clock: the time.
    """

    def __init__(self, sessions: Sessions[Any], clock: Clock) -> None:
        self._sessions = sessions
        self._signer = sessions.signer("login-form")
        self._clock = clock

    def issue(self, request: AuthRequest, path: str, state: FormState) -> tuple[str, Headers]:
        """Return the state of a new form, and the headers that give its cookie to a browser without one.

        Args:
            request: the request that the form answers.
            path: the URL path of the page that the person is going to.
            state: what the form has to come back with.
        """
        secure = came_over_tls(request)
        values = self._cookies(request)
        value = values[0] if values else secrets.token_urlsafe(16)
        headers: Headers = ()
        if not values:
            cookies = self._sessions.companion_cookies("login-form", secure=secure)
            headers = tuple((b"set-cookie", f"{name}={value}{rest}".encode()) for name, rest in cookies.items())
        data = {"b": _digest(value, path), "q": state.query, "s": int(state.slash), "t": int(self._clock.time())}
        return self._signer.sign(data), headers

    def read(self, request: AuthRequest, path: str, text: str) -> FormState:
        """Return what a form came back with; nothing of a state that is not this browser's, or for another path."""
        data = self._signer.read(text)
        if data is None:
            return FormState()
        bound = str(data["b"])
        if not any(hmac.compare_digest(bound, _digest(value, path)) for value in self._cookies(request)):
            return FormState()
        age = self._clock.time() - data["t"]
        return FormState(data["q"], bool(data["s"]), -60 <= age <= LIFE)

    def _cookies(self, request: AuthRequest) -> list[str]:
        """Return the values of the form's cookie: several, if another host of the site has set one of its name."""
        names = self._sessions.companion_cookies("login-form", secure=came_over_tls(request))
        pairs = (pair.partition("=") for pair in cookie_header(request.headers).decode("latin-1").split(";"))
        values = (value.strip() for name, _, value in pairs if name.strip() in names)
        return [value for value in values if _COOKIE.fullmatch(value)][:4]


def _digest(cookie: str, path: str) -> str:
    return hashlib.blake2b(f"{cookie} {path}".encode(), digest_size=16).hexdigest()
