"""``state``: where ExpiringState is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config.build import build
from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.config.load import loads
from asgi_gateway.errors import ConfigError
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.sqlite import SqliteState
from tests.gateways import Module

PUBLIC = "services: [{name: all, accept: /}]\n"


def state(text: str, directory: Path, **environment: str) -> Any:
    """The store that a configuration's state element gives."""
    return build(loads(PUBLIC + text, "yaml", directory=directory, environment=environment)).state


def wrong(text: str, directory: Path) -> list[str]:
    """The problems of a configuration whose state element cannot be used."""
    with pytest.raises(ConfigError) as caught:
        state(text, directory)
    return [f"{p.line}:{p.column} {p.path}: {p.message} ({p.cure})" for p in caught.value.problems]


def test_memory(tmp_path: Path) -> None:
    """Without the element, and with its type memory, each process has its own; its bound can be set."""
    assert isinstance(state("", tmp_path), MemoryState)
    assert "of 7 entries" in repr(state("state: {type: memory, max-entries: 7}", tmp_path))


def test_sqlite(tmp_path: Path) -> None:
    """The file is relative to the configuration."""
    store = state("state: {type: sqlite, file: state.db, namespace: a, timeout: 500 ms, max-entries: 9}", tmp_path)
    assert isinstance(store, SqliteState)
    assert str(tmp_path / "state.db") in repr(store)
    assert store.shared


REDIS = "state: {type: redis, url: 'redis://u@localhost:7/1', password-file: pw, namespace: a, max-connections: 3}"


def test_redis(tmp_path: Path) -> None:
    """Settings reach the store, and its password comes from a file that no repr shows."""
    pytest.importorskip("redis")
    (tmp_path / "pw").write_text("canary-9\n")
    loaded = loads(PUBLIC + REDIS, "yaml", directory=tmp_path, environment={})
    gateway = build(loaded)
    assert gateway.state.shared
    assert "canary" not in repr(gateway.state) + repr(loaded) + repr(loaded.config)
    assert gateway.problems == ()


def test_redis_url_from_the_environment(tmp_path: Path) -> None:
    """A URL with a password may come from the environment; one that stands in the file is warned of."""
    pytest.importorskip("redis")
    text = "state: {type: redis, url: '${REDIS_URL}'}"
    loaded = loads(PUBLIC + text, "yaml", directory=tmp_path, environment={"REDIS_URL": "redis://u:canary@localhost"})
    assert build(loaded).problems == ()
    assert "canary" not in repr(loaded)
    text = "state: {type: redis, url: 'redis://u:canary@localhost'}"
    (problem,) = build(loads(PUBLIC + text, "yaml", directory=tmp_path, environment={})).problems
    assert (problem.severity, problem.line) == ("warning", 2)
    assert "canary" not in str(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("state: {type: sqlit, file: a}", "2:15 state.type: there is no state store 'sqlit' (did you mean 'sqlite'?)"),
        ("state: {type: sqlite}", "a state store of type sqlite needs file (add file: state.db)"),
        ("state: {type: redis}", "a state store of type redis needs url"),
        ("state: {type: memory, file: a}", "2:29 state.file: a state store of type memory has no file (it takes: max-"),
        ("state: {type: sqlite, file: a, cluster: true}", "state.cluster: a state store of type sqlite has no cluster"),
        ("state: {type: sqlite, file: no/such/a}", "2:29 state.file: there is no directory"),
        ("state: {type: sqlite, file: a, timeout: 2 hours}", "state store sqlite: max_entries must be"),
        ("state: {file: a}", "state.type: is missing"),
        ("state: {type: sqlite, file: a, max-entries: 0}", "state.max-entries: "),
        ("state: {type: sqlite, fil: a}", "did you mean 'file'?"),
        ("state: {type: memory, options: {a: b}}", "state.options: a state store of type memory has no options"),
    ],
)
def test_what_cannot_be_used(text: str, expected: str, tmp_path: Path) -> None:
    """A setting that is unknown, missing, another type's or out of bounds stops the start, with its place."""
    assert expected in "\n".join(wrong(text, tmp_path))


def test_no_secret_in_errors(tmp_path: Path) -> None:
    """A URL that makes no sense is refused without being shown."""
    pytest.importorskip("redis")
    said = "\n".join(wrong("state: {type: redis, url: 'http://u:canary@localhost'}", tmp_path))
    assert "state" in said
    assert "canary" not in said


@pytest.mark.parametrize(
    "text",
    [
        "state: {type: sqlite, file: state.db, timeout: 500 ms, max-entries: 9}",
        "state: {type: redis, url: ['redis://a:1', '${NAME}'], cluster: true, password-file: pw}",
        "state: {type: mine, options: {a: b, c: 3}}",
    ],
)
def test_converted_without_loss(text: str) -> None:
    """Either spelling gives an equal configuration, and nothing from the environment is written."""
    environment = {"NAME": "redis://canary:2"}
    loaded = loads(PUBLIC + text, "yaml", environment=environment)
    for written, form in ((to_xml(loaded), "xml"), (to_yaml(loaded), "yaml")):
        assert "canary" not in written
        assert loads(written, form, environment=environment).config == loaded.config  # type: ignore[arg-type]


def test_a_store_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options are its keyword arguments; what it raises for them is an error with a place."""
    monkeypatch.setattr("asgi_gateway.registry.state_store", lambda name: Mine)
    assert state("state: {type: mine, options: {where: here}}", tmp_path).where == "here"
    assert "unexpected keyword argument" in "\n".join(wrong("state: {type: mine, options: {what: x}}", tmp_path))


class Mine(MemoryState):
    """A store of somebody else's."""

    def __init__(self, where: str = "") -> None:
        super().__init__()
        self.where = where


def test_modules_are_given_the_store(tmp_path: Path) -> None:
    """Login modules share the configured store."""
    text = (
        "security:\n  realms:\n    - name: demo\n      authentication:\n        http-challenge-scheme: Basic\n"
        f"        login-modules: [{{type: 'class:{__name__}.Probe', success: required}}]\n"
        "state: {type: sqlite, file: state.db}\n"
    )
    gateway = build(loads(text, "yaml", directory=tmp_path, environment={}))
    assert gateway.realms[0].chain.entries[0].module.context.state is gateway.state


class Probe(Module):
    """Keeps its context."""

    def __init__(self, options: Any, context: Any) -> None:
        self.context = context
