"""The browser client in Chromium."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import serve

HELPERS = """() => {
window.steps = [];
window.asked = [];
window.thinks = 0;
window.giving = (...passwords) => new client.BasicChallengeHandler(async (request) => {
  asked.push(request);
  await new Promise((resolve) => setTimeout(resolve, thinks));
  const password = passwords.shift();
  return password === undefined ? null : new client.PasswordAuthentication("alice", password);
});
window.open = (path, challengeHandler, options = {}) => client.connect(path, {
  challengeHandler, onExchange: (step) => steps.push(step), ...options,
});
window.settled = (socket) => new Promise((resolve) => {
  const seen = [];
  socket.onopen = () => { seen.push("open"); resolve({ socket, seen }); };
  socket.onerror = () => seen.push("error");
  socket.onclose = ({ code, reason }) => { seen.push("close"); resolve({ socket, seen, code, reason }); };
});
window.heard = (socket, message) => new Promise((resolve) => {
  socket.onmessage = ({ data }) => resolve(data);
  socket.send(message);
});
}"""


ASK = "void (window.result = settled(open('/echo', new client.BasicChallengeHandler(client.loginDialog()))))"
"""Open a socket whose login the dialog asks for; its outcome is awaited later."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("browser_app:app", log=tmp_path_factory.mktemp("browser") / "log") as process:
        yield process


def visit(browser: Browser, server: Process, host: str = LOOPBACK) -> Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(10_000)
    page.goto(f"http://{host}:{server.port}/")
    page.wait_for_function("window.client")
    page.evaluate(HELPERS)
    return page


@pytest.fixture
def page(browser: Browser, server: Process) -> Iterator[Page]:
    page = visit(browser, server)
    yield page
    page.context.close()


def run(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {script} }}")


def test_a_login_and_messages_untouched(page: Page) -> None:
    """A right password opens the socket; text and binary pass as they are, and nothing of the login shows."""
    result = run(
        page,
        """
        const { socket, seen } = await settled(open("/echo?a=1", giving("wonderland"), { protocols: ["chat", "x"] }));
        const answers = [await heard(socket, "who"), await heard(socket, "tschüß")];
        const blob = await heard(socket, new Uint8Array([0, 255]));
        socket.binaryType = "arraybuffer";
        const buffer = await heard(socket, new Uint8Array([1, 2]));
        const state = [socket.readyState, socket.protocol, socket.url, socket.bufferedAmount];
        const closed = new Promise((resolve) => { socket.onclose = (event) => resolve([event.code, event.wasClean]); });
        socket.close(1000);
        const binary = [blob instanceof Blob, [...new Uint8Array(buffer)]];
        return { seen, answers, state, binary, closed: await closed };
        """,
    )
    assert result["seen"] == ["open"]
    assert result["answers"] == ["alice", "tschüß"]
    assert result["binary"] == [True, [1, 2]]
    assert result["state"][:2] == [1, "chat"]
    assert result["state"][2].endswith("/echo?a=1")
    assert result["closed"] == [1000, True]


def test_wrong_passwords(page: Page) -> None:
    """A wrong password may be followed by a right one; when answers or attempts end, the socket closes with 4401."""
    assert run(page, """return (await settled(open("/echo", giving("a", "wonderland")))).seen""") == ["open"]
    for handler in ("giving('a')", "giving('a', 'b', 'c', 'wonderland')", "giving('same', 'same', 'wonderland')"):
        result = run(page, f"const {{ seen, code }} = await settled(open('/echo', {handler})); return [seen, code]")
        assert result == [["error", "close"], 4401]


def test_what_happens_is_told_without_secrets(page: Page) -> None:
    """The page can follow challenge, handler and outcome; no password is among them."""
    steps = run(page, """await settled(open("/echo", giving("canary", "wonderland"))); return steps""")
    assert [step["step"] for step in steps] == ["challenge", "answer", "challenge", "answer", "outcome"]
    assert steps[0] == {"step": "challenge", "scheme": "basic", "realm": "demo", "handler": "BasicChallengeHandler"}
    assert steps[-1] == {"step": "outcome", "status": 101}
    assert "canary" not in str(steps)


