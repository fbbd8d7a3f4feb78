"""The file login module: logins, equal work for everybody, reloading, and looking roles up for others."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from asgi_gateway._runtime import polling
from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.model import Grant, Principal, RolePrincipal, UserPrincipal
from asgi_gateway.modules.file import FileLoginModule, FileOptions
from asgi_gateway.modules.file import module as file_module
from asgi_gateway.modules.file.readers import read_users_file
from asgi_gateway.passwords import PasswordHash
from tests.helpers import attempt, context

pytestmark = pytest.mark.anyio

CHEAP = "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$a+14sZrM3WlHRqt5/WdCUV/JLk6EZ2msKUAUr2unNqI"  # "secret"
USERS = f"""users:
  - {{name: joe, password: "{CHEAP}", roles: [ADMINISTRATOR]}}
  - {{name: jürgen, password: "päss:wörd"}}
roles:
  - {{name: ADMINISTRATOR, roles: [AUTHORIZED]}}
  - AUTHORIZED
"""
JOE = Grant.user("joe", ["ADMINISTRATOR", "AUTHORIZED"])


def module(tmp_path: Path, text: str = USERS, name: str = "users.yaml", **options: Any) -> Any:
    """A module over a file of this text, and its context."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / name).chmod(0o600)
    given = context(tmp_path)
    return FileLoginModule(FileOptions(**{"file": name} | options), given.context), given


def rewrite(tmp_path: Path, text: str, name: str = "users.yaml") -> None:
    """Replace the file as an editor does."""
    (tmp_path / "new").write_text(text, encoding="utf-8")
    os.replace(tmp_path / "new", tmp_path / name)


async def refused(
    login_module: Any, username: str | None, password: str | None, match: str | None = None, **kw: Any
) -> str:
    with pytest.raises(LoginFailed, match=match) as caught:
        await login_module.login(attempt(username, password, **kw))
    return str(caught.value)


# --------------------------------------------------------------------------------------------------------------- logins


async def test_login(tmp_path: Path) -> None:
    """The right password gives the user and all nested roles; the work is done in the pool of threads."""
    login_module, given = module(tmp_path)
    tried = attempt("joe", "secret")
    assert await login_module.login(tried) == JOE
    assert len(tried.blocking_calls) == 1
    assert await login_module.login(attempt("jürgen", "päss:wörd")) == Grant.user("jürgen")
    assert len(given.warnings) == 1
    assert "asgi-gateway hash-password" in given.warnings[0]
    assert f"{tmp_path / 'users.yaml'}:3:" in given.warnings[0]


@pytest.mark.parametrize("name", ["JOE", "joe ", " joe", "nobody", "ju\u0308rgen"])
async def test_names_are_literal(tmp_path: Path, name: str) -> None:
    """A user name is taken as it was sent: no case, space or Unicode form makes it another's."""
    login_module, _ = module(tmp_path)
    await refused(login_module, name, "secret", "unknown user")
    await refused(login_module, name, "päss:wörd", "unknown user")


@pytest.mark.parametrize("password", ["Secret", "secret ", "x", CHEAP, "x" * 5000, "secret\0", "\ud800"])
async def test_wrong_password(tmp_path: Path, password: str) -> None:
    """Another password is refused, be it the stored hash itself, too long, or not even text."""
    login_module, _ = module(tmp_path)
    await refused(login_module, "joe", password, "wrong password")
    await refused(login_module, "nobody", password, "unknown user")


async def test_empty_password(tmp_path: Path) -> None:
    """An empty password is refused for everybody without any work."""
    login_module, _ = module(tmp_path)
    for name in ("joe", "nobody"):
        tried = attempt(name, "")
        with pytest.raises(LoginFailed, match="empty"):
            await login_module.login(tried)
        assert tried.blocking_calls == []


async def test_no_credentials(tmp_path: Path) -> None:
    """A request without user name and password is refused."""
    login_module, _ = module(tmp_path)
    await refused(login_module, None, None, "no user name")


