"""The configuration of docs/how-to/nginx.md, run by nginx as it stands there but for names, certificate and port."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.integration.process import LOOPBACK, Process, free_port, running

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "nginx.md").read_text()
HOST = "www.example.com"
BASIC = {"Authorization": "Basic am9lOndlbGNvbWU="}  # joe:welcome

APPLICATION = """
import logging
from example_app.app import api
from asgi_gateway import GatewayMiddleware

audit = logging.getLogger("asgi_gateway.audit")
audit.setLevel(logging.INFO)
audit.addHandler(logging.FileHandler("audit.log"))
app = GatewayMiddleware(api, "gateway.yaml")
"""
GATEWAY = """
security:
  trusted-proxies: [127.0.0.1]
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        authorization-mode: recycle
        login-modules:
          - {type: file, success: required, options: {file: users.yaml}}
services:
  - {name: home, accept: /static}
  - {name: session, accept: [/session, /echo, /admin], realm-name: demo}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the application, its configuration and a certificate."""
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "main.py").write_text(APPLICATION)
    (folder / "gateway.yaml").write_text(GATEWAY)
    (folder / "users.yaml").write_text((ROOT / "example_app" / "users.yaml").read_text())
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    request += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", "site.key", "-out", "site.pem"]
    subprocess.run(request, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def application(folder: Path) -> Iterator[Process]:
    """uvicorn with the gateway, as the page has it."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port), "--no-proxy-headers"]
    env = {"PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=folder / "log", name="uvicorn", cwd=folder, env=env) as process:
        yield process


class Site:
    """nginx on a port, as clients see it under its name."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.port = port
        self.origin = f"https://{HOST}:{port}"
        self._tls = ssl.create_default_context(cafile=str(certificate))

    def request(self, method: str, path: str, **headers: str) -> httpx.Response:
        """One request, with headers given with underscores for dashes, and nothing of the path changed."""
        lines = {name.replace("_", "-"): value for name, value in headers.items()} | {"Host": f"{HOST}:{self.port}"}
        url = httpx.URL(scheme="https", host=LOOPBACK, port=self.port, raw_path=path.encode())
        with httpx.Client(verify=self._tls, trust_env=False, timeout=10) as client:
            return client.request(method, url, headers=lines, extensions={"sni_hostname": HOST})

    def greet(self, origin: str) -> str:
        """Send a word to the echo of joe's, from a page of an origin, and return the answer."""
        with connect(
            f"wss://{HOST}:{self.port}/echo",
            sock=socket.create_connection((LOOPBACK, self.port), timeout=10),
            ssl=self._tls,
            origin=Origin(origin),
            additional_headers=BASIC,
            proxy=None,
        ) as connection:
            connection.send("hello")
            return str(connection.recv(timeout=5))


@contextmanager
def nginx(folder: Path, backend: int, name: str, without: str = "") -> Iterator[Site]:
    """nginx with the page's configuration; ``without`` is the beginning of a line that is left out."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    if without:
        lines = block.splitlines(keepends=True)
        block = "".join(line for line in lines if not " ".join(line.split()).startswith(without))
        assert len(block.splitlines()) == len(lines) - 1
    port = free_port()
    block = block.replace("listen 443 ssl", f"listen {LOOPBACK}:{port} ssl").replace(
        "127.0.0.1:8000", f"{LOOPBACK}:{backend}"
    )
    block = re.sub(r"/etc/ssl/[\w.]+\.(pem|key)", lambda match: str(folder / f"site.{match[1]}"), block)
    home = folder / name
    home.mkdir()
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    outside = f"{user}daemon off;\npid {home}/pid;\nerror_log stderr;\nevents {{}}\n"
    (home / "nginx.conf").write_text(f"{outside}http {{\naccess_log off;\n{temporary}{block}}}\n")
    command = ["nginx", "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr"]
    env = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with running(command, port=port, log=home / "log", name="nginx", cwd=home, env=env):
        yield Site(port, folder / "site.pem")


@pytest.fixture(scope="module")
def site(folder: Path, application: Process) -> Iterator[Site]:
    """nginx with the page's configuration as it stands."""
    with nginx(folder, application.port, "whole") as site:
        yield site


def test_pages(site: Site) -> None:
    """A page is challenged for, and served with credentials."""
    assert site.request("GET", "/session/who").status_code == 401
    assert site.request("GET", "/static/page.js").status_code == 200
    assert site.request("GET", "/admin", **BASIC).status_code == 200


def test_sessions_are_those_of_a_site_with_tls(site: Site) -> None:
    """A login through nginx begins a session whose cookie is Secure and bound to the host, and logging out ends it."""
    login = site.request("GET", "/admin", **BASIC)
    cookie = login.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "; Secure" in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    assert site.request("GET", "/admin", **session).status_code == 200
    assert site.request("POST", "/session/;o", Origin="https://other.example", **session).status_code == 403
    assert site.request("POST", "/session/;o", Origin=site.origin, **session).status_code == 204
    assert site.request("GET", "/admin", **session).status_code == 401


def test_sockets(site: Site) -> None:
    """A WebSocket of the site's own page opens, one of another site's page is refused."""
    assert site.greet(site.origin) == "joe: hello"
    for other in ("https://other.example", f"http://{HOST}:{site.port}", "null"):
        with pytest.raises(InvalidHandshake, match="403"):
            site.greet(other)


@pytest.mark.parametrize(
    "path", ["/static/%2e%2e/admin", "/static//admin", "/static/..%2fadmin", "/static%2f..%2fadmin"]
)
def test_paths_arrive_as_they_were_sent(site: Site, path: str) -> None:
    """nginx decodes nothing, so that a path that can be read in two ways is refused by the gateway."""
    assert site.request("GET", path, **BASIC).status_code == 403


@pytest.mark.parametrize("claimed", ["192.0.2.1", "192.0.2.1, 192.0.2.2", "unknown"])
def test_clients_cannot_choose_their_address(site: Site, folder: Path, claimed: str) -> None:
    """The audit log has the client's address, whatever the client claims in X-Forwarded-For."""
    assert site.request("GET", "/admin", X_Forwarded_For=claimed).status_code == 401
    last = json.loads((folder / "audit.log").read_text().splitlines()[-1])
    assert last["peer"] == LOOPBACK


@pytest.mark.parametrize(
    ("line", "socket_opens", "logout", "secure"),
    [
        ("proxy_set_header Host", False, 403, True),
        ("proxy_set_header Upgrade", False, 204, True),
        ("proxy_set_header Connection", False, 204, True),
        ("proxy_set_header X-Forwarded-Proto", True, 204, False),
        ("proxy_set_header X-Forwarded-For", True, 204, True),
    ],
)
def test_each_line_is_needed(
    folder: Path, application: Process, line: str, socket_opens: bool, logout: int, secure: bool
) -> None:
    """Without one of the lines happens what the page's table says."""
    assert f"`{line.split()[-1]}" in PAGE or f"`{line.removeprefix('proxy_set_header ')}" in PAGE
    with nginx(folder, application.port, line.replace(" ", "-"), line) as site:
        cookie = site.request("GET", "/admin", **BASIC).headers["set-cookie"]
        assert ("; Secure" in cookie) is secure
        session = {"Cookie": cookie.partition(";")[0]}
        assert site.request("POST", "/session/;o", Origin=site.origin, **session).status_code == logout
        if socket_opens:
            assert site.greet(site.origin) == "joe: hello"
        else:
            with pytest.raises(InvalidHandshake):
                site.greet(site.origin)
