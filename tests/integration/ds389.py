"""A throw-away 389 Directory Server, from the template that its installer fills in."""

from __future__ import annotations

import base64
import getpass
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ldap
import ldap.modlist
import pytest

from asgi_gateway.modules.ldap import LdapLoginModule, LdapOptions
from asgi_gateway.plugins.clock import SystemClock
from tests.helpers import context
from tests.integration.process import LOOPBACK, Process, free_port, running

BASE = "dc=example,dc=com"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
MANAGER = ("cn=Directory Manager", "manager-pw-1")
ACCOUNT = {
    "java.naming.security.principal": f"uid=reader,{PEOPLE}",
    "java.naming.security.credentials": "reader-pw",
}

_TEMPLATE = Path("/usr/share/dirsrv/data/template-dse.ldif")
_CONFIG = Path("/etc/dirsrv")
_SERVER = "/usr/sbin/ns-slapd"
_RULES = [
    '(targetattr="*")(version 3.0; acl "read"; allow (read, search, compare) userdn="ldap:///all";)',
    f'(targetattr="pwdUpdateTime")(version 3.0; acl "times"; allow (read) userdn="ldap:///uid=reader,{PEOPLE}";)',
    '(targetattr="userPassword")(version 3.0; acl "own"; allow (write) userdn="ldap:///self";)',
]


