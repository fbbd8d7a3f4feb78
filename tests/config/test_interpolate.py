"""References in values."""

from __future__ import annotations

import pytest

from asgi_gateway.config.load import loads
from tests.config.helpers import problems

BASE = "security: {realm: {name: demo, description: '%s', authentication: {http-challenge-scheme: Basic, "
BASE += "login-module: {type: grant, success: required, options: {name: x}}}}}\n"


def description(text: str, properties: str = "", **environment: str) -> str:
    return loads(properties + BASE % text, "yaml", environment=environment).config.security.realms[0].description


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


def test_environment_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another environment, the process's own is used."""
    monkeypatch.setenv("GATEWAY_TEST", "here")
    assert loads(BASE % "${GATEWAY_TEST}", "yaml").config.security.realms[0].description == "here"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "${nam}",
            "undefined reference ${nam}: no property above it and no environment variable (did you mean 'name'?)",
        ),
        ("${}", "undefined reference ${}"),
        ("${open", "unclosed reference: ${ without } (write $${ for a literal ${)"),
        ("${a${name}}", "unclosed reference: ${ without }"),
    ],
)
def test_errors(text: str, message: str) -> None:
    """A name that nothing has, and a brace left open, are errors with their positions."""
    (problem,) = problems("properties: {name: x}\n" + BASE % text)
    assert problem.startswith("2:45 security.realms[0].description: ")
    assert message in problem


def test_property_that_uses_a_later_one() -> None:
    """A property may use only what stands above it, so that none can use itself."""
    found = problems("properties: {a: '${b}', b: '${b}'}\n" + BASE % "x")
    assert [line.split(":")[1].split()[1] for line in found] == ["properties.a", "properties.b"]


def test_keys_are_never_expanded() -> None:
    """A reference in a key is just an unknown key."""
    assert "unknown element '${a}' in gateway-config" in problems("${a}: b\n" + BASE % "x")[0]
