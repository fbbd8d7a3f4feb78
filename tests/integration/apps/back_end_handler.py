"""What a site writes to answer its back ends' 401s in Python."""

from __future__ import annotations

from asgi_gateway.client import BasicChallengeHandler, ChallengeRequest, PasswordAuthentication


def login(request: ChallengeRequest) -> PasswordAuthentication | None:
    """Know a password of joe's for the back end, and guess for all others."""
    if request.subject is not None and request.subject.name == "joe":
        return PasswordAuthentication("joe", "joe-pw")
    return PasswordAuthentication("gateway", f"guess {request.attempt}")


handler = BasicChallengeHandler(login)
