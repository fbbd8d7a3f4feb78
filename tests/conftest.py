"""What every test shares."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.gateways import World

# An example may take long where the machine has other work to do; pytest's own limit ends what hangs.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Helpers assert as tests do: their asserts tell values too, and hold under `python -O`.
HERE = Path(__file__).parent
HELPERS = [
    ".".join(path.relative_to(HERE.parent).with_suffix("").parts)
    for path in HERE.rglob("*.py")
    if not path.name.startswith(("test_", "conftest", "__init__"))
]
pytest.register_assert_rewrite(*HELPERS)


@pytest.fixture
def anyio_backend() -> str:
    """Coroutine tests run on asyncio unless they ask for another loop."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def lock_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give each worker of pytest-xdist lock files of its own: to the gateway they look like workers of one server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture
def world() -> World:
    """What the parts of one gateway in memory share."""
    from tests.gateways import World  # not above: a fault there would fail every test

    return World()
