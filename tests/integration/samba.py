"""A real Active Directory: Samba's domain controller in a network namespace of its own, since its ports are fixed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ldap
import pytest

from asgi_gateway.modules.ldap import LdapLoginModule, LdapOptions
from asgi_gateway.plugins.clock import SystemClock
from tests.helpers import context
from tests.integration.process import LOOPBACK, Process, running
from tests.integration.slapd import Certificates

BASE = "DC=corp,DC=example"
USERS = f"CN=Users,{BASE}"
REALM = "CORP.EXAMPLE"
PASSWORD = "Passw0rd-x1"
ADMINISTRATOR = ("CORP\\Administrator", "Adm1n-pass!")
ACCOUNT = {
    "java.naming.security.principal": f"CN=svc-gw,{USERS}",
    "java.naming.security.credentials": PASSWORD,
}

_LDAP, _LDAPS, _KERBEROS = 389, 636, 88
_NAMESPACE = Path(__file__).with_name("namespace.py")
_SETUP = Path(__file__).parents[1] / "data" / "samba_setup.py"
_SYSTEM_PYTHON = "/usr/bin/python3"  # has Samba's modules
_KRB5_CONF = """\
[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 forwardable = true
 udp_preference_limit = 1
 default_keytab_name = FILE:{folder}/domain/http.keytab
[realms]
 {realm} = {{
  kdc = 127.0.0.1:{port}
 }}
[domain_realm]
 localhost = {realm}
"""


def _unshare(*options: str) -> list[str]:
    """Return the command that runs a program in new namespaces: as root, or in a user namespace of its own."""
    return ["unshare", *options] if os.geteuid() == 0 else ["unshare", "-r", *options]


def require_namespaces() -> None:
    """Fail the test where no namespaces are allowed, and say how to allow them."""
    command = [*_unshare("-n"), "true"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(
            f"cannot start Samba: {' '.join(command)} failed ({done.stderr.strip()}); run the tests as root, or allow "
            "unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0)"
        )


@dataclass
class SambaDomain:
    """A running domain controller of the domain CORP.EXAMPLE.

    Args:
        folder: its configuration and data.
        certificates: the CA that certified it.
        ports: the ports outside, by the ports inside of its namespace.
    """

    folder: Path
    certificates: Certificates
    ports: dict[int, int]

    def url(self, base: str = BASE, *, tls: bool = True) -> str:
        """An LDAP URL of the controller."""
        scheme, port = ("ldaps", self.ports[_LDAPS]) if tls else ("ldap", self.ports[_LDAP])
        return f"{scheme}://{LOOPBACK}:{port}/{base}"

    @property
    def environment(self) -> dict[str, str]:
        """What programs need to find its Kerberos realm."""
        return {"KRB5_CONFIG": str(self.folder / "krb5.conf"), "KRB5CCNAME": f"FILE:{self.folder}/no-cache"}

    def module(self, **options: Any) -> LdapLoginModule:
        """An ``ldap`` login module, search first by the service account unless options say otherwise."""
        values = {
            "userProvider": self.url(),
            "userFilter": "(&(objectClass=user)(sAMAccountName={USERNAME}))",
            "caFile": str(self.certificates.ca),
            "com.sun.jndi.ldap.read.timeout": "20000",  # the machine may be busy
            **ACCOUNT,
        } | options
        given = LdapOptions.model_validate({name: value for name, value in values.items() if value is not None})
        made = context(self.folder, clock=SystemClock())
        return LdapLoginModule(given, made.context)

    def connection(self) -> Any:
        """A connection of the administrator's."""
        raw = ldap.initialize(self.url().rpartition("/")[0])
        raw.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.certificates.ca))
        raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        raw.set_option(ldap.OPT_REFERRALS, 0)
        raw.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
        raw.simple_bind_s(*ADMINISTRATOR)
        return raw

    def modify(self, dn: str, **attributes: str | bytes | None) -> None:
        """Replace attributes of an entry; None removes one."""
        changes = [
            (ldap.MOD_REPLACE, name, None if value is None else [value if isinstance(value, bytes) else value.encode()])
            for name, value in attributes.items()
        ]
        self.connection().modify_s(dn, changes)

    def set_password(self, name: str, password: str) -> None:
        """Set a user's password, as an administrator does."""
        self.modify(f"CN={name},{USERS}", unicodePwd=f'"{password}"'.encode("utf-16-le"))

    def wait_until_ready(self, process: Process, timeout: float) -> None:
        """Return once the administrator can log in.

        Raises:
            RuntimeError: that takes longer than ``timeout`` seconds, or the server ended.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                self.connection().unbind_s()
                return
            except ldap.LDAPError as error:
                logs = "".join(path.read_text(errors="replace")[-2000:] for path in (self.folder / "log").glob("log.*"))
                if process.popen.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"Samba does not answer: {error}\n{process.output()}\n{logs}") from None
                time.sleep(0.2)


def _provision(folder: Path) -> None:
    """Make the domain. ``unshare`` gives a user who is not root the ids that Samba checks for."""
    prefix = [] if os.geteuid() == 0 else _unshare()
    command = [*prefix, _SYSTEM_PYTHON, str(_SETUP), str(folder / "domain")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"cannot provision a domain:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


@contextmanager
def samba_domain(folder: Path) -> Iterator[SambaDomain]:
    """A running domain controller in a folder of its own."""
    require_namespaces()
    certificates = Certificates(folder)
    for name in ("log", "tls"):
        (folder / name).mkdir()
    key = folder / "tls" / "server.key"
    shutil.copy(certificates.good.with_suffix(".key"), key)
    key.chmod(0o600)
    _provision(folder)
    listeners = {port: socket.create_server((LOOPBACK, 0), backlog=50) for port in (_LDAP, _LDAPS, _KERBEROS)}
    ports = {port: int(sock.getsockname()[1]) for port, sock in listeners.items()}
    domain = SambaDomain(folder, certificates, ports)
    (folder / "krb5.conf").write_text(_KRB5_CONF.format(realm=REALM, folder=folder, port=ports[_KERBEROS]))
    settings = {
        "server services": "ldap, kdc",
        "log file": f"{folder}/log/log.%m",
        "pid directory": folder,
        "ncalrpc dir": folder / "ncalrpc",
        "tls keyfile": key,
        "tls certfile": certificates.good,
        "tls cafile": certificates.ca,
    }
    samba = ["samba", "-F", "--no-process-group", "-s", str(folder / "domain" / "etc" / "smb.conf")]
    samba += [f"--option={name}={value}" for name, value in settings.items()]
    forwards = [f"{sock.fileno()}:{port}" for port, sock in listeners.items()]
    command = [*_unshare("-n"), sys.executable, str(_NAMESPACE), *forwards, "--", *samba]
    descriptors = [sock.fileno() for sock in listeners.values()]
    path = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"
    with running(
        command,
        port=ports[_LDAP],
        log=folder / "samba.log",
        name="samba",
        env={"PATH": path},
        pass_fds=descriptors,
    ) as process:
        for sock in listeners.values():
            sock.close()
        domain.wait_until_ready(process, 60)
        yield domain


@pytest.fixture(scope="session")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SambaDomain]:
    """A domain controller for all tests that use one; it starts once, which takes some ten seconds."""
    with samba_domain(tmp_path_factory.mktemp("samba")) as domain:
        yield domain
