"""nginx with the configuration of docs/how-to/forward-auth.md, in front of a back end, asking the gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.checks import Site, asked, backend, blocks
from tests.integration.forward_auth import ForwardAuthTests
from tests.integration.process import LOOPBACK, free_port, running


@contextmanager
def nginx(folder: Path, gateway: int, application: int) -> Iterator[Site]:
    """nginx with the page's configuration, but for its ports."""
    (block,) = blocks("nginx")
    port = free_port()
    for old, new in (
        ("listen 80", f"listen {LOOPBACK}:{port}"),
        (":8000", f":{gateway}"),
        (":9000", f":{application}"),
    ):
        assert old in block
        block = block.replace(old, new)
    home = folder / "nginx"
    home.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    outside = f"{user}daemon off;\npid {home}/pid;\nerror_log stderr;\nevents {{}}\n"
    (home / "nginx.conf").write_text(f"{outside}http {{\naccess_log off;\n{temporary}{block}}}\n")
    command = ["nginx", "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr"]
    env = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with running(command, port=port, log=home / "log", name="nginx", cwd=home, env=env) as process:
        yield Site(process, folder, application)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """nginx, the gateway that it asks, and the back end."""
    folder = tmp_path_factory.mktemp("nginx")
    with (
        asked(folder, "nginx") as gateway,
        backend(folder) as application,
        nginx(folder, gateway.port, application.port) as site,
    ):
        yield site


class TestNginx(ForwardAuthTests):
    """What holds behind every proxy, and what is nginx's own."""

    start = staticmethod(nginx)
    passes_all = False
