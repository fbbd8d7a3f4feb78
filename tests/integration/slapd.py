"""A throw-away OpenLDAP server with users, groups and a CA of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import ipaddress
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asgi_gateway.modules.ldap import LdapLoginModule, LdapOptions
from asgi_gateway.plugins.clock import Clock
from tests.helpers import context
from tests.integration.process import LOOPBACK, Process, free_port, running

BASE = "dc=example,dc=com"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
READER = f"cn=reader,{BASE}"
READER_PASSWORD = "reader-pw"
ROOT = f"cn=admin,{BASE}"
ROOT_PASSWORD = "secret"
MANY = 10_000

_DATA = Path(__file__).parents[1] / "data"
_SLAPD = "/usr/sbin/slapd"
_SLAPADD = "/usr/sbin/slapadd"


class Certificates:
    """A CA and certificates of its own: one that is right, one that expired, one for another host.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        self._valid, self._past = (now - day, now + 30 * day), (now - 3 * day, now - day)
        builder = self._builder(self._name, self._key, self._valid)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        address = x509.IPAddress(ipaddress.ip_address(LOOPBACK))
        self.good = self._server("good", [address], self._valid)
        self.expired = self._server("expired", [address], self._past)
        self.localhost = self._server("localhost", [x509.DNSName("localhost")], self._valid)
        self.other_host = self._server("other", [x509.DNSName("elsewhere.example.com")], self._valid)

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, valid: tuple[datetime.datetime, datetime.datetime]
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(valid[0])
            .not_valid_after(valid[1])
        )

    def _server(
        self, name: str, names: list[x509.GeneralName], valid: tuple[datetime.datetime, datetime.datetime]
    ) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, valid).add_extension(x509.SubjectAlternativeName(names), critical=False)
        path = self.folder / f"{name}.pem"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.with_suffix(".key").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return path


@dataclass
class Slapd:
    """A running slapd that can be frozen, stopped and started again on its ports.

    Args:
        folder: its configuration and data.
        certificates: the CA.
        debug: level of its log; ``stats`` lists every operation.
        certificate: what it shows; the CA's ``good`` one by default.
        extra: more lines for its configuration.
    """

    folder: Path
    certificates: Certificates
    debug: str = "stats"
    certificate: Path | None = None
    extra: str = ""
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _process: Process | None = None

    @property
    def ca(self) -> Path:
        return self.certificates.ca

    def url(self, base: str = PEOPLE, *, tls: bool = False) -> str:
        """An LDAP URL of this server."""
        return f"ldaps://{LOOPBACK}:{self.tls_port}/{base}" if tls else f"ldap://{LOOPBACK}:{self.port}/{base}"

    def start(self) -> Slapd:
        """Start, or start again."""
        certificate = self.certificate or self.certificates.good
        config = self.folder / "slapd.conf"
        text = Template((_DATA / "slapd.conf").read_text()).substitute(
            folder=self.folder, ca=self.ca, certificate=certificate, key=certificate.with_suffix(".key")
        )
        config.write_text(text + self.extra)
        if not (self.folder / "db").exists():
            self._fill(config)
        urls = f"ldap://{LOOPBACK}:{self.port}/ ldaps://{LOOPBACK}:{self.tls_port}/"
        command: list[str | Path] = [_SLAPD, "-f", config, "-h", urls, "-d", self.debug]
        log = self.folder / "slapd.log"
        self._process = self._stack.enter_context(running(command, port=self.port, log=log, name="slapd"))
        return self

    def stop(self) -> None:
        """End it; what it held stays in its folder."""
        if self._process is not None:
            self.thaw()
        self._process = None
        self._stack.close()

    def freeze(self) -> None:
        """Let it say nothing any more, with its ports still open."""
        assert self._process is not None
        os.kill(self._process.popen.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.popen.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def operations(self) -> Iterator[list[str]]:
        """What the server was asked in the block: ``BIND dn=…`` and ``SRCH base=…``, in order."""
        assert self._process is not None
        before = len(self._process.output())
        found: list[str] = []
        yield found
        found += re.findall(
            r"op=\d+ (BIND dn=\"[^\"]*\"(?= method)|SRCH base=\"[^\"]*\")", self._process.output()[before:]
        )

    def open_connections(self) -> int:
        """How many client connections are open, as the kernel counts them on the server's ports."""
        count = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            count += state == "01" and int(local.split(":")[1], 16) in (self.port, self.tls_port)
        return count

    async def settled_connections(self) -> int:
        """How many client connections are open, once the number has stayed the same for some tenths of a second."""
        same, count = 0, self.open_connections()
        with anyio.fail_after(10):
            while same < 3:
                await anyio.sleep(0.1)
                now = self.open_connections()
                same, count = (same + 1 if now == count else 0), now
        return count

    def modify(self, ldif: str) -> None:
        """Change entries, as the root account."""
        command = ["ldapmodify", "-x", "-H", f"ldap://{LOOPBACK}:{self.port}", "-D", ROOT, "-w", ROOT_PASSWORD]
        subprocess.run([*command, "-e", "relax"], input=ldif, text=True, check=True, capture_output=True)

    def _fill(self, config: Path) -> None:
        (self.folder / "db").mkdir()
        ldif = self.folder / "data.ldif"
        many = (f"dn: cn=m{i},ou=many,{BASE}\nobjectClass: device\ncn: m{i}\n" for i in range(MANY))
        data = Template((_DATA / "slapd.ldif").read_text()).substitute(port=self.port)
        ldif.write_text(data + "\n" + "\n".join(many))
        subprocess.run([_SLAPADD, "-q", "-f", config, "-l", ldif], check=True, capture_output=True)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A slapd for the tests of one file, which leave it as they find it."""
    with slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


@contextlib.contextmanager
def slapd(folder: Path, **kw: Any) -> Iterator[Slapd]:
    """A running slapd in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    certificates = kw.pop("certificates", None) or Certificates(folder)
    server = Slapd(folder, certificates, **kw)
    try:
        yield server.start()
    finally:
        server.stop()


def ldap_module(server: Slapd, clock: Clock | None = None, /, **options: Any) -> LdapLoginModule:
    """An ``ldap`` login module for a server; options by name, ``None`` leaves a default one out."""
    values = {"userProvider": server.url(), "userFilter": "(uid={USERNAME})", "caFile": str(server.ca)} | options
    given = LdapOptions.model_validate({name: value for name, value in values.items() if value is not None})
    made = context(server.folder)
    return LdapLoginModule(given, dataclasses.replace(made.context, clock=clock) if clock else made.context)
