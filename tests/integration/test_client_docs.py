"""The examples of the documents for client developers, run as they stand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import serve

DOCS = Path(__file__).parents[2] / "docs" / "how-to"


def blocks(file: str, language: str) -> list[str]:
    """A document's code blocks of one language."""
    return re.findall(rf"^```{language}\b[^\n]*\n(.*?)^```$", (DOCS / file).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("browser_app:app", log=tmp_path_factory.mktemp("pages") / "log") as process:
        yield process


def test_python(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example in Python runs, one after the other, against the reference application."""
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve("example_app.app:app", log=tmp_path / "log") as server:
        at = f"{LOOPBACK}:{server.port}"
        names: dict[str, Any] = {"URL": f"http://{at}", "WS_URL": f"ws://{at}", "__name__": "docs"}
        for block in blocks("client-python.md", "python"):
            exec(compile(block, "docs/how-to/client-python.md", "exec"), names)
        asyncio.run(names["talk"]())
    printed = capsys.readouterr().out
    assert '"user":"joe"' in printed
    assert printed.count("joe: hello") == 2


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (0, "hello"),
        (1, "200"),
        (2, "200 200"),
        (3, "open"),
        (4, "1"),
        (5, "outcome undefined undefined undefined 101"),
    ],
    ids=["dialog", "fetch", "asked once", "token", "places", "exchange"],
)
def test_javascript(browser: Browser, pages: Process, number: int, printed: str) -> None:
    """Every example in JavaScript runs in a page, with the test users' names in place of the documents'."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(f"http://{LOOPBACK}:{pages.port}/")
    example = blocks("client-javascript.md", "js")[number].replace('"joe", "welcome"', '"alice", "wonderland"')
    with page.expect_console_message(lambda message: message.text == printed):
        page.add_script_tag(content=example, type="module")
        if "loginDialog()" in example and "lookup" not in example:
            expect(page.get_by_role("dialog")).to_be_visible()
            page.get_by_label("User name").fill("alice")
            page.get_by_label("Password").fill("wonderland")
            page.keyboard.press("Enter")
    context.close()


def test_every_javascript_example_is_run() -> None:
    """The list above names each example of the document."""
    assert len(blocks("client-javascript.md", "js")) == 6
