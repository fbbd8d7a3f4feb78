from __future__ import annotations

import shutil
import threading

import anyio
import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.interfaces import SHARED_NAME, SHARED_PASSWORD
from asgi_gateway.keystores import X500PrivateCredential
from asgi_gateway.model import Subject, UserPrincipal
from asgi_gateway.modules import keystore
from asgi_gateway.modules.keystore import KeyStoreLoginModule, KeyStoreOptions, X500Principal
from tests import helpers
from tests.keystores import NOW, PASSWORD, STORES

pytestmark = pytest.mark.anyio

ALICE = "CN=Alice,OU=Test+OU=Sales,O=Example\\, Inc"


@pytest.fixture
def folder(tmp_path):
    """A configuration directory with the stores and with password files."""
    for name in ("users.jks", "users.jceks", "users.p12", "no-mac.p12", "truststore.jks", "empty.jks", "ca.pem"):
        shutil.copy(STORES / name, tmp_path)
    for name, text in (("store.pw", PASSWORD), ("alice.pw", "Alice-secret"), ("wrong.pw", "falsch")):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def context(folder):
    made = helpers.context(folder)
    made.clock.now = NOW
    return made


@pytest.fixture
def module(context):
    """Makes a module from options; PKCS12 and the request's password by default."""

    def make(**options):
        options.setdefault("keyStoreURL", "file:users.p12")
        return KeyStoreLoginModule(KeyStoreOptions(**options), context.context)

    return make


OWN_KEYS = {"keyStoreURL": "file:users.jks", "keyStorePasswordURL": "file:store.pw"}
"""Every user has a password for their own key."""
LOCAL = {**OWN_KEYS, "privateKeyPasswordURL": "file:alice.pw"}
"""Nothing of the request is checked."""


# ------------------------------------------------------------------------------------------------------------- success


@pytest.mark.parametrize("store", ["users.jks", "users.jceks"])
async def test_own_key(module, store):
    """With the store's password in a file, the request's password opens the key of the request's user."""
    made = module(**OWN_KEYS | {"keyStoreURL": f"file:{store}"})
    attempt = helpers.attempt("Alice", "Alice-secret")
    grant = await made.login(attempt)
    assert grant.principals == (X500Principal(ALICE),)
    (chain,) = grant.public_credentials
    (credential,) = grant.private_credentials
    assert [certificate.subject.rfc4514_string() for certificate in chain] == [ALICE]
    assert isinstance(credential, X500PrivateCredential)
    assert credential.certificate == chain[0]
    assert credential.key.public_key() == chain[0].public_key()
    assert len(attempt.blocking_calls) == 1


async def test_one_password_for_all(module):
    """Without password files the request's password opens both the store and the key."""
    grant = await module().login(helpers.attempt("bob", PASSWORD))
    assert grant.principals == (X500Principal("CN=Bob"),)


async def test_store_password_of_the_request(module):
    """With the key's password in a file, the request's password opens the store."""
    made = module(keyStoreURL="file:users.jks", privateKeyPasswordURL="file:alice.pw")
    assert await made.login(helpers.attempt("Alice", PASSWORD))
    with pytest.raises(LoginFailed):
        await made.login(helpers.attempt("Alice", "falsch"))


async def test_alias_option(module):
    """keyStoreAlias says whose key is opened; the request's user name does not matter then."""
    made = module(keyStoreAlias="BOB")
    for name in ("alice", "anybody", None):
        assert (await made.login(helpers.attempt(name, PASSWORD))).principals == (X500Principal("CN=Bob"),)


async def test_principal(module):
    """The subject's name is the distinguished name of the certificate, which is no role."""
    grant = await module().login(helpers.attempt("bob", PASSWORD))
    subject = Subject(grant.principals, grant.public_credentials, grant.private_credentials)
    assert subject.name == "CN=Bob"
    assert subject.roles == frozenset()
    assert isinstance(grant.principals[0], UserPrincipal)
    assert grant.principals[0] != UserPrincipal("CN=Bob")
    assert "private_key" not in repr(subject).lower()


