"""The reference application's page whose logins happen inside it, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import serve
from tests.integration.test_browser_client import CONTRAST


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
    return list(page.locator("#exchange b").all_text_contents())


def test_chat(page: Page, browser: Browser) -> None:
    """Two people log in inside the page, one after a wrong password, and hear each other; the panel shows the steps."""
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Say").click()
    log_in(page, password="canary")
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    expect(page.get_by_label("User name")).to_have_value("joe")
    expect(page.get_by_label("Password")).to_be_focused()
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
    expect(page.get_by_role("log")).to_contain_text("You left.")


def test_http(page: Page) -> None:
    """A request logs in with the same dialog; cancelled, it is refused."""
    page.get_by_role("button", name="Who am I?").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#who-result")).to_have_text("The login was cancelled or not accepted.")
    page.get_by_role("button", name="Who am I?").click()
    log_in(page)
    expect(page.locator("#who-result")).to_contain_text("let joe in")


def test_one_login_for_the_page(page: Page) -> None:
    """The page asks once for its requests and its sockets, until its login is forgotten."""
    page.get_by_role("button", name="Who am I?").click()
    log_in(page)
    result = page.locator("#who-result")
    expect(result).to_contain_text("let joe in")
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Say").click()
    expect(page.get_by_role("log")).to_contain_text("joe: hello")
    page.get_by_role("button", name="Echo with a ticket").click()
    expect(page.locator("#token-result")).to_have_text("joe: hello")
    page.get_by_role("button", name="Forget the login").click()
    page.get_by_role("button", name="Who am I?").click()
    log_in(page, "ann")
    expect(result).to_contain_text("let ann in")


def test_a_refused_socket_is_told_in_words(page: Page) -> None:
    """A person who cancels reads what happened, and no number."""
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Say").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("log")).to_have_text("The login was cancelled or not accepted.\n")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/inside", "/static/chat.html"])
def test_borders_can_be_seen(page: Page, server: Process, path: str, scheme: Literal["light", "dark"]) -> None:
    """The fields' and buttons' borders have a contrast of 3:1 at least, in the page and in its dialog."""
    page.emulate_media(color_scheme=scheme)
    page.goto(f"http://{LOOPBACK}:{server.port}{path}")
    if path == "/inside":
        page.get_by_role("button", name="Who am I?").click()
        expect(page.get_by_role("dialog")).to_be_visible()
    fields = page.locator("input:visible, button:visible").all()
    assert len(fields) >= 2
    for field in fields:
        assert field.evaluate(CONTRAST) >= 3, field


@pytest.mark.parametrize("form", ["login", "session"])
def test_without_scripts_no_password_is_in_a_url(browser: Browser, server: Process, form: str) -> None:
    """A form that is sent without JavaScript leads back to the page, and no URL has the password."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto(f"http://{LOOPBACK}:{server.port}/")
    page.locator(f"#{form} [name=user]").fill("joe")
    page.locator(f"#{form} [name=password]").fill("canary")
    page.locator(f"#{form} button").first.click()
    expect(page.locator(f"#{form} [name=password]")).to_have_value("")
    assert page.url == f"http://{LOOPBACK}:{server.port}/"
    assert not any("canary" in url for url in urls)
    assert "canary" not in server.output()
    context.close()


@pytest.mark.parametrize("path", ["/", "/inside", "/static/chat.html"])
def test_every_form_posts(page: Page, server: Process, path: str) -> None:
    """No form of the application would put what is typed into a URL."""
    page.goto(f"http://{LOOPBACK}:{server.port}{path}")
    methods = page.locator("form").evaluate_all("forms => forms.map((form) => form.method)")
    assert methods
    assert set(methods) == {"post"}


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
