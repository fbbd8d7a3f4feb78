"""The timeout login module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.modules.timeout import TimeoutLoginModule, TimeoutOptions
from tests.helpers import attempt, context

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("options", "session", "authorization"),
    [
        ({"session-timeout": "30 minutes"}, [1800], []),
        ({"authorization-timeout": "8h"}, [], [28800]),
        ({"session-timeout": 5, "authorization-timeout": "500 ms"}, [5], [0.5]),
    ],
)
async def test_limits(
    tmp_path: Path, options: dict[str, str] | dict[str, Any], session: list[int], authorization: list[int] | list[float]
) -> None:
    """The configured limits are set, and the chain is told to ignore the module."""
    module = TimeoutLoginModule(TimeoutOptions(**options), context(tmp_path).context)
    tried = attempt()
    assert await module.login(tried) is None
    assert (tried.session_limits, tried.authorization_limits) == (session, authorization)
    assert not module.authenticates


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"session-timeout": 0},
        {"session-timeout": "0 s"},
        {"session-timeout": -1},
        {"session-timeout": "soon"},
        {"timeout": 1},
    ],
)
async def test_bad_options(options: dict[str, int] | dict[str, str]) -> None:
    """No limit, a limit of 0, and what is no time interval are errors."""
    with pytest.raises(ValidationError):
        TimeoutOptions(**options)
