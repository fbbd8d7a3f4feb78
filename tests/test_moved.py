"""Modules that moved: their old names, for one release."""

from __future__ import annotations

import importlib

import pytest

import asgi_gateway
from asgi_gateway import plugins

MOVED = {
    "asgi_gateway.interfaces.LoginModule": plugins.LoginModule,
    "asgi_gateway.interfaces.ModuleOptions": plugins.ModuleOptions,
    "asgi_gateway.interfaces.SHARED_NAME": plugins.SHARED_NAME,
    "asgi_gateway.masking.MaskCredentials": asgi_gateway.MaskCredentials,
    "asgi_gateway.tokens.Token": asgi_gateway.Token,
    "asgi_gateway.tokens.TokenIssuer": asgi_gateway.TokenIssuer,
    "asgi_gateway.values.Switch": plugins.Boolean,
    "asgi_gateway.values.parse_interval": plugins.parse_duration,
    "asgi_gateway.values.parse_switch": plugins.parse_boolean,
}


@pytest.mark.parametrize("old", MOVED)
def test_old_names_work_and_warn(old: str) -> None:
    """An old name gives what its new home holds, and a warning that names the line of the caller and the new home."""
    module, _, name = old.rpartition(".")
    with pytest.warns(DeprecationWarning, match=rf"{old} moved: import \w+ from asgi_gateway") as caught:
        value = getattr(importlib.import_module(module), name)
    assert value is MOVED[old]
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("module", ["interfaces", "masking", "tokens", "values"])
def test_the_import_statement_warns_where_it_is_written(module: str) -> None:
    """``from old import name`` warns once, at the line that has to change, and the new name is a public one."""
    old = next(each for each in MOVED if each.startswith(f"asgi_gateway.{module}."))
    statement = f"from asgi_gateway.{module} import {old.rpartition('.')[2]}"
    with pytest.warns(DeprecationWarning, match="moved: import") as caught:
        exec(compile(statement, "plugin.py", "exec"), {})
    assert [(warning.filename, warning.lineno) for warning in caught] == [("plugin.py", 1)]
    name, home = str(caught[0].message).partition("import ")[2].partition(". ")[0].split(" from ")
    assert name in importlib.import_module(home).__all__


@pytest.mark.parametrize("module", ["interfaces", "masking", "tokens", "values"])
def test_unknown_names_are_errors(module: str) -> None:
    """An old module has no other names, so that hasattr and from-imports fail as for any module."""
    with pytest.raises(AttributeError, match=f"module 'asgi_gateway.{module}' has no attribute 'Nothing'"):
        _ = importlib.import_module(f"asgi_gateway.{module}").Nothing
