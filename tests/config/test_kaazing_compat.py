"""What the original's services say in their own way."""

from __future__ import annotations

from asgi_gateway.config.load import load
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
