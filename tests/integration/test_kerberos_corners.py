"""Corners of Kerberos: old encryption, tickets that ended, programs that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Grant
from asgi_gateway.modules.kerberos.gss import GssLoginModule
from asgi_gateway.modules.kerberos.kerberos5 import Kerberos5LoginModule
from tests.helpers import attempt
from tests.integration.kdc import realm
from tests.integration.tickets import KRB5, SPNEGO, Client, Flag, acceptor, login, module, shift_clock

pytestmark = pytest.mark.anyio


async def test_rc4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tickets of old domains, encrypted with RC4, are taken and their replays refused, like all others."""
    extra = " allow_weak_crypto = true\n allow_rc4 = true\n permitted_enctypes = arcfour-hmac"
    with realm(tmp_path / "kdc", extra=extra, enctypes="arcfour-hmac:normal") as kdc:
        for name, value in kdc.environment.items():
            monkeypatch.setenv(name, value)
        kdc.user("alice", "alicepw")
        cache = kdc.kinit("alice", "alicepw")
        kerberos5, gss = acceptor(kdc.keytab), module(GssLoginModule, tmp_path)
        for mech in (SPNEGO, KRB5):
            token = Client(cache, mech=mech).token()
            assert await login(kerberos5, gss, token) == Grant.user("alice@EXAMPLE.COM")
            with pytest.raises(LoginFailed, match="replay"):
                await login(kerberos5, gss, token)


async def test_own_tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket cache whose ticket has ended is refused; renewal that takes too long is an outage."""
    with realm(tmp_path / "kdc") as kdc:
        for name, value in kdc.environment.items():
            monkeypatch.setenv(name, value)
        kdc.user("alice", "alicepw")
        cache = kdc.kinit("alice", "alicepw")
        shift_clock(cache, 20 * 3600)
        options = {"useTicketCache": True, "ticketCache": cache, "doNotPrompt": True}
        with pytest.raises(LoginFailed, match="the ticket has expired"):
            await module(Kerberos5LoginModule, tmp_path, **options).login(attempt())
        slow = tmp_path / "bin" / "kinit"
        slow.parent.mkdir()
        slow.write_text("#!/bin/sh\nexec sleep 60\n")
        slow.chmod(0o755)
        monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
        monkeypatch.setattr("asgi_gateway.modules.kerberos.library.initiator._RENEW_LIMIT", 0.1)
        renewing = module(Kerberos5LoginModule, tmp_path, **options, renewTGT=True)
        with pytest.raises(LoginUnavailable, match="cannot renew"):
            await renewing.login(attempt())
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ConfigError, match="kinit"):
            module(Kerberos5LoginModule, tmp_path, **options, renewTGT=True)


async def test_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that was closed has forgotten the handshakes that waited."""
    with realm(tmp_path / "kdc") as kdc:
        for name, value in kdc.environment.items():
            monkeypatch.setenv(name, value)
        kdc.user("alice", "alicepw")
        client = Client(kdc.kinit("alice", "alicepw"), flags=[Flag.mutual_authentication, Flag.dce_style])
        kerberos5, gss = acceptor(kdc.keytab), module(GssLoginModule, tmp_path, tryFirstToken=True)
        asked = attempt(shared_state={"asgi_gateway.gss.token": client.token()})
        await kerberos5.login(asked)
        with pytest.raises(LoginFailed, match="continues with the client's next token"):
            await gss.login(asked)
        await gss.close()
        with pytest.raises(LoginFailed, match="unknown handshake"):
            await login(kerberos5, gss, client.token(asked.challenges[0][0]))


async def test_spoilt_keytab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A keytab that is spoilt or removed while the gateway runs changes nothing but the log, which says so once."""
    with realm(tmp_path / "kdc") as kdc:
        for name, value in kdc.environment.items():
            monkeypatch.setenv(name, value)
        kdc.user("alice", "alicepw")
        cache = kdc.kinit("alice", "alicepw")
        keytab = tmp_path / "http.keytab"
        keytab.write_bytes(kdc.keytab.read_bytes())
        kerberos5, gss = acceptor(keytab), module(GssLoginModule, tmp_path)
        for spoil in (lambda: keytab.write_bytes(b"no keytab"), keytab.unlink):
            spoil()
            caplog.clear()
            for _ in range(2):
                assert await login(kerberos5, gss, Client(cache).token())
            [record] = caplog.records
            assert f"cannot read keytab FILE:{keytab}" in record.getMessage()
        kdc.kadmin("cpw -randkey HTTP/localhost")
        kdc.kadmin(f"ktadd -k {keytab} -norandkey HTTP/localhost")
        assert await login(kerberos5, gss, Client(kdc.kinit("alice", "alicepw")).token())
