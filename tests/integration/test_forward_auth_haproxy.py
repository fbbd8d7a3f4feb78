"""HAProxy with the configuration of docs/how-to/forward-auth.md, in front of a back end, asking the gateway."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.integration.checks import JOE, PAGE, Site, asked, backend, blocks
from tests.integration.forward_auth import ForwardAuthTests
from tests.integration.process import LOOPBACK, free_port, running

Change = Callable[[str, Path], str]


@contextmanager
def haproxy(folder: Path, gateway: int, application: int, change: Change = lambda block, _: block) -> Iterator[Site]:
    """HAProxy with the page's configuration and Lua file, but for its ports and what a test changes."""
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
    (home / "haproxy.cfg").write_text(change(block, home))
    command = ["haproxy", "-db", "-f", str(home / "haproxy.cfg")]
    env = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with running(command, port=port, log=home / "log", name="haproxy", cwd=home, env=env) as process:
        yield Site(process, folder, application)


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

    start = staticmethod(haproxy)

    def test_a_lua_action_that_fails(self, site: Site, tmp_path: Path) -> None:
        """HAProxy goes on after an error of Lua, and the line with ``deny`` refuses the request."""

        def broken(block: str, home: Path) -> str:
            lua = 'core.register_action("asgi_gateway", { "http-req" }, function(txn) error("broken") end, 2)\n'
            lua += 'core.register_action("asgi_gateway_response", { "http-res" }, function(txn) end, 0)\n'
            (home / "broken.lua").write_text(lua)
            return block.replace(f"{PAGE.parent}/haproxy/asgi_gateway.lua", str(home / "broken.lua"))

        with haproxy(tmp_path, free_port(), site.application, broken) as other:
            assert other.ask("/public/page", JOE).status == 403

    def test_over_tls(self, site: Site, tmp_path: Path) -> None:
        """The gateway is told that the client came over TLS, so the session's cookie is Secure."""
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=site"]
        command = [*request, "-keyout", "key.pem", "-out", "site.pem"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        pem = tmp_path / "both.pem"
        pem.write_text((tmp_path / "site.pem").read_text() + (tmp_path / "key.pem").read_text())
        context = ssl.create_default_context(cafile=str(tmp_path / "site.pem"))
        context.check_hostname = False
        with asked(tmp_path, "haproxy") as gateway, backend(tmp_path) as application:
            change = partial(_over_tls, pem)
            with (
                haproxy(tmp_path, gateway.port, application.port, change) as other,
                httpx.Client(verify=context, trust_env=False) as client,
            ):
                response = client.get(f"https://{LOOPBACK}:{other.proxy.port}/private", auth=("joe", "welcome"))
        assert response.headers["set-cookie"].startswith("__Host-")


def _over_tls(pem: Path, block: str, home: Path) -> str:
    return re.sub(r"(bind \S+)", rf"\1 ssl crt {pem}", block)
