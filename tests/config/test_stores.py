"""``security/keystore`` and ``security/truststore``: opened when the gateway is built, errors with their place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from asgi_gateway import ConfigError, LoginModule, load_config
from asgi_gateway.cli import main
from asgi_gateway.plugins.login_module import LoginAttempt
from tests.keystores import PASSWORD, STORES

XML = """<gateway-config>
  <service><name>app</name><accept>/app</accept><realm-name>demo</realm-name></service>
  <security>
    <keystore>
      {type}
      <file>{file}</file>
      {password}
    </keystore>
    <truststore><file>truststore.p12</file><password-file>store.pw</password-file></truststore>
    <realm>
      <name>demo</name>
      <authentication>
        <http-challenge-scheme>Basic</http-challenge-scheme>
        <login-modules>
          <login-module>
            <type>class:tests.config.test_stores.Looks</type><success>required</success>
          </login-module>
        </login-modules>
      </authentication>
    </realm>
  </security>
</gateway-config>
"""


class Looks(LoginModule):
    """A module that is ignored: its context shows what it was given."""

    async def login(self, attempt: LoginAttempt) -> None:
        return None


def write(folder: Path, *, file: str = "server.jceks", kind: str = "JCEKS", password: str = PASSWORD) -> Path:
    """A configuration with copies of the stores beside it."""
    for name in ("server.jceks", "truststore.p12", "ca.pem"):
        shutil.copy(STORES / name, folder)
    (folder / "store.pw").write_text(PASSWORD)
    (folder / "key.pw").write_text(password)
    for name in ("store.pw", "key.pw"):
        (folder / name).chmod(0o600)
    config = folder / "gateway.xml"
    element = "<password-file>key.pw</password-file>"
    config.write_text(XML.format(type=f"<type>{kind}</type>" if kind else "", file=file, password=element))
    return config


def test_modules_get_both(tmp_path: Path) -> None:
    """Login modules find the opened stores in their context, and the gateway has the keystore for its server."""
    gateway = load_config(write(tmp_path))
    context = gateway.realms[0].chain.entries[0].module.context
    assert gateway.keystore is not None
    assert context.keystore is gateway.keystore
    assert context.keystore.aliases()
    assert b"BEGIN CERTIFICATE" in context.truststore.pem_bundle()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file": "none.db"}, "none.db"),
        ({"password": "hunter-two"}, "password"),
        ({"kind": "PKCS12"}, "JCEKS"),
        ({"file": "gateway.xml", "kind": ""}, "gateway.xml"),
    ],
)
def test_errors_have_their_place(tmp_path: Path, change: dict[str, str], said: str) -> None:
    """A store that is missing, of another type, or does not open stops the start with file and line of its element."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, **change))
    errors = [problem for problem in caught.value.problems if problem.severity == "error"]
    assert len(errors) == 1
    assert said in errors[0].message
    assert (errors[0].line, errors[0].path) == (4, "security.keystore")
    assert "hunter-two" not in str(caught.value)


def test_doubts_are_warnings(tmp_path: Path) -> None:
    """A password file that everybody can read is a warning of the configuration."""
    config = write(tmp_path)
    (tmp_path / "key.pw").chmod(0o644)
    problems = load_config(config).problems
    assert [problem.severity for problem in problems if "key.pw" in problem.message] == ["warning"]


def test_run_with_tls_needs_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """run --tls names the host for which the keystore has no key, and the element that is missing."""
    config = write(tmp_path)
    assert main(["run", str(config), "example_app.app:api", "--tls", "other.example.org"]) == 2
    assert "other.example.org" in capsys.readouterr().err
    with_stores = config.read_text()
    config.write_text(re.sub(r"<keystore>.*</keystore>", "", with_stores, flags=re.DOTALL))
    assert main(["run", str(config), "example_app.app:api", "--tls", "localhost"]) == 2
    assert "security/keystore" in capsys.readouterr().err
