"""keytool and openssl as judges of keystores: what they list and open is what the gateway lists and opens."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores import load_keystore
from asgi_gateway.keystores.errors import WrongPassword

PASSWORD = "changeit"
STORES = Path(__file__).parent.parent / "data" / "keystores"
SEED = 5


def _keytool(*words: str | Path, check: bool = True) -> str:
    command = [
        "keytool",
        "-J-Duser.language=en",
        "-J-Dfile.encoding=UTF-8",
        "-J-Dsun.jnu.encoding=UTF-8",
        *map(str, words),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if check and result.returncode:
        raise AssertionError(result.stdout + result.stderr)
    return result.stdout


def _listed(store: Path) -> dict[str, str]:
    """Each alias of a store and the kind of its entry, as keytool lists them."""
    found = {}
    for line in _keytool("-list", "-keystore", store, "-storepass", PASSWORD).splitlines():
        for kind in ("PrivateKeyEntry", "trustedCertEntry", "SecretKeyEntry"):
            if f", {kind}" in line:
                alias = line.rpartition(f", {kind}")[0].rsplit(", ", 2)[0]
                found[alias] = kind
    return found


def _stores() -> list[Path]:
    return sorted(
        path
        for path in (*STORES.iterdir(), *(STORES / "others").iterdir())
        if path.suffix in {".p12", ".jks", ".jceks"}
    )


# certificate.jks is no keystore, keytool lists no key in the clear and prints aliases in the letters of the system
@pytest.mark.parametrize(
    "store",
    [path for path in _stores() if path.name not in {"certificate.jks", "aliases.p12", "unencrypted-key.p12"}],
    ids=lambda path: path.name,
)
def test_same_entries(store: Path) -> None:
    """Every private key and trusted certificate that keytool lists is there, and no other."""
    listed = _listed(store)
    opened = load_keystore(store, PASSWORD)
    keys = {alias for alias, kind in listed.items() if kind == "PrivateKeyEntry"}
    assert listed or store.name in {"certificates-only.p12", "empty.jks"}  # openssl's are not marked as trusted
    assert set(opened.key_aliases()) == keys
    if listed:
        trusted = {alias for alias, kind in listed.items() if kind == "trustedCertEntry"}
        assert trusted <= set(opened.aliases())


def test_made_by_keytool(tmp_path: Path) -> None:
    """Stores of random options and several keys open with their password, and with no other."""
    rng = random.Random(SEED)
    for number in range(8):
        kind = rng.choice(("PKCS12", "PKCS12", "PKCS12", "JKS", "JCEKS"))
        store, password = tmp_path / f"store{number}", rng.choice(("changeit", "a b c d", "päßwörd", "x" * 40))
        options = []
        if kind == "PKCS12":
            options = [
                f"-J-Dkeystore.pkcs12.macAlgorithm={rng.choice(('HmacPBESHA1', 'HmacPBESHA256', 'HmacPBESHA512'))}",
                f"-J-Dkeystore.pkcs12.macIterationCount={rng.choice((1, 1000, 30000))}",
                f"-J-Dkeystore.pkcs12.certProtectionAlgorithm="
                f"{rng.choice(('PBEWithHmacSHA256AndAES_256', 'PBEWithHmacSHA1AndAES_128', 'PBEWithSHA1AndRC2_40'))}",
                f"-J-Dkeystore.pkcs12.keyProtectionAlgorithm="
                f"{rng.choice(('PBEWithHmacSHA512AndAES_256', 'PBEWithSHA1AndDESede', 'PBEWithSHA1AndRC4_40'))}",
            ]
        if not password.isascii() and (kind != "PKCS12" or any("PBEWith" in option for option in options)):
            password = "changeit"  # the JDK's own ciphers take ASCII only
        names = rng.sample(["joe", "Ann", "with space", "x" * 30], rng.choice((1, 2, 3)))
        for name in names:
            algorithm = rng.choice((("EC",), ("RSA", "-keysize", "2048"), ("Ed25519",)))
            _keytool(
                "-genkeypair", "-storetype", kind, "-keystore", store, "-storepass", password, "-alias", name,
                "-dname", f"CN={name}", "-keyalg", *algorithm, *options,
            )  # fmt: skip
        opened = load_keystore(store, password)
        assert set(opened.key_aliases()) == {name.lower() for name in names}
        for name in names:
            assert opened.credential(name.upper()).subject == f"CN={name}"
        with pytest.raises(WrongPassword):
            load_keystore(store, password + "x")


@pytest.mark.parametrize(
    "options",
    [
        [], ["-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC"], ["-macalg", "sha512", "-iter", "3000"], ["-nomac"],
        ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
        ["-certpbe", "NONE"], ["-nomaciter"], ["-noiter"], ["-macalg", "sha384"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_made_by_openssl(tmp_path: Path, options: list[str]) -> None:
    """Stores of openssl open with every option, and openssl agrees on passwords."""
    key, certificate, store = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "store.p12"
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/O=Example/CN=Joe",
    ]
    _openssl(*made, "-keyout", key, "-out", certificate)
    _openssl("pkcs12", "-export", "-in", certificate, "-inkey", key, "-name", "Joe", "-out", store, *options,
             "-passout", f"pass:{PASSWORD}")  # fmt: skip
    opened = load_keystore(store, PASSWORD)
    assert opened.verified == ("-nomac" not in options)
    assert opened.credential("joe").subject == "CN=Joe,O=Example"
    for password in (PASSWORD, "wrong", ""):
        judge = _openssl("pkcs12", "-in", store, "-nodes", "-passin", f"pass:{password}", check=False)
        try:
            load_keystore(store, password).credential("joe")
            ours = True
        except ConfigError:
            ours = False
        assert ours == judge


def _openssl(*words: str | Path, check: bool = True) -> bool:
    result = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise AssertionError(result.stderr)
    return result.returncode == 0