@dataclass
class DirectoryServer389:
    """A running 389 Directory Server.

    Args:
        folder: its configuration and data.
        port: its port, without TLS.
    """

    folder: Path
    port: int

    def url(self, base: str = PEOPLE) -> str:
        """An LDAP URL of the server."""
        return f"ldap://{LOOPBACK}:{self.port}/{base}"

    def module(self, **options: Any) -> LdapLoginModule:
        """An ``ldap`` login module, search first by the reader's account unless options say otherwise."""
        values = {"userProvider": self.url(), "userFilter": "(uid={USERNAME})", "useSSL": "false", **ACCOUNT} | options
        given = LdapOptions.model_validate({name: value for name, value in values.items() if value is not None})
        return LdapLoginModule(given, context(self.folder, clock=SystemClock()).context)

    def connection(self) -> Any:
        """A connection of the manager's."""
        raw = ldap.initialize(f"ldap://{LOOPBACK}:{self.port}")
        raw.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
        raw.simple_bind_s(*MANAGER)
        return raw

    def add(self, dn: str, **attributes: str | list[str]) -> None:
        """Add an entry."""
        values = {
            name: [value.encode() for value in (found if isinstance(found, list) else [found])]
            for name, found in attributes.items()
        }
        self.connection().add_s(dn, ldap.modlist.addModlist(values))

    def modify(self, dn: str, **attributes: str) -> None:
        """Replace attributes of an entry."""
        changes = [(ldap.MOD_REPLACE, name, [value.encode()]) for name, value in attributes.items()]
        self.connection().modify_s(dn, changes)

    def person(self, uid: str, **attributes: str | list[str]) -> None:
        """Add a user with the password ``UID-pw``."""
        values: dict[str, str | list[str]] = {"objectClass": ["inetOrgPerson"], "cn": uid, "sn": uid}
        values |= {"userPassword": f"{uid}-pw"} | attributes
        self.add(f"uid={uid},{PEOPLE}", uid=uid, **values)

    def wait_for_password_time(self, uid: str) -> None:
        """Return once the server has noted that a user's password changed: it answers the change first.

        Raises:
            TimeoutError: it has not noted it within 20 s.
        """
        end = time.monotonic() + 20
        while time.monotonic() < end:
            [(_, found)] = self.connection().search_s(
                f"uid={uid},{PEOPLE}", ldap.SCOPE_BASE, attrlist=["pwdUpdateTime"]
            )
            if found:
                return
            time.sleep(0.05)
        raise TimeoutError(f"the time of {uid}'s last password change does not show")

    def fill(self) -> None:
        """Make the suffix, its policy, users and groups."""
        backend = "cn=userroot,cn=ldbm database,cn=plugins,cn=config"
        top = ["top", "extensibleObject"]
        self.add(backend, objectClass=[*top, "nsBackendInstance"], cn="userroot", **{"nsslapd-suffix": BASE})
        tree = {"nsslapd-state": "backend", "nsslapd-backend": "userroot"}
        self.add(f'cn="{BASE}",cn=mapping tree,cn=config', objectClass=[*top, "nsMappingTree"], cn=BASE, **tree)
        policy = {
            "passwordLockout": "on",
            "passwordMaxFailure": "3",
            "passwordTrackUpdateTime": "on",
        }
        self.modify("cn=config", **policy)
        self.add(BASE, objectClass=["top", "domain"], dc="example", aci=_RULES)
        for name in ("people", "groups"):
            self.add(f"ou={name},{BASE}", objectClass=["top", "organizationalUnit"], ou=name)
        for uid in ("reader", "alice", "Bob", "inactive", "tooMany"):
            self.person(uid)
        self.modify(f"uid=inactive,{PEOPLE}", nsAccountLock="true")
        self.modify("cn=config", passwordMustChange="on")
        self.person("reset")  # whose password the manager has set and the user must change
        for cn, uids in (("admins", ["alice"]), ("users", ["alice", "Bob"])):
            members = [f"uid={uid},{PEOPLE}" for uid in uids]
            self.add(f"cn={cn},{GROUPS}", objectClass=["top", "groupOfNames"], cn=cn, member=members)

    def wait_until_ready(self, process: Process, timeout: float) -> None:
        """Return once the manager can log in.

        Raises:
            RuntimeError: that takes longer than ``timeout`` seconds, or the server ended.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                self.connection().unbind_s()
                return
            except ldap.LDAPError as error:
                if process.popen.poll() is not None or time.monotonic() > end:
                    errors = self.folder / "errors"
                    said = errors.read_text(errors="replace")[-4000:] if errors.exists() else process.output()
                    raise RuntimeError(f"389 Directory Server does not answer: {error}\n{said}") from None
                time.sleep(0.1)


def _hashed(password: str) -> str:
    """Return a password as the configuration has it; plain text is refused."""
    salt = b"saltsalt"
    digest = hashlib.sha512(password.encode() + salt).digest()
    return "{SSHA512}" + base64.b64encode(digest + salt).decode()


def _configuration(folder: Path, port: int) -> str:
    """Return the server's configuration, from its installer's template."""
    text = _TEMPLATE.read_text()
    values = {
        "cert_dir": folder / "config",
        "config_dir": folder / "config",
        "schema_dir": folder / "config" / "schema",
        "tmp_dir": folder,
        "db_lib": "bdb",
        "ds_passwd": _hashed(MANAGER[1]),
        "ds_port": port,
        "ds_suffix": BASE,
        "ds_user": getpass.getuser(),
        "fqdn": "localhost",
        "ldapi": folder / "ldapi",
        "ldapi_autobind": "off",
        "ldapi_enabled": "off",
        "log_dir": folder,
        "rootdn": MANAGER[0],
    } | {f"{name}_dir": folder / name for name in ("bak", "db", "db_home", "inst", "ldif", "lock", "run")}
    for name, value in values.items():
        text = text.replace(f"%{name}%", str(value))
    return text.replace("nsslapd-localhost:", f"nsslapd-listenhost: {LOOPBACK}\nnsslapd-localhost:", 1)


@contextmanager
def directory_server_389(folder: Path) -> Iterator[DirectoryServer389]:
    """A running server in a folder of its own."""
    for name in ("config", "bak", "db", "db_home", "inst", "ldif", "lock", "run"):
        (folder / name).mkdir(mode=0o770)
    shutil.copytree(_CONFIG / "schema", folder / "config" / "schema")
    for name in ("slapd-collations.conf", "certmap.conf"):
        shutil.copy(_CONFIG / "config" / name, folder / "config" / name)
    port = free_port()
    (folder / "config" / "dse.ldif").write_text(_configuration(folder, port))
    command: list[str | Path] = [_SERVER, "-D", folder / "config", "-i", folder / "run" / "pid", "-d", "0"]
    with running(command, port=port, log=folder / "output", name="ns-slapd", timeout=60) as process:
        server = DirectoryServer389(folder, port)
        server.wait_until_ready(process, 60)
        server.fill()
        yield server


@pytest.fixture(scope="module")
def ds389(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryServer389]:
    """A 389 Directory Server for the tests of one file."""
    with directory_server_389(tmp_path_factory.mktemp("ds389")) as server:
        yield server
