"""Watching files: every so often, until stopped, and versions that tell changes."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from asgi_gateway._runtime.polling import FilePoller, fingerprint

LOGGER = logging.getLogger("asgi_gateway.tests")
pytestmark = pytest.mark.anyio


async def test_watcher_starts_once_and_stops_for_good() -> None:
    """However often it is started there is one thread, and none after it was stopped; it can begin again."""
    looked = threading.Event()
    watcher = FilePoller("users.yaml", looked.set, 0.01, LOGGER)
    await watcher.stop()
    for _ in range(2):
        watcher.start()
        watcher.start()
        assert looked.wait(10)
        assert [thread.name for thread in threading.enumerate()].count("watch users.yaml") == 1
        await watcher.stop()
        looked.clear()
        assert "watch users.yaml" not in [thread.name for thread in threading.enumerate()]


async def test_watcher_goes_on_after_errors(caplog: pytest.LogCaptureFixture) -> None:
    """What looking raises is logged, and it looks again."""
    thrice, calls = threading.Event(), list[None]()

    def look() -> None:
        calls.append(None)
        if len(calls) == 3:
            thrice.set()
        raise RuntimeError("no luck")

    watcher = FilePoller("users.yaml", look, 0.01, LOGGER)
    watcher.start()
    assert thrice.wait(10)
    await watcher.stop()
    assert "users.yaml could not be looked at" in caplog.text


def test_versions(tmp_path: Path) -> None:
    """A change, a replacement and a removal each give another version; what is not there is empty."""
    file = tmp_path / "users.yaml"
    assert fingerprint((file, None)) == ((), ())
    file.write_text("a")
    versions = [fingerprint((file, None))]
    file.write_text("ab")
    versions.append(fingerprint((file, None)))
    (tmp_path / "new").write_text("ab")
    os.utime(tmp_path / "new", ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    (tmp_path / "new").replace(file)
    versions.append(fingerprint((file, None)))
    file.unlink()
    versions.append(fingerprint((file, None)))
    assert len(set(versions)) == 4
