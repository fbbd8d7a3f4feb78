"""Options that all directory modules share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.ldap.client.options import DirectoryOptions, read_bind_password
from tests.helpers import context

PRINCIPAL = "java.naming.security.principal"
CREDENTIALS = "java.naming.security.credentials"
FILE = "java.naming.security.credentials-file"


def test_defaults() -> None:
    """Every wait has an end, referrals are not followed, and TLS is not turned off, unless an option says so."""
    options = DirectoryOptions()
    assert (options.connectTimeout, options.readTimeout) == (3000, 5000)
    assert options.referral == "ignore"
    assert options.useSSL is None


def test_names_of_the_jdk() -> None:
    """The options have the JDK's names, and take XML's texts."""
    options = DirectoryOptions.model_validate(
        {
            "useSSL": "TRUE",
            PRINCIPAL: "cn=a",
            CREDENTIALS: "pw",
            "com.sun.jndi.ldap.connect.timeout": "100",
            "com.sun.jndi.ldap.read.timeout": "200",
            "java.naming.referral": "follow",
        }
    )
    assert (options.useSSL, options.connectTimeout, options.readTimeout) == (True, 100, 200)
    assert "pw" not in repr(options)


@pytest.mark.parametrize(
    "wrong",
    [
        {PRINCIPAL: "cn=a"},
        {CREDENTIALS: "pw"},
        {PRINCIPAL: "cn=a", CREDENTIALS: ""},
        {PRINCIPAL: "cn=a", CREDENTIALS: "pw", FILE: "pw.txt"},
        {"com.sun.jndi.ldap.connect.timeout": "0"},
        {"com.sun.jndi.ldap.read.timeout": "soon"},
        {"java.naming.referral": "throw"},
        {"useSSL": "yes"},
        {"usessl": "true"},
    ],
)
def test_wrong_options(wrong: dict[str, str]) -> None:
    """Half a bind account, a wait without end, an unknown name or value: none of them starts."""
    with pytest.raises(ValidationError) as error:
        DirectoryOptions.model_validate(wrong)
    assert "pw" not in str(error.value).replace("pw.txt", "")


def test_bind_password_from_a_file(tmp_path: Path) -> None:
    """The password may stand in a file beside the configuration, with or without a line's end."""
    (tmp_path / "bind.pw").write_text("sécret \r\n")
    options = DirectoryOptions.model_validate({PRINCIPAL: "cn=a", FILE: "bind.pw"})
    assert read_bind_password(options, context(tmp_path).context) == "sécret "


def test_bind_password_from_the_options(tmp_path: Path) -> None:
    """The password may stand in the options, or there is none."""
    options = DirectoryOptions.model_validate({PRINCIPAL: "cn=a", CREDENTIALS: "pw"})
    assert read_bind_password(options, context(tmp_path).context) == "pw"
    assert read_bind_password(DirectoryOptions(), context(tmp_path).context) is None


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_unusable_password_file(tmp_path: Path, content: bytes | None) -> None:
    """A password file that is missing, empty or no text stops the start."""
    if content is not None:
        (tmp_path / "bind.pw").write_bytes(content)
    options = DirectoryOptions.model_validate({PRINCIPAL: "cn=a", FILE: "bind.pw"})
    with pytest.raises(ConfigError, match="credentials-file"):
        read_bind_password(options, context(tmp_path).context)
