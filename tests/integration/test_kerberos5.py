"""kerberos5 as initiator, against real KDCs: passwords, a KDC that must prove itself, keytabs and ticket caches."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Grant
from asgi_gateway.modules.kerberos.kerberos5 import Kerberos5LoginModule
from asgi_gateway.modules.kerberos.library.gss_tokens import SHARED_ACCEPTOR
from asgi_gateway.plugins.login_module import SHARED_NAME, SHARED_PASSWORD
from tests import helpers
from tests.helpers import attempt
from tests.integration.kdc import SERVICE, Kdc, realm
from tests.integration.process import free_port
from tests.integration.tickets import acceptor, module

pytestmark = pytest.mark.anyio

ALICE = Grant.user("alice@EXAMPLE.COM")


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc") as found:
        found.user("alice", "alicepw")
        found.user("expired", "pw", "-pwexpire yesterday")
        found.user("gone", "pw", "-expire yesterday")
        found.user("locked", "pw", "-allow_tix")
        found.user("careful", "pw", "+requires_preauth")
        yield found


@pytest.fixture(autouse=True)
def _environment(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)


def initiator(directory: Path, **options: Any) -> Kerberos5LoginModule:
    """kerberos5 as initiator; the keytab of HTTP/localhost is the system's."""
    found: Kerberos5LoginModule = module(Kerberos5LoginModule, directory, **options)
    return found


async def refusal(kerberos5: Kerberos5LoginModule, username: str, password: str) -> str:
    """Why a login fails."""
    with pytest.raises(LoginFailed) as caught:
        await kerberos5.login(attempt(username, password))
    return str(caught.value)


# ----------------------------------------------------------------------------------------------------------- passwords


@pytest.mark.parametrize("username", ["alice", "alice@EXAMPLE.COM"])
async def test_right_password(tmp_path: Path, username: str) -> None:
    """The right password makes the user with the realm, who has a ticket; the check runs in a thread."""
    kerberos5 = initiator(tmp_path)
    asked = attempt(username, "alicepw")
    grant = await kerberos5.login(asked)
    assert grant is not None
    assert grant.principals == ALICE.principals
    assert grant.authenticates
    assert [str(credentials.name) for credentials in grant.private_credentials] == ["alice@EXAMPLE.COM"]
    assert asked.blocking_calls
    assert kerberos5.authenticates


@pytest.mark.parametrize(
    "username", ["alice@example.com", "alice@Example.Com", "alice@EXAMPLE.com", "alice@eXAMPLE.COM"]
)
async def test_own_realm_in_any_case(tmp_path: Path, username: str) -> None:
    """The local realm may be typed in any case, and the user is the same; another realm stays another one."""
    for options in ({}, {"principal": "alice"}, {"principal": "alice@example.com"}, {"refuseForeignRealms": False}):
        grant = await initiator(tmp_path, **options).login(attempt(username, "alicepw"))
        assert grant is not None
        assert grant.principals == ALICE.principals
    for other in ("alice@example.co", "alice@example.com.au", "alice@corp.example.com"):
        assert "is not in realm EXAMPLE.COM" in await refusal(initiator(tmp_path), other, "alicepw")


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("alice", "wrong", "a wrong password"),
        ("careful", "wrong", "a wrong password"),
        ("nobody", "wrong", "no such principal"),
        ("expired", "pw", "the user must change the password"),
        ("gone", "pw", "the account has expired"),
        ("locked", "pw", "the account is locked or disabled"),
        ("alice", "", "invalid password"),
        ("alice", "alicepw\0x", "NUL"),
        ("alice\0x", "alicepw", "control character"),
        ("a\\@b", "alicepw", "escaped"),
        ("", "alicepw", "the user name is empty"),
        ("alice@", "alicepw", "invalid principal"),
        ("alice@EXAMPLE.COM@EXAMPLE.COM", "alicepw", "invalid principal"),
        ("WELLKNOWN/ANONYMOUS", "x", "anonymous"),
        ("alice@FOREIGN.ORG", "x", "the user is not in realm EXAMPLE.COM (refuseForeignRealms)"),
    ],
)
async def test_refused_password(tmp_path: Path, username: str, password: str, reason: str) -> None:
    """Every refusal has a reason that an operator can act on, without the name as it was typed."""
    text = await refusal(initiator(tmp_path), username, password)
    assert reason in text
    assert len(username) < 2 or f"{username}@" not in text
    assert "FOREIGN" not in text


