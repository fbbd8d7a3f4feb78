"""User names: one rule for all login modules, that of RFC 8265's UsernameCasePreserved."""
# ruff: noqa: RUF001 - letters of other scripts are what it is about

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import Grant
from asgi_gateway.modules.ldap.client.escaping import check_name
from asgi_gateway.plugins import PasswordLoginModule, PasswordOptions, user_name_problem
from asgi_gateway.plugins.login_module import LoginAttempt
from tests.helpers import attempt, context

pytestmark = pytest.mark.anyio

ALLOWED = [
    "joe", "Alice Smith", " alice", "o'brien", "joe@EXAMPLE.COM", "EXAMPLE\\joe", "host/web.example.com", "a*b(c)",
    "jürgen", "ju\u0308rgen", "ｊｏｅ", "ジョー", "ｼﾞｮｰ", "علی\u200cرضا", "نمی\u200cدانم@EXAMPLE.COM", "क्\u200dष",
    "דוד", "Ελένη", "l·l", "ß", "李雷", "x" * 1024,
]  # fmt: skip
REFUSED = {
    "": "is empty", " ": "is empty", "x" * 1025: "longer than 1024",
    "a\0": "control character", "a\nb": "control character", "a\x7f": "control character", "ä\x1b": "control character",
    "a\u00a0b": "compatibility character", "Ⅳ": "compatibility character", "½": "compatibility character",
    "so\u00adft": "invisible character", "a\u2060b": "invisible character", "a\ufeffb": "invisible character",
    "a\u200db": "joiner", "a\u200cb": "joiner", "\u200c": "joiner", "a\u202eb": "invisible|control|other",
    "O\u2019Brien": "punctuation", "😀": "symbol or an emoji", "\ud800": "not valid Unicode text",
    "אb": "both directions", "·l": "middle dot", "\u115fa": "",
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name: str) -> None:
    """Letters and digits of every script, joiners where a script needs them, and ASCII punctuation are allowed."""
    assert user_name_problem(name) is None
    check_name(name)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_refused(name: str, reason: str) -> None:
    """What cannot be seen, or looks like another name, is refused with a reason that does not quote the name."""
    problem = user_name_problem(name)
    assert problem is not None
    assert any(word in problem for word in reason.split("|"))
    assert name.strip() == "" or name not in problem
    with pytest.raises(LoginFailed):
        check_name(name)


async def test_password_modules(tmp_path: Path) -> None:
    """A module for passwords is never asked about a name that the rule refuses, from the request or shared."""

    class Open(PasswordLoginModule):
        async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
            return Grant.user(username)

    module = Open(PasswordOptions(tryFirstPass=True), context(tmp_path).context)
    assert await module.login(attempt("علی\u200cرضا", "x"))
    shared = {"javax.security.auth.login.name": "a\u00adb", "javax.security.auth.login.password": "x"}
    for tried in (attempt("a\u00a0b", "x"), attempt("so\u00adft", "x"), attempt("\u200bjoe", "x", shared_state=shared)):
        with pytest.raises(LoginFailed, match="RFC 8265"):
            await module.login(tried)
