"""rehash: a weaker hash is replaced when its user logs in, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable, StateUnavailable
from asgi_gateway.model import Grant, Subject
from asgi_gateway.modules.file import FileLoginModule, FileOptions
from asgi_gateway.modules.file.readers import parse_users_file
from asgi_gateway.modules.file.rehash import CannotReplace, replace_hash
from asgi_gateway.passwords import read_hash
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.stores.memory import MemoryState
from tests.helpers import Context, EmptyState, ManualClock, attempt, context

pytestmark = pytest.mark.anyio

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # "secret"
BCRYPT = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"  # "secret"
APR = "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0"  # "secret"
FILES = {
    "htpasswd": f"# all users\nann:{SHA}:a comment\njoe:{SHA}:keep this\n  bob:jqwl2Wi8z5al6\r\nlocked:!{SHA}\n",
    "users.yaml": f"# all users\nusers:\n- {{name: ann, password: '{SHA}'}}\n"
    f'- {{name: joe, password: {BCRYPT}, roles: [A]}}   # keep this\n- name: bob\n  password: "{APR}"\nroles: [A]\n',
    "users.xml": f"<!-- all -->\n<jaas-config>\n<user><name>ann</name><password>{SHA}</password></user>\n"
    f"<user><name>joe</name><password>\n {SHA}\n</password></user><!-- keep this -->\n"
    f"<user><password>{APR}</password><name>bob</name></user></jaas-config>\n",
}


def _module(
    folder: Path, name: str, text: str, state: ExpiringState | None = None, **options: object
) -> tuple[FileLoginModule, Context]:
    file = folder / name
    if not file.exists():
        file.write_bytes(text.encode())
        file.chmod(0o600)
    given = context(folder, state=MemoryState(ManualClock()) if state is None else state)
    values = {"file": name, "rehash": True, **options}
    return FileLoginModule(FileOptions.model_validate(values), given.context), given


async def _login(module: FileLoginModule, name: str) -> Grant:
    grant = await module.login(attempt(name, "secret"))
    assert isinstance(grant, Grant)
    return grant


@pytest.mark.parametrize("name", FILES)
async def test_each_format(tmp_path: Path, name: str) -> None:
    """In each format only the hash of the user who logged in changes: it is argon2id of the same password then."""
    module, given = _module(tmp_path, name, FILES[name])
    file = tmp_path / name
    os.chmod(file, 0o640)
    module.reload()
    given.invalidations.clear()
    for user in ("joe", "bob", "ann"):
        before = {entry.name.text: entry for entry in parse_users_file(file.read_bytes(), file).users}
        text = file.read_bytes()
        assert (await _login(module, user)).principals[0].name == user
        after = {entry.name.text: entry for entry in parse_users_file(file.read_bytes(), file).users}
        stored = after[user].password
        assert stored is not None
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert read_hash(stored).verify("secret")
        assert all(after[other].same_as(before[other]) for other in before if other != user)
        assert len(file.read_bytes().splitlines()) == len(text.splitlines())
        assert file.read_bytes().count(b"keep this") == 1
        assert file.stat().st_mode & 0o777 == 0o640
        assert await _login(module, user)
        with pytest.raises(LoginFailed):
            await module.login(attempt(user, "wrong"))
    assert given.invalidations == []
    assert not module.reload()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", FILES)
async def test_ends_no_login(tmp_path: Path, name: str) -> None:
    """Logins from before the new hash hold on this worker and others; another password ends them all."""
    state = MemoryState(ManualClock())
    first, _ = _module(tmp_path, name, FILES[name], state, rehash=False)
    before = await _login(first, "joe")
    second, _ = _module(tmp_path, name, FILES[name], state)
    after = await _login(second, "joe")
    assert before.recheck_data != after.recheck_data
    first.reload()
    for module in (first, second):
        for grant in (before, after):
            assert await module.recheck(Subject(grant.principals), grant.recheck_data) is True
    text = (tmp_path / name).read_text()
    (stored,) = (e.password for e in parse_users_file(text.encode(), tmp_path / name).users if e.name.text == "joe")
    assert stored is not None
    (tmp_path / name).write_text(text.replace(stored, "{SSHA}3Ppt4+cek7i7kCaZz+2DH/E54U+ix/eT"))
    for module in (first, second):
        assert module.reload()
        for grant in (before, after):
            assert await module.recheck(Subject(grant.principals), grant.recheck_data) is False


async def test_wrong_password_changes_nothing(tmp_path: Path) -> None:
    """A failed login, an unknown user and a locked one change nothing in the file."""
    module, _ = _module(tmp_path, "htpasswd", FILES["htpasswd"])
    before = (tmp_path / "htpasswd").stat()
    for name, password in (("joe", "wrong"), ("nobody", "secret"), ("locked", "secret"), ("bob", "Secret")):
        with pytest.raises(LoginFailed):
            await module.login(attempt(name, password))
    assert (tmp_path / "htpasswd").stat() == before


async def test_off_by_default(tmp_path: Path) -> None:
    """Without rehash the file is never written."""
    module, _ = _module(tmp_path, "htpasswd", FILES["htpasswd"], EmptyState(), rehash=False)
    before = (tmp_path / "htpasswd").stat()
    await _login(module, "joe")
    assert (tmp_path / "htpasswd").stat() == before


async def test_many_at_once(tmp_path: Path) -> None:
    """Logins at once of many users on two workers all succeed and leave a file with every user's password."""
    names = [f"user{number}" for number in range(12)]
    text = "".join(f"{name}:{SHA}\n" for name in names)
    state = MemoryState(ManualClock())
    modules = [_module(tmp_path, "htpasswd", text, state)[0] for _ in range(2)]
    for _ in range(3):
        async with anyio.create_task_group() as group:
            for number, name in enumerate(names):
                group.start_soon(_login, modules[number % 2], name)
        for module in modules:
            module.reload()
    found = parse_users_file((tmp_path / "htpasswd").read_bytes(), tmp_path / "htpasswd").users
    assert [entry.name.text for entry in found] == names
    assert all(read_hash(entry.password or "").verify("secret") for entry in found)
    assert any((entry.password or "").startswith("$argon2id") for entry in found)


