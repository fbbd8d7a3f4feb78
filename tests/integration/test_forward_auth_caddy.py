"""Caddy with the configuration of docs/how-to/forward-auth.md, in front of a back end, asking the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.checks import Site, asked, backend, blocks
from tests.integration.forward_auth import ForwardAuthTests
from tests.integration.process import LOOPBACK, free_port, running

OUTSIDE = "{\n\tadmin off\n\tauto_https off\n}\n"


@contextmanager
def caddy(folder: Path, gateway: int, application: int) -> Iterator[Site]:
    """Caddy with the page's configuration, but for its ports."""
    (block,) = blocks("caddyfile")
    port = free_port()
    for old, new in (
        (":80 {", f"http://:{port} {{\n\tbind {LOOPBACK}"),
        (":8000", f":{gateway}"),
        (":9000", f":{application}"),
    ):
        assert old in block
        block = block.replace(old, new)
    home = folder / "caddy"
    home.mkdir()
    (home / "Caddyfile").write_text(OUTSIDE + block)
    command = ["caddy", "run", "--config", str(home / "Caddyfile"), "--adapter", "caddyfile"]
    env = {"HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    with running(command, port=port, log=home / "log", name="caddy", cwd=home, env=env) as process:
        yield Site(process, folder, application)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Caddy, the gateway that it asks, and the back end."""
    folder = tmp_path_factory.mktemp("caddy")
    with (
        asked(folder, "caddy") as gateway,
        backend(folder) as application,
        caddy(folder, gateway.port, application.port) as site,
    ):
        yield site


class TestCaddy(ForwardAuthTests):
    """What holds behind every proxy, and what is Caddy's own."""

    start = staticmethod(caddy)
