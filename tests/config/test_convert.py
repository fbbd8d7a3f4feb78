"""Conversion loses nothing, in either direction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.config.load import LoadedConfig, load, loads
from tests.config.helpers import DATA, SAMPLES, document, realm


def both(source: LoadedConfig) -> tuple[LoadedConfig, LoadedConfig]:
    environment = {"SECRET": "hunter2"}
    return loads(to_yaml(source), "yaml", environment=environment), loads(
        to_xml(source), "xml", environment=environment
    )


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples(path: Path) -> None:
    """The samples survive both conversions, and the conversions of those."""
    source = load(path, environment={})
    for once in both(source):
        assert once.config == source.config
        for twice in both(once):
            assert twice.config == source.config


def test_references_stay() -> None:
    """A reference stays a reference: no value of the environment is written, and literal ones stay literal."""
    given_document = document(realms=(realm(**{"http-header": "X-${SECRET}"}),))
    given_document["security"]["realms"][0]["description"] = "${SECRET} $${SECRET}"
    source = load(given_document, environment={"SECRET": "hunter2"})
    assert source.config.security.realms[0].description == "hunter2 ${SECRET}"
    for text in (to_yaml(source), to_xml(source)):
        assert "hunter2" not in text
        assert "${SECRET} $${SECRET}" in text
    assert [again.config for again in both(source)] == [source.config] * 2


def test_what_was_left_out_is_said() -> None:
    """Ignored elements are listed in a comment, and the YAML names its schema first."""
    source = load(DATA / "gateway-config.xml", environment={})
    text = to_yaml(source)
    assert text.startswith("# yaml-language-server: $schema=gateway.schema.json\n# Left out")
    assert "#   57: services[1].accept-options.ws.inactivity.timeout\n" in text
    assert "    57: services[1].accept-options.ws.inactivity.timeout\n" in to_xml(source)
    assert "hunter2" not in text


def test_comments_cannot_be_broken_out_of() -> None:
    """A name in a comment ends neither the line nor the comment."""
    given_document = document({"accept": "/a", "accept-options": {"tcp.x---y": "1"}})
    assert "- -" in to_xml(source := load(given_document, environment={}))
    assert [again.config for again in both(source)] == [source.config] * 2


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r $<>&{}'\"#:-"))
TEXT = TEXT.filter(lambda text: not {"\ufffe", "\uffff"} & set(text)).map(lambda text: text.replace("${", "$${"))
LIKELY = st.sampled_from(
    ["", "no", "true", "null", "~", "007", "12", "1.5", " a  b ", "a\nb\n", "]]>", "&amp;", "a: b"]
)
VALUE = TEXT | LIKELY
WORD = VALUE.filter(bool)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
OPTION = st.recursive(
    VALUE | st.booleans() | st.integers(),
    lambda inner: (
        st.dictionaries(NAME, inner, max_size=3)
        | st.lists(inner.filter(lambda item: not isinstance(item, list)), max_size=3)
    ),
    max_leaves=5,
)
INTERVAL = st.sampled_from(["8 hours", "30", 5, 0.25, "1.5 minutes"])


def words(word: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return word | st.lists(word, min_size=1, max_size=3, unique=True)


MODULE = st.fixed_dictionaries(
    {"type": WORD, "success": st.sampled_from(["required", "requisite", "sufficient", "optional"])},
    optional={"options": st.dictionaries(NAME, OPTION, max_size=3), "time-limit": INTERVAL},
)
AUTHENTICATION = st.fixed_dictionaries(
    {"http-challenge-scheme": words(WORD), "login-modules": st.lists(MODULE, min_size=1, max_size=2)},
    optional={
        "http-query-parameter": words(WORD),
        "http-cookie": st.just(["a", "b"]),
        "session-timeout": INTERVAL,
        "authorization-timeout": INTERVAL,
    },
)
REALM = st.fixed_dictionaries(
    {"name": WORD, "authentication": AUTHENTICATION},
    optional={
        "description": VALUE,
        "user-principal-class": words(WORD),
        "credential-cache": st.sampled_from([0, "1 m"]),
    },
)
CONSTRAINT = st.fixed_dictionaries({"require-role": words(WORD)}) | st.just({"require-valid-user": True})
SERVICE = st.fixed_dictionaries(
    {"authorization-constraint": CONSTRAINT},
    optional={
        "description": VALUE,
        "cross-site-constraint": st.just([{"allow-origin": "*", "maximum-age": 5}, {"allow-origin": "http://a"}]),
        "max-authentication-attempts": st.integers(0, 100),
    },
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(REALM, min_size=1, max_size=2, unique_by=lambda one: str(one["name"])),
    st.lists(SERVICE, min_size=1, max_size=3),
    st.dictionaries(WORD.filter(lambda name: "}" not in name and name != "property"), VALUE, max_size=3),
)
def test_round_trip(realms: list[Any], services: list[Any], properties: dict[str, str]) -> None:
    """Any configuration converts to either spelling and back without loss."""
    for index, service in enumerate(services):
        service |= {"name": f"s{index}", "accept": [f"/{index}"], "realm-name": realms[0]["name"]}
    source = load({"properties": properties, "security": {"realms": realms}, "services": services}, environment={})
    for again in both(source):
        assert again.config == source.config
        assert {n: v.text for n, v in again.properties.items()} == {n: v.text for n, v in source.properties.items()}


@pytest.mark.parametrize("root", ["/api", "/", "/a/b/"])
def test_paths_and_cors(root: str) -> None:
    """root-path, allow-encoded-slash and cors mean the same in both spellings."""
    given_document = document({"accept": "/a", "allow-encoded-slash": True, "cors": "application"}) | {
        "root-path": root
    }
    source = load(given_document, environment={})
    assert source.config.root_path == root.rstrip("/")
    assert [again.config for again in both(source)] == [source.config] * 2
    assert f"<root-path>{root}</root-path>" in to_xml(source)
    assert "allow-encoded-slash: true" in to_yaml(source)
