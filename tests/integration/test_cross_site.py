"""Pages of another site in Chromium: what they may read, and what they may not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import basic, serve

RIGHT = basic("alice", "wonderland")["Authorization"]
FETCH = """async ([url, method, authorization]) => {
  try {
    const headers = authorization ? { authorization } : {};
    const answer = await fetch(url, { method, headers, credentials: "include" });
    return [answer.status, await answer.text(), answer.headers.get("x-total"), answer.headers.get("www-authenticate")];
  } catch (error) { return String(error); }
}"""
POST = """(url) => {
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: url });
  document.body.append(form);
  form.submit();
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("cross_site_app:app", log=tmp_path_factory.mktemp("cross") / "log") as process:
        yield process


@pytest.fixture
def page(browser: Browser, server: Process) -> Iterator[Page]:
    """A page of another site than the application's, in a browser that knows alice's password."""
    context = browser.new_context(http_credentials={"username": "alice", "password": "wonderland"})
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(f"http://localhost:{server.port}/page")
    yield page
    context.close()


def fetch(page: Page, server: Process, path: str, method: str = "PUT", authorization: str = RIGHT) -> Any:
    return page.evaluate(FETCH, [f"http://{LOOPBACK}:{server.port}{path}", method, authorization])


def test_cors_of_the_gateway(page: Page, server: Process) -> None:
    """With constraints the page reads answers and challenges, though the application has a CORS middleware, too."""
    assert fetch(page, server, "/gateway") == [200, "PUT of alice", None, None]
    status, _, _, challenge = fetch(page, server, "/gateway", authorization="Basic eDp5")
    assert status == 401
    assert challenge.startswith('Basic realm="demo"')


@pytest.mark.parametrize("path", ["/application", "/listed"])
def test_cors_of_the_application(page: Page, server: Process, path: str) -> None:
    """With cors: application the preflight reaches the application, and the page reads what it exposes."""
    method = "GET" if path == "/application" else "PUT"
    assert fetch(page, server, path, method) == [200, f"{method} of alice", "7", None]


def test_change_without_a_listed_origin(page: Page, server: Process) -> None:
    """A service that lists no origin takes no change of another site's page, whatever the application's CORS says."""
    assert "Failed to fetch" in fetch(page, server, "/application", "PUT")
    assert '"PUT /application HTTP/1.1" 403' in server.output()


def test_form_of_another_site(page: Page, server: Process) -> None:
    """A form that another site's page sends is refused, and that of the service's own page is taken."""
    url = f"http://{LOOPBACK}:{server.port}/form"
    for host, text in (("localhost", "Forbidden"), (LOOPBACK, "POST of alice")):
        page.goto(f"http://{host}:{server.port}/page")
        with page.expect_navigation(url=url):
            page.evaluate(POST, url)
        assert text in page.inner_text("body")


def test_link_of_another_site(page: Page, server: Process) -> None:
    """A link from another site's page works: it changes nothing."""
    url = f"http://{LOOPBACK}:{server.port}/form"
    with page.expect_navigation(url=url):
        page.evaluate("(url) => { location.href = url; }", url)
    assert "GET of alice" in page.inner_text("body")
