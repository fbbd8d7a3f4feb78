"""References in values, and where their values come from."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config.load import LoadedConfig, load, loads
from asgi_gateway.errors import ConfigError
from tests.config.helpers import document, problems, realm

BASE = "security: {realm: {name: demo, description: '%s', authentication: {http-challenge-scheme: Basic, "
BASE += "login-module: {type: grant, success: required, options: {name: x}}}}}\n"


def described(
    text: str,
    properties: str = "",
    *,
    given: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
) -> LoadedConfig:
    return loads(properties + BASE % text, "yaml", environment=environment or {}, properties=given)


def description(text: str, properties: str = "", **environment: str) -> str:
    return described(text, properties, environment=environment).config.security.realms[0].description


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${a} and ${b}", "one and one two"),
        ("${HOME_OF}", "env"),
        ("${both}", "env"),
        ("$${a} $a {a} $", "${a} $a {a} $"),
        ("$$${a}", "$${a}"),
        ("${tricky}", "${a}"),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    """The environment comes before properties, and the result is not expanded again."""
    properties = "properties: {a: one, b: '${a} two', both: file, tricky: '$${a}'}\n"
    assert description(text, properties, HOME_OF="env", both="env") == expanded


@pytest.mark.parametrize(
    ("given", "environment", "properties", "value", "source"),
    [
        ({"port": "1"}, {"port": "2"}, "properties: {port: 3}\n", "1", "definition"),
        ({}, {"port": "2"}, "properties: {port: 3}\n", "2", "environment"),
        ({}, {"PORT": "2"}, "properties: {port: 3}\n", "3", "properties"),
        ({"port": ""}, {"port": "2"}, "", "", "definition"),
        ({"port": "${x}"}, {}, "", "${x}", "definition"),
    ],
)
def test_outside_before_inside(
    given: dict[str, str], environment: dict[str, str], properties: str, value: str, source: str
) -> None:
    """A definition on the command line wins, then the variable of that name, then the file; the source is known."""
    found = described("${port}", properties, given=given, environment=environment)
    assert found.config.security.realms[0].description == value
    assert found.sources == {"port": source}


@pytest.mark.parametrize(("value", "text"), [(8443, "8443"), (1.5, "1.5"), (True, "true"), (Path("/a/b"), "/a/b")])
def test_definitions_of_python_code(value: Any, text: str) -> None:
    """Numbers, booleans and paths that Python code gives are spelt as YAML spells them; other values are errors."""
    assert described("${a}", given={"a": value}).config.security.realms[0].description == text
    for wrong in (None, ["a"], {"a": "b"}, b"a"):
        with pytest.raises(ConfigError, match="for the property 'a'"):
            described("${a}", given={"a": wrong})  # type: ignore[dict-item]


def test_properties_use_definitions_from_outside() -> None:
    """A property that uses another one uses the value that wins; an overridden property's own text is not looked at."""
    properties = "properties: {host: '${nowhere}', url: 'http://${host}'}\n"
    found = described("${url}", properties, given={"host": "a"})
    assert found.config.security.realms[0].description == "http://a"
    assert found.sources == {"host": "definition", "url": "properties"}


def test_the_same_in_both_spellings() -> None:
    """A definition from outside wins over XML's properties as it does over YAML's."""
    xml = """<gateway-config><properties><property><name>who</name><value>file</value></property></properties>
      <security><realm><name>${who}</name><authentication><http-challenge-scheme>Basic</http-challenge-scheme>
      <login-modules><login-module><type>grant</type><success>required</success></login-module></login-modules>
      </authentication></realm></security></gateway-config>"""
    assert loads(xml, "xml", environment={}, properties={"who": "me"}).config.security.realms[0].name == "me"
    assert loads(xml, "xml", environment={"who": "env"}).config.security.realms[0].name == "env"
    assert loads(xml, "xml", environment={}).config.security.realms[0].name == "file"


@pytest.mark.parametrize("name", ["hostname", "cloud.host", "cloud.instanceId"])
def test_built_in_names(name: str) -> None:
    """The original's built-in names are the machine's host name, unless they are defined."""
    text = f"${{{name}}}"
    assert description(text) == socket.gethostname()
    assert described(text).sources == {name: "built-in"}
    assert description(text, f"properties: {{{name}: file}}\n") == "file"
    assert described(text, given={name: "other"}).config.security.realms[0].description == "other"


@pytest.mark.parametrize(("name", "hint"), [("prot", "did you mean 'port'?"), ("zzz", "one of: host, port")])
def test_definition_that_nothing_uses(name: str, hint: str) -> None:
    """A definition that the file does not refer to is a warning, since it may be misspelt."""
    found = described("${port}", "properties: {port: 3, host: x}\n", given={name: "1", "host": "y"})
    (problem,) = found.problems
    assert (problem.severity, problem.hint) == ("warning", hint)
    assert f"${{{name}}}" in problem.message


def test_environment_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another environment, the process's own is used."""
    monkeypatch.setenv("GATEWAY_TEST", "here")
    assert loads(BASE % "${GATEWAY_TEST}", "yaml").config.security.realms[0].description == "here"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${nam}", "undefined reference ${nam}: no property above it and no environment variable (did you mean 'name'"),
        ("${}", "undefined reference ${}"),
        ("${open", "unclosed reference: ${ without } (write $${ for a literal ${)"),
        ("${a${name}}", "unclosed reference: ${ without }"),
    ],
)
def test_errors(text: str, message: str) -> None:
    """An undefined name, and a brace left open, are errors with their positions."""
    (problem,) = problems("properties: {name: x}\n" + BASE % text)
    assert problem.startswith("2:45 security.realms[0].description: ")
    assert message in problem


def test_property_that_uses_a_later_one() -> None:
    """A property may use only the ones above it, so that none can use itself."""
    found = problems("properties: {a: '${b}', b: '${b}'}\n" + BASE % "x")
    assert [line.split(":")[1].split()[1] for line in found] == ["properties.a", "properties.b"]


def test_keys_are_never_expanded() -> None:
    """A reference in a key is just an unknown key."""
    assert "unknown element '${a}' in gateway-config" in problems("${a}: b\n" + BASE % "x")[0]


def test_no_value_of_a_definition_is_shown() -> None:
    """No problem and no repr shows the value of a name."""
    source = document(realms=(realm(**{"session-timeout": "${secret}"}),))
    loaded = load(
        {**source, "properties": {"unused": "x"}}, environment={}, properties={"secret": "5", "other": "hunter2"}
    )
    assert "hunter2" not in repr(loaded)
    assert not any("hunter2" in str(problem) for problem in loaded.problems)
