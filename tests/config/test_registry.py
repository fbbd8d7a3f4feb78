"""From names to plugins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import registry
from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.file import FileLoginModule
from asgi_gateway.plugins.login_module import LoginModule
from asgi_gateway.schemes import ApplicationBasicScheme, BasicScheme
from asgi_gateway.stores.memory import MemoryState

Install = Callable[..., None]

PLUGIN = """
from asgi_gateway.plugins.login_module import LoginModule
from asgi_gateway.plugins.scheme import ChallengeScheme

class Module(LoginModule):
    async def login(self, attempt):
        return None

    class Inner(LoginModule):
        async def login(self, attempt):
            return None

class Scheme(ChallengeScheme):
    name = "Mine"
    wire_name = "mine"
    def challenge(self, realm, data=()):
        return "Mine"

class Unfinished(ChallengeScheme):
    pass

not_a_class = 1
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs distributions with entry points into a folder of their own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "some_plugin.py").write_text(PLUGIN)
    (tmp_path / "broken_plugin.py").write_text("1 / 0")
    (tmp_path / "needy_plugin.py").write_text("import surely_not_installed")
    (tmp_path / "misspelt_plugin.py").write_text("from asgi_gateway import no_such_thing")

    def install(distribution: str, group: str, **points: str) -> None:
        folder = tmp_path / f"{distribution}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (folder / "entry_points.txt").write_text("\n".join((f"[asgi_gateway.{group}]", *lines)))

    for name in ("some_plugin", "broken_plugin", "needy_plugin", "misspelt_plugin"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return install


def refused(find: Callable[[str], object], name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find(name)
    (problem,) = caught.value.problems
    return f"{problem.message} ({problem.hint})"


def test_built_in() -> None:
    """What comes with the gateway is found by its name; schemes in any case and spacing."""
    assert registry.login_module("file") is FileLoginModule
    assert isinstance(registry.scheme("application  basic"), ApplicationBasicScheme)
    assert registry.state_store("memory") is MemoryState
    assert {"file", "grant", "timeout"} <= set(registry.login_module_names())
    assert {"Basic", "Application Basic", "Application Token"} <= set(registry.scheme_names())


@pytest.mark.parametrize("name", [*registry._MODULES.built_in])
def test_every_built_in_module_is_there(name: str) -> None:
    """Each built-in name leads to a login module."""
    assert issubclass(registry.login_module(name), LoginModule)


def test_entry_points(install: Install) -> None:
    """Installed packages add names; their classes may be nested and their values may have extras."""
    install(
        "mine",
        "login_modules",
        mine="some_plugin:Module",
        inner="some_plugin:Module.Inner",
        old="some_plugin:Module [x]",
    )
    install("schemes", "challenge_schemes", Mine="some_plugin:Scheme")
    assert [registry.login_module(name).__qualname__ for name in ("mine", "inner", "old")] == [
        "Module",
        "Module.Inner",
        "Module",
    ]
    assert "mine" in registry.login_module_names()
    assert registry.scheme("MINE").name == "Mine"


def test_nothing_is_imported_for_others(install: Install) -> None:
    """A plugin that no configuration names is not imported, so it may even be broken."""
    install("broken", "login_modules", broken="broken_plugin:Module")
    assert registry.login_module("file") is FileLoginModule
    assert "broken" in registry.login_module_names()
    assert "broken_plugin" not in sys.modules


def test_hiding(install: Install) -> None:
    """A package that hides a built-in name, or two of one name, are errors that name the packages."""
    install("evil", "login_modules", file="some_plugin:Module", twice="some_plugin:Module")
    install("other", "login_modules", twice="some_plugin:Module")
    assert "evil redefines the built-in login module file" in refused(registry.login_module, "file")
    assert "evil, other" in refused(registry.login_module, "twice")


def test_class_paths(install: Install) -> None:
    """class: and a dotted path name a class of any package."""
    assert registry.login_module("class:some_plugin.Module").__name__ == "Module"
    assert registry.login_module("class: some_plugin.Module ").__name__ == "Module"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("class:", "invalid class path"),
        ("class:Module", "invalid class path"),
        ("class:.Module", "invalid class path"),
        ("class:some_plugin.", "invalid class path"),
        ("class:..Module", "importing it raised"),
        (
            "class:surely_not_installed.Module",
            "named surely_not_installed (install it, or correct the name)",
        ),
        ("class:needy_plugin.Module", "no Python module named surely_not_installed"),
        ("class:broken_plugin.Module", "ZeroDivisionError"),
        ("class:misspelt_plugin.Module", "no_such_thing"),
        ("class:some_plugin.Missing", "Missing"),
        ("class:some_plugin.not_a_class", "is not a LoginModule"),
        ("class:some_plugin.Scheme", "is not a LoginModule"),
        ("fiel", "unknown login module 'fiel'"),
    ],
)
def test_errors(install: Install, name: str, message: str) -> None:
    """Each way to be wrong is a ConfigError that says which."""
    assert message in refused(registry.login_module, name)


def test_schemes_and_stores(install: Install) -> None:
    """An unknown scheme or store, and a scheme that cannot be made, are errors as well."""
    install("schemes", "challenge_schemes", Bad="some_plugin:Unfinished")
    assert "unknown challenge scheme 'Digest'" in refused(registry.scheme, "Digest")
    assert "TypeError" in refused(registry.scheme, "bad")
    assert "unknown state store" in refused(registry.state_store, "mongo")


@pytest.mark.parametrize(
    ("attribute", "hint"),
    [("needs_user", "requires_subject"), ("waits", "no effect"), ("ends_within", "no effect")],
)
@pytest.mark.parametrize("on_instance", [False, True])
def test_attributes_of_earlier_releases(attribute: str, hint: str, on_instance: bool) -> None:
    """A login module that sets an attribute by its old name is an error that names the new one, not silence."""

    class Old(LoginModule):
        async def login(self, attempt: Any) -> None:
            return None

    module = Old(None, None)  # type: ignore[arg-type]
    setattr(module if on_instance else Old, attribute, True)
    with pytest.raises(ConfigError, match=rf"unknown attribute {attribute}.*{hint}"):
        registry.check_attributes(module, "login module old")


@pytest.mark.parametrize(("attribute", "hint"), [("forbids", "rejects_with_403"), ("strength", "no effect")])
def test_scheme_attributes_of_earlier_releases(attribute: str, hint: str) -> None:
    """A challenge scheme that sets an attribute by its old name is an error that names the new one."""
    old = type("Old", (BasicScheme,), {attribute: True})
    with pytest.raises(ConfigError, match=rf"unknown attribute {attribute}.*{hint}"):
        registry.check_attributes(old(), "challenge scheme old")
    registry.check_attributes(BasicScheme(), "challenge scheme Basic")