async def test_unknown_realm(tmp_path: Path) -> None:
    """Where foreign realms are allowed, an unknown one is a failed login and says so, but not what was typed."""
    text = await refusal(initiator(tmp_path, refuseForeignRealms=False), "alice@FOREIGN.ORG", "x")
    assert "krb5.conf has no such realm" in text
    assert "FOREIGN" not in text


async def test_principal(tmp_path: Path) -> None:
    """With a principal, only that principal's password counts."""
    kerberos5 = initiator(tmp_path, principal="alice")
    assert await kerberos5.login(attempt("alice@EXAMPLE.COM", "alicepw"))
    assert "the user is not the configured principal" in await refusal(kerberos5, "careful", "pw")


async def test_first_pass(tmp_path: Path) -> None:
    """Names and passwords travel through the shared state as with every module of the JDK."""
    stored = attempt("alice", "alicepw")
    await initiator(tmp_path, storePass=True).login(stored)
    assert stored.shared_state == {SHARED_NAME: "alice", SHARED_PASSWORD: "alicepw"}
    shared = dict(stored.shared_state)
    for options in ({"useFirstPass": True}, {"tryFirstPass": True}, {"tryFirstPass": True, "doNotPrompt": True}):
        clearing = initiator(tmp_path, clearPass=True, **options)
        asked = attempt("alice", "wrong", shared_state=dict(shared))
        grant = await clearing.login(asked)
        assert grant is not None
        await clearing.commit(asked, grant)
        assert asked.shared_state == {}
    wrong = {SHARED_NAME: "alice", SHARED_PASSWORD: "wrong"}
    assert await initiator(tmp_path, tryFirstPass=True).login(attempt("alice", "alicepw", shared_state=dict(wrong)))
    for options in ({"useFirstPass": True}, {"tryFirstPass": True, "doNotPrompt": True}):
        with pytest.raises(LoginFailed):
            await initiator(tmp_path, **options).login(attempt("alice", "alicepw", shared_state=dict(wrong)))
    with pytest.raises(LoginFailed, match="doNotPrompt"):
        await initiator(tmp_path, useFirstPass=True, doNotPrompt=True).login(attempt("alice", "alicepw"))


async def test_names(tmp_path: Path) -> None:
    """The realm is stripped or mapped for passwords as for tickets."""
    for option in ("strip", "map"):
        grant = await initiator(tmp_path, clientRealm=option).login(attempt("alice", "alicepw"))
        assert grant is not None
        assert grant.principals == Grant.user("alice").principals


# ------------------------------------------------------------------------------------------------ the KDC must be real


@pytest.fixture
def impostor(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kdc]:
    """Somebody in the KDC's place who says yes to a password of their own choice."""
    with realm(tmp_path / "impostor") as found:
        found.user("alice", "theirs")
        monkeypatch.setenv("KRB5_CONFIG", found.environment["KRB5_CONFIG"])
        yield found


async def test_impostor(impostor: Kdc, kdc: Kdc, tmp_path: Path) -> None:
    """A KDC that does not know the key of the keytab lets nobody in, whatever it says of the password."""
    kerberos5 = initiator(tmp_path, verifyKeyTab=str(kdc.keytab))
    assert "cannot verify the KDC" in await refusal(kerberos5, "alice", "theirs")
    impostor.kadmin(f"delprinc -force {SERVICE}")
    assert "it knows none of HTTP/localhost@EXAMPLE.COM" in await refusal(kerberos5, "alice", "theirs")


async def test_waived(impostor: Kdc, tmp_path: Path) -> None:
    """Only who says verifyKDC=false believes any KDC, and is warned."""
    made = helpers.context(tmp_path)
    kerberos5 = Kerberos5LoginModule(Kerberos5LoginModule.Options.model_validate({"verifyKDC": "false"}), made.context)
    grant = await kerberos5.login(attempt("alice", "theirs"))
    assert grant is not None
    assert grant.principals == ALICE.principals
    assert made.warnings == ["kerberos5: verifyKDC=false accepts the answer of any server in the KDC's place"]


async def test_several_services(kdc: Kdc, tmp_path: Path) -> None:
    """A keytab whose first service was removed from the KDC still proves it with the next."""
    keytab = tmp_path / "two.keytab"
    kdc.service("HTTP/removed", keytab)
    kdc.service("HTTP/kept", keytab)
    kdc.kadmin("delprinc -force HTTP/removed")
    assert await initiator(tmp_path, verifyKeyTab=str(keytab)).login(attempt("alice", "alicepw"))


