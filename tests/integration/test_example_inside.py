"""The reference application's page whose logins happen inside it, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("example_app.app:app", log=tmp_path_factory.mktemp("inside") / "log") as process:
        yield process


@pytest.fixture
def page(browser: Browser, server: Process) -> Iterator[Page]:
    page = browser.new_context().new_page()
    page.set_default_timeout(10_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"http://{LOOPBACK}:{server.port}/inside")
    yield page
    page.context.close()
    assert problems == []


def log_in(page: Page, user: str = "joe", password: str = "welcome") -> None:
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def steps(page: Page) -> list[str]:
    return page.locator("#exchange b").all_text_contents()


def test_chat(page: Page, browser: Browser) -> None:
    """Two people log in inside the page, one after a wrong password, and hear each other; the panel shows the steps."""
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Say").click()
    log_in(page, password="canary")
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    log_in(page)
    expect(page.get_by_role("log")).to_contain_text("joe: hello")
    assert steps(page) == ["Challenge: basic", "Answer", "Challenge: basic", "Answer", "Outcome: 101"]
    assert "canary" not in page.content()
    other = browser.new_context().new_page()
    other.goto(page.url)
    other.get_by_label("Message").fill("good morning")
    other.get_by_role("button", name="Say").click()
    log_in(other, "ann")
    expect(page.get_by_role("log")).to_contain_text("ann: good morning")
    other.context.close()
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("log")).to_contain_text("closed: 1005")


def test_http(page: Page) -> None:
    """A request logs in with the same dialog; cancelled, it is refused."""
    page.get_by_role("button", name="Who am I?").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#who-result")).to_have_text("refused: 401")
    page.get_by_role("button", name="Who am I?").click()
    log_in(page)
    expect(page.locator("#who-result")).to_contain_text("let joe in")


def test_token(page: Page) -> None:
    """A ticket, got for a login, opens the socket of the token realm."""
    page.get_by_role("button", name="Echo with a ticket").click()
    log_in(page)
    expect(page.locator("#token-result")).to_have_text("joe: hello")
    expected = ["Challenge: token", "Challenge: basic", "Answer", "Outcome: 200", "Answer", "Outcome: 101"]
    assert steps(page) == expected


@pytest.mark.parametrize("width", [320, 1200])
def test_the_page_fits(page: Page, width: int) -> None:
    """Nothing sticks out sideways, on a phone or on a wide screen."""
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
