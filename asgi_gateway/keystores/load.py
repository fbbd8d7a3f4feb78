"""Open keystores from a file and a password file."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from asgi_gateway._runtime.secret_files import ignore_warning, read_secret
from asgi_gateway.keystores.credential import ServerTLS
from asgi_gateway.keystores.errors import error_prefix, fault, keystore_extra
from asgi_gateway.keystores.jks import JCEKS_MAGIC, JKS_MAGIC, read_java
from asgi_gateway.keystores.pkcs12 import read_pkcs12
from asgi_gateway.keystores.store import KeyEntry, KeyStore

__all__ = ["StoreSettings", "check_keystore", "load_keystore", "open_store", "read_password", "uvicorn_tls"]

_LARGEST = 16 * 1024 * 1024
_PEM_BEGIN = b"-----BEGIN "
_PEM_CERTIFICATE = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class StoreSettings(Protocol):
    """The settings that ``open_store`` reads: the ``keystore`` and ``truststore`` elements."""

    @property
    def type(self) -> str | None:
        """``JKS``, ``JCEKS`` or ``PKCS12``; None to detect it from the content."""

    @property
    def file(self) -> Path:
        """The store, relative to the configuration file."""

    @property
    def password_file(self) -> Path | None:
        """The file with its password, relative to the configuration file."""


def open_store(store: StoreSettings, directory: Path, warn: Callable[[str], None] = ignore_warning) -> KeyStore:
    """Open ``security/keystore`` or ``security/truststore``.

    Args:
        store: what the configuration says.
        directory: the configuration file's directory.
        warn: called with each warning, such as a password file that other users can read.

    Raises:
        ConfigError: with one problem, its message and hint, without a position.
    """
    password = None
    if store.password_file is not None:
        password = read_password((directory / store.password_file.expanduser()).absolute(), warn)
    return load_keystore((directory / store.file.expanduser()).absolute(), password, store.type)


def load_keystore(file: Path, password: str | None, type: str | None = None) -> KeyStore:  # noqa: A002
    """Read a JKS, JCEKS or PKCS #12 keystore, or a PEM file of trusted certificates; its content says which it is.

    Keys stay encrypted until they are asked for.

    Args:
        file: the keystore.
        password: its password. Without one, Java's stores are read unchecked and give certificates only.
        type: what it must be: ``JKS``, ``JCEKS`` or ``PKCS12``.

    Raises:
        WrongPassword: the password does not open it.
        ConfigError: it is missing, of another type, truncated or damaged, or the extra is not installed.
    """
    with error_prefix(file):
        data, found = _typed(file, type)
        keys, trusted, verified = _READERS[found](data, password)
    return KeyStore(file, found, keys, trusted, verified=verified, password=password)


def check_keystore(file: Path, type: str | None = None) -> None:  # noqa: A002
    """Check without its password that a keystore can hold keys, and that the libraries to read them are installed.

    Args:
        file: the keystore.
        type: what it must be: ``JKS``, ``JCEKS`` or ``PKCS12``.

    Raises:
        ConfigError: it is missing, of another type, a PEM file, or the extra is not installed.
    """
    with error_prefix(file):
        _, found = _typed(file, type)
        if found == "PEM":
            raise fault("is a PEM file, which cannot hold keys here", "use JKS, JCEKS or PKCS12")
        with keystore_extra():
            for library in ("cryptography", "javaobj", "pyasn1_modules"):
                import_module(library)


def read_password(file: Path, warn: Callable[[str], None] = ignore_warning) -> str:
    """Return the password that is the only line of a file.

    Args:
        file: the file.
        warn: called with a sentence if other users can read or write the file.

    Raises:
        ConfigError: the file is missing, empty, not UTF-8, or has more than one line.
    """
    return read_secret(file, warn, "password file")


def uvicorn_tls(keystore: KeyStore, host: str, now: float) -> dict[str, Any]:
    """Return arguments of ``uvicorn.run`` (0.47 or newer) that serve https and wss with the keystore's key for a host.

    Args:
        keystore: the opened keystore.
        host: the name or address that clients use.
        now: seconds since the epoch.

    Raises:
        ConfigError: as ``KeyStore.server_identity``, or OpenSSL refuses key or certificate.
    """
    tls: ServerTLS = keystore.server_identity(host, now).server_tls()
    tls()  # a key that OpenSSL refuses must stop the start here, with its name, and not in a worker process
    return {"ssl_context_factory": tls}


def _typed(file: Path, type: str | None) -> tuple[bytes, str]:  # noqa: A002
    data = _read(file, _LARGEST)
    found = _type_of(data)
    if type is not None and type != found:
        raise fault(f"is {found}, not {type}", f"set its type to {found}, or leave the type out")
    return data, found


def _read(file: Path, largest: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(largest + 1)
    except FileNotFoundError as error:
        raise fault("does not exist", "files are relative to the configuration file") from error
    except IsADirectoryError as error:
        raise fault("is a directory", "name the file in it") from error
    except OSError as error:
        raise fault(f"cannot be read: {error.strerror}", "let the user who runs the gateway read it") from error
    if len(data) > largest:
        raise fault(f"is larger than {largest} bytes")
    return data


def _type_of(data: bytes) -> str:
    if data.startswith(JKS_MAGIC):
        return "JKS"
    if data.startswith(JCEKS_MAGIC):
        return "JCEKS"
    if _PEM_BEGIN in data:
        return "PEM"
    if not data:
        raise fault("is empty", "restore it from a backup")
    if data[0] != _DER_SEQUENCE:
        raise fault("is not a keystore of a known type", "JKS, JCEKS, PKCS12 and PEM are known")
    header = 2 + (data[1] & 0x7F if len(data) > 1 and data[1] & 0x80 else 0)
    if data[header : header + 1] == b"\x30":  # a certificate's first element is a sequence, a PFX's the version number
        raise fault("is a single certificate", "convert it: openssl x509 -inform DER -in FILE -out FILE.pem")
    return "PKCS12"


def _read_pem(data: bytes, password: str | None) -> tuple[tuple[KeyEntry, ...], dict[str, bytes], bool]:
    begin, end = _PEM_CERTIFICATE
    text = data.decode("ascii", "replace")
    if "PRIVATE KEY-----" in text:
        raise fault(
            "is a PEM file with a private key; PEM files can hold trusted certificates only",
            "openssl pkcs12 -export -in certificates.pem -inkey key.pem -name server -out keystore.p12",
        )
    blocks = [begin + block.partition(end)[0] + end for block in text.split(begin)[1:]]
    if not blocks:
        raise fault("is a PEM file without a certificate")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="\n".join(blocks))
        certificates = {str(number): ssl.PEM_cert_to_DER_cert(block) for number, block in enumerate(blocks, 1)}
    except (ssl.SSLError, ValueError) as error:
        raise fault("is a PEM file with a damaged certificate") from error
    return (), certificates, False


_DER_SEQUENCE = 0x30
_READERS = {"JKS": read_java, "JCEKS": read_java, "PKCS12": read_pkcs12, "PEM": _read_pem}
