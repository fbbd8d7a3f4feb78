"""Messages use the words of CONTRIBUTING.md: none of the phrases that its word list rules out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
RULED_OUT = [phrase for _, _, column in ROWS for phrase in re.findall(r'"([^"]+)"', column) if "…" not in phrase]
SOURCES = sorted((ROOT / "asgi_gateway").rglob("*.py"))


def messages(source: str) -> Iterator[tuple[int, str]]:
    """The texts of a source with their lines: all string constants but docstrings and attribute docstrings."""
    tree = ast.parse(source)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.lineno, node.value


def ruled_out(source: str) -> list[tuple[int, str]]:
    """The phrases in a source's texts that the word list rules out."""
    return [(line, phrase) for line, text in messages(source) for phrase in RULED_OUT if phrase in text.lower()]


def test_the_list_has_phrases() -> None:
    """The word list rules some phrases out, and each row says what to use in their place."""
    assert {"cannot be told", "cannot be had", "there is no such", "makes no sense"} <= set(RULED_OUT)
    assert all(use.strip() for _, use, _ in ROWS)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_messages_use_the_list(file: Path) -> None:
    """No text of a module holds a phrase that the word list rules out."""
    assert ruled_out(file.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise ValueError("the argument makes no sense")', [(1, "makes no sense")]),
        ('x = 1\nraise ValueError(f"whether {x} cannot be told: {x}")', [(2, "cannot be told")]),
        ('def f():\n    """There is no such thing."""\n    return "There is no such thing"', [(3, "there is no such")]),
        ('"""Cannot be had."""\n# cannot be had\nx = "cannot fetch"\n"""Makes no sense."""', []),
    ],
)
def test_what_is_looked_at(source: str, found: list[tuple[int, str]]) -> None:
    """Texts are looked at, f-strings too; docstrings and comments are not."""
    assert ruled_out(source) == found
