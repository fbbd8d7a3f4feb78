"""docs/architecture.md is true: its packages are the ones that lint-imports holds, its files and names exist."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LAYERS = [
    {name.strip() for name in layer.split("|")}
    for layer in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
]
NAMES = set().union(*LAYERS)
OLD = {"interfaces", "masking", "tokens", "values", "_moved"}


def section(title: str) -> str:
    """The text below a heading, up to the next one of its level."""
    return PAGE.split(f"\n## {title}\n")[1].partition("\n## ")[0]


def test_the_table_names_every_package() -> None:
    """Each layer of the import contract has its row in the table of packages, and nothing else has."""
    rows = re.findall(r"^\| (`[^|]*) \|", section("The packages"), re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert len(named) == len(set(named))
    assert set(named) == NAMES


def test_the_picture_shows_every_package() -> None:
    """Each layer of the import contract but the old names is a node of the picture."""
    picture = section("The packages").split("```mermaid")[1].partition("```")[0]
    lines = [line for line in picture.splitlines() if not re.match(r"\s*(subgraph\b|end$|flowchart)", line)]
    nodes = set(re.findall(r"\b\w+\b", re.sub(r"\[.*?\]", "", " ".join(lines))))
    assert nodes == NAMES - OLD


def test_arrows_point_downward() -> None:
    """Every arrow of the picture leads from a package to one in a lower layer."""
    picture = section("The packages").split("```mermaid")[1].partition("```")[0]
    depth = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    arrows = []
    for line in picture.splitlines():
        chain = re.sub(r"\[.*?\]", "", line).split("-->")
        arrows += [(upper.strip(), lower.strip()) for upper, lower in pairwise(chain)]
    assert len(arrows) > 20
    assert [arrow for arrow in arrows if depth[arrow[0]] >= depth[arrow[1]]] == []


def test_ten_questions_are_answered_by_one_file_each() -> None:
    """Each question has one file, which defines the name that answers it."""
    rows = re.findall(r"^\| ([^|]+\?) \| `([^|`]+)` \| `(\w+)` \| [^|]+ \|$", section("Where is what"), re.MULTILINE)
    assert len(rows) == 10
    for question, file, name in rows:
        text = (ROOT / file).read_text()
        assert re.search(rf"^ *(class|def|async def) {name}\b", text, re.MULTILINE), question


@pytest.mark.parametrize("title", ["Where is what", "Where to add what", "One request's way"])
def test_named_files_exist(title: str) -> None:
    """Every file and folder that the page names is there."""
    named = re.findall(r"`((?:asgi_gateway|docs|tests)/[^`]*)`", section(title))
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert title == "One request's way" or len(named) >= 10


@pytest.mark.parametrize("group", ["login module", "challenge scheme", "state store", "back end", "endpoint", "rule"])
def test_additions_have_their_place(group: str) -> None:
    """A reader who wants to add one of these finds a row for it."""
    assert re.search(rf"^\| an? {group}\b.* \| .*`asgi_gateway/.* \|", section("Where to add what"), re.MULTILINE)
