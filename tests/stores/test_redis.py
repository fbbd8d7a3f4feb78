"""The Redis store's configuration: what it accepts, refuses and shows. What it does, the integration tests ask."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.stores.redis import RedisState
from asgi_gateway.stores.redis.urls import TlsFiles, options_of, parse

URL = "redis://localhost"


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("http://localhost", {}, "not http://"),
        ("redis://localhost:port", {}, "cannot be parsed"),
        ("unix://", {}, "socket's path"),
        ("rediss://localhost?ssl_cert_reqs=none", {}, "no options but"),
        ("redis://localhost#0", {}, "no options but"),
        ("redis://localhost/one", {}, "is a number"),
        ("redis://localhost/1", {"cluster": True}, "0 in a cluster"),
        ([], {}, "needs a URL"),
        ([URL, "redis://other"], {}, "need sentinel or cluster"),
        ([URL, "rediss://other"], {"cluster": True}, "must agree"),
        (URL, {"cluster": True, "sentinel": "mine"}, "exclude each other"),
        ("unix:///tmp/redis.sock", {"cluster": True}, "one server"),
        (URL, {"namespace": "a{b}"}, "namespace"),
        (URL, {"namespace": ""}, "namespace"),
        (URL, {"timeout": 0}, "timeout"),
        (URL, {"max_connections": 0}, "max_connections"),
        (URL, {"ca_file": "ca.pem"}, "begin with rediss"),
        ("rediss://localhost", {"ca_file": "/missing/ca.pem"}, "/missing/ca.pem is missing"),
        (URL, {"password_file": "/missing/password"}, "/missing/password does not exist"),
    ],
)
def test_refused(url: Any, options: dict[str, Any], reason: str) -> None:
    """A wrong argument is a configuration error that says what is wrong."""
    with pytest.raises(ConfigError, match=reason):
        RedisState(url, **options)


def test_empty_password_file(tmp_path: Path) -> None:
    """An empty password file, and one with more than a password, is an error and not a login with something else."""
    for text, reason in (
        ("\n", "is empty"),
        ("\nsecond line", "several lines"),
        ("pw\nsecond line\n", "several lines"),
    ):
        (tmp_path / "password").write_text(text)
        with pytest.raises(ConfigError, match=reason):
            RedisState(URL, password_file=tmp_path / "password")


def test_no_password_shown() -> None:
    """A URL that cannot be parsed is not repeated in the error, since it may hold a password."""
    with pytest.raises(ConfigError) as caught:
        RedisState("redis://user:battery@[localhost")
    assert "battery" not in str(caught.value)


def test_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py the error says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'asgi-gateway\[redis\]'"):
        RedisState(URL)


def test_shared() -> None:
    """The Redis store says that other processes see its data."""
    assert RedisState.shared is True


@pytest.mark.integration  # needs redis-py, though no server
@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o644, True), (0o602, True)]
)
def test_key_file_of_others(tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool) -> None:
    """A private key for TLS that other users can read or write is a warning."""
    file = tmp_path / "key.pem"
    file.write_text("key")
    file.chmod(mode)
    options_of(parse(["rediss://localhost"])[0], None, TlsFiles(key=file), False)
    assert [f"run chmod {mode & 0o700:03o} {file}" in record.getMessage() for record in caplog.records] == [
        True
    ] * warned
