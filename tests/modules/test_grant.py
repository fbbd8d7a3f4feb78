"""The grant login module."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from asgi_gateway.model import Grant, RolePrincipal
from asgi_gateway.modules.grant import GrantLoginModule, GrantOptions
from tests.helpers import attempt, context

pytestmark = pytest.mark.anyio


async def test_grant(tmp_path: Path) -> None:
    """The configured role is granted to every attempt, and nothing else."""
    module = GrantLoginModule(GrantOptions(name="AUTHORIZED"), context(tmp_path).context)
    for tried in (attempt(), attempt("joe", "secret")):
        assert await module.login(tried) == Grant((RolePrincipal("AUTHORIZED"),))


async def test_no_identity(tmp_path: Path) -> None:
    """A grant says nothing of who the client is, so that it lets nobody in by itself."""
    assert not GrantLoginModule(GrantOptions(name="AUTHORIZED"), context(tmp_path).context).authenticates


@pytest.mark.parametrize("options", [{}, {"name": ""}, {"name": "A", "role": "B"}, {"name": ["A"]}])
async def test_bad_options(options: dict[str, str] | dict[str, list[str]]) -> None:
    """A missing, empty or misspelt name is an error."""
    with pytest.raises(ValidationError):
        GrantOptions(**options)
