"""What every test shares."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

# An example may take long where the machine has other work to do; pytest's own limit ends what hangs.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def anyio_backend() -> str:
    """Coroutine tests run on asyncio unless they ask for another loop."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def lock_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each worker of pytest-xdist has lock files of its own: to the gateway they look like the workers of one server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("locks")))
        yield
