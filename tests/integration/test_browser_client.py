"""The browser client in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import serve

HELPERS = """() => {
window.steps = [];
window.giving = (...passwords) => new client.BasicChallengeHandler(() => {
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
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("wonderland")
    page.get_by_role("button", name="Log in").click()
    expect(dialog).to_have_count(0)
    assert page.evaluate("async () => (await window.result).seen") == ["open"]


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
    ]
    for line in lines:
        try:
            expected: Any = [
                [c.scheme, list(c.words), dict(c.parameters), c.application] for c in parse_challenges([line])
            ]
        except HeaderError:
            expected = "refused"
        script = """line => { try {
            return client.parseChallenges(line).map((c) => [c.scheme, c.words, c.parameters, c.application]);
        } catch (error) { if (error instanceof SyntaxError) return "refused"; throw error; } }"""
        assert page.evaluate(script, line) == expected, line


def test_locations_match_as_in_python(page: Page) -> None:
    """The module's dispatch handler matches what the Python one does."""
    from tests.client import test_dispatch

    marks = {
        True: test_dispatch.test_locations_that_match.pytestmark[0].args[1],
        False: test_dispatch.test_locations_that_do_not_match.pytestmark[0].args[1],
    }
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
