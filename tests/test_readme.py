"""The README: its examples run as they stand, its first lines say what the project is, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asgi_gateway import GatewayMiddleware
from asgi_gateway.cli import main
from asgi_gateway.cli.main import parser
from tests.asgi import get, started

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """The README's command lines."""
    return [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's three files in it."""
    gateway, users, _ = blocks("yaml")
    (tmp_path / "gateway.yaml").write_text(gateway)
    (tmp_path / "users.yaml").write_text(users)
    application, _ = blocks("python")
    (tmp_path / "main.py").write_text(application)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def app(directory: Path) -> Any:
    """The README's application."""
    module = ModuleType("main")
    exec(compile((directory / "main.py").read_text(), "main.py", "exec"), module.__dict__)
    return module.__dict__["app"]


@pytest.mark.anyio
async def test_example_works(app: Any) -> None:
    """The application challenges, lets joe in with his role, serves its public pages, and refuses all other paths."""
    async with started(app):
        challenge = await get(app, "/chat")
        assert challenge.status == 401
        assert challenge.header("www-authenticate")[0].startswith('Basic realm="demo"')
        answer = await get(app, "/chat", basic=("joe", "welcome"))
        assert (answer.status, answer.body) == (200, b'{"user":"joe","roles":["AUTHORIZED"]}')
        assert (await get(app, "/chat", basic=("joe", "Welcome"))).status == 401
        assert (await get(app, "/openapi.json")).status == 200
        assert (await get(app, "/elsewhere", basic=("joe", "welcome"))).status == 403


@pytest.mark.anyio
async def test_the_gateway_is_outermost(app: Any) -> None:
    """A middleware that was added before the gateway sees no request that the gateway refuses."""
    seen: list[str] = []

    class Earlier:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                seen.append(scope["path"])
            await self.app(scope, receive, send)

    app.user_middleware.append(type(app.user_middleware[0])(Earlier))  # as add_middleware(Earlier) one line above
    async with started(app):
        for path in ("/chat", "/elsewhere", "/CHAT"):
            assert (await get(app, path)).status in (401, 403)
        assert seen == []
        assert (await get(app, "/docs")).status == 200
        assert seen == ["/docs"]


@pytest.mark.anyio
async def test_other_applications_are_wrapped(directory: Path) -> None:
    """The example for other frameworks works as it stands: ``app`` is wrapped, ``api`` is not."""
    _, example = blocks("python")
    entered: list[str] = []

    async def api(scope: Any, receive: Any, send: Any) -> None:
        entered.append(scope["user"].display_name)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    names: dict[str, Any] = {"GatewayMiddleware": GatewayMiddleware, "get_asgi_application": lambda: api}
    exec(compile(example, "README.md", "exec"), names)
    assert (await get(names["app"], "/chat")).status == 401
    assert (await get(names["app"], "/chat", basic=("joe", "welcome"))).status == 204
    assert entered == ["joe"]
    await names["app"].gateway.close()


@pytest.mark.usefixtures("directory")
def test_commands_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command line of the gateway's can be parsed, and its check finds nothing wrong."""
    own = [line for line in commands() if line.startswith("asgi-gateway ")]
    assert [parser().parse_args(line.split()[1:]).command for line in own] == ["check", "explain"]
    assert main(["check", "gateway.yaml"]) == 0
    assert capsys.readouterr().err == ""


def test_run_is_given_an_application_that_is_not_wrapped() -> None:
    """The example of ``run`` serves ``api``, which is not wrapped, and not the ``app`` of the examples above."""
    (run,) = re.findall(r"`asgi-gateway (run [^`]+)`", README)
    assert parser().parse_args(run.split()).app == "myproject.asgi:api"


@pytest.mark.usefixtures("directory")
def test_back_ends_are_services_of_the_same_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of back ends stands for the services of the first file, and its check finds nothing wrong."""
    gateway, _, services = blocks("yaml")
    (directory / "gateway.yaml").write_text(gateway.partition("services:")[0] + services)
    assert main(["check", "gateway.yaml"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "localhost:8000" in printed.out
    assert "http://127.0.0.1:9080" in printed.out
    assert "tcp://127.0.0.1:61613" in printed.out


def test_first_lines_tell_what_it_is() -> None:
    """The first paragraph needs no word of KAAZING's or JAAS's; who it is for, and for whom not, follow the example."""
    before, _, after = README.partition("## In five minutes")
    assert "FastAPI" in before.split("\n\n")[1]
    assert not re.search(r"KAAZING|JAAS|realm|challenge", before)
    assert before.index("add_middleware") < before.index("**For you**") < before.index("**Not for you**")
    assert "KAAZING" in after
    assert "JAAS" in after


def test_links_and_length() -> None:
    """Every file that the README links to is there, and it stays under 120 lines."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert len(README.splitlines()) < 120
