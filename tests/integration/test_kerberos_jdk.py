"""kerberos5 and gss held against the JDK's Krb5LoginModule and GSS-API, with the same KDC, keytabs and tokens."""

from __future__ import annotations

import base64
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.model import Grant
from asgi_gateway.modules.kerberos.gss import GssLoginModule
from asgi_gateway.modules.kerberos.kerberos5 import Kerberos5LoginModule
from tests import helpers
from tests.integration.kdc import SERVICE, Kdc, realm
from tests.integration.tickets import KRB5, SPNEGO, Client, Flag, acceptor, login, module, with_version

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).parent / "jdk" / "KerberosLogins.java"
OTHER = "HTTP/other.example.com"
RENEWED = "HTTP/renewed.example.com"


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc") as found:
        found.user("alice", "alicepw")
        found.user("bob/admin", "bobpw")
        found.user("expired", "pw", "-pwexpire yesterday")
        found.user("gone", "pw", "-expire yesterday")
        found.user("locked", "pw", "-allow_tix")
        found.user("careful", "pw", "+requires_preauth")
        found.service(OTHER, found.directory / "other.keytab")
        found.service(RENEWED, found.directory / "old.keytab")
        yield found


@pytest.fixture(autouse=True)
def _environment(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)


def by_jdk(kdc: Kdc, logins: list[tuple[str, ...]]) -> list[str | None]:
    """Return the principal of each login, None for those that the JDK refuses."""
    settings = [
        f"-Djava.security.krb5.conf={kdc.environment['KRB5_CONFIG']}",
        "-Djavax.security.auth.useSubjectCredsOnly=true",
        "-Dsun.security.krb5.rcache=none",  # replays are another test's subject
        "-Dfile.encoding=UTF-8",
    ]
    text = "".join("\t".join(fields) + "\n" for fields in logins)
    done = subprocess.run(
        ["java", *settings, PROGRAM], input=text, capture_output=True, text=True, encoding="utf-8", timeout=110
    )
    assert done.returncode == 0, done.stderr
    answers = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(answers) == len(logins), done.stderr
    return [answer[1] if answer[0] == "in" else None for answer in answers]


async def by_password(kerberos5: Kerberos5LoginModule, name: str, password: str) -> str | None:
    try:
        grant = await kerberos5.login(helpers.attempt(name, password))
    except LoginFailed:
        return None
    return _user(grant)


async def by_ticket(keytab: Path, principal: str, token: str, folder: Path) -> str | None:
    try:
        return _user(await login(acceptor(keytab, principal=principal), module(GssLoginModule, folder), token))
    except (ConfigError, LoginFailed):
        return None


def _user(grant: Grant | None) -> str:
    assert grant is not None
    assert grant.authenticates
    return grant.principals[0].name


PASSWORDS = ["alicepw", "bobpw", "pw", "wrong", "ALICEPW", "alicepw ", "ä", ""]
NAMES = [
    *("alice", "alice@EXAMPLE.COM", "bob/admin", "bob/admin@EXAMPLE.COM", "bob", "careful"),
    *("expired", "gone", "locked", "Alice", "alice ", "nobody", "krbtgt/EXAMPLE.COM", "é", ""),
    *("alice@OTHER.ORG", "alice@EXAMPLE.CO", "alice@", "@EXAMPLE.COM", "a\\@b", "alice\\@EXAMPLE.COM", "a/b/c"),
    *("alice@example.com", "careful@Example.Com"),
]
DIFFERENT = {
    ("alice@example.com", "alicepw"): ("alice@EXAMPLE.COM", None),
    ("careful@Example.Com", "pw"): ("careful@EXAMPLE.COM", None),
}
"""Ours and the JDK's: the local realm may be typed in any case (docs/reference/modules/kerberos5.md)."""


async def test_passwords(kdc: Kdc, tmp_path: Path) -> None:
    """Who gets in with a user name and a password, and as whom, is the same for every pair."""
    kerberos5: Kerberos5LoginModule = module(Kerberos5LoginModule, tmp_path)
    pairs = [(name, password) for name in NAMES for password in PASSWORDS]
    expected = by_jdk(kdc, [("password", *pair) for pair in pairs])
    found = [await by_password(kerberos5, *pair) for pair in pairs]
    different = {pair: (ours, jdk) for pair, ours, jdk in zip(pairs, found, expected, strict=True) if ours != jdk}
    assert different == DIFFERENT
    assert sum(answer is not None for answer in expected) >= 5


async def test_tickets(kdc: Kdc, tmp_path: Path) -> None:
    """Whose ticket is taken, with which keytab and principal, is the same for every token, whole or damaged."""
    cache = kdc.kinit("alice", "alicepw")
    other = kdc.kinit("bob/admin", "bobpw")
    old, both = kdc.directory / "old.keytab", tmp_path / "both.keytab"
    Client(cache, "HTTP@renewed.example.com").token()  # the ticket with the old key is in the cache now
    kdc.kadmin(f"cpw -randkey -keepold {RENEWED}")
    both.write_bytes(old.read_bytes())
    kdc.kadmin(f"ktadd -k {both} -norandkey {RENEWED}")
    renumbered = tmp_path / "renumbered.keytab"
    renumbered.write_bytes(with_version(kdc.keytab.read_bytes(), 0))
    keytabs = [kdc.keytab, renumbered, kdc.directory / "other.keytab", old, both]
    principals = ["*", SERVICE, f"{SERVICE}@EXAMPLE.COM", OTHER, RENEWED]
    clients = [
        (name, service, mech, flags)
        for name in (cache, other)
        for service in ("HTTP@localhost", "HTTP@other.example.com", "HTTP@renewed.example.com")
        for mech in (SPNEGO, KRB5)
        for flags in ([], [Flag.mutual_authentication], [Flag.mutual_authentication, Flag.delegate_to_peer])
    ]
    tokens = [Client(*client).token() for client in clients] + _damaged(Client(cache).token())
    logins = [(keytab, principal, token) for keytab in keytabs for principal in principals for token in tokens]
    expected = by_jdk(kdc, [("accept", str(keytab), *more) for keytab, *more in logins])
    different = []
    for each, jdk in zip(logins, expected, strict=True):
        ours = await by_ticket(*each, tmp_path)
        if ours != jdk:
            different.append((each[0].name, each[1], tokens.index(each[2]), ours, jdk))
    assert different == []
    assert sum(answer is not None for answer in expected) >= 100


def _damaged(token: str) -> list[str]:
    """Tokens that are cut off, changed, followed by more, of another mechanism, or none."""
    good, dice = base64.b64decode(token), random.Random(7)
    bad = [good[: dice.randrange(1, len(good))] for _ in range(8)]
    for _ in range(12):
        changed = bytearray(good)
        changed[dice.randrange(300, len(good))] ^= 1 << dice.randrange(8)
        bad.append(bytes(changed))
    bad += [b"NTLMSSP\0" + bytes(32), dice.randbytes(200), b"\x60"]
    return [base64.b64encode(each).decode() for each in bad]