@pytest.mark.parametrize(
    ("name", "password"), [("joe", "secret"), ("joe", "wrong"), ("nobody", "secret"), ("nobody", "x")]
)
async def test_equal_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> None:
    """Right password, wrong password and unknown user each cost one verification of one scheme and cost."""
    verified: list[tuple[str, str]] = []
    verify = PasswordHash.verify

    def spy(self: PasswordHash, tried: str) -> bool:
        verified.append((self.scheme, self.cost))
        return verify(self, tried)

    monkeypatch.setattr(PasswordHash, "verify", spy)
    login_module, _ = module(
        tmp_path, f"joe:{CHEAP}\nann:{CHEAP}\nbob:{{PLAIN}}plain\n", name="htpasswd", file="htpasswd"
    )
    with contextlib.suppress(LoginFailed):
        await login_module.login(attempt(name, password))
    assert verified == [("argon2id", "m=64,t=2,p=1")]


async def test_decoy_never_lets_in(tmp_path: Path) -> None:
    """An unknown user with the very password of the user whose hash is the decoy stays out."""
    login_module, _ = module(tmp_path, f"joe:{CHEAP}\n", name="htpasswd", file="htpasswd")
    await refused(login_module, "nobody", "secret", "unknown user")


async def test_messages_hold_no_secret(tmp_path: Path) -> None:
    """Neither the name nor the password of a failed login stands in the error."""
    login_module, _ = module(tmp_path)
    assert "hunter2" not in await refused(login_module, "hunter2", "hunter2")


async def test_many_users(tmp_path: Path) -> None:
    """Ten thousand users are read in seconds and found by one look-up in a dict."""
    lines = "".join(f"user{n}:{CHEAP}\n" for n in range(10_000))
    login_module, _ = module(tmp_path, lines, name="htpasswd", file="htpasswd")
    assert isinstance(login_module._users.value.by_name, dict)
    assert await login_module.login(attempt("user9999", "secret")) == Grant.user("user9999")


async def test_htpasswd_with_roles(tmp_path: Path) -> None:
    """An htpasswd file takes its roles from the file of the roles option, relative to the configuration."""
    (tmp_path / "groups").write_text("ADMINISTRATOR: joe\n")
    login_module, _ = module(tmp_path, f"joe:{CHEAP}\n", name="htpasswd", file="htpasswd", roles="groups")
    assert await login_module.login(attempt("joe", "secret")) == Grant.user("joe", ["ADMINISTRATOR"])


async def test_first_pass(tmp_path: Path) -> None:
    """The options that all password modules share work here: the shared state's credentials come first."""
    login_module, _ = module(tmp_path, tryFirstPass="true")
    shared = {"javax.security.auth.login.name": "joe", "javax.security.auth.login.password": "secret"}
    assert await login_module.login(attempt("x", "y", shared_state=shared)) == JOE


# -------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"file": "a", "filename": "b"},
        {"file": "a", "fil": "b"},
        {"file": "a", "lookupOnly": "yes"},
        {"file": "a", "useFirstPass": "1"},
        {"file": "a", "lookupOnly": "true", "useFirstPass": "true"},
    ],
)
async def test_bad_options(options: Any) -> None:
    """Options that are missing, doubled, unknown, contradictory, or neither true nor false are errors."""
    with pytest.raises(ValidationError):
        FileOptions(**options)


async def test_filename(tmp_path: Path) -> None:
    """filename is another name for file."""
    (tmp_path / "u.yaml").write_text(USERS, encoding="utf-8")
    login_module = FileLoginModule(FileOptions(filename="u.yaml"), context(tmp_path).context)
    assert await login_module.login(attempt("joe", "secret")) == JOE


async def test_missing_file(tmp_path: Path) -> None:
    """A users file or groups file that is not there stops the start."""
    with pytest.raises(ConfigError, match=r"none\.xml.*no such file"):
        FileLoginModule(FileOptions(file="none.xml"), context(tmp_path).context)
    with pytest.raises(ConfigError, match=r"groups.*no such file"):
        module(tmp_path, f"joe:{CHEAP}\n", name="htpasswd", file="htpasswd", roles="groups")


