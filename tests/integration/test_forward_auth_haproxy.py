"""HAProxy with the configuration of docs/how-to/forward-auth.md, in front of a back end, asking the gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.checks import PAGE, Site, asked, backend, blocks
from tests.integration.forward_auth import ForwardAuthTests
from tests.integration.process import LOOPBACK, free_port, running

pytestmark = pytest.mark.integration


@contextmanager
def haproxy(folder: Path, gateway: int, application: int) -> Iterator[Site]:
    """HAProxy with the page's configuration and Lua file, but for its ports."""
    (block,) = blocks("haproxy")
    port = free_port()
    for old, new in (
        ("bind :80", f"bind {LOOPBACK}:{port}"),
        (":8000", f":{gateway}"),
        (":9000", f":{application}"),
        ("/etc/haproxy/", f"{PAGE.parent}/haproxy/"),
    ):
        assert old in block
        block = block.replace(old, new)
    home = folder / "haproxy"
    home.mkdir()
    (home / "haproxy.cfg").write_text(block)
    command = ["haproxy", "-db", "-f", str(home / "haproxy.cfg")]
    env = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with running(command, port=port, log=home / "log", name="haproxy", cwd=home, env=env) as process:
        yield Site(process, folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """HAProxy, the gateway that it asks, and the back end."""
    folder = tmp_path_factory.mktemp("haproxy")
    with (
        asked(folder, "haproxy") as gateway,
        backend(folder) as application,
        haproxy(folder, gateway.port, application.port) as site,
    ):
        yield site


class TestHaproxy(ForwardAuthTests):
    """What holds behind every proxy, and what is HAProxy's own."""
