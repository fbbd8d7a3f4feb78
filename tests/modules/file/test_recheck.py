"""Rechecks: a login of the file module holds as long as its user, roles and password do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asgi_gateway.model import Grant, Subject, UserPrincipal
from asgi_gateway.modules.file import FileLoginModule, FileOptions
from asgi_gateway.stores.memory import MemoryState
from tests.helpers import ManualClock, attempt, context

pytestmark = pytest.mark.anyio

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # "secret"
SSHA = "{SSHA}3Ppt4+cek7i7kCaZz+2DH/E54U+ix/eT"  # "secret"
USERS = f"""users:
- {{name: joe, password: '{SHA}', roles: [A, B]}}
- {{name: ann, password: '{SHA}', roles: [A]}}
roles: [{{name: A, roles: [C]}}, B, C]
"""


def _module(folder: Path, **options: object) -> FileLoginModule:
    given = context(folder, state=MemoryState(ManualClock()))
    return FileLoginModule(FileOptions.model_validate({"file": "users.yaml", **options}), given.context)


def _write(folder: Path, text: str) -> None:
    (folder / "new").write_text(text)
    (folder / "new").chmod(0o600)
    (folder / "new").replace(folder / "users.yaml")


async def _logged_in(module: FileLoginModule, name: str = "joe") -> tuple[Subject, object]:
    grant = await module.login(attempt(name, "secret"))
    assert isinstance(grant, Grant)
    return Subject(grant.principals), json.loads(json.dumps(grant.recheck_data))


@pytest.mark.parametrize(
    ("new", "holds"),
    [
        (USERS, True),
        (USERS + "# a comment\n", True),
        (USERS.replace("roles: [A, B]", "roles: [B, A]"), True),
        (USERS.replace("roles: [A, B]", "roles: [B, A, C]"), True),
        (USERS.replace("name: ann", "name: bob"), True),
        (USERS.replace("name: joe", "name: bob"), False),
        (USERS.replace("roles: [A, B]", "roles: [A]"), False),
        (USERS.replace("roles: [A, B]", "roles: [A, B, D]").replace("B, C]\n", "B, C, D]\n"), False),
        (USERS.replace("roles: [C]", "roles: []"), False),
        (USERS.replace("roles: [A, B]", "roles: [A, B], disabled: true"), False),
        (USERS.replace(SHA, "!" + SHA, 1), False),
        (USERS.replace(SHA, SSHA, 1), False),
        (USERS.replace(SHA, "{PLAIN}secret", 1), False),
    ],
)
async def test_what_ends_a_login(tmp_path: Path, new: str, holds: bool) -> None:
    """A login ends when its user is removed, disabled, locked, or has other roles or another password."""
    _write(tmp_path, USERS)
    module = _module(tmp_path)
    joe, ann = await _logged_in(module), await _logged_in(module, "ann")
    assert await module.recheck(*joe) is True
    _write(tmp_path, new)
    module.reload()
    assert await module.recheck(*joe) is holds
    if "name: ann" in new and "roles: [C]" in new:
        assert await module.recheck(*ann) is True


async def test_bad_version_ends_nothing(tmp_path: Path) -> None:
    """A version that cannot be used, and a missing file, end no login."""
    _write(tmp_path, USERS)
    module = _module(tmp_path)
    joe = await _logged_in(module)
    for text in ("users: [", "", USERS.replace(SHA, "$y$x", 1)):
        _write(tmp_path, text)
        module.reload()
        assert await module.recheck(*joe) is True
    (tmp_path / "users.yaml").unlink()
    module.reload()
    assert await module.recheck(*joe) is True


@pytest.mark.parametrize("data", [None, {}, [], "joe", {"name": "joe"}, 7])
async def test_login_of_another_module(tmp_path: Path, data: object) -> None:
    """Of a login that the module did not grant it says nothing, even if the user has the same name."""
    _write(tmp_path, USERS)
    assert await _module(tmp_path).recheck(Subject((UserPrincipal("joe"),)), data) is None


@pytest.mark.parametrize(
    "change", [{"password": "x"}, {"roles": ["A"]}, {"roles": None}, {"user": 7}, {"password": None}]
)
async def test_changed_data(tmp_path: Path, change: dict[str, object]) -> None:
    """Data that do not fit end the login and raise nothing."""
    _write(tmp_path, USERS)
    module = _module(tmp_path)
    subject, data = await _logged_in(module)
    assert isinstance(data, dict)
    assert await module.recheck(subject, data | change) is False


async def test_data_have_no_secret(tmp_path: Path) -> None:
    """What is remembered contains neither password nor hash, and two users with one hash do not look alike."""
    _write(tmp_path, USERS)
    module = _module(tmp_path)
    (_, joe), (_, ann) = await _logged_in(module), await _logged_in(module, "ann")
    assert isinstance(joe, dict)
    assert isinstance(ann, dict)
    assert set(joe) == {"user", "roles", "password"}
    assert joe["password"] != ann["password"]
    assert not any(part in json.dumps(joe) for part in ("secret", SHA, SHA[5:]))


async def test_lookup(tmp_path: Path) -> None:
    """Roles from a look-up are rechecked too; the password does not matter there."""
    _write(tmp_path, USERS)
    module = _module(tmp_path, lookupOnly=True)
    grant = await module.login(attempt(principals=(UserPrincipal("joe"),)))
    assert isinstance(grant, Grant)
    joe = Subject((UserPrincipal("joe"), *grant.principals)), grant.recheck_data
    for text, holds in (
        (USERS.replace(SHA, SSHA), True),
        (USERS.replace("[A, B]", "[A]"), False),
        ("users: []", False),
    ):
        _write(tmp_path, text)
        assert module.reload()
        assert await module.recheck(*joe) is holds
