"""The README's example, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asgi_gateway.cli import main
from asgi_gateway.cli.main import parser
from asgi_gateway.middleware import GatewayMiddleware
from tests.asgi import get

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's two files in it."""
    gateway, users = blocks("yaml")
    (tmp_path / "gateway.yaml").write_text(gateway)
    (tmp_path / "users.yaml").write_text(users)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.anyio
async def test_example_works(directory: Path) -> None:
    """The README's application challenges, lets joe in with his role, and refuses what no service accepts."""
    namespace: dict[str, object] = {}
    exec(compile(blocks("python")[0], "README.md", "exec"), namespace)
    app = namespace["app"]
    assert isinstance(app, GatewayMiddleware)
    assert (await get(app, "/chat")).status == 401
    answer = await get(app, "/chat", basic=("joe", "welcome"))
    assert (answer.status, answer.body) == (200, b"Hello joe, you hold ['AUTHORIZED']\n")
    assert (await get(app, "/elsewhere", basic=("joe", "welcome"))).status == 403
    await app.gateway.close()


def test_commands_are_commands(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command line of the README can be parsed, and its check finds nothing wrong."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        parser().parse_args(line.split()[1:])
    assert main(["check", "gateway.yaml"]) == 0
    assert capsys.readouterr().err == ""


def test_links_and_length() -> None:
    """Every file that the README links to is there, and it stays under 120 lines."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert len(README.splitlines()) < 120