def test_missing_role(browser: Browser, page: Page) -> None:
    """A refusal inside the socket closes it with the status."""
    script = """
    const handler = new client.BasicChallengeHandler(() => ({ username: "bob", password: "builder" }));
    return (await settled(open("/admin", handler))).code"""
    assert run(page, script) == 4403


def test_token(page: Page) -> None:
    """A token made from the challenge's data opens the socket; a refused one closes it with 4403."""
    script = """
    const handler = new client.TokenChallengeHandler(async ({ parameters }) => %s);
    const { socket, code } = await settled(open("/token", handler));
    return code ?? await heard(socket, "who")"""
    assert run(page, script % '[...parameters.nonce].reverse().join("")') == "mirror"
    assert run(page, script % "'stolen'") == 4403
    assert run(page, script % "null") == 4401


def test_two_factors(page: Page) -> None:
    """Several realms are answered in turn inside the socket."""
    script = """
    const realms = [];
    const handler = new client.BasicChallengeHandler(({ realm }) => {
      realms.push(realm);
      return new client.PasswordAuthentication("alice", "wonderland");
    });
    const { seen } = await settled(open("/both", handler));
    return [seen, realms]"""
    assert run(page, script) == [["open"], ["demo", "second"]]


def test_sending_before_the_login_is_an_error(page: Page) -> None:
    """As with a WebSocket that is not open yet."""
    script = """
    const socket = open("/echo", giving("wonderland"));
    try { socket.send("x"); } catch (error) { return [error.name, socket.readyState]; }"""
    assert run(page, script) == ["InvalidStateError", 0]


def test_a_page_of_another_origin_is_refused(browser: Browser, server: Process) -> None:
    """A page of another origin does not get a socket, and its login handler is never asked."""
    page = visit(browser, server, "localhost")
    script = f"""
    let asked = false;
    const handler = new client.BasicChallengeHandler(() => {{ asked = true; return null; }});
    const {{ seen, code }} = await settled(open("ws://{LOOPBACK}:{server.port}/echo", handler));
    return [seen, code, asked]"""
    assert run(page, script) == [["error", "close"], 1006, False]
    page.context.close()


def test_the_server_goes_away(browser: Browser, tmp_path: Any) -> None:
    """A server that dies during the login closes the socket, and the dialog with it."""
    with serve("browser_app:app", log=tmp_path / "log") as process:
        page = visit(browser, process)
        page.evaluate(ASK)
        expect(page.get_by_role("dialog")).to_be_visible()
        process.popen.kill()
        result = page.evaluate("async () => { const { seen, code } = await window.result; return [seen, code] }")
        assert result == [["error", "close"], 1006]
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.context.close()


@pytest.mark.timing
def test_the_timer_stands_still_while_the_handler_is_asked(page: Page) -> None:
    """A login handler that takes longer than the timeout does not time out; a server that says nothing does."""
    script = """
    let release;
    const slow = new Promise((resolve) => { release = resolve; });
    const handler = new client.BasicChallengeHandler(async () => {
      setTimeout(release, 400);
      await slow;
      return new client.PasswordAuthentication("alice", "wonderland");
    });
    return (await settled(open("/echo", handler, { connectTimeout: 300 }))).seen"""
    assert run(page, script) == ["open"]
    assert run(page, "return (await settled(open('/echo', giving('x'), { connectTimeout: 0 }))).code") in (4408, 4401)


def test_fetch(page: Page) -> None:
    """fetch answers a 401 with the same handlers and sends the body again; without an answer the 401 comes out."""
    script = """
    const response = await client.fetch("/api", { method: "POST", body: "hello", challengeHandler: %s });
    return [response.status, await response.text()]"""
    assert run(page, script % "giving('wrong', 'wonderland')") == [200, "alice:hello"]
    assert run(page, script % "giving()")[0] == 401
    assert run(page, script % "giving('a', 'b', 'c', 'wonderland')")[0] == 401


def test_fetch_remembers(page: Page) -> None:
    """Accepted credentials go with later requests, in every folder of the realm, until they are forgotten."""
    script = """
    const challengeHandler = giving(...Array(9).fill("wonderland"));
    const get = async (path, options = {}) => (await client.fetch(path, { challengeHandler, ...options })).status;
    const statuses = [await get("/api"), await get("/api"), await get("/api/deeper/x")];
    const first = asked.length;
    client.forgetCredentials(challengeHandler);
    statuses.push(await get("/api"));
    const second = asked.length;
    statuses.push(await get("/api", { remember: false }), await get("/api", { remember: false }));
    return [statuses, first, second, asked.length]"""
    assert run(page, script) == [[200, 200, 404, 200, 200, 200], 1, 2, 4]


