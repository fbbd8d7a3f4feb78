"""Users who are there and cannot log in: locked passwords, disabled users, texts that are no passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.model import Grant, RolePrincipal, UserPrincipal
from asgi_gateway.modules.file import FileLoginModule, FileOptions
from tests.helpers import Context, attempt, context

pytestmark = pytest.mark.anyio

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # "secret"
MARKS = ["!", "!!", "*", "x", "*LK*", "*NP*", "NP", f"!{SHA}", f"*{SHA}", "!jqwl2Wi8z5al6", "{CRYPT}!"]


def _module(folder: Path, text: str, name: str = "users.yaml", **options: object) -> tuple[FileLoginModule, Context]:
    (folder / name).write_text(text)
    (folder / name).chmod(0o600)
    given = context(folder)
    return FileLoginModule(FileOptions.model_validate({"file": name, **options}), given.context), given


async def _refused(module: FileLoginModule, name: str, password: str, reason: str) -> None:
    with pytest.raises(LoginFailed, match=reason):
        await module.login(attempt(name, password))


FORMATS = {
    "users": "joe:{mark}\nann:" + SHA + "\n",
    "users.yaml": "users: [{{name: joe, password: '{mark}'}}, {{name: ann, password: '" + SHA + "'}}]",
    "users.xml": "<jaas-config><user><name>joe</name><password>{mark}</password></user>"
    "<user><name>ann</name><password>" + SHA + "</password></user></jaas-config>",
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("mark", MARKS)
async def test_lock_marks(tmp_path: Path, name: str, mark: str) -> None:
    """A lock mark locks in every format: neither it nor the locked password is a password; others are not concerned."""
    text = FORMATS[name].replace("{mark}", mark).replace("{{", "{").replace("}}", "}")
    module, given = _module(tmp_path, text, name)
    for password in (mark, mark.lstrip("!*"), "secret", "!", "*", "x"):
        if password:
            await _refused(module, "joe", password, "locked")
    assert await module.login(attempt("ann", "secret")) == Grant.user("ann")
    assert given.warnings == []


async def test_locked_while_running(tmp_path: Path) -> None:
    """A user who is locked by a mark before the hash is out at once, since the new version is a good one."""
    module, given = _module(tmp_path, f"joe:{SHA}\n", "users")
    assert await module.login(attempt("joe", "secret"))
    (tmp_path / "users").write_text(f"joe:!{SHA}\n")
    assert module.reload()
    await _refused(module, "joe", "secret", "locked")
    assert len(given.invalidations) == 1


@pytest.mark.parametrize("text", ["hunter2", "pass word", "a", "{SHA", "$", "$apr1", "jqwl2Wi8z5al", "jqwl2Wi8z5al67"])
async def test_htpasswd_has_no_bare_plain_text(tmp_path: Path, text: str) -> None:
    """In an htpasswd file a text that is no hash is an error with a hint; Apache and nginx refuse it too."""
    with pytest.raises(ConfigError, match=r"users:1:1: error: .*'joe': not a password hash") as caught:
        _module(tmp_path, f"joe:{text}\n", "users")
    assert "{PLAIN}" in caught.value.problems[0].hint
    assert text not in caught.value.problems[0].message or len(text) == 1


@pytest.mark.parametrize("rest", [":", ":the comment", ":/home/joe:/bin/sh", ": a, b:c ", ":" + SHA])
@pytest.mark.parametrize("stored", [SHA, "jqwl2Wi8z5al6", "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0", "{PLAIN}secret"])
async def test_fields_after_the_hash(tmp_path: Path, stored: str, rest: str) -> None:
    """What follows the hash after a colon does not count, whatever the hash; a plain text password is warned of."""
    module, given = _module(tmp_path, f"joe:{stored}{rest}\n", "users")
    assert await module.login(attempt("joe", "secret")) == Grant.user("joe")
    await _refused(module, "joe", f"secret{rest}", "wrong password")
    assert any("ends at the colon" in str(warning) for warning in given.warnings) == stored.startswith("{PLAIN}")


@pytest.mark.parametrize("line", [f"joe :{SHA}", f"joe: {SHA}", f"joe\t:{SHA}", "joe:\t{PLAIN}secret"])
async def test_white_space_beside_the_colon(tmp_path: Path, line: str) -> None:
    """White space beside the colon is part of name or hash for Apache and nginx, so it is an error here."""
    with pytest.raises(ConfigError, match="white space beside the colon"):
        _module(tmp_path, f"{line}\n", "users")


async def test_unknown_forms_in_plain_formats(tmp_path: Path) -> None:
    """A hash of another program is an error and no plain text, unless {PLAIN} says so."""
    for form in ("5f4dcc3b5aa765d61d8327deb882cf99", "pbkdf2:sha256:1000$salt$abcd", "{BCRYPT}$2b$04$x", "$y$j9T$x$y"):
        with pytest.raises(ConfigError, match="cannot be verified here"):
            _module(tmp_path, f"users: [{{name: joe, password: '{form}'}}]")
        module, _ = _module(tmp_path, f"users: [{{name: joe, password: '{{PLAIN}}{form}'}}]")
        assert await module.login(attempt("joe", form))


DISABLED = {
    "users.yaml": f"users:\n- {{name: joe, password: '{SHA}', disabled: DISABLED}}\n"
    f"- {{name: ann, disabled: false, password: '{SHA}'}}",
    "users.xml": f"<jaas-config><user><name>joe</name><password>{SHA}</password><disabled> DISABLED </disabled></user>"
    f"<user><name>ann</name><password>{SHA}</password><disabled>false</disabled></user></jaas-config>",
}


@pytest.mark.parametrize("name", DISABLED)
@pytest.mark.parametrize("word", ["true", "TRUE", "True"])
async def test_disabled(tmp_path: Path, name: str, word: str) -> None:
    """A disabled user is refused with the right password as with a wrong one; others are not concerned."""
    module, _ = _module(tmp_path, DISABLED[name].replace("DISABLED", word), name)
    for password in ("secret", "wrong"):
        await _refused(module, "joe", password, "the user is disabled")
    assert await module.login(attempt("ann", "secret")) == Grant.user("ann")


@pytest.mark.parametrize("name", DISABLED)
@pytest.mark.parametrize("word", ["yes", "1", "on", "''", "tru"])
async def test_disabled_is_true_or_false(tmp_path: Path, name: str, word: str) -> None:
    """Another value of disabled is an error with its place, never a user who is enabled."""
    with pytest.raises(ConfigError, match=rf"{name}:\d+:\d+: error: <?disabled>? is neither true nor false"):
        _module(tmp_path, DISABLED[name].replace("DISABLED", word), name)


async def test_disabled_without_password(tmp_path: Path) -> None:
    """A disabled user needs no password, and has none."""
    module, _ = _module(tmp_path, "users: [{name: joe, disabled: true}]")
    await _refused(module, "joe", "None", "disabled")


async def test_disabled_in_a_lookup(tmp_path: Path) -> None:
    """A disabled user gets no roles from a look-up; a locked password does not matter to it."""
    text = "users: [{name: joe, role: A, disabled: true}, {name: ann, role: A, password: '!'}]\nroles: [A]"
    module, _ = _module(tmp_path, text, lookupOnly=True)
    with pytest.raises(LoginFailed, match="disabled"):
        await module.login(attempt(principals=(UserPrincipal("joe"),)))
    assert await module.login(attempt(principals=(UserPrincipal("ann"),))) == Grant((RolePrincipal("A"),))


async def test_name_that_cannot_log_in(tmp_path: Path) -> None:
    """A name that no login module takes is a warning where it stands in the file."""
    _, given = _module(tmp_path, f"users: [{{name: 'so\u00adft', password: '{SHA}'}}]")
    assert "cannot log in: the user name holds an invisible character" in str(given.warnings[0])


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [
        (0o644, f"joe:{SHA}\n", ""), (0o600, "joe:{PLAIN}secret\n", ""), (0o664, f"joe:{SHA}\n", ""),
        (0o666, f"joe:{SHA}\n", "written by every user"), (0o602, f"joe:{SHA}\n", "written by every user"),
        (0o644, "joe:{PLAIN}secret\n", "read by every user"), (0o640, "joe:{PLAIN}secret\n", "read by other users"),
    ],
)  # fmt: skip
async def test_permissions(tmp_path: Path, mode: int, text: str, words: str) -> None:
    """A users file that everyone can write is warned of, and one with plain text that others can read."""
    (tmp_path / "users").write_text(text)
    (tmp_path / "users").chmod(mode)
    given = context(tmp_path)
    FileLoginModule(FileOptions.model_validate({"file": "users"}), given.context)
    found = [str(warning) for warning in given.warnings if "plain text" not in str(warning)]
    assert len(found) == bool(words)
    if words:
        assert words in found[0]
        assert "chmod" in found[0]
