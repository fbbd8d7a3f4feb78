"""The login page in Chromium: with and without JavaScript, by keyboard, in both languages, light and dark."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from asgi_gateway.endpoints.page_texts import shipped_texts
from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import serve

AXE = Path(__file__).with_name("axe") / "axe.min.js"
ENGLISH, GERMAN = shipped_texts()["en"], shipped_texts()["de"]
PHONE, DESK = {"width": 320, "height": 568}, {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("login_page_app:app", log=tmp_path_factory.mktemp("login_page") / "log") as process:
        yield process


@pytest.fixture
def new_page(browser: Browser, server: Process) -> Iterator[Callable[..., Page]]:
    """Make a page in a browser of its own; relative addresses are the server's."""
    made = []

    def new(**options: Any) -> Page:
        options = {"locale": "en", "base_url": f"http://{LOOPBACK}:{server.port}"} | options
        context = browser.new_context(**options)
        made.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        return page

    yield new
    for context in made:
        context.close()


def sign_in(page: Page, name: str = "joe", password: str = "joe-pw") -> None:
    page.get_by_label(ENGLISH["user-name"]).fill(name)
    page.get_by_label(ENGLISH["password"]).fill(password)
    page.get_by_role("button", name=ENGLISH["sign-in"]).click()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_deep_link(new_page: Callable[..., Page], server: Process, scripts: bool) -> None:
    """Who follows a link logs in and is where the link leads, with its query; with JavaScript and without."""
    page = new_page(java_script_enabled=scripts)
    response = page.goto("/staff/a/b?x=1&y=%2F%2Fevil.example#part")
    assert response is not None
    assert response.status == 401
    sign_in(page)
    expect(page.get_by_role("heading")).to_have_text("Hello joe")
    expect(page.locator("#query")).to_have_text("x=1&y=%2F%2Fevil.example")
    fragment = "#part" if scripts else ""
    assert page.url == f"http://{LOOPBACK}:{server.port}/staff/a/b?x=1&y=%2F%2Fevil.example{fragment}"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_wrong_password(new_page: Callable[..., Page], scripts: bool) -> None:
    """The name stays, the focus is in the password, the error is announced; the next try goes on."""
    page = new_page(java_script_enabled=scripts)
    page.goto("/staff?x=1#/orders/5")
    sign_in(page, "joe", "wrong")
    expect(page.get_by_role("alert")).to_have_text(ENGLISH["wrong-password"])
    expect(page.get_by_label(ENGLISH["user-name"])).to_have_value("joe")
    password = page.get_by_label(ENGLISH["password"])
    expect(password).to_be_focused()
    expect(password).to_have_value("")
    expect(password).to_have_accessible_description(ENGLISH["wrong-password"])
    page.keyboard.type("joe-pw")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_have_text("Hello joe")
    expect(page.locator("#query")).to_have_text("x=1")
    assert page.url.endswith("/staff?x=1#/orders/5" if scripts else "/staff?x=1")


def test_by_keyboard_alone(new_page: Callable[..., Page]) -> None:
    """The first field has the focus, Tab leads through the form in order, Enter sends it."""
    page = new_page()
    page.goto("/staff")
    expect(page.get_by_label(ENGLISH["user-name"])).to_be_focused()
    page.keyboard.type("joe")
    page.keyboard.press("Tab")
    expect(page.get_by_label(ENGLISH["password"])).to_be_focused()
    page.keyboard.type("joe-pw")
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name=ENGLISH["sign-in"])
    expect(button).to_be_focused()
    assert button.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_have_text("Hello joe")


def test_the_directory_is_down(new_page: Callable[..., Page]) -> None:
    """A login that cannot be checked says so, and for how long; it is not called a wrong password."""
    page = new_page()
    page.goto("/staff")
    sign_in(page, "down", "x")
    expect(page.get_by_role("alert")).to_have_text(ENGLISH["login-unavailable"].replace("{seconds}", "3"))
    expect(page.get_by_label(ENGLISH["user-name"])).to_have_value("down")


def test_german(new_page: Callable[..., Page]) -> None:
    """A German browser gets German words, also when the password is wrong."""
    page = new_page(locale="de-AT")
    page.goto("/staff")
    assert page.evaluate("document.documentElement.lang") == "de"
    page.get_by_label(GERMAN["user-name"]).fill("joe")
    page.get_by_label(GERMAN["password"]).fill("falsch")
    page.get_by_role("button", name=GERMAN["sign-in"]).click()
    expect(page.get_by_role("alert")).to_have_text(GERMAN["wrong-password"])


def test_the_sockets_of_the_page_open(new_page: Callable[..., Page]) -> None:
    """After the login the page's WebSockets and fetches have the session; before it they are refused."""
    page = new_page()
    page.goto("/public")
    opened = """() => new Promise((resolve) => {
        const socket = new WebSocket(`ws://${location.host}/staff/echo`);
        socket.onopen = () => socket.send("hello");
        socket.onmessage = ({ data }) => resolve(data);
        socket.onclose = () => resolve("closed");
    })"""
    assert page.evaluate(opened) == "closed"
    page.goto("/staff")
    sign_in(page)
    expect(page.get_by_role("heading")).to_have_text("Hello joe")
    assert page.evaluate(opened) == "joe: hello"
    assert page.evaluate("fetch('/staff/script').then((response) => response.text())") == "joe"