def test_credentials_that_were_remembered_and_are_refused(page: Page) -> None:
    """They are forgotten and the person is asked, as for a first attempt; a 401 without an answer comes out."""
    script = """
    const challengeHandler = giving("wonderland", "b", "c");
    await client.fetch("/api", { challengeHandler });
    const refuse = { headers: { Authorization: "Basic x" } };
    const realFetch = window.fetch;
    window.fetch = (request) => realFetch(new Request(request, request.headers.has("Authorization") ? refuse : {}));
    const { status } = await client.fetch("/api", { challengeHandler });
    window.fetch = realFetch;
    return [status, asked.map(({ attempt }) => attempt)]"""
    assert run(page, script) == [401, [1, 1, 2, 3]]


@pytest.mark.parametrize(
    "passwords", [["wonderland"], ["wrong", "wonderland"], []], ids=["right", "wrong first", "none"]
)
def test_twenty_requests_ask_once(page: Page, passwords: list[str]) -> None:
    """Requests and sockets that are challenged at once ask one question, and end as it ends."""
    script = f"""
    window.thinks = 1500; // a browser sends six requests at a time
    const challengeHandler = giving(...{passwords});
    const times = (count, make) => Array.from({{ length: count }}, (_, index) => make(index));
    const requests = times(20, (index) => client.fetch(`/api?${{index}}`, {{ challengeHandler }}));
    const sockets = times(5, (index) => settled(open(`/echo?${{index}}`, challengeHandler)));
    const statuses = new Set((await Promise.all(requests)).map((response) => response.status));
    const ends = new Set((await Promise.all(sockets)).map(({{ seen, code }}) => code ?? seen.join()));
    return [[...statuses], [...ends], asked.map(({{ attempt }}) => attempt)]"""
    attempts = [1, 2] if len(passwords) == 2 else [1]
    assert run(page, script) == [[200 if passwords else 401], ["open" if passwords else 4401], attempts]


def test_what_cannot_be_shared_is_asked_for_each(page: Page) -> None:
    """With tokens, several factors, ``remember: false`` or other handlers each asks for itself, and none waits."""
    script = """
    let tokens = 0;
    const token = new client.TokenChallengeHandler(async ({ parameters }) => {
      tokens += 1;
      return [...parameters.nonce].reverse().join("");
    });
    const all = async (path, handlers, options) => (await Promise.all(
      handlers.map((handler) => settled(open(path, handler, options))))).map(({ seen }) => seen.join());
    const both = giving(...Array(6).fill("wonderland"));
    const single = giving("wonderland", "wonderland");
    return [
      await all("/token", [token, token, token]), tokens,
      await all("/both", [both, both, both]), asked.splice(0).length,
      await all("/echo", [single, single], { remember: false }), asked.splice(0).length,
      await all("/echo", [giving("wonderland"), giving("wonderland")]), asked.splice(0).length,
    ]"""
    assert run(page, script) == [["open"] * 3, 3, ["open"] * 3, 6, ["open"] * 2, 2, ["open"] * 2, 2]


def test_an_aborted_leader_leaves_the_question_to_the_next(page: Page) -> None:
    """If the request that asks is aborted, its dialog closes and the next one asks; the abort comes out as an error."""
    page.evaluate(
        """() => {
        const challengeHandler = new client.BasicChallengeHandler(client.loginDialog());
        window.leader = new AbortController();
        const first = client.fetch("/api?1", { challengeHandler, signal: leader.signal });
        const second = first.catch(() => {}) && client.fetch("/api?2", { challengeHandler });
        window.result = Promise.allSettled([first, second]).then(
          ([one, two]) => [one.reason?.name, two.value?.status]);
        }"""
    )
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    first = dialog.get_attribute("aria-labelledby")
    page.evaluate("leader.abort()")
    expect(dialog).not_to_have_attribute("aria-labelledby", first or "")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("wonderland")
    page.keyboard.press("Enter")
    assert page.evaluate("async () => await window.result") == ["AbortError", 200]


