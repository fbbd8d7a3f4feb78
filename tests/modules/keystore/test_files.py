from __future__ import annotations

import shutil
import threading
from pathlib import Path

import anyio
import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.modules import keystore
from asgi_gateway.modules.keystore import KeyStoreLoginModule, KeyStoreOptions
from tests import helpers
from tests.keystores import PASSWORD, STORES
from tests.modules.keystore import LOCAL, OWN_KEYS
from tests.modules.keystore.conftest import Make

pytestmark = pytest.mark.anyio


async def test_new_keystore_takes_effect(module: Make, folder: Path) -> None:
    """A keystore that is replaced counts at the next login: whoever is no longer in it gets in no more."""
    made = module()
    assert await made.login(helpers.attempt("alice", PASSWORD))
    shutil.copy(STORES / "server.p12", folder / "users.p12")
    with pytest.raises(LoginFailed):
        await made.login(helpers.attempt("alice", PASSWORD))


async def test_remembered_logins_are_forgotten(folder: Path) -> None:
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


# ------------------------------------------------------------------------------------------------------- unavailability


@pytest.mark.parametrize("lost", ["users.jks", "store.pw"])
async def test_files_lost(module: Make, folder: Path, lost: str) -> None:
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
async def test_files_changed(module: Make, folder: Path, lost: str, new: str) -> None:
    """A password file that no longer fits, and a keystore without keys, are no fault of the client."""
    made = module(**LOCAL)
    shutil.copy(folder / new, folder / lost)
    with pytest.raises(LoginUnavailable):
        await made.login(helpers.attempt("Alice", "Alice-secret"))


async def test_one_at_a_time(module: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins open the keystore one after the other, and when too many wait, the next is told to come back."""
    monkeypatch.setattr(keystore, "_MOST_WAITING", 2)
    made = module()
    inside, go = threading.Semaphore(0), threading.Event()
    original, running, most = made._open, 0, 0

    def slow(alias: str, password: str) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        inside.release()
        go.wait(10)
        running -= 1
        return original(alias, password)

    monkeypatch.setattr(made, "_open", slow)
    grants = []

    async def login() -> None:
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


async def test_clients_that_go_away(module: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a client that went away still counts: the next login waits until it has ended."""
    made = module()
    inside, go = threading.Semaphore(0), threading.Event()
    original, running = made._open, list[int]()

    def slow(alias: str, password: str) -> object:
        running.append(len(running))
        inside.release()
        go.wait(10)
        running.pop()
        return original(alias, password)

    monkeypatch.setattr(made, "_open", slow)

    async def gone(scope: anyio.CancelScope) -> None:
        with scope:
            await made.login(helpers.attempt("bob", PASSWORD))

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(gone, scope)
        await anyio.to_thread.run_sync(inside.acquire)
        scope.cancel()
        group.start_soon(made.login, helpers.attempt("bob", PASSWORD))
        while made._one_at_a_time.statistics().tasks_waiting < 1:
            await anyio.lowlevel.checkpoint()
        assert len(running) == 1
        go.set()


async def test_keystore_that_cannot_be_read_in_time(module: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that hangs makes the login unavailable and not endless."""
    made = module()
    made.open_seconds = 0.01
    go = threading.Event()
    attempt = helpers.attempt("bob", PASSWORD)

    async def hang(function: object, *args: object) -> None:
        await anyio.to_thread.run_sync(go.wait, 10, abandon_on_cancel=True)

    monkeypatch.setattr(attempt, "run_blocking", hang)
    with pytest.raises(LoginUnavailable, match="in time"):
        await made.login(attempt)
    go.set()


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
async def test_start_stops(module: Make, options: dict[str, str], message: str) -> None:
    """What makes every login fail stops the start."""
    with pytest.raises(ConfigError, match=message):
        module(**options)


async def test_default_keystore(context: helpers.Context, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keyStoreURL it is .keystore in the home directory."""
    monkeypatch.setenv("HOME", str(folder))
    shutil.copy(STORES / "users.p12", folder / ".keystore")
    made = KeyStoreLoginModule(KeyStoreOptions(), context.context)
    assert await made.login(helpers.attempt("bob", PASSWORD))


async def test_warnings(module: Make, context: helpers.Context, folder: Path) -> None:
    """A password file that others can read and a configured certificate that has expired are warnings at start."""
    (folder / "store.pw").chmod(0o644)
    module(**OWN_KEYS, keyStoreAlias="expired")
    assert len(context.warnings) == 2
    assert "store.pw" in context.warnings[0]
    assert "'expired' expired on" in context.warnings[1]


async def test_check(module: Make, folder: Path) -> None:
    """The check reads the files once more and names what fails; it finds nothing where all is well."""
    made = module(**LOCAL, keyStoreAlias="alice")
    assert await made.check() == []
    (folder / "users.jks").unlink()
    (problem,) = await made.check()
    assert "users.jks does not exist" in problem
