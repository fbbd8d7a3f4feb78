"""MIT KDCs on loopback, in temp folders, for the Kerberos tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.process import Process, free_port, running

SBIN = Path("/usr/sbin")
SERVICE = "HTTP/localhost"

_KRB5_CONF = """\
[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 forwardable = true
 udp_preference_limit = 1
 default_ccache_name = FILE:{directory}/no-cache
 default_keytab_name = FILE:{directory}/http.keytab
{extra}
[realms]
{realms}
[domain_realm]
 localhost = {realm}
"""
_REALM = """\
 {realm} = {{
  kdc = 127.0.0.1:{port}
{rules}
 }}
"""
_KDC_CONF = """\
[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_name = {directory}/db/principal
  key_stash_file = {directory}/stash
  acl_file = {directory}/kadm5.acl
  max_life = 10h
  max_renewable_life = 1d
  supported_enctypes = {enctypes}
 }}
[dbmodules]
 db_module_dir = /usr/lib/{arch}/krb5/plugins/kdb
[logging]
 kdc = FILE:{directory}/kdc.log
"""


@dataclass
class Kdc:
    """A realm with its KDC.

    Args:
        directory: where it lives.
        realm: its name.
        trusted: realms whose users may come, and that this realm's krb5.conf knows.
        rules: lines for the realm in krb5.conf, such as ``auth_to_local`` rules.
        extra: lines for ``[libdefaults]``.
        enctypes: kinds of the KDC's keys.
    """

    directory: Path
    realm: str = "EXAMPLE.COM"
    trusted: tuple[Kdc, ...] = ()
    rules: str = ""
    extra: str = ""
    enctypes: str = "aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal"
    port: int = field(default_factory=free_port)
    _caches: int = 0

    def create(self) -> None:
        """Make the database, the service ``HTTP/localhost`` and its keytab."""
        (self.directory / "db").mkdir(parents=True)
        self.write_config()
        kdc_conf = _KDC_CONF.format(
            port=self.port,
            realm=self.realm,
            directory=self.directory,
            enctypes=self.enctypes,
            arch=os.uname().machine + "-linux-gnu",
        )
        (self.directory / "kdc.conf").write_text(kdc_conf)
        self._run([SBIN / "kdb5_util", "-r", self.realm, "-P", "master", "create", "-s"])
        self.service(SERVICE, self.keytab)

    def write_config(self) -> None:
        """Write krb5.conf."""
        realms = "".join(
            _REALM.format(realm=kdc.realm, port=kdc.port, rules=kdc.rules) for kdc in (self, *self.trusted)
        )
        text = _KRB5_CONF.format(realm=self.realm, directory=self.directory, realms=realms, extra=self.extra)
        (self.directory / "krb5.conf").write_text(text)

    @property
    def keytab(self) -> Path:
        """The keytab of ``HTTP/localhost``, which is the system's default keytab in the tests."""
        return self.directory / "http.keytab"

    @property
    def environment(self) -> dict[str, str]:
        """What programs need to find this realm."""
        return {
            "KRB5_CONFIG": str(self.directory / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{self.directory}/no-cache",
        }

    @contextmanager
    def running(self) -> Iterator[Process]:
        """Run the KDC."""
        command: list[str | Path] = [SBIN / "krb5kdc", "-n", "-r", self.realm, "-P", self.directory / "kdc.pid"]
        log = self.directory / "kdc.out"
        with running(command, port=self.port, log=log, env=self.environment, name=f"KDC of {self.realm}") as process:
            yield process

    def kadmin(self, query: str) -> str:
        """Run a query of kadmin.local."""
        return self._run([SBIN / "kadmin.local", "-r", self.realm, "-q", query])

    def user(self, name: str, password: str, options: str = "") -> None:
        """Add a user; the options are kadmin's."""
        self.kadmin(f"addprinc -pw {password} {options} {name}")

    def service(self, name: str, keytab: Path) -> None:
        """Add a service and put its key into a keytab."""
        self.kadmin(f"addprinc -randkey {name}")
        self.kadmin(f"ktadd -k {keytab} -norandkey {name}")

    def trusts(self, other: Kdc) -> None:
        """Let users of another realm use this one's services."""
        for kdc in (self, other):
            kdc.kadmin(f"addprinc -pw shared krbtgt/{self.realm}@{other.realm}")

    def kinit(self, user: str, password: str, *options: str) -> str:
        """Log a user in; returns the name of a ticket cache of its own."""
        self._caches += 1
        cache = f"FILE:{self.directory}/cache-{self._caches}"
        self._run(["kinit", *options, "-c", cache, user], stdin=password + "\n")
        return cache

    def _run(self, command: list[str | Path], stdin: str = "") -> str:
        done = subprocess.run(
            [str(word) for word in command],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
            timeout=30,
        )
        if done.returncode or "while" in done.stderr:  # kadmin.local ends with 0 whatever happened
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def realm(directory: Path, **options: object) -> Iterator[Kdc]:
    """A new realm with a running KDC."""
    kdc = Kdc(directory, **options)  # type: ignore[arg-type]
    kdc.create()
    with kdc.running():
        yield kdc
