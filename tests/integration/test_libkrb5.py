"""What libkrb5 makes of the system's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.modules.kerberos.library.principals import NameOptions, check_rules


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
    for principal in ("carol@FAR", "HTTP/host@AWAY"):
        with pytest.raises(LoginFailed, match=r"no auth_to_local rule of krb5\.conf covers"):
            libkrb5.local_name(principal)
    with pytest.raises(LoginFailed, match="invalid principal"):
        libkrb5.local_name("x\\")


def test_rules_of_an_included_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules in a file of an includedir count, and the first that covers a principal gives its name."""
    rules = (
        r"RULE:[1:$1@$0](.*@PARTNER\.ORG)s/@.*/-partner/",
        r"RULE:[2:$1;$2](^.*;admin$)s/;admin$//",
        "DEFAULT",
    )
    lines = "".join(f"  auth_to_local = {rule}\n" for rule in rules)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "rules").write_text(f"[realms]\n HOME = {{\n{lines} }}\n")
    configure(monkeypatch, tmp_path, f"includedir {tmp_path}/conf.d\n[libdefaults]\n default_realm = HOME\n")
    names = {"bob@PARTNER.ORG": "bob-partner", "alice/admin@HOME": "alice", "alice@HOME": "alice"}
    assert {principal: libkrb5.local_name(principal) for principal in names} == names
    assert libkrb5.auth_to_local_error("HOME") is None


@pytest.mark.parametrize(
    "rule",
    [
        r"RULE:[1:$1@$0](.*@HOME)s/@.*///L",
        r"RULE:[1:$1](.*)s/a/b/i",
        r"RULE:[1:$1](.*)s/a/b",
        "RULE:[1:$1](.*)y/a/b/",
        "RULE:[1:$1",
        "RULE:1",
        "RULES",
    ],
)
def test_invalid_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """A rule that libkrb5 cannot read refuses everyone; log and start say so, other than for a name without a rule."""
    text = f"[libdefaults]\n default_realm = HOME\n[realms]\n HOME = {{\n  auth_to_local = {rule}\n }}\n"
    configure(monkeypatch, tmp_path, text)
    with pytest.raises(LoginFailed, match=r"invalid auth_to_local rule in krb5\.conf: Improper format"):
        libkrb5.local_name("alice@HOME")
    assert "invalid auth_to_local rule" in str(libkrb5.auth_to_local_error("HOME"))
    warnings: list[str] = []
    for option, expected in (("map", 1), ("keep", 0), ("strip", 0)):
        warnings.clear()
        check_rules(NameOptions(clientRealm=option), warnings.append)
        assert len(warnings) == expected


def test_no_rule_for_the_realm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that cover other names only are no error, and neither are none."""
    rule = r"RULE:[1:$1@$0](.*@AWAY)s/@.*//"
    for line in (f"auth_to_local = {rule}", "auth_to_local_names = { root = admin }", ""):
        text = f"[libdefaults]\n default_realm = HOME\n[realms]\n HOME = {{\n  {line}\n }}\n"
        configure(monkeypatch, tmp_path, text)
        assert libkrb5.auth_to_local_error("HOME") is None
        assert libkrb5.auth_to_local_error("FAR") is None
