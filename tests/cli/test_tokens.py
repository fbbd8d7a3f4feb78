"""``asgi-gateway token``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from asgi_gateway.cli import main
from asgi_gateway.sessions.tokens import Token, TokenIssuer

KEY = "k" * 32


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A command line that issues a token."""
    (tmp_path / "keys").write_text(KEY)
    return [
        "token",
        "issue",
        "--user",
        "joe",
        "--realm",
        "demo",
        "--audience",
        "app",
        "--key-file",
        str(tmp_path / "keys"),
    ]


def _read(text: str) -> Token:
    return TokenIssuer([KEY.encode()], "app").read(text, realm="demo", now=time.time(), leeway=5)


def test_issue(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The printed token is good for an hour and many logins, and grants what was asked for."""
    assert main([*words, "--role", "A", "--role", "B"]) == 0
    token = _read(capsys.readouterr().out.strip())
    assert (token.user, token.roles, token.single_use, token.until) == ("joe", ("A", "B"), False, None)
    assert token.expires - token.issued == 3600


def test_ticket(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A ticket for single use may open what lasts longer than itself."""
    assert main([*words, "--life", "30s", "--single-use", "--session", "8h", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    token = _read(record["token"])
    assert token.single_use
    assert token.expires - token.issued == 30
    assert token.expires == record["expires"]
    assert token.until == token.issued + 8 * 3600


def test_key_from_environment(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys may be in an environment variable."""
    monkeypatch.setenv("KEYS", KEY)
    assert main([*words[:-2], "--key-environment", "KEYS"]) == 0
    assert _read(capsys.readouterr().out.strip()).user == "joe"


@pytest.mark.parametrize("more", [["--life", "soon"], ["--life", "0"], ["--user", ""], ["--key-file", "/missing"]])
def test_refused(words: list[str], more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be issued is an error, and prints no token."""
    assert main([*words, *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