def test_handlers_of_different_places_do_not_share(page: Page) -> None:
    """A dispatch handler's choice decides whose credentials are sent where, also when they are remembered."""
    script = """
    const dispatch = new client.DispatchChallengeHandler();
    const counts = { api: 0, echo: 0 };
    for (const [place, password] of [["api", "wonderland"], ["echo", "wonderland"]]) {
      dispatch.register(`*:*/${place}`, new client.BasicChallengeHandler(() => {
        counts[place] += 1;
        return new client.PasswordAuthentication("alice", password);
      }));
    }
    for (let round = 0; round < 2; round += 1) {
      await client.fetch("/api", { challengeHandler: dispatch, remember: true });
      client.forgetCredentials(new client.ChallengeHandler());
    }
    const request = (path) => new client.ChallengeRequest(location.origin + path, "Basic realm=a");
    const [one, two] = ["/api", "/echo"].map((path) => dispatch.answeringHandler(request(path)));
    return [counts, one !== two, one instanceof client.BasicChallengeHandler]"""
    assert run(page, script) == [{"api": 1, "echo": 0}, True, True]


@pytest.mark.parametrize(
    "malformed", ["Bearer resource_metadata=https://a.example/x", "Digest a=1, a=2", "Own {}", 'Own a={, b="c, d"']
)
def test_a_malformed_challenge_does_not_hide_a_good_one(page: Page, malformed: str) -> None:
    """A good challenge beside a malformed one is answered, before or after it, though the browser joins the lines."""
    lines = [f"{malformed}, Basic realm=x", f"Basic realm=x, {malformed}"]

    def answer(route: Route) -> None:
        if "authorization" in route.request.headers:
            route.fulfill(status=200, body="in")
        else:
            route.fulfill(status=401, headers={"www-authenticate": lines[int(route.request.url[-1])]})

    page.route("**/made-up/*", answer)
    script = "return (await client.fetch('/made-up/%d', { challengeHandler: giving('wonderland') })).status"
    assert [run(page, script % number) for number in range(2)] == [200, 200]


def test_credentials_in_a_socket_url(page: Page, server: Process) -> None:
    """They go with the first request inside the socket; wrong ones leave the handler to be asked."""
    script = f"""
    const url = (pair) => `ws://${{pair}}@{LOOPBACK}:{server.port}/echo`;
    const right = open(url("alice:wonderland"), giving());
    const wrong = open(url("alice:w%20rong"), giving("wonderland"));
    const [one, two] = [await settled(right), await settled(wrong)];
    return [one.seen, two.seen, asked.map(({{ location }}) => location), right.url]"""
    address = f"{LOOPBACK}:{server.port}/echo"
    assert run(page, script) == [["open"], ["open"], [f"ws://alice:w%20rong@{address}"], f"ws://{address}"]


