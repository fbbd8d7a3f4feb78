"""Single sign-on in Chromium: a page and a WebSocket, with nobody asked anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import HttpCredentials, Page, sync_playwright

from tests.integration.kdc import Kdc, realm
from tests.integration.process import Process
from tests.integration.servers import serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc") as found:
        found.user("alice", "alicepw")
        yield found


@pytest.fixture(scope="module")
def server(kdc: Kdc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serve("kerberos_app:app", log=log, env=kdc.environment) as process:
        yield process


@contextmanager
def chromium(
    kdc: Kdc, cache: str, profile: Path, *arguments: str, password: HttpCredentials | None = None
) -> Iterator[Page]:
    """A fresh browser whose user has this ticket cache, and types this password when the browser's window asks.

    On Linux, Chromium loads no GSS-API until a site has sent it Negotiate, and then only at its next start.
    """
    (profile / "Local State").write_text('{"net": {"received_http_auth_negotiate_headers": true}}')
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=[*ARGUMENTS, *arguments],
            env={**os.environ, **kdc.environment, "KRB5CCNAME": cache},
            http_credentials=password,
        )
        try:
            yield context.new_page()
        finally:
            context.close()


def test_single_sign_on(kdc: Kdc, server: Process, tmp_path: Path) -> None:
    """With the site in its allowlist and a ticket, the browser opens the page and its WebSocket as the user."""
    cache = kdc.kinit("alice", "alicepw")
    with chromium(kdc, cache, tmp_path, "--auth-server-allowlist=localhost") as page:
        answer = page.goto(f"http://localhost:{server.port}/tickets")
        assert answer is not None
        assert answer.status == 200
        assert answer.json()["name"] == "alice@EXAMPLE.COM"
        page.goto(f"http://localhost:{server.port}/tickets/page")
        page.wait_for_function("document.title != 'waiting'", timeout=20_000)
        assert page.title() == "alice@EXAMPLE.COM: hello"


def test_site_not_listed(kdc: Kdc, server: Process, tmp_path: Path) -> None:
    """Without the site in its policy the browser sends no ticket, and gets the challenge."""
    with chromium(kdc, kdc.kinit("alice", "alicepw"), tmp_path) as page:
        answer = page.goto(f"http://localhost:{server.port}/tickets")
        assert answer is not None
        assert answer.status == 401
        assert answer.header_value("www-authenticate") == "Negotiate"


def test_fallback(kdc: Kdc, server: Process, tmp_path: Path) -> None:
    """Where the realm offers both, a browser without a ticket falls back to a password."""
    password: HttpCredentials = {"username": "alice", "password": "alicepw"}
    no_cache = kdc.environment["KRB5CCNAME"]
    with chromium(kdc, no_cache, tmp_path, "--auth-server-allowlist=localhost", password=password) as page:
        answer = page.goto(f"http://localhost:{server.port}/either")
        assert answer is not None
        assert answer.status == 200
        assert answer.json()["name"] == "alice@EXAMPLE.COM"


def test_application_negotiate(kdc: Kdc, server: Process, tmp_path: Path) -> None:
    """Application Negotiate is left to the page: the browser sends no ticket by itself."""
    cache = kdc.kinit("alice", "alicepw")
    with chromium(kdc, cache, tmp_path, "--auth-server-allowlist=localhost") as page:
        answer = page.goto(f"http://localhost:{server.port}/page")
        assert answer is not None
        assert answer.status == 401