async def test_unreadable_hash_stops_the_start(tmp_path: Path) -> None:
    """A hash that could never be verified is an error at the start, not at the user's login."""
    with pytest.raises(ConfigError, match=r"htpasswd:1:1: error: .*'joe'.*'y'"):
        module(tmp_path, "joe:$y$j9T$x$y\n", name="htpasswd", file="htpasswd")


# ------------------------------------------------------------------------------------------------------------ reloading


async def test_reload(tmp_path: Path) -> None:
    """A changed file holds at the next login a second later, and remembered credentials are forgotten."""
    login_module, given = module(tmp_path)
    rewrite(tmp_path, "users: [{name: ann, password: '" + CHEAP + "'}]")
    assert await login_module.login(attempt("joe", "secret")) == JOE  # no second has passed
    given.clock.advance(1)
    await refused(login_module, "joe", "secret", "unknown user")
    assert await login_module.login(attempt("ann", "secret")) == Grant.user("ann")
    assert len(given.invalidations) == 1


async def test_reload_changed_roles(tmp_path: Path) -> None:
    """A changed groups file counts as a change, too."""
    (tmp_path / "groups").write_text("A: joe\n")
    login_module, given = module(tmp_path, f"joe:{CHEAP}\n", name="htpasswd", file="htpasswd", roles="groups")
    rewrite(tmp_path, "B: joe\n", name="groups")
    assert login_module.reload()
    assert await login_module.login(attempt("joe", "secret")) == Grant.user("joe", ["B"])
    assert len(given.invalidations) == 1


async def test_reload_unchanged(tmp_path: Path) -> None:
    """A file that did not change is not read again."""
    login_module, given = module(tmp_path)
    users = login_module._users.value
    assert not login_module.reload()
    given.clock.advance(100)
    await login_module.login(attempt("joe", "secret"))
    assert login_module._users.value is users
    assert given.invalidations == []


