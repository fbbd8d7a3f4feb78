"""docs/reference/jdk-differences.md is true where options alone show it; the modules' own tests show the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.config import registry

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "jdk-differences.md").read_text()
URL = "ldap://127.0.0.1/dc=example,dc=com"


def section(name: str) -> str:
    """The page's table of one module."""
    return PAGE.split(f"\n## `{name}`\n")[1].partition("\n## ")[0]


def options(module: str, **given: Any) -> Any:
    """A module's options, validated as for a configuration; two underscores stand for a dot."""
    needed = {"ldap": {"userProvider": URL}, "jndi": {"user.provider.url": URL, "group.provider.url": URL}}
    named = {name.replace("__", "."): value for name, value in given.items()}
    return registry.login_module(module).Options.model_validate({**needed.get(module, {}), **named})


@pytest.mark.parametrize("module", ["ldap", "jndi", "kerberos5", "keystore", "file"])
@pytest.mark.parametrize("wrong", [{"usessl": "true"}, {"debug": "yes"}, {"debug": "1"}, {"useFirstPas": "true"}])
def test_unknown_options_and_odd_booleans_stop_the_start(module: str, wrong: dict[str, str]) -> None:
    """What the JDK ignores or takes for false is an error in every module."""
    with pytest.raises(ValidationError):
        options(module, **wrong)


@pytest.mark.parametrize("module", ["ldap", "jndi"])
@pytest.mark.parametrize(
    "half",
    [
        {"java__naming__security__principal": "cn=gateway"},
        {"java__naming__security__credentials": "secret"},
        {"java__naming__security__credentials-file": "ldap.pw"},
    ],
)
def test_half_a_bind_account_stops_the_start(module: str, half: dict[str, str]) -> None:
    """A bind principal without credentials, and credentials without a principal, are errors."""
    with pytest.raises(ValidationError, match="go together"):
        options(module, userFilter="(uid={USERNAME})", **half) if module == "ldap" else options(module, **half)


@pytest.mark.parametrize("module", ["ldap", "jndi"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("com.sun.jndi.ldap.connect.pool", "true"),
        ("com.sun.jndi.ldap.connect.pool.maxsize", "20"),
        ("java.naming.factory.initial", "com.sun.jndi.ldap.LdapCtxFactory"),
        ("java.naming.security.authentication", "simple"),
    ],
)
def test_harmless_properties_of_jndi_are_ignored(module: str, name: str, value: str) -> None:
    """A property that changes nothing here is accepted and listed as ignored."""
    given = {name.replace(".", "__"): value}
    more = {"userFilter": "(uid={USERNAME})"} if module == "ldap" else {}
    assert options(module, **given, **more).ignored == (name,)


@pytest.mark.parametrize("module", ["ldap", "jndi"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("java.naming.security.authentication", "none"),
        ("java.naming.security.authentication", "DIGEST-MD5"),
        ("java.naming.security.protocol", "ssl"),
        ("com.sun.jndi.ldap.tls.cbtype", "tls-server-end-point"),
    ],
)
def test_other_properties_of_jndi_stop_the_start(module: str, name: str, value: str) -> None:
    """A property that would change how the password is checked is an error."""
    given = {name.replace(".", "__"): value}
    more = {"userFilter": "(uid={USERNAME})"} if module == "ldap" else {}
    with pytest.raises(ValidationError):
        options(module, **given, **more)


@pytest.mark.parametrize("wrong", [{"keyStoreType": "PKCS11"}, {"protected": "true"}, {"keyStoreURL": "NONE"}])
def test_hardware_tokens_stop_the_start(wrong: dict[str, str]) -> None:
    """What needs a token reader is an error."""
    with pytest.raises(ValidationError):
        options("keystore", **wrong)


@pytest.mark.parametrize("option", ["keyStoreProvider", "privateKeyPasswordProvider"])
def test_providers_are_no_options(option: str) -> None:
    """The JDK's providers are not among the options, and the page says so."""
    assert option in section("keystore")
    with pytest.raises(ValidationError):
        options("keystore", **{option: "SunJCE"})


@pytest.mark.parametrize(("option", "default"), [("refuseForeignRealms", True), ("verifyKDC", True)])
def test_kerberos_defaults_are_the_safe_ones(option: str, default: bool) -> None:
    """The two options of kerberos5 that the JDK does not have are on unless they are switched off."""
    assert f"`{option}: false`" in section("kerberos5")
    assert getattr(options("kerberos5"), option) is default
    assert getattr(options("kerberos5", **{option: "false"}), option) is not default


@pytest.mark.parametrize("module", ["ldap", "jndi", "kerberos5", "keystore"])
def test_every_ported_module_has_its_section(module: str) -> None:
    """Each module that the JDK has, too, has a table, and each of its lines says why."""
    rows = [line.split(" | ") for line in section(module).splitlines() if line.startswith("| ")][1:]
    assert rows
    assert all(len(row) == 4 and row[3].strip(" |") for row in rows)