def test_nothing_to_prove_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords without a keytab are a configuration error that names the file and the way out."""
    monkeypatch.setenv("KRB5_KTNAME", f"FILE:{tmp_path}/none.keytab")
    with pytest.raises(ConfigError, match=rf"verifyKDC=false\): cannot read keytab {tmp_path}/none.keytab: No such"):
        initiator(tmp_path)
    initiator(tmp_path, verifyKDC=False)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o644, True), (0o602, True)])
def test_keytab_of_others(kdc: Kdc, tmp_path: Path, mode: int, warned: bool) -> None:
    """A keytab that other users can read or write is a warning, as every file with a secret is."""
    keytab = tmp_path / "own.keytab"
    keytab.write_bytes(kdc.keytab.read_bytes())
    keytab.chmod(mode)
    made = helpers.context(tmp_path)
    Kerberos5LoginModule(Kerberos5LoginModule.Options.model_validate({"verifyKeyTab": str(keytab)}), made.context)
    assert [f"run chmod {mode & 0o700:03o} {keytab}" in str(warning) for warning in made.warnings] == [True] * warned


def test_no_default_realm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords without a default realm are a configuration error."""
    (tmp_path / "krb5.conf").write_text("[libdefaults]\n dns_lookup_realm = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    with pytest.raises(ConfigError, match="default_realm"):
        initiator(tmp_path)


# ------------------------------------------------------------------------------------------------------------- no KDC


async def test_kdc_down(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the KDC a password cannot be judged: unavailable, not wrong."""
    kerberos5 = initiator(tmp_path)
    dead = Kdc(tmp_path, port=free_port())
    dead.write_config()
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    with pytest.raises(LoginUnavailable, match="the KDC is down or cannot be reached"):
        await kerberos5.login(attempt("alice", "alicepw"))


async def test_kdc_silent(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a KDC keeps silent, the loop goes on, and the start of an acceptor waits only a moment."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        tcp.listen()
        silent = Kdc(tmp_path, port=tcp.getsockname()[1])
        silent.write_config()
        monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
        monkeypatch.setattr("asgi_gateway.modules.kerberos.kerberos5._START_LIMIT", 0.1)
        with anyio.fail_after(2):
            await acceptor(kdc.keytab).open()


# ------------------------------------------------------------------------------------------- the gateway's own tickets


async def test_keytab_login(kdc: Kdc, tmp_path: Path) -> None:
    """A login by keytab gives the gateway a ticket and says nothing of the client."""
    kerberos5 = initiator(tmp_path, useKeyTab=True, principal=SERVICE, doNotPrompt=True, storeKey=True)
    assert not kerberos5.authenticates
    asked = attempt("alice", "alicepw")
    grant = await kerberos5.login(asked)
    assert grant is not None
    assert (grant.principals, grant.authenticates) == ((), False)
    assert [str(credentials.name) for credentials in grant.private_credentials] == [f"{SERVICE}@EXAMPLE.COM"]
    assert SHARED_ACCEPTOR in asked.shared_state


async def test_ticket_cache(kdc: Kdc, tmp_path: Path) -> None:
    """A login by ticket cache gives the gateway the cache's ticket and says nothing of the client."""
    cache = kdc.kinit("alice", "alicepw")
    for options in ({}, {"principal": "alice"}):
        kerberos5 = initiator(tmp_path, useTicketCache=True, ticketCache=cache, doNotPrompt=True, **options)
        grant = await kerberos5.login(attempt())
        assert grant is not None
        assert (grant.principals, grant.authenticates) == ((), False)
    other = initiator(tmp_path, useTicketCache=True, ticketCache=cache, doNotPrompt=True, principal="careful")
    with pytest.raises(LoginFailed, match=f"ticket cache {cache}"):
        await other.login(attempt())


async def test_order(kdc: Kdc, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What fails falls through: cache, keytab, the request's password; debug says why."""
    kdc.service("HTTP/dropped", tmp_path / "dropped.keytab")
    kdc.kadmin("delprinc -force HTTP/dropped")
    options = {"useTicketCache": True, "ticketCache": "none", "useKeyTab": True, "keyTab": "dropped.keytab"}
    kerberos5 = initiator(tmp_path, **options, verifyKeyTab=str(kdc.keytab), debug=True)
    caplog.set_level(logging.INFO)
    grant = await kerberos5.login(attempt("alice", "alicepw"))
    assert grant is not None
    assert (grant.principals, grant.authenticates) == (ALICE.principals, True)
    assert f"ticket cache FILE:{tmp_path}/none" in caplog.text
    assert f"keytab {tmp_path}/dropped.keytab, HTTP/dropped@EXAMPLE.COM" in caplog.text
    assert "alicepw" not in caplog.text
    with pytest.raises(LoginFailed, match="ticket cache"):
        await initiator(tmp_path, **options, doNotPrompt=True).login(attempt("alice", "alicepw"))


async def test_renewal(kdc: Kdc, tmp_path: Path) -> None:
    """renewTGT renews a ticket that ends soon; without it, it is used until it ends."""
    cache = kdc.kinit("alice", "alicepw", "-l", "60s", "-r", "1h")
    options = {"useTicketCache": True, "ticketCache": cache, "doNotPrompt": True}
    before = Path(cache.removeprefix("FILE:")).read_bytes()
    assert await initiator(tmp_path, **options).login(attempt())
    assert Path(cache.removeprefix("FILE:")).read_bytes() == before
    assert await initiator(tmp_path, **options, renewTGT=True).login(attempt())
    assert Path(cache.removeprefix("FILE:")).read_bytes() != before
    forever = kdc.kinit("alice", "alicepw", "-l", "60s")
    stuck = initiator(tmp_path, **(options | {"ticketCache": forever}), renewTGT=True)
    with pytest.raises(LoginFailed, match="cannot renew"):
        await stuck.login(attempt())


# ------------------------------------------------------------------------------------------------------------- keytabs


@pytest.mark.parametrize(
    ("content", "principal", "message"),
    [
        (None, "*", r"cannot read keytab .*x\.keytab: No such file"),
        (b"", "*", r"x\.keytab is not a keytab"),
        (b"hello", "*", r"x\.keytab is not a keytab"),
        (b"\5\2", "*", r"keytab .*x\.keytab is empty"),
        (b"\5\2\0\0\0\x50abc", "*", r"keytab .*x\.keytab is damaged"),
    ],
)
def test_bad_keytab(tmp_path: Path, content: bytes | None, principal: str, message: str) -> None:
    """A missing, unreadable or damaged keytab stops the start and is named."""
    if content is not None:
        (tmp_path / "x.keytab").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        acceptor(tmp_path / "x.keytab", principal=principal)


def test_acceptor_without_store_key(kdc: Kdc, tmp_path: Path) -> None:
    """An acceptor that keeps its key to itself is warned of, for no ticket can be taken with it."""
    made = helpers.context(tmp_path)
    options = {"isInitiator": "false", "useKeyTab": "true", "principal": "*"}
    Kerberos5LoginModule(Kerberos5LoginModule.Options.model_validate(options), made.context)
    assert len(made.warnings) == 1
    assert "passes no key to gss" in str(made.warnings[0])


def test_wrong_keytab(kdc: Kdc) -> None:
    """A keytab without the principal's key stops the start; the message names it, the file, and what the file has."""
    with pytest.raises(ConfigError) as caught:
        acceptor(kdc.keytab, principal="HTTP/www.example.com")
    text = f"keytab {kdc.keytab} has no key of HTTP/www.example.com; it holds HTTP/localhost@EXAMPLE.COM (kvno 1)"
    assert text in str(caught.value)
    with pytest.raises(ConfigError, match="has no key of alice"):
        initiator(kdc.directory, useKeyTab=True, keyTab=str(kdc.keytab), principal="alice")


async def test_check(kdc: Kdc, tmp_path: Path) -> None:
    """asgi-gateway check --connect says which key is stale, and nothing of good ones."""
    kdc.service("HTTP/old", tmp_path / "old.keytab")
    kerberos5 = acceptor(tmp_path / "old.keytab")
    assert await kerberos5.check() == []
    kdc.kadmin("cpw -randkey HTTP/old")
    [problem] = await acceptor(tmp_path / "old.keytab").check()
    assert "stale key of HTTP/old@EXAMPLE.COM" in problem
    kdc.kadmin("delprinc -force HTTP/old")
    await acceptor(tmp_path / "old.keytab").open()  # a KDC that knows no such client, as Active Directory, says nothing
    assert await initiator(tmp_path).check() == []