class Origin:
    """A server of another origin that answers pages of any, and keeps the headers of what is not a preflight."""

    def __init__(self, reply: Callable[[Message], tuple[int, dict[str, str]]]) -> None:
        origin = self
        self.seen: list[Message] = []

        class Handler(BaseHTTPRequestHandler):
            def do_OPTIONS(self) -> None:
                self.answer(204, {"Access-Control-Allow-Headers": "authorization"})

            def do_GET(self) -> None:
                origin.seen.append(self.headers)
                self.answer(*reply(self.headers))

            def answer(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                cors = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "WWW-Authenticate"}
                for name, value in {**headers, **cors, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Origin:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_nothing_of_a_login_follows_a_redirect(page: Page) -> None:
    """Neither asked nor remembered credentials reach another origin, and its 401 is not answered."""
    challenge = {"WWW-Authenticate": "Basic realm=x", "Sec-Challenge-Identity": "opaque"}

    def front(headers: Message) -> tuple[int, dict[str, str]]:
        return (302, {"Location": elsewhere.url}) if "authorization" in headers else (401, challenge)

    with Origin(lambda headers: (401, challenge)) as elsewhere, Origin(front) as server:
        script = f"""
        const challengeHandler = giving("wonderland", "wonderland");
        const get = async () => (await client.fetch("{server.url}", {{ challengeHandler }})).status;
        return [await get(), await get(), asked.length]"""
        assert run(page, script) == [401, 401, 2]
    assert ["authorization" in headers for headers in server.seen] == [False, True, False, True]
    assert len(elsewhere.seen) == 2
    for headers in elsewhere.seen:
        assert "authorization" not in headers
        assert "sec-challenge-identity" not in headers


def test_a_refusal_in_words(page: Page) -> None:
    """Each code of a refusal has words for people, which the page can replace; an application's reason goes first."""
    script = """
    const bob = new client.BasicChallengeHandler(() => ({ username: "bob", password: "builder" }));
    const refused = await settled(open("/admin", bob));
    const codes = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4400, 4401, 4403, 4404, 4408, 4503];
    return [
      refused.reason, codes.map((code) => client.describeClose({ code })), client.describeClose({ code: 4999 }),
      client.describeClose({ code: 1008, reason: "session expired" }),
      client.describeClose({ code: 4401 }, { 4401: "Nein." }),
    ]"""
    reason, texts, unknown, given, replaced = run(page, script)
    assert reason == "You may not use this service."
    assert all(text.endswith(".") and not any(character.isdigit() for character in text) for text in texts)
    assert (unknown, given, replaced) == ("Closed (4999).", "session expired", "Nein.")


CONTRAST = """(element) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (color) => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); };
  const luminance = () => {
    const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((byte) => byte / 255);
    const [red, green, blue] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = [];
  for (let each = element.parentElement; each; each = each.parentElement) {
    behind.unshift(getComputedStyle(each).backgroundColor);
  }
  const beside = () => { paint("Canvas"); behind.forEach(paint); };
  canvas.canvas.style.colorScheme = "light dark";
  document.body.append(canvas.canvas);
  const style = getComputedStyle(element);
  const sides = [];
  for (const color of [style.borderTopColor, style.backgroundColor]) {
    beside();
    const background = luminance();
    paint(color);
    const [dark, light] = [background, luminance()].sort((one, two) => one - two);
    sides.push((light + 0.05) / (dark + 0.05));
  }
  canvas.canvas.remove();
  return Math.max(...sides);
}"""
"""WCAG 2's contrast of an element's border, or of its own background, with what is beside it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_can_be_seen(browser: Browser, server: Process, scheme: Literal["light", "dark"]) -> None:
    """The fields' and buttons' borders have a contrast of 3:1 at least (WCAG 2.2, 1.4.11)."""
    page = visit(browser, server)
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.documentElement.style.colorScheme = 'light dark'")
    page.evaluate(ASK)
    for element in [*page.locator("dialog input, dialog button").all(), page.get_by_role("dialog")]:
        assert element.evaluate(CONTRAST) >= 3
    page.context.close()


def test_the_dialog(page: Page) -> None:
    """The dialog is named, takes the focus, says when the password was wrong, and logs in."""
    page.evaluate(ASK)
    dialog = page.get_by_role("dialog", name="Log in")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("demo")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The user name or the password was wrong.")
    expect(page.get_by_label("User name")).to_have_value("alice")
    expect(page.get_by_label("Password")).to_be_focused()
    expect(page.get_by_label("Password")).to_have_value("")
    page.keyboard.type("wonderland")
    page.get_by_role("button", name="Log in").click()
    expect(dialog).to_have_count(0)
    assert page.evaluate("async () => (await window.result).seen") == ["open"]


@pytest.mark.parametrize("name", ["alice", "ä b", "<b>", "x" * 300])
def test_the_name_stays_after_a_wrong_password_and_no_longer(page: Page, name: str) -> None:
    """Any name stays, corrected or not, until the login ends; the next login begins with an empty one."""
    page.evaluate("window.handler = new client.BasicChallengeHandler(client.loginDialog())")
    page.evaluate("void (window.result = settled(open('/echo', handler)))")
    page.get_by_label("User name").fill(name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    expect(page.get_by_label("User name")).to_have_value(name)
    page.get_by_label("User name").fill(f"{name}2")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Password")).to_be_focused()
    expect(page.get_by_label("User name")).to_have_value(f"{name}2")
    page.keyboard.press("Escape")
    assert page.evaluate("async () => (await window.result).code") == 4401
    page.evaluate("void settled(open('/echo', handler))")
    expect(page.get_by_label("User name")).to_have_value("")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.press("Escape")


@pytest.mark.parametrize("leave", ["Escape", "Cancel"])
def test_the_dialog_can_be_left(page: Page, leave: str) -> None:
    """Escape and the button end the attempt; the socket closes with 4401."""
    page.evaluate(ASK)
    expect(page.get_by_role("dialog")).to_be_visible()
    if leave == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("async () => (await window.result).code") == 4401


def test_closing_the_socket_closes_the_dialog(page: Page) -> None:
    """An application that gives the socket up need not wait for the person."""
    page.evaluate("void (window.s = open('/echo', new client.BasicChallengeHandler(client.loginDialog())))")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate("s.close()")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_dialog_can_be_styled_and_translated(page: Page) -> None:
    """Any rule of the page overrides the dialog's own, and its words can be replaced."""
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('style'), "
        "{ textContent: 'dialog { padding: 77px }' }))"
    )
    page.evaluate(
        "void open('/echo', new client.BasicChallengeHandler(client.loginDialog({texts: {title: 'Anmelden'}})))"
    )
    dialog = page.get_by_role("dialog", name="Anmelden")
    expect(dialog).to_be_visible()
    assert dialog.evaluate("element => getComputedStyle(element).padding") == "77px"


