"""The reference of the public names: complete, and generated from the docstrings that are there now."""

from __future__ import annotations

import importlib
from pathlib import Path

import griffe
import pytest

from tools import api_reference
from tools.api_reference import MODULES, load, main, public_objects, undocumented


@pytest.fixture(scope="module")
def package() -> griffe.Module:
    return load()


def test_the_page_is_up_to_date() -> None:
    """docs/reference/api.md is what ``python -m tools.api_reference`` writes."""
    assert main(["--check"]) == 0


@pytest.mark.parametrize("change", ["", "another text\n", "\n"], ids=["empty", "other", "blank"])
def test_a_page_that_is_out_of_date_is_found(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page with another text fails the check, which says what to run; running it mends the page."""
    page = tmp_path / "api.md"
    page.write_text(change)
    monkeypatch.setattr(api_reference, "PAGE", page)
    monkeypatch.setattr(api_reference, "ROOT", tmp_path)
    monkeypatch.setattr(api_reference, "render", lambda: "# API reference\n")
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == "api.md is not up to date: run python -m tools.api_reference\n"
    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented(module: str, package: griffe.Module) -> None:
    """Every public name, method and attribute has a docstring, and every argument is described in it."""
    objects = public_objects(package, module)
    assert sorted(objects) == sorted(importlib.import_module(module).__all__)
    assert [line for item in objects.values() for line in undocumented(item)] == []


SAMPLE = '''
"""A module."""

def complete(a, *rest, b=1):
    """Return a sum.

    Args:
        a: one.
        *rest: others.
        b: the last.
    """

def incomplete(a, b):
    """Return a sum.

    Args:
        a: one.
    """

def silent(): ...

class Base:
    """A base.

    Args:
        x: a number.
    """

    def __init__(self, x): self.x = x

    def method(self):
        """Return nothing."""

class Derived(Base):
    """A derived class."""

    def method(self): ...
    x = 2
    def other(self, y): ...
    z: int = 0
'''


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("complete", []),
        ("incomplete", ["sample.incomplete: the argument b is not described"]),
        ("silent", ["sample.silent: no docstring"]),
        ("Base", []),
        ("Derived", ["sample.Derived.other: no docstring", "sample.Derived.z: no docstring"]),
    ],
)
def test_what_is_missing_is_found(name: str, lines: list[str]) -> None:
    """A name without docstring, an argument and an attribute without description are named; what a base says counts."""
    with griffe.temporary_visited_package(
        "sample", {"__init__.py": SAMPLE}, docstring_parser=griffe.Parser.google
    ) as sample:
        item = sample[name]
        assert isinstance(item, griffe.Class | griffe.Function)
        assert undocumented(item) == lines
