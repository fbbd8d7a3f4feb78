"""The chain of the original's documentation, file and then ldap, from the configuration file to the decision."""

from __future__ import annotations

import io
from base64 import b64encode
from pathlib import Path

import anyio
import pytest

from asgi_gateway.cli.main import main
from asgi_gateway.config.build import load_config
from asgi_gateway.model import Allow, AuthRequest, Challenge, Decision, Unavailable
from tests.integration.slapd import Slapd, directory, slapd

__all__ = ["directory"]

pytestmark = pytest.mark.anyio

CONFIG = """\
<security>
  <realm>
    <name>demo</name>
    <authentication>
      <http-challenge-scheme>Basic</http-challenge-scheme>
      <http-header>X-Custom-Authorization-Header</http-header>
      <login-modules>
        <login-module>
          <type>file</type>
          <success>{success}</success>
          <options>
            <filename>jaas-config.xml</filename>
          </options>
        </login-module>
        <login-module>
          <type>ldap</type>
          <success>required</success>
          <options>
            <userProvider>{url}</userProvider>
            <userFilter>
              <![CDATA[(&amp;(userPrincipalName={{USERNAME}}@MYCOMPANY.NET)
                (objectClass=inetOrgPerson))]]>
            </userFilter>
            <authzIdentity>{{EMPLOYEENUMBER}}</authzIdentity>
            <caFile>{ca}</caFile>
          </options>
        </login-module>
      </login-modules>
    </authentication>
  </realm>
</security>
"""

USERS = """\
<jaas-config>
  <user><name>alice</name><password>alice-pw</password><role-name>FILE</role-name></user>
  <user><name>carol</name><password>carol-pw</password><role-name>FILE</role-name></user>
  <user><name>dave</name><password>dave-pw</password><role-name>FILE</role-name></user>
  <user><name>bob</name><password>another-pw</password></user>
  <role><name>FILE</name></role>
</jaas-config>
"""


@pytest.fixture(params=["requisite", "required"])
def config(request: pytest.FixtureRequest, directory: Slapd, tmp_path: Path) -> Path:
    return write(tmp_path, request.param, directory)


def write(folder: Path, success: str, server: Slapd) -> Path:
    (folder / "jaas-config.xml").write_text(USERS)
    path = folder / "gateway.xml"
    path.write_text(CONFIG.format(success=success, url=server.url(), ca=server.ca))
    return path


async def decide(config: Path, username: str, password: str) -> Decision:
    gateway = load_config(config)
    await gateway.open()
    try:
        credentials = b64encode(f"{username}:{password}".encode())
        headers = [(b"authorization", b"Basic " + credentials)]
        return await gateway.decide(AuthRequest("http", "GET", "/", headers=headers))
    finally:
        await gateway.close()


@pytest.mark.parametrize(
    ("username", "password", "roles"),
    [
        pytest.param("alice", "alice-pw", {"FILE", "AUTHORIZED"}, id="in both"),
        pytest.param("carol", "carol-pw", {"FILE"}, id="in both, no employee number"),
        pytest.param("dave", "dave-pw", None, id="in the file only"),
        pytest.param("twin1", "twin1-pw", None, id="in the directory only"),
        pytest.param("nobody", "nobody-pw", None, id="in neither"),
        pytest.param("bob", "bob-pw", None, id="in both, the directory's password"),
        pytest.param("bob", "another-pw", None, id="in both, the file's password"),
        pytest.param("alice", "", None, id="no password"),
        pytest.param("*", "alice-pw", None, id="a wild card"),
    ],
)
async def test_each_combination(config: Path, username: str, password: str, roles: set[str] | None) -> None:
    """Who is in both gets in, with the file's roles and the directory's employee number as a role; nobody else does."""
    decision = await decide(config, username, password)
    if roles is None:
        assert isinstance(decision, Challenge)
    else:
        assert isinstance(decision, Allow)
        assert decision.subject is not None
        assert (decision.subject.name, set(decision.subject.roles)) == (username, roles)


async def test_requisite_spares_the_directory(directory: Slapd, tmp_path: Path) -> None:
    """After a requisite file module refused, the directory is not asked; after a required one it is."""
    for success, asked in (("requisite", False), ("required", True)):
        path = write(tmp_path, success, directory)
        with directory.operations() as operations:
            await decide(path, "twin1", "twin1-pw")
        assert bool(operations) is asked


def test_explain(
    directory: Slapd, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """explain shows mode, server, the DN found and the roles; of a wrong password the DN, and no password ever."""
    config = write(tmp_path, "required", directory)
    shown = f"search-first on ldap://127.0.0.1:{directory.port} (StartTLS)"
    for password, code in (("alice-pw", 0), ("not-alices", 1)):
        monkeypatch.setattr("sys.stdin", io.StringIO(password))
        assert main(["explain", str(config), "GET", "/", "--user", "alice"]) == code
        output = capsys.readouterr().out
        assert f"{shown}: the entry is uid=alice,ou=people,dc=example,dc=com" in output
        assert ("has the roles ['AUTHORIZED']" in output) == (code == 0)
        assert password not in output


def test_check_connect(directory: Slapd, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """check --connect is content with a good directory, and names what is wrong with another."""
    config = write(tmp_path, "required", directory)
    assert main(["check", "--connect", str(config)]) == 0
    config.write_text(config.read_text().replace("ou=people", "ou=nobody"))
    assert main(["check", "--connect", str(config)]) == 1
    assert "login module ldap: ldap://127.0.0.1" in capsys.readouterr().err


async def test_directory_down(tmp_path: Path) -> None:
    """While the directory is down who is in the file gets 503, and who is not is refused."""
    with slapd(tmp_path / "slapd") as server:
        path = write(tmp_path, "requisite", server)
        server.stop()
        with anyio.fail_after(5):
            assert isinstance(await decide(path, "alice", "alice-pw"), Unavailable)
            assert isinstance(await decide(path, "nobody", "alice-pw"), Challenge)
