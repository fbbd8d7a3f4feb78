from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from asgi_gateway.modules.keystore import KeyStoreLoginModule, KeyStoreOptions
from tests import helpers
from tests.keystores import NOW, PASSWORD, STORES

Make = Callable[..., KeyStoreLoginModule]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration directory with the stores and with password files."""
    for name in ("users.jks", "users.jceks", "users.p12", "no-mac.p12", "truststore.jks", "empty.jks", "ca.pem"):
        shutil.copy(STORES / name, tmp_path)
    for name, text in (("store.pw", PASSWORD), ("alice.pw", "Alice-secret"), ("wrong.pw", "falsch")):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def context(folder: Path) -> helpers.Context:
    made = helpers.context(folder)
    made.clock.now = NOW
    return made


@pytest.fixture
def module(context: helpers.Context) -> Make:
    """Makes a module from options; PKCS12 and the request's password by default."""

    def make(**options: str) -> KeyStoreLoginModule:
        options.setdefault("keyStoreURL", "file:users.p12")
        return KeyStoreLoginModule(KeyStoreOptions.model_validate(options), context.context)

    return make