def test_challenges_are_read_as_in_python(page: Page) -> None:
    """The module's parser reads and refuses what the Python one does."""
    from asgi_gateway.errors import HeaderError
    from asgi_gateway.http.www_authenticate import parse_challenges

    lines = [
        'Basic realm="a, b", Negotiate',
        "Negotiate YII=, Basic realm=x",
        'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
        'Application Token d1 d2== nonce="7"',
        "Application Token YQ== x",
        "Application, Application Basic, Application",
        ', ,Basic realm = "x" , ,',
        "",
        "Basic {",
        'Basic realm="open',
        "Basic a=1, A=2",
        "=x",
        "Token a, YWJj==",
        ", ".join(["Basic"] * 32),
        ", ".join(["Basic"] * 33),
        'Bearer a=https://x, Basic realm="y"',
        "Basic\ta=b",
        "Application=x",
    ]
    good = [", ", ", ", " ", "Basic", "Application ", "Token ", "YII=", "a=b", 'realm="a, b"', "realm = x", '"x\\"y"']
    pieces = [*good * 12, *'=,{\\"\t\x7fé']
    choose = random.Random(7)
    lines += ["".join(choose.choices(pieces, k=choose.randrange(1, 14))) for _ in range(5000)]
    script = """lines => lines.map((line) => { try {
        return client.parseChallenges(line).map((c) => [c.scheme, c.words, c.parameters, c.application]);
    } catch (error) { if (error instanceof SyntaxError) return "refused"; throw error; } })"""
    read = page.evaluate(script, lines)
    refused = 0
    for line, found in zip(lines, read, strict=True):
        try:
            expected: Any = [
                [c.scheme, list(c.words), dict(c.parameters), c.application] for c in parse_challenges([line])
            ]
        except HeaderError:
            expected, refused = "refused", refused + 1
        assert found == expected, line
    assert 1000 < refused < 4500


def test_locations_match_as_in_python(page: Page) -> None:
    """The module's dispatch handler matches what the Python one does."""
    from tests.client.test_dispatch import test_locations_that_do_not_match, test_locations_that_match

    tests: dict[bool, Any] = {True: test_locations_that_match, False: test_locations_that_do_not_match}
    marks = {expected: test.pytestmark[0].args[1] for expected, test in tests.items()}
    script = """([description, location]) => {
        const handler = new client.ChallengeHandler();
        return new client.DispatchChallengeHandler().register(description, handler).lookup(location).length === 1;
    }"""
    for expected, pairs in marks.items():
        for pair in pairs:
            assert page.evaluate(script, list(pair)) is expected, pair


def test_secrets_do_not_travel_in_the_clear(page: Page) -> None:
    """Without TLS only this machine is answered, unless it is allowed."""
    script = """() => ["https://a/", "ws://localhost:1/", "ws://127.0.0.2/", "http://[::1]/", "ws://a/", "http://10.0.0.1/"].map(
        (location) => giving().canHandle(new client.ChallengeRequest(location, "Basic realm=a")))"""
    assert page.evaluate(script) == [True, True, True, True, False, False]
