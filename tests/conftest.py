"""What every test shares."""

from __future__ import annotations

import pytest
from hypothesis import settings

# An example may take long where the machine has other work to do; pytest's own limit ends what hangs.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def anyio_backend() -> str:
    """Coroutine tests run on asyncio unless they ask for another loop."""
    return "asyncio"
