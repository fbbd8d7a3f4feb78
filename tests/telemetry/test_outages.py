"""Rate-limited warnings of outages."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

from asgi_gateway.model import AuthRequest
from asgi_gateway.telemetry.audit import Audit
from asgi_gateway.telemetry.outages import INTERVAL, Outages
from tests.helpers import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


def test_time_cause_and_place(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """The first warning comes at once, and says when, why and what of."""
    Outages(clock).report("Redis at localhost:6379 did not answer", "realm demo")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "asgi_gateway.outages"
    assert record.getMessage() == (
        "2027-01-15T08:00:00+00:00 unavailable: Redis at localhost:6379 did not answer (realm demo)"
    )


def test_one_a_minute(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A cause that goes on is warned of once a minute, with the number of times in between."""
    outages = Outages(clock)
    for _ in range(2 * 600):  # twice a second for ten minutes
        outages.report("down")
        clock.advance(0.5)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 10
    assert "more" not in messages[0]
    assert all(message.endswith("down [119 more since the last warning]") for message in messages[1:])


def test_causes_are_apart(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Another cause is warned of at once; the first one only after its minute."""
    outages = Outages(clock)
    for cause in ("down", "full", "down", "full"):
        outages.report(cause)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["down", "full"]


def test_changing_causes(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Causes that differ each time write a bounded number of lines, and the rest is counted."""
    outages = Outages(clock)
    for number in range(1000):
        outages.report(f"error {number}")
    assert len(caplog.records) == 20
    clock.advance(INTERVAL)
    outages.report("another")
    assert caplog.records[-1].getMessage().endswith("another [980 of other causes]")
    assert len(outages._causes) <= 20


@pytest.mark.parametrize("cause", ["a\nb", "a\x1b[31mb", "a\x7fb", "a\u2028b", "a\ud800b", "x" * 10_000])
def test_one_line(clock: ManualClock, caplog: pytest.LogCaptureFixture, cause: str) -> None:
    """Whatever the cause holds, the warning is one printable line of bounded length."""
    Outages(clock).report(cause, cause)
    message = caplog.records[0].getMessage()
    assert message.isprintable()
    assert len(message) < 1100


def test_threads(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Threads that report the same cause at once write one warning."""
    outages = Outages(clock)

    def work() -> None:
        for _ in range(200):
            outages.report("down")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.records) == 1
    assert outages._causes["down"].more == 8 * 200 - 1


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_unavailable_is_a_warning(clock: ManualClock, caplog: pytest.LogCaptureFixture, level: int) -> None:
    """What is unavailable is a warning whether or not the audit log is on; other outcomes are none."""
    caplog.set_level(level, logger="asgi_gateway.audit")
    audit = Audit(clock)
    for outcome in ("success", "failure", "challenge", "denial", "replay", "logout", "reload"):
        audit.event(outcome, reason="x")
    request = AuthRequest("http", "POST", "/")
    for _ in range(5):
        audit.event("unavailable", request, reason="disk full", realm="demo", service="app")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["2027-01-15T08:00:00+00:00 unavailable: disk full (realm demo, service app)"]


def test_where_logging_is_not_set_up() -> None:
    """A process that configured no logging writes the warning to standard error."""
    program = (
        "from asgi_gateway.telemetry.audit import Audit\n"
        "from asgi_gateway.plugins.clock import SystemClock\n"
        "Audit(SystemClock()).event('unavailable', reason='no space left', realm='demo')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr.endswith("unavailable: no space left (realm demo)\n")
    assert done.stderr.count("\n") == 1
