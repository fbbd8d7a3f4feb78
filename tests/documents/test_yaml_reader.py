"""YAML: positions, the core schema, bounds and refusals."""

from __future__ import annotations

import contextlib
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_gateway.documents import read_yaml
from asgi_gateway.errors import ConfigError
from tests.documents.plain import plain


def test_positions_of_keys_and_values() -> None:
    """Keys and values have the positions where they begin."""
    root = read_yaml(b"a: 1\nb:\n  - c: d\n")
    assert (root.keys["b"].line, root.keys["b"].column) == (2, 1)
    inner = root.entries["b"].items[0]
    assert str(inner.mark) == "3:5"
    assert str(inner.entries["c"].mark) == "3:8"


def test_core_schema() -> None:
    """Plain scalars are read by YAML 1.2's core schema, quoted ones are text, and each keeps its spelling."""
    source = (
        b"[1, -2, 0x1F, 0o17, 1.5, 1e3, true, FALSE, ~, null, '', no, 2026-11-21, 1:30, 007, '7', \"true\", !!str 5]"
    )
    root = read_yaml(source)
    assert plain(root) == [
        *(1, -2, 31, 15, 1.5, 1000.0, True, False, None, None, ""),
        *("no", "2026-11-21", "1:30", 7, "7", "true", "5"),
    ]
    assert root.items[14].text == "007"


def test_aliases() -> None:
    """An alias is the node of its anchor, as a value and as a key."""
    assert plain(read_yaml(b"a: &x {b: c}\nd: *x\ne: &k f\n*k : g")) == {
        "a": {"b": "c"},
        "d": {"b": "c"},
        "e": "f",
        "f": "g",
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: !!python/object/apply:os.system [ls]", "1:4: error: the tag '!!python/object/apply:os.system' is not"),
        (b"!!python/name:os.system ''", "the tag"),
        (b"a: !custom {}", "the tag '!custom' is not allowed"),
        (b"a: !!set {b}", "the tag '!!set' is not allowed"),
        (b"a: !!binary aGk=", "the tag '!!binary' is not allowed"),
        (b"!!int 1: b", "the tag '!!int' is not allowed"),
        (b"a: 1\nb: 2\na: 3", "3:1: error: duplicate key 'a', first at 1:1"),
        (b"a: &x {}\nb: {<<: *x}", "2:5: error: the merge key << is not supported"),
        (b"a: &x [*x]", "refers to itself"),
        (b"a: *x", r"undefined alias \*x: no anchor &x before it"),
        (b"? [a]\n: b", "a key must be a single value"),
        (b"a: &x [b]\n*x : c", "a key must be a single value"),
        (b"a: [1", "1:4"),
        (b"a: b: c", "1:5: error: invalid YAML"),
        (b"\ta: b", "invalid YAML"),
        (b"a: 'b", "invalid YAML"),
        (b"a: \x01", "1:4: error: invalid character: YAML does not allow it"),
        (b"%YAML 3.0\n--- a", "invalid YAML"),
        (b"[" * 1000, "nested deeper than 40 levels"),
        (b"{a: " * 1000, "nested deeper than 40 levels"),
        (b"--- a\n--- b", "2:1: error: more than one YAML document"),
        (b"# a comment", "the file is empty"),
    ],
)
def test_refusals(data: bytes, message: str) -> None:
    """Malformed, unsafe and ambiguous documents are one ConfigError with its position."""
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        read_yaml(data)


@pytest.mark.timing
def test_alias_bomb() -> None:
    """Aliases of aliases are counted with all of their nodes, and refused quickly."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    began = time.monotonic()
    with pytest.raises(ConfigError, match="nodes, those of aliases included"):
        read_yaml("\n".join(lines).encode())
    assert time.monotonic() - began < 2


def test_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML built without its C library reads the same and refuses the same."""
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert plain(read_yaml("a: [1, \u00e9]".encode())) == {"a": [1, "\u00e9"]}
    for data in (b"a: [1", b"a: \x01", b"\ta: b", b"[" * 100):
        with pytest.raises(ConfigError):
            read_yaml(data)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("ab:-[]{}&*!|>'\"#%@, \n\t?<0", max_size=60).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a node or a ConfigError."""
    with contextlib.suppress(ConfigError):
        plain(read_yaml(data))