async def test_new_keystore_takes_effect(module, folder):
    """A keystore that is replaced counts at the next login: whoever is no longer in it gets in no more."""
    made = module()
    assert await made.login(helpers.attempt("alice", PASSWORD))
    shutil.copy(STORES / "server.p12", folder / "users.p12")
    with pytest.raises(LoginFailed):
        await made.login(helpers.attempt("alice", PASSWORD))


async def test_remembered_logins_are_forgotten(folder):
    """A new keystore makes the realm forget whom it remembers, once for each change, while the module is open."""
    forgotten = threading.Semaphore(0)
    made = helpers.context(folder, invalidate=forgotten.release)
    module = KeyStoreLoginModule(KeyStoreOptions(keyStoreURL="file:users.p12"), made.context)
    module.poll_seconds = 0.01
    await module.open()
    await module.open()
    for change in (lambda: shutil.copy(STORES / "server.p12", folder / "users.p12"), (folder / "users.p12").unlink):
        change()
        assert await anyio.to_thread.run_sync(forgotten.acquire, True, 10)
        assert not await anyio.to_thread.run_sync(forgotten.acquire, True, 0.05)
    await module.close()
    await module.close()
    assert "watch users.p12" not in [thread.name for thread in threading.enumerate()]


async def test_socket_ends_with_the_certificate(module, context):
    """A WebSocket lives no longer than the certificate that its user logged in with."""
    made = module()
    attempt = helpers.attempt("bob", PASSWORD)
    await made.login(attempt)
    (limit,) = attempt.session_limits
    context.clock.now += limit - 0.5
    await made.login(helpers.attempt("bob", PASSWORD))
    context.clock.now += 1
    with pytest.raises(LoginFailed, match="expired"):
        await made.login(helpers.attempt("bob", PASSWORD))


# ------------------------------------------------------------------------------------------------------------- refusal


@pytest.mark.parametrize("store", ["users.jks", "users.jceks"])
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Alice", "falsch"),
        ("Alice", "bob-secret"),
        ("Alice", PASSWORD),
        ("Alice", "Alice-secret\x00"),
        ("nobody", "Alice-secret"),
        ("authority", "Alice-secret"),
        ("secret", "secret-secret"),
        ("\x00", "x"),
        ("a" * 10_000, "x"),
    ],
)
async def test_refused(module, store, name, password):
    """A wrong password, another's password, and an alias that is absent or no private key, all fail alike."""
    made = module(**OWN_KEYS | {"keyStoreURL": f"file:{store}"})
    with pytest.raises(LoginFailed) as caught:
        await made.login(helpers.attempt(name, password))
    assert password not in str(caught.value)
    assert name not in str(caught.value)


@pytest.mark.parametrize(("name", "password"), [("alice", ""), ("alice", None), (None, PASSWORD), ("", PASSWORD)])
async def test_nothing_to_check(module, name, password):
    """An empty or missing password, and a missing user name, are refused before any file is read."""
    attempt = helpers.attempt(name, password)
    with pytest.raises(LoginFailed):
        await module().login(attempt)
    assert attempt.blocking_calls == []


async def test_shared_state_is_not_used(module):
    """A password that an earlier module left in the shared state opens nothing: the option set has no first pass."""
    attempt = helpers.attempt("alice", "falsch", shared_state={SHARED_NAME: "alice", SHARED_PASSWORD: PASSWORD})
    with pytest.raises(LoginFailed):
        await module().login(attempt)


@pytest.mark.parametrize(("alias", "password"), [("expired", "expired-secret"), ("future", "future-secret")])
async def test_validity(module, context, alias, password):
    """A certificate that has expired or is not yet valid is refused, by the gateway's clock."""
    made = module(**OWN_KEYS)
    with pytest.raises(LoginFailed, match=r"the certificate (expired|is not valid before)"):
        await made.login(helpers.attempt(alias, password))
    certificate = made._open(alias, password).certificate
    context.clock.now = certificate.not_valid_before_utc.timestamp()
    assert await made.login(helpers.attempt(alias, password))


