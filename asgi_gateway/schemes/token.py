"""Application Token: the credentials are whatever the realm's own login module understands."""

from __future__ import annotations

from collections.abc import Iterable

from asgi_gateway.interfaces import ChallengeScheme

__all__ = ["ApplicationTokenScheme"]


class ApplicationTokenScheme(ChallengeScheme):
    """``Application Token``: no realm parameter; wrong tokens are refused, not challenged again."""

    name = "Application Token"
    wire_name = "token"
    forbids = True
    recycles = False
    strength = 20

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        return " ".join((self.name, *data))
