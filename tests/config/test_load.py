"""Loading: both spellings, equal objects, every error at once, and nothing but ConfigError."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_gateway.config.load import load, loads
from asgi_gateway.errors import ConfigError
from tests.config.helpers import DATA, SAMPLES, document, loaded, problems, service

ALL_AT_ONCE = """\
securty: {}
security:
  keystore: {type: JKX, file: }
  realms:
    - name: demo
      descripton: x
      authentication:
        http-challenge-scheme: Basic
        session-timeout: 8 fortnights
        login-modules:
          - {type: file, success: requierd, options: {file: "${nope}"}}
    - name: demo
services:
  - name: a
    accept: [/a, gopher://x]
    realm-name: dmeo
  - name: b
    accept: ws://h1/a
    authorization-constraint: {}
  - name: c
    accept: ws://h2/a
    realm-name: demo
"""


def test_xml_and_yaml_are_equal() -> None:
    """The same configuration in XML and in YAML loads to equal objects."""
    xml = load(DATA / "gateway-config.xml", environment={})
    yaml = load(DATA / "gateway.yaml", environment={})
    assert xml.config == yaml.config
    assert [problem.path for problem in yaml.problems] == []


def test_what_the_sample_says() -> None:
    """A file of the original's kind loads to what it says."""
    config = load(DATA / "gateway-config.xml", environment={}).config
    staff, second = config.security.realms
    assert staff.authentication is not None
    assert staff.authentication.authorization_timeout == 90
    assert staff.authentication.session_timeout == 8 * 3600
    assert staff.authentication.login_modules[1].options["userFilter"] == "(&(uid={USERNAME}) (objectClass=person))"
    assert second.credential_cache == 0
    assert config.services is not None
    public, prices, vault = config.services
    assert public.realm_name == ()
    assert [(each.extension, each.mime_type) for each in public.mime_mapping] == [("html", "text/html")]
    assert prices.mime_mapping == ()
    assert prices.description == "Prices, as they come"
    assert prices.accept == ("ws://shop.example.com:8000/prices", "wss://shop.example.com:9000/prices")
    assert prices.max_authentication_attempts == 2
    assert prices.cross_site_constraint[0].maximum_age == 7200
    assert vault.realm_name == ("staff", "second")
    assert vault.cross_site_constraint[0].allow_origin == "*"
    assert vault.authorization_constraint is not None
    assert vault.authorization_constraint.require_valid_user


def test_ignored_elements_with_their_lines() -> None:
    """Elements of the original that mean nothing here are listed with their lines; the deprecated name warns."""
    found = load(DATA / "gateway-config.xml", environment={}).problems
    assert [(p.line, p.path, p.severity) for p in found] == [
        (24, "service-defaults.accept-options.ssl.protocols", "ignored"),
        (57, "services[1].accept-options.ws.inactivity.timeout", "ignored"),
        (61, "services[1].connect-options.tcp.transport", "ignored"),
        (64, "services[1].auth-constraint", "warning"),
        (148, "cluster", "ignored"),
    ]


def test_all_errors_at_once() -> None:
    """Every error of a file is reported in one go, each with its position and a hint."""
    found = problems(ALL_AT_ONCE)
    assert [line.split(":", 2)[0] + ":" + line.split(":", 2)[1] for line in found] == [
        "1:1 securty",
        "3:20 security.keystore.type",
        "3:31 security.keystore.file",
        "6:7 security.realms[0].descripton",
        "9:26 security.realms[0].authentication.session-timeout",
        "11:35 security.realms[0].authentication.login-modules[0].success",
        "11:61 security.realms[0].authentication.login-modules[0].options.file",
        "12:7 security.realms[1]",
        "12:13 security.realms[1].name",
        "15:18 services[0].accept[1]",
        "16:17 services[0].realm-name[0]",
        "19:31 services[1].authorization-constraint",
        "19:31 services[1].authorization-constraint",
        "21:13 services[2].accept[0]",
    ]
    assert "(did you mean 'security'?)" in found[0]
    assert "(did you mean 'required'?)" in found[5]
    assert "(did you mean 'demo'?)" in found[10]


def test_positions_for_later_checks() -> None:
    """A path leads to its position; what is not there leads to the nearest element around it."""
    xml = load(DATA / "gateway-config.xml", environment={})
    path = ("security", "realms", 0, "authentication", "login-modules", 1, "options")
    assert xml.where((*path, "userFilter")).line == 122
    assert xml.where((*path, "nothing")) == xml.where(path)
    problem = xml.problem((*path, "useSSL"), "is wrong", hint="mend it")
    assert (problem.file, problem.line, problem.column) == (DATA / "gateway-config.xml", 126, 15)
    assert problem.path == "security.realms[0].authentication.login-modules[1].options.useSSL"


def test_directory_of_relative_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative files are relative to the configuration file, or to the working directory for a dict."""
    (tmp_path / "a.yml").write_text("security: {realm: {name: a, authentication: {http-challenge-scheme: Basic,"
                                    " login-module: {type: file, success: required}}}}")  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert load("a.yml").directory == tmp_path
    assert load("a.yml").file == Path("a.yml")
    assert loaded(service()).directory == tmp_path


def test_dict_of_the_yaml_form() -> None:
    """A dict loads to what the same YAML does, its numbers, booleans and paths included."""
    source = document(service(**{"max-authentication-attempts": 3, "match-host": False}))
    source["security"]["keystore"] = {"file": Path("a.db")}
    config = load(source).config
    assert config.services is not None
    assert config.services[0].max_authentication_attempts == 3
    assert config.security.keystore is not None
    assert config.security.keystore.file == Path("a.db")


def test_no_secret_in_errors_or_repr() -> None:
    """What a reference expands to never shows in an error or in a repr."""
    text = "security: {realms: [{name: a, authentication: {http-challenge-scheme: Basic, session-timeout: '${S}',"
    text += " authorization-mode: '${S}', login-modules: [{type: file, success: '${S}', options: {p: '${S}'}}]}}]}"
    with pytest.raises(ConfigError) as caught:
        loads(text, "yaml", environment={"S": "hunter2"})
    assert len(caught.value.problems) == 3
    assert "hunter2" not in str(caught.value)
    good = document()
    good["security"]["realms"][0]["authentication"]["login-modules"][0]["options"]["password"] = "hunter2"
    assert "hunter2" not in repr(load(good))


@pytest.mark.parametrize("name", ["missing.xml", "missing.yaml", "name.txt", "directory.xml", "a\0b.yaml", ""])
def test_files_that_cannot_be_loaded(name: str, tmp_path: Path) -> None:
    """Missing files, directories and unknown kinds are configuration errors."""
    (tmp_path / "directory.xml").mkdir()
    with pytest.raises(ConfigError):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("source", "form"),
    [
        (b"", "yaml"),
        (b"[]", "yaml"),
        (b"text", "yaml"),
        (b"security: [realm]", "yaml"),
        (b"services: {a: b}", "yaml"),
        (b"security: {realms: {login-modules: [[]]}}", "yaml"),
        (b"{properties: [a]}", "yaml"),
        (b"{properties: {a: [b]}}", "yaml"),
        (b"? {a: b}\n: c", "yaml"),
        (b"", "xml"),
        (b"<users/>", "xml"),
        (b"<gateway-config/>", "xml"),
        (b"<security>text</security>", "xml"),
        (b"<security><realm/></security>", "xml"),
        ({1: 2}, "dict"),
        ({"security": object()}, "dict"),
        ({"security": {"realms": [b"x"]}}, "dict"),
        ({}, "dict"),
    ],
)
def test_wrong_structures(source: object, form: str) -> None:
    """Whatever has the wrong structure is a ConfigError."""
    assert problems(source, form)


def test_dict_within_itself() -> None:
    """A dict that holds itself ends in an error."""
    source: dict[str, object] = {}
    source["security"] = source
    assert "nested deeper" in problems(source)[0]


WORDS = st.sampled_from(
    [
        *("security", "realms", "realm", "services", "service", "name", "accept", "authentication", "login-modules"),
        *("type", "success", "options", "properties", "realm-name", "accept-options", "http.realm"),
        *("service-defaults", "authorization-constraint", "require-role", "${x}", "$${", "/a"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_any_dict(source: dict[str, object]) -> None:
    """Any dict is a configuration or a ConfigError."""
    with contextlib.suppress(ConfigError):
        load(source, environment={})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SAMPLES), st.integers(0, 5000), st.integers(0, 60), st.binary(max_size=4))
def test_damaged_files(sample: Path, start: int, length: int, instead: bytes) -> None:
    """A sample with any piece of it cut out or replaced is a configuration or a ConfigError."""
    data = sample.read_bytes()
    with contextlib.suppress(ConfigError):
        loads(data[:start] + instead + data[start + length :], sample.suffix[1:], environment={})  # type: ignore[arg-type]
