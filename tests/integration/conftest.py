"""What the tests against real servers share: every one is marked, and failures show the servers' logs."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.process import live

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here; the tests of one file share its servers, so that one worker runs them all."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
            if item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {process.name}", process.output()[-20_000:]) for process in live]
    return report


@pytest.fixture(scope="module")  # no longer: playwright keeps an event loop running in this thread
def browser() -> Iterator[Any]:
    """Chromium; each test makes a context of its own."""
    from tests.integration.chromium import chromium

    with chromium() as found:
        yield found
