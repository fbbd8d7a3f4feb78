"""Stores that other tools or unusual settings make: what one entry has wrong concerns that entry only."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.keystores.errors import WrongPassword
from asgi_gateway.keystores.load import load_keystore
from asgi_gateway.modules.keystore import KeyStoreLoginModule, KeyStoreOptions
from asgi_gateway.plugins.login_module import ModuleContext
from tests.helpers import attempt, context
from tests.keystores import PASSWORD, STORES

pytestmark = pytest.mark.anyio

OTHERS = STORES / "others"
CIPHERS = ["RC2_40", "RC2_128", "RC4_40", "RC4_128", "DESede"]


@pytest.mark.parametrize("name", ["dsa.p12", "dsa.jks", "dsa.jceks"])
async def test_unreadable_certificate(tmp_path: Path, name: str) -> None:
    """Beside a certificate that cannot be read the other keys work; its own key is named, after its password."""
    store = load_keystore(OTHERS / name, PASSWORD)
    assert set(store.key_aliases()) == {"joe", "old"}
    assert store.credential("joe").subject == "CN=Joe"
    with pytest.raises(ConfigError, match="has a certificate under 'old' that cannot be read") as caught:
        store.credential("old")
    assert not isinstance(caught.value, WrongPassword)
    (problem,) = store.problems(1_800_000_000)
    assert "'old'" in problem
    options = {"keyStoreURL": f"file:{OTHERS / name}"}
    module = KeyStoreLoginModule(KeyStoreOptions.model_validate(options), _now(tmp_path))
    assert await module.login(attempt("joe", PASSWORD))
    with pytest.raises(LoginFailed):
        await module.login(attempt("old", "wrong"))
    with pytest.raises(LoginUnavailable, match="cannot be read"):
        await module.login(attempt("old", PASSWORD))


def _now(folder: Path) -> ModuleContext:
    given = context(folder)
    given.clock.now = 1_800_000_000
    return given.context


def test_long_and_empty_aliases() -> None:
    """An alias beyond the bound of the standard works, an empty one counts as none, letter case does not matter."""
    store = load_keystore(OTHERS / "aliases.p12", PASSWORD)
    assert set(store.key_aliases()) == {"joe", "long" * 100, "straße", "3"}
    assert store.credential("long" * 100).subject == "CN=Long"
    assert store.credential("STRAßE").subject == "CN=Strasse"
    assert store.credential("3").subject == "CN=Empty"


def test_own_passwords() -> None:
    """A PKCS #12 store whose keys have passwords of their own opens, and each key with its own password only."""
    store = load_keystore(OTHERS / "own-passwords.p12", PASSWORD)
    assert store.verified
    for alias, subject in (("joe", "CN=Joe"), ("ann", "CN=Ann")):
        assert store.credential(alias, f"{alias}-secret").subject == subject
        for wrong in ("wrong", "joe-secret" if alias == "ann" else "ann-secret"):
            with pytest.raises(WrongPassword, match=f"does not give the key '{alias}'"):
                store.credential(alias, wrong)
        with pytest.raises(WrongPassword, match="with a password of its own") as caught:
            store.credential(alias)
        assert "keytool -keypasswd" in caught.value.problems[0].hint
    with pytest.raises(WrongPassword):
        load_keystore(OTHERS / "own-passwords.p12", "joe-secret")


async def test_own_passwords_log_in(tmp_path: Path) -> None:
    """With the store's password in a file, each user of such a store logs in with their own password."""
    (tmp_path / "store.pw").write_text(PASSWORD)
    (tmp_path / "store.pw").chmod(0o600)
    options = {"keyStoreURL": f"file:{OTHERS / 'own-passwords.p12'}", "keyStorePasswordURL": "file:store.pw"}
    module = KeyStoreLoginModule(KeyStoreOptions.model_validate(options), _now(tmp_path))
    assert await module.login(attempt("joe", "joe-secret"))
    assert await module.login(attempt("ANN", "ann-secret"))
    for name, password in (("joe", "ann-secret"), ("ann", PASSWORD), ("joe", PASSWORD)):
        with pytest.raises(LoginFailed, match=r"does not open the key$"):
            await module.login(attempt(name, password))


async def test_wrong_password_is_told_apart(tmp_path: Path) -> None:
    """The log says whether the request's password does not open the store, or opens it and not the key."""
    options = {"keyStoreURL": f"file:{OTHERS / 'own-passwords.p12'}"}
    module = KeyStoreLoginModule(KeyStoreOptions.model_validate(options), _now(tmp_path))
    with pytest.raises(LoginFailed, match=r"does not open the keystore$"):
        await module.login(attempt("joe", "wrong"))
    with pytest.raises(LoginFailed, match=r"does not open the key, though it opens the keystore$"):
        await module.login(attempt("joe", PASSWORD))


@pytest.mark.parametrize("name", [*(f"key-{cipher}.p12" for cipher in CIPHERS), "whole-RC2_40.p12", "iterations.p12"])
def test_old_ciphers(name: str) -> None:
    """Keys and certificates in every old encryption of the JDK open, and not with a wrong password."""
    store = load_keystore(OTHERS / name, PASSWORD)
    assert store.verified
    assert store.credential("joe").subject == "CN=Joe"
    for wrong in ("wrong", "", "changeit ", "pässwörd"):
        with pytest.raises(WrongPassword):
            store.credential("joe", wrong)
        with pytest.raises(WrongPassword):
            load_keystore(OTHERS / name, wrong)


def test_indefinite_lengths() -> None:
    """A store of NSS, which is BER, opens without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = load_keystore(OTHERS / "nss.p12", PASSWORD)
    assert store.credential("joe").subject == "CN=Joe"
    with pytest.raises(WrongPassword):
        load_keystore(OTHERS / "nss.p12", "wrong")


def test_teletex_names() -> None:
    """A certificate with a name in TeletexString opens, and its letters are told apart."""
    credential = load_keystore(OTHERS / "teletex.p12", PASSWORD).credential("joe")
    assert credential.subject == "CN=Jürgen,O=Beispiel & Söhne"


@pytest.mark.parametrize("store", sorted(path.name for path in OTHERS.glob("*.p12")))
def test_damaged_anywhere(store: str, tmp_path: Path) -> None:
    """A store that is cut or changed at any place is an error of the file or of the password, and nothing else."""
    data = (OTHERS / store).read_bytes()
    file = tmp_path / "store.p12"
    for place in range(0, len(data), max(1, len(data) // 15)):
        for changed in (data[:place], data[:place] + bytes((data[place] ^ 0x55,)) + data[place + 1 :]):
            file.write_bytes(changed)
            try:
                made = load_keystore(file, PASSWORD)
                for alias in made.key_aliases():
                    made.credential(alias)
            except ConfigError:
                continue
