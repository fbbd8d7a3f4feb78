from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.keystores import X500PrivateCredential, load_keystore
from asgi_gateway.model import Subject, UserPrincipal
from asgi_gateway.modules import keystore
from asgi_gateway.modules.keystore import X500Principal
from asgi_gateway.plugins.login_module import SHARED_NAME, SHARED_PASSWORD
from tests import helpers
from tests.keystores import PASSWORD
from tests.modules.keystore import ALICE, LOCAL, OWN_KEYS

pytestmark = pytest.mark.anyio


# ------------------------------------------------------------------------------------------------------------- success


@pytest.mark.parametrize("store", ["users.jks", "users.jceks"])
async def test_own_key(module: Any, store: str) -> None:
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


async def test_one_password_for_all(module: Any) -> None:
    """Without password files the request's password opens both the store and the key."""
    grant = await module().login(helpers.attempt("bob", PASSWORD))
    assert grant.principals == (X500Principal("CN=Bob"),)


async def test_store_password_of_the_request(module: Any) -> None:
    """With the key's password in a file, the request's password opens the store."""
    made = module(keyStoreURL="file:users.jks", privateKeyPasswordURL="file:alice.pw")
    assert await made.login(helpers.attempt("Alice", PASSWORD))
    with pytest.raises(LoginFailed):
        await made.login(helpers.attempt("Alice", "falsch"))


async def test_alias_option(module: Any) -> None:
    """keyStoreAlias says whose key is opened; the request's user name does not matter then."""
    made = module(keyStoreAlias="BOB")
    for name in ("alice", "anybody", None):
        assert (await made.login(helpers.attempt(name, PASSWORD))).principals == (X500Principal("CN=Bob"),)


async def test_principal(module: Any) -> None:
    """The subject's name is the distinguished name of the certificate, which is no role."""
    grant = await module().login(helpers.attempt("bob", PASSWORD))
    subject = Subject(grant.principals, grant.public_credentials, grant.private_credentials)
    assert subject.name == "CN=Bob"
    assert subject.roles == frozenset()
    assert isinstance(grant.principals[0], UserPrincipal)
    assert grant.principals[0] != UserPrincipal("CN=Bob")
    assert "private_key" not in repr(subject).lower()


async def test_socket_ends_with_the_certificate(module: Any, context: Any) -> None:
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
async def test_refused(module: Any, store: str, name: str, password: str) -> None:
    """A wrong password, another's password, and an alias that is absent or no private key, all fail alike."""
    made = module(**OWN_KEYS | {"keyStoreURL": f"file:{store}"})
    with pytest.raises(LoginFailed) as caught:
        await made.login(helpers.attempt(name, password))
    assert password not in str(caught.value)
    assert name not in str(caught.value)


@pytest.mark.parametrize(("name", "password"), [("alice", ""), ("alice", None), (None, PASSWORD), ("", PASSWORD)])
async def test_nothing_to_check(module: Any, name: str, password: str) -> None:
    """An empty or missing password, and a missing user name, are refused before any file is read."""
    attempt = helpers.attempt(name, password)
    with pytest.raises(LoginFailed):
        await module().login(attempt)
    assert attempt.blocking_calls == []


async def test_shared_state_is_not_used(module: Any) -> None:
    """A password that an earlier module left in the shared state opens nothing: the option set has no first pass."""
    attempt = helpers.attempt("alice", "falsch", shared_state={SHARED_NAME: "alice", SHARED_PASSWORD: PASSWORD})
    with pytest.raises(LoginFailed):
        await module().login(attempt)


@pytest.mark.parametrize(("alias", "password"), [("expired", "expired-secret"), ("future", "future-secret")])
async def test_validity(module: Any, context: Any, alias: str, password: str) -> None:
    """A certificate that has expired or is not yet valid is refused, by the gateway's clock."""
    made = module(**OWN_KEYS)
    with pytest.raises(LoginFailed, match=r"the certificate (expired|is not valid before)"):
        await made.login(helpers.attempt(alias, password))
    certificate = made._open(alias, password).certificate
    context.clock.now = certificate.not_valid_before_utc.timestamp()
    assert await made.login(helpers.attempt(alias, password))


async def test_unknown_alias_costs_the_same(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an unknown alias a key is tried all the same, so that time does not tell which aliases there are."""
    opened: list[str] = []
    original = load_keystore

    def load(*args: Any) -> Any:
        store = original(*args)
        credential = store.credential

        def spy(alias: str, password: str) -> Any:
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


async def test_empty_subject(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that names nobody is refused."""
    made = module()
    credential = made._open("bob", PASSWORD)

    made_by = x509.CertificateBuilder(issuer_name=x509.Name([]), subject_name=x509.Name([]), serial_number=1)
    certificate = (
        made_by.public_key(credential.key.public_key())
        .not_valid_before(credential.certificate.not_valid_before_utc)
        .not_valid_after(credential.certificate.not_valid_after_utc)
        .sign(credential.key, hashes.SHA256())
    )
    nameless = X500PrivateCredential("bob", credential.key, (certificate,))
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
async def test_who_authenticates(module: Any, options: Any, authenticates: Any, needs_credentials: Any) -> None:
    """Where both passwords are in files, nothing of the request is checked, and so nobody gets in by that alone."""
    made = module(**options)
    assert made.authenticates is authenticates
    assert made.needs_credentials is needs_credentials
    assert made.cacheable


async def test_local_login(module: Any) -> None:
    """With both passwords in files the module adds principal and key, for no credentials or any."""
    made = module(**LOCAL, keyStoreAlias="alice")
    for attempt in (helpers.attempt(), helpers.attempt("mallory", "whatever")):
        assert (await made.login(attempt)).principals == (X500Principal(ALICE),)
    with pytest.raises(LoginFailed, match="no user name"):
        await module(**LOCAL).login(helpers.attempt())


async def test_store_without_mac(module: Any) -> None:
    """The request's password never counts as checked by a store that has nothing to check it with."""
    made = module(keyStoreURL="file:no-mac.p12", privateKeyPasswordURL="file:store.pw")
    with pytest.raises(LoginUnavailable, match="no MAC"):
        await made.login(helpers.attempt("bob", PASSWORD))
    made = module(keyStoreURL="file:no-mac.p12")
    assert await made.login(helpers.attempt("bob", PASSWORD))
    with pytest.raises(LoginFailed):
        await made.login(helpers.attempt("bob", "falsch"))


async def test_debug(module: Any, caplog: pytest.LogCaptureFixture) -> None:
    """debug says who logged in and never a password."""
    with caplog.at_level("INFO"):
        await module(debug=True).login(helpers.attempt("bob", PASSWORD))
        await module().login(helpers.attempt("alice", PASSWORD))
    (record,) = caplog.records
    assert "CN=Bob" in record.getMessage()
    assert PASSWORD not in caplog.text
