"""Watching files: every so often, until stopped, and versions that tell changes."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from asgi_gateway._runtime.polling import FilePoller, PolledFile, fingerprint
from asgi_gateway.errors import ConfigError
from tests.helpers import ManualClock

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
    assert "cannot check users.yaml for changes" in caplog.text


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


class _Read:
    """A reader of one file that counts its calls and can fail."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.calls = 0
        self.error: Exception | None = None

    def __call__(self) -> str:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.file.read_text()


def _polled(folder: Path) -> tuple[PolledFile[str], _Read, ManualClock, list[str]]:
    read, clock, changes = _Read(folder / "file"), ManualClock(), list[str]()
    read.file.write_text("one")
    made = PolledFile((read.file, None), read, monotonic=clock.monotonic, logger=LOGGER, changed=changes.append)
    return made, read, clock, changes


def test_read_again_when_changed(tmp_path: Path) -> None:
    """A value is read again once its file changed and the interval has passed, and not otherwise."""
    made, read, clock, changes = _polled(tmp_path)
    read.file.write_text("two!")
    assert made.current() == made.value == "one"
    clock.advance(1)
    assert made.is_due
    assert made.current() == made.value == "two!"
    assert not made.is_due
    for _ in range(3):
        clock.advance(1)
        assert made.current() == "two!"
    assert read.calls == 2
    assert changes == ["two!"]


@pytest.mark.parametrize("error", [ConfigError("no users"), ValueError("canary"), RecursionError(), OSError("canary")])
def test_bad_version_is_read_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """A version that cannot be used, for whatever error, changes nothing, is read and logged once, without secrets."""
    made, read, clock, changes = _polled(tmp_path)
    read.file.write_text("bad")
    read.error = error
    for _ in range(5):
        clock.advance(1)
        assert made.current() == "one"
    assert read.calls == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "its last good version stays" in caplog.text
    assert "canary" not in caplog.text
    read.error = None
    read.file.write_text("good")
    assert made.reload()
    assert (made.value, changes) == ("good", ["good"])


def test_bad_at_start(tmp_path: Path) -> None:
    """A file that cannot be used at the start is an error."""
    read = _Read(tmp_path / "file")
    read.error = ConfigError("no users")
    with pytest.raises(ConfigError, match="no users"):
        PolledFile((read.file,), read, monotonic=ManualClock().monotonic, logger=LOGGER)


def test_own_version_is_no_change(tmp_path: Path) -> None:
    """What the process writes itself holds at once and is not reported; what others write meanwhile is reported."""
    made, read, _, changes = _polled(tmp_path)

    def replace(text: str) -> int:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(read.file)
        return read.file.stat().st_ino

    made.write(lambda: replace("own"))
    assert made.value == "own"
    assert not made.reload()
    assert changes == []

    def replace_and_lose(text: str) -> int:
        inode = replace(text)
        replace("of others")
        return inode

    made.write(lambda: replace_and_lose("lost"))
    assert made.reload()
    assert changes == ["of others"]
    read.file.write_text("unseen")
    made.write(lambda: replace("on top"))
    assert made.reload()
    assert changes == ["of others", "on top"]