def test_fetches_get_no_page(new_page: Callable[..., Page]) -> None:
    """What scripts and images of a page ask for is refused without a page, a cookie or a change of the way back."""
    page = new_page()
    page.goto("/public")
    answers = page.evaluate(
        """async () => {
            const read = async (accept) => {
                const response = await fetch("/staff/other", { headers: { accept } });
                return [response.status, response.headers.get("content-type"), await response.text()];
            };
            await new Promise((resolve) => {
                const image = new Image();
                image.onerror = resolve;
                image.src = "/staff/icon";
            });
            return [await read("text/html"), await read("application/json")];
        }"""
    )
    assert answers[0] == [401, "text/plain; charset=utf-8", "Unauthorized\n"]
    assert answers[1][:2] == [401, "application/problem+json"]
    assert page.context.cookies() == []


def test_two_tabs(new_page: Callable[..., Page]) -> None:
    """Each of two tabs goes on to its own page; the second needs no password, but takes one."""
    one = new_page()
    two = one.context.new_page()
    one.goto("/staff/one?a")
    two.goto("/staff/two?b")
    sign_in(one)
    expect(one.locator("#query")).to_have_text("a")
    sign_in(two)
    expect(two.locator("#query")).to_have_text("b")
    assert two.url.endswith("/staff/two?b")


def test_back_after_a_login(new_page: Callable[..., Page]) -> None:
    """The back button after a login leads to no form whose sending fails, but to the page itself."""
    page = new_page()
    page.goto("/public")
    page.goto("/staff")
    sign_in(page)
    expect(page.get_by_role("heading")).to_have_text("Hello joe")
    page.go_back()
    page.wait_for_load_state()
    assert page.get_by_role("heading").inner_text() in ("Hello joe", "Goodbye")


def test_logout_and_back(new_page: Callable[..., Page]) -> None:
    """The link shows a button, the button ends the session, and back shows nothing that was protected."""
    page = new_page()
    page.goto("/staff/page")
    sign_in(page)
    expect(page.locator("#secret")).to_be_visible()
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_role("heading")).to_have_text(ENGLISH["sign-out-title"])
    page.go_back()
    expect(page.locator("#secret")).to_be_visible()
    page.go_forward()
    page.get_by_role("button", name=ENGLISH["sign-out"]).click()
    expect(page.get_by_role("heading")).to_have_text(ENGLISH["signed-out-title"])
    for _ in range(2):
        page.go_back()
        page.wait_for_load_state()
        expect(page.locator("#secret")).to_have_count(0)
    page.goto("/staff/page")
    expect(page.get_by_role("heading")).to_have_text(ENGLISH["sign-in"])


def test_after_logout(new_page: Callable[..., Page]) -> None:
    """The logout leads to the site's own page, past the policy on where forms lead."""
    page = new_page()
    page.goto("/goodbye/x")
    sign_in(page)
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name=ENGLISH["sign-out"]).click()
    expect(page.get_by_role("heading")).to_have_text("Goodbye")


def test_a_missing_role(new_page: Callable[..., Page]) -> None:
    """Who lacks a role is told so, and can log out to log in as somebody else."""
    page = new_page()
    page.goto("/only/x?y=1")
    sign_in(page, "ann", "ann-pw")
    expect(page.get_by_role("heading")).to_have_text(ENGLISH["forbidden-title"])
    page.get_by_role("link", name=ENGLISH["sign-out"]).click()
    page.get_by_role("button", name=ENGLISH["sign-out"]).click()
    page.get_by_role("link", name=ENGLISH["sign-in-again"]).click()
    sign_in(page)
    expect(page.get_by_role("heading")).to_have_text("Hello joe")


def test_a_token(new_page: Callable[..., Page]) -> None:
    """Where a token logs in the form asks for it, and says if it is wrong."""
    page = new_page()
    page.goto("/word?q")
    for token, seen in (("bad", ENGLISH["wrong-token"]), ("good", None)):
        page.get_by_label(ENGLISH["token"]).fill(token)
        page.keyboard.press("Enter")
        if seen is not None:
            expect(page.get_by_role("alert")).to_have_text(seen)
    expect(page.get_by_role("heading")).to_have_text("Hello bearer")


