"""The realms of a Kerberos site: tickets, passwords, either, and roles from a file. The system's keytab has the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PRINCIPALS = Path(__file__).with_name("principals.yaml")


def _module(kind: str, success: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, "success": success, "options": options}


ACCEPTOR = _module(
    *("kerberos5", "requisite"),
    isInitiator=False,
    useKeyTab=True,
    principal="HTTP/localhost",
    storeKey=True,
    doNotPrompt=True,
)
PASSWORD = {"type": "kerberos5", "time-limit": "2 seconds"}
ROLES = _module("file", "required", file=str(PRINCIPALS), lookupOnly=True)
REALMS: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
    "tickets": (["Negotiate"], [ACCEPTOR, _module("gss", "required")]),
    "roles": (["Negotiate"], [ACCEPTOR, _module("gss", "requisite"), ROLES]),
    "home": (["Negotiate"], [ACCEPTOR, _module("gss", "required", refuseForeignRealms=True)]),
    "page": (["Application Negotiate"], [ACCEPTOR, _module("gss", "required")]),
    "password": (["Basic"], [PASSWORD | {"success": "required"}]),
    "either": (
        ["Negotiate", "Basic"],
        [ACCEPTOR, _module("gss", "sufficient"), PASSWORD | {"success": "required"}],
    ),
    "mixed": (
        ["Negotiate", "Basic"],
        [ACCEPTOR, _module("gss", "optional"), PASSWORD | {"success": "optional"}, ROLES],
    ),
}
CONFIG: dict[str, Any] = {
    "extended-handshake": True,
    "security": {
        "realms": [
            {"name": name, "authentication": {"http-challenge-scheme": schemes, "login-modules": modules}}
            for name, (schemes, modules) in REALMS.items()
        ]
    },
    "services": [
        {"name": "public", "accept": "/public"},
        *({"name": name, "accept": f"/{name}", "realm-name": name} for name in REALMS),
        {
            "name": "locked",
            "accept": "/locked",
            "realm-name": "mixed",
            "authorization-constraint": {"require-role": ["ADMINISTRATOR"]},
        },
    ],
}