async def test_unknown_alias_costs_the_same(module, monkeypatch):
    """For an unknown alias a key is tried all the same, so that time does not tell which aliases there are."""
    opened: list[str] = []
    original = keystore.load_keystore

    def load(*args):
        store = original(*args)
        credential = store.credential

        def spy(alias, password):
            opened.append(alias)
            return credential(alias, password)

        monkeypatch.setattr(store, "credential", spy)
        return store

    made = module(**OWN_KEYS)
    monkeypatch.setattr(keystore, "load_keystore", load)
    for name, password in (("nobody", "falsch"), ("Alice", "falsch"), ("nobody", "Alice-secret")):
        with pytest.raises(LoginFailed):
            await made.login(helpers.attempt(name, password))
    assert len(opened) == 3


async def test_empty_subject(module, monkeypatch):
    """A certificate that names nobody is refused."""
    made = module()
    credential = made._open("bob", PASSWORD)

    class Nameless:
        subject = type("Name", (), {"rfc4514_string": lambda self: ""})()
        not_valid_before_utc = credential.certificate.not_valid_before_utc
        not_valid_after_utc = credential.certificate.not_valid_after_utc

    nameless = X500PrivateCredential("bob", credential.key, (Nameless(),))
    monkeypatch.setattr(made, "_open", lambda alias, password: nameless)
    with pytest.raises(LoginFailed, match="empty subject"):
        await made.login(helpers.attempt("bob", PASSWORD))


# -------------------------------------------------------------------------------------------------------- local logins


@pytest.mark.parametrize(
    ("options", "authenticates", "needs_credentials"),
    [
        ({}, True, True),
        (OWN_KEYS, True, True),
        ({"keyStoreAlias": "bob"}, True, True),
        ({"keyStoreURL": "file:users.jks", "privateKeyPasswordURL": "file:alice.pw"}, True, True),
        (LOCAL, False, True),
        ({**LOCAL, "keyStoreAlias": "alice"}, False, False),
    ],
)
async def test_who_authenticates(module, options, authenticates, needs_credentials):
    """Where both passwords are in files, nothing of the request is checked, and so nobody gets in by that alone."""
    made = module(**options)
    assert made.authenticates is authenticates
    assert made.needs_credentials is needs_credentials
    assert made.cacheable


async def test_local_login(module):
    """With both passwords in files the module adds principal and key, for no credentials or any."""
    made = module(**LOCAL, keyStoreAlias="alice")
    for attempt in (helpers.attempt(), helpers.attempt("mallory", "whatever")):
        assert (await made.login(attempt)).principals == (X500Principal(ALICE),)
    with pytest.raises(LoginFailed, match="no user name"):
        await module(**LOCAL).login(helpers.attempt())


async def test_store_without_mac(module):
    """The request's password never counts as checked by a store that has nothing to check it with."""
    made = module(keyStoreURL="file:no-mac.p12", privateKeyPasswordURL="file:store.pw")
    with pytest.raises(LoginUnavailable, match="no MAC"):
        await made.login(helpers.attempt("bob", PASSWORD))
    made = module(keyStoreURL="file:no-mac.p12")
    assert await made.login(helpers.attempt("bob", PASSWORD))
    with pytest.raises(LoginFailed):
        await made.login(helpers.attempt("bob", "falsch"))


# ------------------------------------------------------------------------------------------------------- unavailability


@pytest.mark.parametrize("lost", ["users.jks", "store.pw"])
async def test_files_lost(module, folder, lost):
    """A keystore or password file that is lost after the start is no wrong password, and it may come back."""
    made = module(**OWN_KEYS)
    (folder / lost).rename(folder / "away")
    with pytest.raises(LoginUnavailable, match=lost):
        await made.login(helpers.attempt("Alice", "Alice-secret"))
    (folder / "away").rename(folder / lost)
    assert await made.login(helpers.attempt("Alice", "Alice-secret"))


@pytest.mark.parametrize(
    ("lost", "new"), [("store.pw", "wrong.pw"), ("alice.pw", "wrong.pw"), ("users.jks", "empty.jks")]
)
async def test_files_changed(module, folder, lost, new):
    """A password file that no longer fits, and a keystore without keys, are no fault of the client."""
    made = module(**LOCAL)
    shutil.copy(folder / new, folder / lost)
    with pytest.raises(LoginUnavailable):
        await made.login(helpers.attempt("Alice", "Alice-secret"))


