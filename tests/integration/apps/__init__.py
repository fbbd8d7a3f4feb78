"""Applications of five frameworks, written as their users write them, each behind the same gateway.

Every one has ``/public`` and ``/who`` (who the framework says the user is), ``/admin`` (which the framework itself
keeps for administrators, though the gateway lets every user in) and, but for Django, a WebSocket ``/echo``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

USERS = Path(__file__).with_name("users.xml")


def _realm(name: str, schemes: list[str], **authentication: Any) -> dict[str, Any]:
    return {
        "name": name,
        "authentication": {
            "http-challenge-scheme": schemes,
            **authentication,
            "login-modules": [{"type": "file", "success": "required", "options": {"file": str(USERS)}}],
        },
    }


CONFIG: dict[str, Any] = {
    "extended-handshake": True,
    "security": {
        "realms": [
            _realm("demo", ["Basic"]),
            _realm("brief", ["Basic"], **{"session-timeout": "300 ms"}),
            _realm("two", ["Application Token", "Application Basic"]),
        ]
    },
    "services": [
        {"name": "public", "accept": "/public"},
        {"name": "who", "accept": "/who", "realm-name": "demo"},
        {"name": "admin", "accept": "/admin", "realm-name": "demo"},
        {
            "name": "locked",
            "accept": "/locked",
            "realm-name": "demo",
            "authorization-constraint": {"require-role": ["ADMINISTRATOR"]},
        },
        {"name": "echo", "accept": "/echo", "realm-name": "demo"},
        {"name": "brief", "accept": "/brief", "realm-name": "brief"},
        {"name": "two", "accept": "/two", "realm-name": "two"},
    ],
}
