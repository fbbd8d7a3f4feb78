"""Where user names and passwords come from."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from asgi_gateway.client import (
    ChallengeRequest,
    EnvironmentLoginHandler,
    KeyringLoginHandler,
    NetrcLoginHandler,
    PasswordAuthentication,
    PromptLoginHandler,
)
from asgi_gateway.client.login import login_handler
from asgi_gateway.errors import GatewayError

REQUEST = ChallengeRequest("https://host.example/echo", 'Basic realm="demo"')


def pair(login: Any) -> Any:
    return login and (login.username, login.password)


def test_a_password_can_be_cleared_and_is_never_printed() -> None:
    """Neither repr nor str nor pickle shows the password, and after clear it is gone."""
    login = PasswordAuthentication("joe", "canary")
    assert "canary" not in f"{login!r} {login} {[login]}"
    with pytest.raises(TypeError):
        pickle.dumps(login)
    assert login.password == "canary"
    login.clear()
    assert login.password == ""


def test_a_callable_is_a_login_handler() -> None:
    """A function that takes the request serves as a login handler; other things do not."""
    login = PasswordAuthentication("a", "b")
    assert login_handler(lambda request: login).login(REQUEST) is login
    with pytest.raises(TypeError):
        login_handler("joe")  # type: ignore[arg-type]


def test_prompt_asks_for_both(capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal prompt names realm and host, asks for the password without echo, and says when it was wrong."""
    asked: list[Any] = []

    def answering(answer: str) -> Callable[[str], str]:
        def ask(text: str) -> str:
            asked.append(text)
            return answer

        return ask

    prompt = PromptLoginHandler(answering(" joe "), answering("pw"))
    assert pair(prompt.login(REQUEST)) == ("joe", "pw")
    assert asked == ["User name for demo on host.example: ", "Password: "]
    assert capsys.readouterr().err == ""
    prompt.login(ChallengeRequest("https://host.example/", 'Basic realm="demo"', 2))
    assert "wrong" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "expected"), [("", "joe"), (" ", "joe"), ("ann", "ann"), ("jo", "jo")])
def test_prompt_keeps_the_name_after_a_wrong_password(typed: str, expected: str) -> None:
    """The next prompt of the same realm shows the name and takes an empty line for it; other realms do not."""
    asked: list[str] = []
    answers = ["joe", typed, ""]

    def ask(text: str) -> str:
        asked.append(text)
        return answers.pop(0)

    prompt = PromptLoginHandler(ask, lambda text: "pw")
    assert pair(prompt.login(REQUEST)) == ("joe", "pw")
    assert pair(prompt.login(ChallengeRequest("https://host.example/", 'Basic realm="demo"', 2))) == (expected, "pw")
    assert asked[1] == "User name for demo on host.example (empty: joe): "
    assert prompt.login(ChallengeRequest("https://host.example/", 'Basic realm="other"', 2)) is None
    assert asked[2] == "User name for other on host.example: "


def test_prompt_forgets_the_name_with_the_login() -> None:
    """The first prompt of a new login shows no name, and an empty line ends it."""
    answers = ["joe", ""]
    prompt = PromptLoginHandler(lambda text: answers.pop(0), lambda text: "pw")
    assert pair(prompt.login(REQUEST)) == ("joe", "pw")
    assert prompt.login(REQUEST) is None


def test_prompt_can_be_left() -> None:
    """An empty user name or the end of input ends the attempt."""

    def end(text: str) -> str:
        raise EOFError

    assert PromptLoginHandler(lambda text: "").login(REQUEST) is None
    assert PromptLoginHandler(end).login(REQUEST) is None


def test_prompt_shows_no_terminal_codes() -> None:
    """A realm's name cannot steer the terminal."""
    asked: list[Any] = []

    def ask(text: str) -> str:
        asked.append(text)
        return ""

    prompt = PromptLoginHandler(ask)
    prompt.login(ChallengeRequest("https://h/", 'Basic realm="a\x9b2Jb"'))
    assert asked == ["User name for a2Jb on h: "]


def test_environment() -> None:
    """Both variables must be there, and they are read when asked."""
    environ = {"U": "joe"}
    handler = EnvironmentLoginHandler("U", "P", environ)
    assert handler.login(REQUEST) is None
    environ["P"] = "pw"
    assert pair(handler.login(REQUEST)) == ("joe", "pw")


def test_netrc(tmp_path: Path) -> None:
    """The host's own entry is used and never the default one; a missing file gives nothing."""
    file = tmp_path / "netrc"
    assert NetrcLoginHandler(file).login(REQUEST) is None
    file.write_text("machine host.example login joe password pw\ndefault login x password y\n")
    file.chmod(0o600)
    assert pair(NetrcLoginHandler(file).login(REQUEST)) == ("joe", "pw")
    assert NetrcLoginHandler(file).login(ChallengeRequest("https://evil.example/", "Basic realm=x")) is None


def test_a_broken_netrc_is_an_error_without_its_content(tmp_path: Path) -> None:
    """A malformed file gives an error that names the file and shows nothing of it."""
    file = tmp_path / "netrc"
    file.write_text("machine host.example canary joe\n")
    with pytest.raises(GatewayError, match="netrc cannot be read") as caught:
        NetrcLoginHandler(file).login(REQUEST)
    assert "canary" not in str(caught.value)


def test_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyring is asked for realm and host, or for the given service."""
    asked: list[Any] = []

    def get_credential(service: str, user: str | None) -> SimpleNamespace | None:
        asked.append((service, user))
        return SimpleNamespace(username="joe", password="pw") if user != "nobody" else None

    keyring: Any = ModuleType("keyring")
    keyring.get_credential = get_credential
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert pair(KeyringLoginHandler().login(REQUEST)) == ("joe", "pw")
    assert KeyringLoginHandler("nobody", "svc").login(REQUEST) is None
    assert asked == [("demo@host.example", None), ("svc", "nobody")]


def test_a_missing_keyring_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the keyring package the error says what to install."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(GatewayError, match="pip install keyring"):
        KeyringLoginHandler()
