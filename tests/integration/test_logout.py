"""Logging out of a server with several workers."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.integration import test_live_sockets
from tests.integration.apps import USERS
from tests.integration.process import LOOPBACK
from tests.integration.test_live_sockets import ALICE, Site, closed, is_open, site

CONFIG = f"""
security:
  {{state}}
  session-keys: {{{{file: keys}}}}
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Application Basic
        authorization-mode: recycle
        login-modules: [{{{{type: file, success: required, options: {{{{file: {USERS}}}}}}}}}]
services:
  - {{{{name: public, accept: /pid}}}}
  - {{{{name: chat, accept: /chat, realm-name: staff}}}}
"""


def get(live: Site, headers: dict[str, str]) -> httpx.Response:
    """A request to the service with sessions, on a connection of its own."""
    return httpx.get(f"http://{LOOPBACK}:{live.process.port}/chat", headers=headers, trust_env=False, timeout=20)


@pytest.mark.timing
def test_logged_out_on_every_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging out closes the session's sockets on every worker within 2 seconds, and its cookie is good on none; the
    same user's other session is left alone.
    """
    monkeypatch.setattr(test_live_sockets, "CONFIG", CONFIG)
    with site(tmp_path, 2) as live:
        first, second = ({"Cookie": get(live, ALICE).headers["set-cookie"].partition(";")[0]} for _ in range(2))
        ended = [live.open("/chat", first) for _ in range(4)]
        while len({said[0] for _, said in ended}) < 2:  # the system chooses the worker
            assert len(ended) < 100
            ended.append(live.open("/chat", first))
        kept = [live.open("/chat", second)[0] for _ in range(4)]
        for _ in range(8):
            assert get(live, first).status_code == 404  # the application's own answer
        begun = time.monotonic()
        assert live.post("/chat/;o", first).status_code == 204
        assert {closed(socket, 2) for socket, _ in ended} == {(4003, "session ended")}
        assert time.monotonic() - begun < 2
        assert {get(live, first).status_code for _ in range(8)} == {401}
        assert {get(live, second).status_code for _ in range(8)} == {404}
        assert all(is_open(socket) for socket in kept)
        assert live.post("/chat/;o", first).status_code == 204
