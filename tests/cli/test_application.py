"""The application of ``asgi-gateway run``: what it is, and whether it is behind the gateway already."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.cli.application import import_application, is_behind
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError
from asgi_gateway.middleware import GatewayMiddleware
from tests.cli import apps

HERE = "tests.cli.apps"


@pytest.mark.parametrize("name", ["app", "nested", "partial", "any_arguments", "inner", "wrapped"])
def test_applications(name: str) -> None:
    """Functions and objects that take scope, receive and send are applications as they are."""
    assert import_application(f"{HERE}:{name}") is getattr(apps, name)


@pytest.mark.parametrize("name", ["create_app", "create_with_defaults"])
def test_factories(name: str) -> None:
    """A callable that can be called without arguments is a factory, and is called."""
    assert import_application(f"{HERE}:{name}") is apps.app


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("number", "number is not an ASGI application: it is of type int"),
        ("Old", "Old is a class, not an ASGI application"),
        ("wsgi", "a2wsgi"),
        ("asgi2", "guarantee_single_callable"),
        ("create_nothing", "create_nothing() is not an ASGI application: it is of type NoneType"),
        ("create_badly", "create_badly(): RuntimeError: no database"),
        ("create_later", "create_later is an async function without parameters"),
        ("missing", "has no attribute 'missing'"),
        ("nested.missing", "has no attribute 'missing'"),
    ],
)
def test_not_an_application(target: str, message: str) -> None:
    """What cannot be served is one error that says why, before anything listens."""
    with pytest.raises(ConfigError) as caught:
        import_application(f"{HERE}:{target}")
    (problem,) = caught.value.problems
    assert message in str(problem)
    assert "<configuration>" not in str(problem)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "importing broken_app raised ZeroDivisionError"),
        ("def f(:", "importing broken_app raised SyntaxError"),
        ("import surely_not_there", "no Python module named surely_not_there"),
        ("raise SystemError('x')", "importing broken_app raised SystemError: x"),
    ],
)
def test_module_that_cannot_be_imported(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the import of an application raises is one error with its cause."""
    (tmp_path / "broken_app.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "broken_app", raising=False)
    with pytest.raises(ConfigError, match=message):
        import_application("broken_app:app")


@pytest.mark.parametrize("target", ["app", ":app", "app:", ""])
def test_target(target: str) -> None:
    """A target without a module or without a name is an error that shows the form."""
    with pytest.raises(ConfigError, match="write module:app"):
        import_application(target)


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("app", False),
        ("inner", False),
        ("wrapped", True),
        ("wrapped_outside", True),
        ("added", True),
        ("added_loaded", True),
    ],
)
def test_behind_the_same(name: str, behind: bool) -> None:
    """A gateway of the same file is recognised: itself, below another middleware, and by add_middleware."""
    assert is_behind(getattr(apps, name), load_config(apps.FILE)) is behind


@pytest.mark.parametrize("name", ["wrapped_otherwise", "added_otherwise"])
def test_behind_another(name: str) -> None:
    """A gateway of another configuration is an error: two would ask for two logins."""
    with pytest.raises(ConfigError, match=r"another configuration already \(.*other\.yaml\)"):
        is_behind(getattr(apps, name), load_config(apps.FILE))


@pytest.mark.parametrize("as_gateway", [True, False])
def test_behind_a_mapping(as_gateway: bool) -> None:
    """The error about a configuration that is a mapping, or was one, shows nothing of it."""
    config = {"services": [{"name": "c4nary", "accept": "/"}]}
    wrapped = GatewayMiddleware(apps.app, load_config(config) if as_gateway else config)
    with pytest.raises(ConfigError) as raised:
        is_behind(wrapped, load_config(apps.FILE))
    assert "(a mapping)" in str(raised.value)
    assert "c4nary" not in str(raised.value)


def test_the_same_file_by_another_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path names the same configuration as an absolute one."""
    monkeypatch.chdir(apps.FILE.parent)
    assert is_behind(apps.wrapped, load_config("gateway.yaml"))


def test_an_application_that_is_its_own_app() -> None:
    """A chain of applications without an end is not followed for ever."""

    class Loop:
        @property
        def app(self) -> Loop:
            return self

    assert not is_behind(Loop(), load_config(apps.FILE))