async def test_file_changed_meanwhile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the file has changed since it was read, the login succeeds and the new version stays as it is."""
    module, given = _module(tmp_path, "htpasswd", FILES["htpasswd"])
    changed = FILES["htpasswd"].replace(f"joe:{SHA}", f"joe:{APR}")
    (tmp_path / "htpasswd").write_bytes(changed.encode())
    given.clock.advance(0.5)
    await _login(module, "joe")
    assert (tmp_path / "htpasswd").read_bytes() == changed.encode()
    assert "the user's password has changed" in caplog.text
    await _login(module, "joe")
    assert caplog.text.count("cannot replace") == 1


async def test_state_is_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the state the login succeeds and the hash stays, since other workers would end the user's sessions."""

    class Down(EmptyState):
        async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
            raise StateUnavailable("down")

        async def get(self, key: str) -> str | None:
            raise StateUnavailable("down")

    module, _ = _module(tmp_path, "htpasswd", FILES["htpasswd"], Down())
    grant = await _login(module, "joe")
    assert (tmp_path / "htpasswd").read_bytes() == FILES["htpasswd"].encode()
    assert "cannot replace a weaker hash" in caplog.text
    assert grant.recheck_data is not None
    assert await module.recheck(Subject(grant.principals), grant.recheck_data) is True
    with pytest.raises(LoginUnavailable):
        await module.recheck(Subject(grant.principals), {**grant.recheck_data, "password": "0" * 32})


@pytest.mark.parametrize("text", ["joe:{PLAIN}secret\n", f"ann:{SHA}\njoe:{{CLEARTEXT}}secret\n"])
async def test_plain_text_is_refused(tmp_path: Path, text: str) -> None:
    """rehash is refused at the start for a file with a plain text password."""
    with pytest.raises(ConfigError, match="rehash is not for plain text passwords"):
        _module(tmp_path, "htpasswd", text)


@pytest.mark.parametrize("problem", ["file", "folder"])
async def test_read_only_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    """rehash is refused at the start for a file or folder that cannot be written."""
    file = tmp_path / "htpasswd"
    file.write_text(FILES["htpasswd"])
    refused = file if problem == "file" else tmp_path
    access = os.access
    # root may write everywhere, so the answer of the system is played
    monkeypatch.setattr(os, "access", lambda path, mode: path != refused and access(path, mode))
    with pytest.raises(ConfigError, match="read-only"):
        _module(tmp_path, "htpasswd", "")


async def test_not_with_lookup() -> None:
    """rehash makes no sense where no password is checked."""
    with pytest.raises(ValidationError, match="leave out rehash"):
        FileOptions.model_validate({"file": "a", "rehash": True, "lookupOnly": True})


@pytest.mark.parametrize(
    ("user", "old", "reason"),
    [("joe", APR, "password has changed"), ("nobody", SHA, "password has changed"), ("joe", "{SHA}x", "has changed")],
)
async def test_nothing_but_the_hash(tmp_path: Path, user: str, old: str, reason: str) -> None:
    """Another user, another hash or another file is left alone, and no half-written file stays behind."""
    file = tmp_path / "htpasswd"
    file.write_text(FILES["htpasswd"])
    before = file.read_bytes()
    with pytest.raises(CannotReplace, match=reason):
        replace_hash(file, user, old, BCRYPT, lambda data: parse_users_file(data, file).users)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


async def test_symbolic_link(tmp_path: Path) -> None:
    """A symbolic link stays one; the file behind it gets the new hash."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "htpasswd").write_text(FILES["htpasswd"])
    (tmp_path / "htpasswd").symlink_to(tmp_path / "real" / "htpasswd")
    module, _ = _module(tmp_path, "htpasswd", "")
    await _login(module, "joe")
    assert (tmp_path / "htpasswd").is_symlink()
    assert "$argon2id$" in (tmp_path / "real" / "htpasswd").read_text()
