"""From what someone wrote to the model's shape."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.config.load import load, loads
from tests.config.helpers import document, module, problems, realm, service

XML = """<security><realm><name>demo</name><authentication><http-challenge-scheme>Basic</http-challenge-scheme>
<login-modules>%s</login-modules></authentication></realm></security>"""
MODULE = "<login-module><type>file</type><success>required</success>%s</login-module>"


def options(value: Any) -> Any:
    modules = load(document(realms=(realm(**{"login-modules": [module(options=value)]}),))).config.security.realms[0]
    assert modules.authentication is not None
    return modules.authentication.login_modules[0].options


def test_singular_plural_and_single_values() -> None:
    """Lists may be called in the singular or the plural, and a list of one may be its value."""
    plain = document(service(), realms=(realm(**{"http-cookie": ["a"]}),))
    spelt = {
        "security": {"realm": realm(**{"http-cookies": "a", "login-modules": {"login-module": [module()]}})},
        "service": {"name": "one", "accepts": "/one", "realm-names": ["demo"]},
    }
    assert load(plain).config == load(spelt).config


def test_options_are_the_same_in_both_spellings() -> None:
    """Numbers and booleans are text, a list of one is its value, an empty one is not there, and null is empty."""
    assert options({"a": 1, "b": True, "c": ["x"], "d": [], "e": None, "f": {"g": [1, 2]}, "h": {}}) == {
        "a": "1",
        "b": "true",
        "c": "x",
        "e": "",
        "f": {"g": ["1", "2"]},
        "h": "",
    }
    inner = "<options><a>1</a><b>true</b><c>x</c><e/><f><g>1</g><g>2</g></f><h/></options>"
    config = loads(XML % (MODULE % inner), "xml").config.security.realms[0]
    assert config.authentication is not None
    assert config.authentication.login_modules[0].options == options(
        {"a": 1, "b": True, "c": ["x"], "e": None, "f": {"g": [1, 2]}, "h": {}}
    )


def test_nested_module_suggests_an_end_tag() -> None:
    """A login-module inside a login-module that happens to balance is taken for a forgotten slash."""
    found = problems(XML % (MODULE % (MODULE % "")), "xml")
    assert any("(did you mean </login-module> where it begins?)" in line for line in found)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"security": [{}, {}]}, "security: duplicate element: only one security is allowed"),
        ({**document(), "realms": []}, "unknown element 'realms' in gateway-config (it belongs in security)"),
        ({"security": "x"}, "security: expected elements in security, found text"),
        ({"security": {"realms": [realm()], "realm": realm()}}, "duplicate: 'realm' and 'realms' are the same element"),
        (
            {"security": {"realms": [realm(**{"login-modules": {"login-module": module(), "x": 1}})]}},
            "contains only login-module",
        ),
        (
            {"security": {"realms": [{**realm(), "name": ["a", "b"]}]}},
            ".name: expected a single value, found several",
        ),
        ({"security": {"realms": [{**realm(), "name": {"a": "b"}}]}}, "expected a single value, found a mapping"),
        (
            document(realms=(realm(**{"login-modules": [module(options="x")]}),)),
            "expected names with values, found a single",
        ),
        (
            document(realms=(realm(**{"login-modules": [module(options={"a b": 1})]}),)),
            "invalid option name 'a b'",
        ),
        (document(realms=(realm(**{"login-modules": [module(options={"a": [["b"]]})]}),)), "a list inside a list"),
        ({**document(), "properties": ["a"]}, "properties: expected names with values, found a list"),
        ({**document(), "properties": {"a": ["b"]}}, "properties.a: invalid property: expected a name and one value"),
        (
            {**document(), "properties": {"property": [{"name": "a"}]}},
            "properties.a: invalid property: expected a",
        ),
        ({**document(), "properties": {"property": {"value": "a"}}}, "invalid property: expected a name and one value"),
        ({**document(), "properties": {"property": [{"name": "a", "value": 1}] * 2}}, "duplicate property, first at"),
        ({**document(), "properties": {"property": {"name": "a", "value": 1, "x": 2}}}, "only a name and a value"),
        (document(service(**{"authorization-constraint": None})), "empty constraint: it requires nothing"),
    ],
)
def test_errors(source: Any, message: str) -> None:
    """Each of these is an error that says what is wrong."""
    assert any(message in line for line in problems(source))


def test_property_called_property() -> None:
    """A property may be called property."""
    source = {**document(), "properties": {"property": "x"}}
    source["security"]["realms"][0]["description"] = "${property}"
    assert load(source).config.security.realms[0].description == "x"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {**document(), "services": {"chat": {"accept": "/chat"}}},
            "services: expected a list in services, found a mapping (write - name: chat)",
        ),
        (
            {"security": {"realms": {"demo": realm()}}},
            "security.realms: expected a list in realms, found a mapping (write - name: demo)",
        ),
        (
            document(
                realms=(realm(**{"login-modules": {"file": {"success": "required"}, "grant": {"success": "x"}}}),)
            ),
            "login-modules: expected a list in login-modules, found a mapping (begin each item with a dash)",
        ),
    ],
)
def test_mappings_where_lists_belong(source: Any, expected: str) -> None:
    """A mapping from names, where a list is expected, is one error that shows the list's form."""
    (found,) = [line for line in problems(source) if "mapping" in line]
    assert found.endswith(expected)


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ({"file": "users.xml"}, "it belongs in options, if it is an option"),
        ({"userFilter": "x"}, "it belongs in options, if it is an option"),
        ({"realms": []}, "it belongs in options, if it is an option"),
        ({"sucess": "required"}, "did you mean 'success'?"),
        ({"option": {}}, "did you mean 'options'?"),
    ],
)
def test_beside_options(more: dict[str, Any], hint: str) -> None:
    """The error for an option beside options says where it belongs, even if another element has the same name."""
    (found,) = [
        line for line in problems(document(realms=(realm(**{"login-modules": [module(**more)]}),))) if "unk" in line
    ]
    assert f"unknown element {next(iter(more))!r} in login-module ({hint})" in found
    state = {"security": {"state": {"type": "sqlite", "file": "x"}, "realms": [realm()]}}
    assert any("'file' in state (it belongs in options, if it is an option)" in line for line in problems(state))