@pytest.mark.parametrize(
    "text",
    ["users: [", "users: [{name: joe, password: hunter2, rol: x}]", "", "joe:$y$hunter2"],
    ids=["malformed", "unknown key", "empty", "not yaml"],
)
async def test_reload_bad(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """A bad new version changes nothing, is logged once without its secrets, and a good one after it holds."""
    login_module, given = module(tmp_path)
    rewrite(tmp_path, text)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert not login_module.reload()
    assert len(caplog.records) == 1
    assert "last good version stays" in caplog.text
    assert "hunter2" not in caplog.text
    assert await login_module.login(attempt("joe", "secret")) == JOE
    assert given.invalidations == []
    rewrite(tmp_path, USERS.replace("joe", "ann"))
    assert login_module.reload()
    await refused(login_module, "joe", "secret")


async def test_reload_vanished(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that vanishes leaves the last good version, and is read again when it is back."""
    login_module, _ = module(tmp_path)
    (tmp_path / "users.yaml").unlink()
    assert not login_module.reload()
    assert "no such file" in caplog.text
    assert await login_module.login(attempt("joe", "secret")) == JOE
    rewrite(tmp_path, USERS.replace("joe", "ann"))
    assert login_module.reload()


async def test_reload_while_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes while it is read is read again, so that no mixture of versions ever holds."""
    login_module, _ = module(tmp_path)
    rewrite(tmp_path, USERS.replace("joe", "half"))
    read, texts = read_users_file, iter(["users: [", USERS.replace("joe", "ann")])

    def read_and_write(*paths: Any) -> Any:
        try:
            return read(*paths)
        finally:
            if text := next(texts, ""):
                rewrite(tmp_path, text)

    monkeypatch.setattr(file_module, "read_users_file", read_and_write)
    assert login_module.reload()
    assert set(login_module._users.value.by_name) == {"ann", "jürgen"}


async def test_reload_never_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that changes all the time is given up, for now, and what held goes on."""
    login_module, _ = module(tmp_path)
    versions = iter(range(100))
    monkeypatch.setattr(polling, "fingerprint", lambda paths: ((next(versions),),))
    assert not login_module.reload()
    assert "faster than it can be read" in caplog.text
    assert await login_module.login(attempt("joe", "secret")) == JOE


async def test_reload_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is doubtful in a new version is logged."""
    login_module, _ = module(tmp_path)
    rewrite(tmp_path, "users: [{name: a, password: hunter2}]")
    assert login_module.reload()
    assert "plain text" in caplog.text
    assert "hunter2" not in caplog.text


async def test_reload_under_load(tmp_path: Path) -> None:
    """While the file changes again and again under many logins, users who are in every version always get in."""
    login_module, given = module(tmp_path)
    answers = []

    async def log_in(name: str) -> None:
        try:
            answers.append((name, await login_module.login(attempt(name, "secret"))))
        except LoginFailed:
            answers.append((name, None))

    for version in range(10):
        async with anyio.create_task_group() as tasks:
            for name in ("joe", "gone") * 5:
                tasks.start_soon(log_in, name)
            extra = f"  - {{name: user{version}, password: '{CHEAP}'}}\nroles:"
            rewrite(tmp_path, USERS.replace("roles:\n", extra + "\n"))
            given.clock.advance(1)
    assert {answer for name, answer in answers if name == "joe"} == {JOE}
    assert {answer for name, answer in answers if name == "gone"} == {None}
    assert len(given.invalidations) >= 9


async def test_watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the module is open, a change is seen without any login; after close, nothing of it runs on."""
    monkeypatch.setattr(FileLoginModule, "poll_seconds", 0.01)
    seen = threading.Event()
    (tmp_path / "users.yaml").write_text(USERS, encoding="utf-8")
    login_module = FileLoginModule(FileOptions(file="users.yaml"), context(tmp_path, invalidate=seen.set).context)
    before = set(threading.enumerate())  # other tests' too
    for _ in range(2):
        await login_module.open()
        await login_module.open()
        seen.clear()
        rewrite(tmp_path, USERS + "# changed\n")
        assert seen.wait(10)
        await login_module.close()
        await login_module.close()
        assert not any(each.name == "watch users.yaml" for each in set(threading.enumerate()) - before)
    assert len(set(threading.enumerate()) - before) <= 1  # anyio keeps a worker thread


async def test_watcher_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error in the watcher is logged, and the watching goes on."""
    monkeypatch.setattr(FileLoginModule, "poll_seconds", 0.01)
    login_module, _ = module(tmp_path)
    twice, calls = threading.Event(), list[None]()

    def broken() -> None:
        calls.append(None)
        if len(calls) == 2:
            twice.set()
        raise RuntimeError("no luck")

    monkeypatch.setattr(login_module._users, "reload", broken)
    await login_module.open()
    assert twice.wait(10)
    await login_module.close()
    assert "cannot check users.yaml for changes" in caplog.text


# -------------------------------------------------------------------------------------------------------------- look-up

LOOKUP = (
    "users: [{name: joe@EXAMPLE.COM, role: ADMINISTRATOR}, {name: ann, password: '"
    + CHEAP
    + "'}]\nroles: [ADMINISTRATOR]"
)


async def test_lookup(tmp_path: Path) -> None:
    """lookupOnly gives its roles, and no identity, to the user whom an earlier module established."""
    login_module, _ = module(tmp_path, LOOKUP, lookupOnly="true")
    assert not login_module.authenticates
    assert login_module.needs_credentials
    tried = attempt(principals=(Principal("CN=joe"), UserPrincipal("joe@EXAMPLE.COM")))
    assert await login_module.login(tried) == Grant((RolePrincipal("ADMINISTRATOR"),))


async def test_lookup_refuses(tmp_path: Path) -> None:
    """lookupOnly refuses who is not in the file, and never looks at the request's own name and password."""
    login_module, _ = module(tmp_path, LOOKUP, lookupOnly="true")
    await refused(login_module, "ann", "secret", "no module before")
    await refused(login_module, "ann", "secret", "no module before", principals=(RolePrincipal("ann"),))
    await refused(login_module, "ann", "secret", "unknown user", principals=(UserPrincipal("bob@EXAMPLE.COM"),))


async def test_lookup_users_have_no_login(tmp_path: Path) -> None:
    """Users without a password are accepted for look-ups only."""
    with pytest.raises(ConfigError, match="no password"):
        module(tmp_path, LOOKUP)
    login_module, _ = module(tmp_path, USERS)
    assert login_module.authenticates
    assert login_module.needs_credentials