@pytest.fixture
def other_site(server: Process) -> Iterator[str]:
    """A site of another host whose page sends the login form and the logout of ours by itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/send")
            body = (
                "<!doctype html><title>Evil</title><body>"
                f'<img src="http://{LOOPBACK}:{server.port}/staff/;o"><form method="post" '
                f'action="http://{LOOPBACK}:{server.port}{path}"><input name="username" value="joe">'
                '<input name="password" value="joe-pw"></form><button onclick="document.forms[0].submit()">Go</button>'
            ).encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://localhost:{site.server_port}"
        site.shutdown()
        thread.join()


def test_a_form_of_another_site(new_page: Callable[..., Page], other_site: str) -> None:
    """Another site logs nobody in, though the form's cookie is there, and nobody out."""
    page = new_page()
    page.goto("/staff")
    page.goto(f"{other_site}/send/staff/;l")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading")).to_have_text(ENGLISH["forbidden-title"])
    page.goto("/staff")
    sign_in(page)
    expect(page.get_by_role("heading")).to_have_text("Hello joe")
    page.goto(f"{other_site}/send/staff/;o")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading")).to_have_text(ENGLISH["forbidden-title"])
    page.goto("/staff")
    expect(page.get_by_role("heading")).to_have_text("Hello joe")


def test_not_in_a_frame(new_page: Callable[..., Page]) -> None:
    """No site shows the login page in a frame of its own."""
    page = new_page()
    page.goto("/public")
    shown = page.evaluate(
        """() => new Promise((resolve) => {
            const frame = document.createElement("iframe");
            frame.onload = () => resolve(frame.contentDocument ? frame.contentDocument.body.innerText : "blocked");
            frame.src = "/staff";
            document.body.append(frame);
        })"""
    )
    assert ENGLISH["user-name"] not in shown


@pytest.mark.parametrize(
    ("scheme", "size", "locale"),
    [("light", PHONE, "en"), ("dark", PHONE, "de"), ("light", DESK, "de"), ("dark", DESK, "en")],
    ids=["light-phone", "dark-phone", "light-desk", "dark-desk"],
)
def test_accessibility(new_page: Callable[..., Page], scheme: str, size: dict[str, int], locale: str) -> None:
    """axe-core finds nothing on any page, light and dark, in a small window and a large one; none scrolls sideways."""
    texts = shipped_texts()[locale]
    page = new_page(color_scheme=scheme, viewport=size, locale=locale, bypass_csp=True)

    def check() -> None:
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run(document, { resultTypes: ['violations', 'incomplete'] })")
        assert found["violations"] == []
        assert [each["id"] for each in found["incomplete"]] == []
        assert len(found["passes"]) > 10
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        for each in page.locator("input:visible").all():
            assert _contrast(each.evaluate(_BORDER)) >= 3

    def press() -> None:
        page.locator("button").click()

    page.goto("/staff")
    check()
    page.locator("#username").fill("a very long name without any place to break it " * 3)
    page.locator("#password").fill("wrong")
    press()
    expect(page.get_by_role("alert")).to_have_text(texts["wrong-password"])
    check()
    page.locator("#username").fill("ann")
    page.locator("#password").fill("ann-pw")
    press()
    page.goto("/only")
    expect(page.get_by_role("heading")).to_have_text(texts["forbidden-title"])
    check()
    page.goto("/staff/;o")
    check()
    press()
    expect(page.get_by_role("heading")).to_have_text(texts["signed-out-title"])
    check()
    page.goto("/word")
    check()


_BORDER = """(each) => [getComputedStyle(each).borderTopColor, getComputedStyle(document.body).backgroundColor]
    .map((color) => color.match(/[0-9]+/g).slice(0, 3).map(Number))"""


def _contrast(colors: list[list[int]]) -> float:
    from asgi_gateway.endpoints.page_colors import contrast

    one, other = ("#" + "".join(f"{part:02x}" for part in color) for color in colors)
    return contrast(one, other)


@pytest.mark.parametrize("kind", ["uvicorn-root", "hypercorn", "granian", "daphne"])
def test_other_servers(tmp_path: Path, kind: str) -> None:
    """The form logs in under every server, below a root path too, with the query kept."""
    name, _, rooted = kind.partition("-")
    options = ("--root-path", "/app") if rooted else ()
    prefix = "/app" if rooted else ""  # as a proxy would take it off
    with serve("login_page_app:app", name, log=tmp_path / "log", options=options) as process:
        origin = f"http://{LOOPBACK}:{process.port}"
        with httpx.Client(base_url=origin, headers={"Accept": "text/html", "Origin": origin}) as client:
            page = client.get("/staff/caf%C3%A9/?x=%2F&y")
            assert page.status_code == 401
            (action,) = re.findall(r'action="([^"]+)"', page.text)
            (state,) = re.findall(r'name="state" value="([^"]+)"', page.text)
            assert action == f"{prefix}/staff/caf%C3%A9/;l"
            fields = {"state": state, "username": "joe", "password": "joe-pw"}
            sent = client.post(action.removeprefix(prefix), data=fields)
            assert (sent.status_code, sent.headers["location"]) == (303, f"{prefix}/staff/caf%C3%A9/?x=%2F&y")
            assert client.get("/staff/caf%C3%A9/").status_code == 200
            large = client.post(action.removeprefix(prefix), data=fields | {"password": "x" * 70_000})
            assert large.status_code == 413
