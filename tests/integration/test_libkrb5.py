"""What libkrb5 makes of the system's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.modules.kerberos.library import libkrb5


def configure(monkeypatch: pytest.MonkeyPatch, directory: Path, text: str) -> None:
    """Make this text the system's krb5.conf."""
    (directory / "krb5.conf").write_text(text)
    monkeypatch.setenv("KRB5_CONFIG", str(directory / "krb5.conf"))


@pytest.mark.parametrize(
    ("line", "seconds"), [("", 300), ("clockskew = 600", 600), ("clockskew = 10m", 600), ("clockskew = 0:20:00", 1200)]
)
def test_clock_skew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, seconds: int) -> None:
    """The clock skew is the library's, in any of its spellings, 300 seconds by default."""
    configure(monkeypatch, tmp_path, f"[libdefaults]\n {line}\n")
    assert libkrb5.clock_skew() == seconds


def test_included_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Included files count, as they do for the library."""
    (tmp_path / "more").write_text("[libdefaults]\n clockskew = 60\n default_realm = MORE.ORG\n")
    configure(monkeypatch, tmp_path, f"include {tmp_path}/more\n")
    assert libkrb5.clock_skew() == 60
    assert libkrb5.default_realm() == "MORE.ORG"


def test_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a krb5.conf there is no realm, the clock skew is the default, and the keytab is the built-in one."""
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KRB5_KTNAME", raising=False)
    assert libkrb5.default_realm() is None
    assert libkrb5.clock_skew() == 300
    assert libkrb5.default_keytab_name().endswith("krb5.keytab")
    monkeypatch.setenv("KRB5_KTNAME", "FILE:/etc/other.keytab")
    assert libkrb5.default_keytab_name() == "FILE:/etc/other.keytab"


@pytest.mark.parametrize("text", ["[libdefaults]\n clockskew = soon\n", "[libdefaults\n}{"])
def test_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A krb5.conf that the library cannot read is a configuration error."""
    configure(monkeypatch, tmp_path, text)
    with pytest.raises(ConfigError, match=r"krb5\.conf"):
        libkrb5.clock_skew()


def test_local_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """auth_to_local gives the local name, and whom no rule covers has none."""
    rules = "auth_to_local = RULE:[1:$1@$0](.*@AWAY)s/@.*/-away/\n auth_to_local = DEFAULT"
    configure(monkeypatch, tmp_path, f"[libdefaults]\n default_realm = HOME\n[realms]\n HOME = {{\n {rules}\n }}\n")
    assert libkrb5.local_name("alice@HOME") == "alice"
    assert libkrb5.local_name("bob@AWAY") == "bob-away"
    for principal in ("carol@FAR", "HTTP/host@AWAY", "x\\"):
        with pytest.raises(LoginFailed):
            libkrb5.local_name(principal)
