"""The login page over plain HTTP on a host that is not the browser's own, where no Fetch Metadata is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, expect

from tests.integration.chromium import chromium
from tests.integration.process import Process
from tests.integration.servers import serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("login_page_app:app", log=tmp_path_factory.mktemp("plain") / "log") as process:
        yield process


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium("--host-resolver-rules=MAP *.example 127.0.0.1") as browser:
        page = browser.new_context(locale="en").new_page()
        page.set_default_timeout(10_000)
        yield page


def test_origin_decides(page: Page, server: Process) -> None:
    """The own form logs in by its Origin, which the page's policy leaves in; that of another site is refused."""
    site = f"http://shop.example:{server.port}"
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.goto(f"{site}/staff?x=1")
    page.get_by_label("User name").fill("joe")
    page.get_by_label("Password").fill("joe-pw")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_have_text("Hello joe")
    headers = sent[0].all_headers()
    assert headers["origin"] == site
    assert "sec-fetch-site" not in headers
    page.goto(f"http://evil.example:{server.port}/public")
    page.evaluate(
        """(action) => {
            const form = document.createElement("form");
            Object.assign(form, { method: "post", action });
            document.body.append(form);
            form.submit();
        }""",
        f"{site}/staff/;o",
    )
    expect(page.get_by_role("heading")).to_have_text("No access")
    page.goto(f"{site}/staff")
    expect(page.get_by_role("heading")).to_have_text("Hello joe")
