"""Redirect every request to one place: the service type ``http.redirect``."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse

from asgi_gateway.services.backend import Backend, Receive, Scope, Send

__all__ = ["STATUS_CODES", "Redirect", "check_location"]

STATUS_CODES = (301, 302, 303, 307, 308)
"""The status codes that redirect (RFC 9110 section 15.4)."""
_PATH = re.compile(r"/(?![/\\])")
_URL = re.compile(
    r"(?:https?|wss?)://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::([0-9]{1,5}))?(?:[/?#].*)?", re.IGNORECASE
)
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")


class Redirect(Backend):
    """Answers every request with a redirect. Nothing that a client sends becomes part of the location.

    Args:
        location: where to, as ``check_location`` takes it.
        status: one of ``STATUS_CODES``.
    """

    def __init__(self, location: str, status: int = 302) -> None:
        self.description = f"http.redirect to {location}"
        self._location = location
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a WebSocket handshake is refused with the same response."""
        headers = {"location": self._location, "x-content-type-options": "nosniff"}
        body = "" if scope.get("method") == "HEAD" else f"See {self._location}\n"
        await PlainTextResponse(body, self._status, headers)(scope, receive, send)


def check_location(text: str) -> str:
    """Return a redirect's location if it is an absolute URL or a path of the own site.

    Raises:
        ValueError: it is neither. Text after ``"; "`` is a hint.
    """
    hint = "write https://host/path, or /path for the own site"
    if _CHARACTERS.fullmatch(text) is None:
        raise ValueError("not a URL: it holds a character that has to be percent-encoded; write it percent-encoded")
    if "@" in urlsplit(text).netloc:
        raise ValueError("a user name or password in a URL is not supported; remove it")
    if _PATH.match(text):
        return text
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(f"neither a URL nor a path; {hint}")
    if match[1] is not None and not 0 < int(match[1]) < 65536:
        raise ValueError("port must be 1-65535")
    return text
