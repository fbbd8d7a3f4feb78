"""The audit log."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.model import AuthRequest
from asgi_gateway.telemetry.audit import Audit
from tests.gateways import Records
from tests.helpers import ManualClock


def written(**fields: str | None) -> tuple[str, dict[str, str]]:
    records = Records()
    Audit(ManualClock(1.5), records).event("failure", **fields)  # type: ignore[arg-type]
    (line,) = records.lines
    return line, json.loads(line)


def test_event() -> None:
    """An event is one JSON object: its time in UTC, its outcome, and what there is to say without the empty fields."""
    _, record = written(realm="demo", service="", peer=None, principal="jürgen")
    assert record == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "outcome": "failure",
        "realm": "demo",
        "principal": "jürgen",
    }


def test_events_of_a_request() -> None:
    """Events of one request have its id, kind and peer; another request has another id."""
    records = Records()
    audit = Audit(ManualClock(), records)  # type: ignore[arg-type]
    first, second = (AuthRequest("websocket", "GET", "/", remote_address="192.0.2.1") for _ in range(2))
    for request in (first, first, second):
        audit.event("denial", request)
    events = [json.loads(line) for line in records.lines]
    assert [event.pop("id") for event in events] == [first.id, first.id, second.id]
    assert first.id != second.id
    assert len(first.id) == 16
    assert all(event["kind"] == "websocket" and event["peer"] == "192.0.2.1" for event in events)


@given(st.text() | st.text(min_size=495, max_size=600))
def test_one_line(text: str) -> None:
    """Whatever a field holds, the event is one line of printable ASCII, and fields are capped."""
    line, record = written(reason=text)
    assert line.isascii()
    assert line.isprintable()
    assert record.get("reason", "") == text[:500]


def test_controls() -> None:
    """Control characters are escaped: line ends, escapes, DEL and those past ASCII."""
    line, record = written(reason="\r\n\x1b[31m\x7f\x9b\u2028\ud800")
    assert "\\r\\n\\u001b[31m\\u007f\\u009b\\u2028\\ud800" in line
    assert record["reason"] == "\r\n\x1b[31m\x7f\x9b\u2028\ud800"


def test_failed_names() -> None:
    """The name of a failed login is hashed under a key of this process: equal for equal names, told to nobody."""
    audit, other = Audit(ManualClock()), Audit(ManualClock())
    hashed = audit.failed_name("hunter2")
    assert hashed is not None
    assert hashed.startswith("hashed:")
    assert "hunter2" not in hashed
    assert hashed == audit.failed_name("hunter2")
    assert len({hashed, other.failed_name("hunter2"), audit.failed_name("hunter3")}) == 3
    assert audit.failed_name(None) is None
    assert audit.failed_name("\ud800")


def test_plain_names() -> None:
    """Told so, names are written as they were typed."""
    assert Audit(ManualClock(), plain_names=True).failed_name("joe") == "joe"


def test_its_logger(caplog: pytest.LogCaptureFixture) -> None:
    """Events go to asgi_gateway.telemetry.audit at INFO; where nobody listens to that, nothing is made."""
    caplog.set_level(logging.INFO, "asgi_gateway.audit")
    audit = Audit(ManualClock())
    audit.event("success")
    assert [(record.name, record.levelno) for record in caplog.records] == [("asgi_gateway.audit", logging.INFO)]
    caplog.clear()
    caplog.set_level(logging.WARNING, "asgi_gateway.audit")
    audit.event("success")
    assert not caplog.records
