"""Objects that people name as ``module:object``."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway._runtime.imports import import_object
from asgi_gateway.errors import ConfigError


def test_objects() -> None:
    """An object is found by its name, an attribute of one too."""
    assert import_object("pathlib:Path", "class", "module:Class") is Path
    assert import_object("pathlib:Path.cwd", "function", "module:function") == Path.cwd


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("pathlib", "invalid application 'pathlib'"),
        ("pathlib:", "invalid application 'pathlib:'"),
        (":app", "invalid application ':app'"),
        ("", "invalid application ''"),
        ("no_such_module_here:app", "no Python module named no_such_module_here"),
        ("pathlib:absent", "has no attribute 'absent'"),
        ("pathlib:Path.absent", "has no attribute 'absent'"),
        (".pathlib:Path", "importing .pathlib raised TypeError"),
        ("tests._runtime.raising:app", "importing tests._runtime.raising raised ZeroDivisionError"),
    ],
)
def test_errors(target: str, message: str) -> None:
    """What cannot be imported is an error that says why, and what to write."""
    with pytest.raises(ConfigError) as raised:
        import_object(target, "application", "module:app")
    assert message in str(raised.value)
    assert "invalid" not in message or "write module:app" in str(raised.value)