async def test_one_at_a_time(module, monkeypatch):
    """Logins open the keystore one after the other, and when too many wait, the next is told to come back."""
    monkeypatch.setattr(keystore, "_MOST_WAITING", 2)
    made = module()
    inside, go = threading.Semaphore(0), threading.Event()
    original, running, most = made._open, 0, 0

    def slow(alias, password):
        nonlocal running, most
        running += 1
        most = max(most, running)
        inside.release()
        go.wait(10)
        running -= 1
        return original(alias, password)

    monkeypatch.setattr(made, "_open", slow)
    grants = []

    async def login():
        grants.append(await made.login(helpers.attempt("bob", PASSWORD)))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(login)
        await anyio.to_thread.run_sync(inside.acquire)
        while made._one_at_a_time.statistics().tasks_waiting < 2:
            await anyio.lowlevel.checkpoint()
        with pytest.raises(LoginUnavailable, match="too many"):
            await made.login(helpers.attempt("bob", PASSWORD))
        go.set()
    assert len(grants) == 3
    assert most == 1


# -------------------------------------------------------------------------------------------------------------- start


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keyStoreURL": "file:absent.jks"}, "absent.jks does not exist"),
        ({"keyStoreURL": "file:ca.pem"}, "PEM file"),
        ({"keyStoreType": "JKS"}, "is PKCS12, not JKS"),
        ({"keyStorePasswordURL": "file:absent.pw"}, "password file .*absent.pw does not exist"),
        ({"keyStorePasswordURL": "file:wrong.pw"}, "password is wrong"),
        ({"privateKeyPasswordURL": "file:absent.pw"}, "password file .*absent.pw does not exist"),
        ({**OWN_KEYS, "keyStoreAlias": "nobody"}, "no private key 'nobody'"),
        ({**OWN_KEYS, "keyStoreAlias": "authority"}, "no private key 'authority'"),
        ({**LOCAL, "keyStoreAlias": "bob"}, "does not give the key 'bob'"),
        ({"keyStoreURL": "file:truststore.jks", "keyStorePasswordURL": "file:store.pw"}, "no private key"),
        ({"keyStoreURL": "file:empty.jks", "keyStorePasswordURL": "file:store.pw"}, "no private key"),
    ],
)
async def test_start_stops(module, options, message):
    """What makes every login fail stops the start."""
    with pytest.raises(ConfigError, match=message):
        module(**options)


async def test_default_keystore(context, folder, monkeypatch):
    """Without keyStoreURL it is .keystore in the home directory."""
    monkeypatch.setenv("HOME", str(folder))
    shutil.copy(STORES / "users.p12", folder / ".keystore")
    made = KeyStoreLoginModule(KeyStoreOptions(), context.context)
    assert await made.login(helpers.attempt("bob", PASSWORD))


async def test_warnings(module, context, folder):
    """A password file that others can read and a configured certificate that has expired are warnings at start."""
    (folder / "store.pw").chmod(0o644)
    module(**OWN_KEYS, keyStoreAlias="expired")
    assert len(context.warnings) == 2
    assert "store.pw" in context.warnings[0]
    assert "'expired' expired on" in context.warnings[1]


async def test_check(module, folder):
    """The check reads the files once more and names what fails; it finds nothing where all is well."""
    made = module(**LOCAL, keyStoreAlias="alice")
    assert await made.check() == []
    (folder / "users.jks").unlink()
    (problem,) = await made.check()
    assert "users.jks does not exist" in problem


async def test_debug(module, caplog):
    """debug says who logged in and never a password."""
    with caplog.at_level("INFO"):
        await module(debug=True).login(helpers.attempt("bob", PASSWORD))
        await module().login(helpers.attempt("alice", PASSWORD))
    (record,) = caplog.records
    assert "CN=Bob" in record.getMessage()
    assert PASSWORD not in caplog.text
