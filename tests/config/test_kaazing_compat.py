"""What the original's services say in their own way."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.config.build import build
from asgi_gateway.config.load import load
from asgi_gateway.errors import ConfigError
from tests.config.helpers import document, loaded, problems, realm, service


def test_realms_of_accept_options() -> None:
    """http.realm is a list of realm names, separated by commas or spaces, or a list of YAML's."""
    realms = (realm("a"), realm("b"))
    for value in ("a, b", "a b", "a,b", ["a", "b"]):
        config = loaded({"accept": "/x", "accept-options": {"http.realm": value}}, realms=realms).config
        assert config.services is not None
        assert config.services[0].realm_name == ("a", "b")


def test_empty_list_of_realms_opens_nothing() -> None:
    """An http.realm without a name is an error, never a public service."""
    (problem,) = problems(document({"accept": "/x", "accept-options": {"http.realm": ""}}))
    assert "services[0].realm-name: is an empty list" in problem


def test_realms_said_twice() -> None:
    """A service that names its realms in both ways is an error."""
    (problem,) = problems(document(service(**{"accept-options": {"http.realm": "demo"}})))
    assert "services[0].realm-name: duplicate value: accept-options" in problem


def test_misspelt_option_is_not_ignored() -> None:
    """A misspelt http.realm is an error with a suggestion, since ignoring it would open the service."""
    (problem,) = problems(document({"accept": "/x", "accept-options": {"http.relm": "demo"}}))
    assert problem.endswith("unknown option 'http.relm' in accept-options (did you mean 'http.realm'?)")


def test_options_of_the_wrong_kind() -> None:
    """Options that are no mapping are an error; empty ones say nothing."""
    (problem,) = problems(document(service(**{"connect-options": ["a"]})))
    assert "expected names with values, found a list" in problem
    assert loaded(service(**{"accept-options": None})).problems == ()


def test_several_constraints_are_one() -> None:
    """All roles of all constraints must be held."""
    constraints = [{"require-role": "A"}, {"require-role": ["B", "C"]}, {"require-valid-user": None}]
    config = loaded(service(**{"authorization-constraint": constraints})).config
    assert config.services is not None
    assert config.services[0].authorization_constraint is not None
    assert config.services[0].authorization_constraint.require_role == ("A", "B", "C")


def test_service_defaults() -> None:
    """Defaults hold where a service says nothing itself."""
    source = document(service(), {"accept": "/two"})
    source["service-defaults"] = {"realm-name": "demo", "authorization-constraint": {"require-role": "A"}}
    source["services"][0]["authorization-constraint"] = {"require-role": "B"}
    services = load(source).config.services or ()
    constraints = [one.authorization_constraint for one in services]
    assert [constraint.require_role for constraint in constraints if constraint] == [("B",), ("A",)]
    assert [one.realm_name for one in services] == [("demo",), ("demo",)]


def test_defaults_that_cannot_be() -> None:
    """A name or an accept URL cannot be every service's."""
    source = {**document(service()), "service-defaults": {"name": "x", "accept": "/x"}}
    assert [line.split(": ")[0] for line in problems(source)] == [
        "0:0 service-defaults.name",
        "0:0 service-defaults.accept",
    ]


def test_client_certificates_are_access_control() -> None:
    """The original admits only clients with a certificate there; to ignore it would open the service: an error."""
    for option in ("ssl.verify-client", "socks.ssl.verify-client", "wss.ssl.verify-client"):
        for value in ("required", "REQUIRED", "", "${verify}", ["required"], "yes"):
            found = problems(
                {**document(service(**{"accept-options": {option: value}})), "properties": {"verify": "x"}}
            )
            assert [f"services[0].accept-options.{option}: client certificates" in line for line in found] == [True]


def test_client_certificates_that_are_not_required() -> None:
    """A certificate that is not asked for, or not needed, changes nothing and is listed as ignored."""
    for value in ("none", "optional", " None "):
        (problem,) = loaded(service(**{"accept-options": {"ssl.verify-client": value}})).problems
        assert problem.severity == "ignored"
    (problem,) = loaded(service(**{"connect-options": {"ssl.verify-client": "required"}})).problems
    assert problem.severity == "ignored"  # a back end's business


def test_client_certificates_of_all_services() -> None:
    """Among the defaults it is an error as well."""
    source = {**document(service()), "service-defaults": {"accept-options": {"ssl.verify-client": "required"}}}
    assert any("service-defaults.accept-options.ssl.verify-client" in line for line in problems(source))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("class:org.kaazing.gateway.security.auth.GrantLoginModule", "write grant"),
        ("class:org.kaazing.gateway.security.auth.TimeoutLoginModule", "write timeout"),
        ("class: com.sun.security.auth.module.LdapLoginModule", "write ldap"),
        ("com.sun.security.auth.module.Krb5LoginModule", "write kerberos5"),
        ("class:com.sun.security.auth.module.JndiLoginModule", "write jndi"),
        ("class:com.sun.security.auth.module.KeyStoreLoginModule", "write keystore"),
        ("class:com.example.demo.CustomLoginModule", "port the module to Python"),
        ("class:de.firma.Outer$InnerLoginModule", "port the module to Python"),
        ("ip-filter", "restrict addresses in front of the gateway"),
        ("fiel", "did you mean 'file'?"),
        ("tests.config.nowhere.Module", "write class:tests.config.nowhere.Module"),
        ("class:tests.config.nowhere.Module", "install it, or correct the name"),
    ],
)
def test_login_modules_of_elsewhere(name: str, hint: str) -> None:
    """A Java class gets its equivalent, or the way to port it; other types of the original are known by name."""
    chain = [{"type": name, "success": "required"}]
    for services in ((), (service(),)):
        with pytest.raises(ConfigError) as caught:
            build(load(document(*services, realms=(realm(**{"login-modules": chain}),)), environment={}))
        (problem,) = [each for each in caught.value.problems if each.severity == "error"]
        assert hint in problem.hint
        assert problem.path.endswith("login-modules[0].type")


def test_a_python_module_with_a_java_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python package that is called as Java's are is just a package."""
    (tmp_path / "com" / "example").mkdir(parents=True)
    (tmp_path / "com" / "example" / "auth.py").write_text(
        "from asgi_gateway import LoginModule\n"
        "class Mine(LoginModule):\n"
        "    async def login(self, attempt): return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    chain = [{"type": "class:com.example.auth.Mine", "success": "required"}]
    assert build(load(document(realms=(realm(**{"login-modules": chain}),)), environment={})).realms


def test_unused_realm_with_a_misspelt_module() -> None:
    """A login module is checked in a realm that no service uses, too."""
    chain = [{"type": "fle", "success": "required"}, {"type": "grant", "success": "optional", "options": {"nam": "x"}}]
    spare = realm("spare", **{"login-modules": chain})
    good = realm(**{"login-modules": [{"type": "grant", "success": "required", "options": {"name": "x"}}]})
    with pytest.raises(ConfigError) as caught:
        build(load(document(service(), realms=(good, spare)), environment={}))
    found = [str(each) for each in caught.value.problems if each.severity == "error"]
    assert any("unknown login module 'fle' (did you mean 'file'?)" in line for line in found)
    assert any("unknown option 'nam' (did you mean 'name'?)" in line for line in found)
