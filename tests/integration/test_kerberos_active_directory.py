"""kerberos5 and gss with a real Active Directory, Samba's: whoever logs in has the name that the directory writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gssapi.raw.ext_rfc6680 import get_name_attribute

from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import Grant
from asgi_gateway.modules.kerberos.gss import GssLoginModule
from asgi_gateway.modules.kerberos.kerberos5 import Kerberos5LoginModule
from tests import helpers
from tests.integration.samba import PASSWORD, REALM, USERS, SambaDomain, samba
from tests.integration.tickets import KRB5, SPNEGO, Client, acceptor, login, module

__all__ = ["samba"]

pytestmark = pytest.mark.anyio

ALICE = f"alice@{REALM}"


@pytest.fixture(autouse=True)
def _environment(samba: SambaDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in samba.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def keytab(samba: SambaDomain) -> Path:
    return samba.folder / "domain" / "http.keytab"


def kinit(samba: SambaDomain, name: str, *options: str) -> str:
    """Log a user in under a name; returns the name of a ticket cache of its own."""
    cache = f"FILE:{samba.folder}/cache-{name}"
    command = ["kinit", *options, "-c", cache, name]
    subprocess.run(command, input=PASSWORD + "\n", text=True, check=True, capture_output=True, timeout=30)
    return cache


@pytest.mark.parametrize("typed", ["alice", "ALICE", "Alice", "aLiCe@CORP.EXAMPLE", "alice@corp.example"])
async def test_passwords(samba: SambaDomain, tmp_path: Path, typed: str) -> None:
    """However a user types the name, with the right password it is one principal."""
    kerberos5: Kerberos5LoginModule = module(Kerberos5LoginModule, tmp_path)
    grant = await kerberos5.login(helpers.attempt(typed, PASSWORD))
    assert grant is not None
    assert grant.principals == Grant.user(ALICE).principals
    with pytest.raises(LoginFailed, match="a wrong password"):
        await kerberos5.login(helpers.attempt(typed, PASSWORD + "x"))


@pytest.mark.parametrize("name", [f"alice@{REALM}", f"ALICE@{REALM}", f"Alice@{REALM}", f"aLICE@{REALM}"])
async def test_tickets(samba: SambaDomain, keytab: Path, tmp_path: Path, name: str) -> None:
    """However a client wrote the name when it got its ticket, the ticket is of one principal, and used once."""
    cache = kinit(samba, name)
    for mech in (SPNEGO, KRB5):
        for option, expected in (("keep", ALICE), ("strip", "alice")):
            gss: GssLoginModule = module(GssLoginModule, tmp_path, clientRealm=option)
            token = Client(cache, mech=mech).token()
            assert await login(acceptor(keytab), gss, token) == Grant.user(expected)
            with pytest.raises(LoginFailed, match=f"a token of {ALICE} was used before"):
                await login(acceptor(keytab), gss, token)


async def test_another_name_of_an_account(samba: SambaDomain, keytab: Path, tmp_path: Path) -> None:
    """A user principal name that differs from the account's name makes no second user."""
    samba.modify(f"CN=bob,{USERS}", userPrincipalName="robert.b@corp.example")
    cache = kinit(samba, f"robert.b@{REALM}")
    gss: GssLoginModule = module(GssLoginModule, tmp_path)
    assert await login(acceptor(keytab), gss, Client(cache).token()) == Grant.user(f"bob@{REALM}")


async def test_a_name_without_signature(
    samba: SambaDomain, keytab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account name that the KDC did not sign changes nothing: a client can add such data to its token."""
    monkeypatch.setattr(
        "asgi_gateway.modules.kerberos.library.acceptor.get_name_attribute",
        lambda *values: get_name_attribute(*values)._replace(authenticated=False),
    )
    cache = kinit(samba, f"ALICE@{REALM}")
    gss: GssLoginModule = module(GssLoginModule, tmp_path)
    assert await login(acceptor(keytab), gss, Client(cache).token()) == Grant.user(f"ALICE@{REALM}")
