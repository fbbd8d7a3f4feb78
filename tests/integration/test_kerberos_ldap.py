"""A ticket says who, the directory says what: kerberos5, gss and ldap in one chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway import Gateway, load_config
from asgi_gateway.model import Allow, AuthRequest, Challenge, Decision, Unavailable
from tests.integration.kdc import Kdc, realm
from tests.integration.slapd import READER, READER_PASSWORD, Slapd, directory
from tests.integration.tickets import Client

__all__ = ["directory"]

pytestmark = pytest.mark.anyio

ACCEPTOR = {"isInitiator": False, "useKeyTab": True, "principal": "*", "storeKey": True}


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc") as found:
        for user in ("alice", "carol", "stranger"):
            found.user(user, "pw")
        yield found


@pytest.fixture(autouse=True)
def _environment(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)


def gateway(directory: Slapd, schemes: list[str], *logins: dict[str, Any]) -> Gateway:
    """A gateway whose chain takes tickets and ends with a lookup in the directory."""
    lookup = {
        "userProvider": directory.url(),
        "userFilter": "(uid={USERNAME})",
        "stripRealm": "EXAMPLE.COM",
        "authzIdentity": "{EMPLOYEENUMBER}",
        "java.naming.security.principal": READER,
        "java.naming.security.credentials": READER_PASSWORD,
        "lookupOnly": True,
        "caFile": str(directory.ca),
    }
    modules = [
        {"type": "kerberos5", "success": "requisite", "options": ACCEPTOR},
        *logins,
        {"type": "ldap", "success": "required", "options": lookup},
    ]
    authentication = {"http-challenge-scheme": schemes, "login-modules": modules}
    return load_config(
        {
            "security": {"realms": [{"name": "demo", "authentication": authentication}]},
            "services": [
                {
                    "name": "site",
                    "accept": "/",
                    "realm-name": "demo",
                    "authorization-constraint": {"require-role": ["AUTHORIZED"]},
                }
            ],
        }
    )


async def decide(gateway: Gateway, authorization: str) -> Decision:
    """The decision on a request with this Authorization."""
    return await gateway.decide(AuthRequest("http", "GET", "/", headers=[(b"authorization", authorization.encode())]))


def ticket(kdc: Kdc, user: str) -> str:
    return f"Negotiate {Client(kdc.kinit(user, 'pw')).token()}"


async def test_ticket_and_directory(kdc: Kdc, directory: Slapd, tmp_path: Path) -> None:
    """The directory gives a ticket's owner roles without a password, and lets nobody in whom it does not know."""
    site = gateway(directory, ["Negotiate"], {"type": "gss", "success": "requisite"})
    with directory.operations() as asked:
        allowed = await decide(site, ticket(kdc, "alice"))
    assert isinstance(allowed, Allow)
    assert allowed.subject is not None
    assert (allowed.subject.name, "AUTHORIZED" in allowed.subject.roles) == ("alice@EXAMPLE.COM", True)
    assert {line for line in asked if line.startswith("BIND")} <= {f'BIND dn="{READER}"'}
    assert not isinstance(await decide(site, ticket(kdc, "stranger")), Allow)
    assert isinstance(await decide(site, "Negotiate YQ=="), Challenge)
    await site.close()


async def test_either_and_directory(kdc: Kdc, directory: Slapd) -> None:
    """With optional logins before it, the lookup serves tickets and passwords alike, and opens nothing by itself."""
    logins = ({"type": "gss", "success": "optional"}, {"type": "kerberos5", "success": "optional"})
    site = gateway(directory, ["Negotiate", "Basic"], *logins)
    assert isinstance(await decide(site, ticket(kdc, "alice")), Allow)
    assert isinstance(await decide(site, "Basic YWxpY2U6cHc="), Allow)
    assert isinstance(await decide(site, "Basic YWxpY2U6d3Jvbmc="), Challenge)
    assert isinstance(await decide(site, "Basic YWxpY2U6"), Challenge)
    await site.close()


async def test_directory_down(kdc: Kdc, directory: Slapd) -> None:
    """A ticket is not enough while the directory that must give the roles is down: 503."""
    site = gateway(directory, ["Negotiate"], {"type": "gss", "success": "requisite"})
    token = ticket(kdc, "alice")
    directory.stop()
    try:
        assert isinstance(await decide(site, token), Unavailable)
    finally:
        directory.start()
    await site.close()
