"""Marks, elements and nodes."""

from __future__ import annotations

from pathlib import Path

from asgi_gateway.documents import Mark, collapse, read_xml, read_yaml
from tests.documents.plain import plain


def test_mark_gives_problems_at_its_position() -> None:
    """A problem made by a mark has the mark's position."""
    problem = Mark(Path("a.yaml"), 3, 5).problem("is wrong", path="users.joe", hint="make it right")
    assert str(problem) == "a.yaml:3:5: error: users.joe: is wrong (make it right)"


def test_collapse_keeps_other_spaces_than_xmls() -> None:
    """Only XML's white space is collapsed: a no-break space is text."""
    assert collapse(" a\n\t b\r\u00a0 ") == "a b \u00a0"


def test_no_repr_shows_a_value() -> None:
    """What a file holds may be a password, so that neither tree prints it."""
    assert "hunter2" not in repr(read_xml(b"<a b='hunter2'><p>hunter2</p>hunter2</a>"))
    assert "hunter2" not in repr(read_yaml(b"password: hunter2\nlist: [hunter2]"))


def test_nodes_know_their_kind() -> None:
    """A node says what it is, and gives nothing for what it is not."""
    root = read_yaml(b"a: {b: c}\nd: [e]\nf: 1")
    mapping, sequence, scalar = (root.entries[key] for key in "adf")
    assert (mapping.kind, sequence.kind, scalar.kind) == ("a mapping", "a list", "a single value")
    assert (mapping.items, sequence.entries, scalar.get("x")) == ([], {}, None)
    assert plain(root) == {"a": {"b": "c"}, "d": ["e"], "f": 1}
