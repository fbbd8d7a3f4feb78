"""What must hold between the parts of a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.helpers import document, loaded, problems, realm, service

CROSS = "services[0].cross-site-constraint[0].allow-origin"


def errors(*services: dict[str, Any], **more: Any) -> list[str]:
    return [line.removeprefix("0:0 ") for line in problems(document(*services, **more))]


def authentication(**more: Any) -> list[str]:
    return errors(service(), realms=(realm(**more),))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            lambda: errors(service(), realms=(realm(), realm())),
            "security.realms[1].name: realm 0 has the name 'demo' too (rename one of them)",
        ),
        (
            lambda: errors(service(**{"realm-name": "dmeo"})),
            "services[0].realm-name[0]: there is no realm 'dmeo' (did you mean 'demo'?)",
        ),
        (
            lambda: errors(service(**{"realm-name": ["demo", "demo"]})),
            "services[0].realm-name[1]: stands here a second time (keep one)",
        ),
        (
            lambda: errors(service(), realms=({"name": "demo"},)),
            "security.realms[0]: protects service 0 and has no authentication (add authentication with login-modules)",
        ),
        (
            lambda: authentication(**{"login-modules": []}),
            "security.realms[0].authentication: protects service 0 and has no login module (add login-modules)",
        ),
        (
            lambda: errors(realms=({"name": "demo"},)),
            "security.realms[0]: protects everything and has no authentication (add authentication with login-modules)",
        ),
        (
            lambda: errors(realms=(realm(), realm("two"))),
            ": there are no services and several realms (without services, exactly one realm protects everything)",
        ),
        (
            lambda: errors(realms=()),
            ": there is neither a service nor a realm (without services, exactly one realm protects everything)",
        ),
        (
            lambda: errors(service(), service(accept="/two")),
            "services[1].name: another service is called 'one' too (rename one of them)",
        ),
        (
            lambda: errors(service(), service(name="two", accept="http://h/one")),
            "services[1].accept[0]: differs from service 0 by its host alone, and hosts do not count "
            "(set match-host: true on both, or give them different paths)",
        ),
        (
            lambda: errors(service(), service(name="two", accept="/one/")),
            "services[1].accept[0]: service 0 takes the same requests, so this one never would (change the path)",
        ),
        (
            lambda: errors(
                service(**{"accept": "ws://h/a", "match-host": True}),
                service(**{"name": "two", "accept": ["/b", "ws://H/a"], "match-host": True}),
            ),
            "services[1].accept[1]: service 0 takes the same requests, so this one never would (change the path)",
        ),
        (
            lambda: errors(service(**{"match-host": True})),
            "services[0].match-host: no accept URL has a host to match (write ws://host:port/path, or remove it)",
        ),
        (
            lambda: errors(service(**{"realm-name": None})),
            "services[0].realm-name[0]: is empty (give a value)",
        ),
        (
            lambda: errors(service(**{"realm-name": []})),
            "services[0].realm-name: is an empty list (give a value, or remove realm-name)",
        ),
        (
            lambda: errors({"accept": "/a", "authorization-constraint": {"require-role": "A"}}),
            "services[0].authorization-constraint: a constraint can never apply to a service without a realm "
            "(add a realm-name)",
        ),
        (
            lambda: errors(service(**{"authorization-constraint": {"require-valid-user": False}})),
            "services[0].authorization-constraint: this constraint can never apply "
            "(name a require-role, or say require-valid-user)",
        ),
        (
            lambda: authentication(**{"http-challenge-scheme": "Application Token", "authorization-mode": "recycle"}),
            "security.realms[0].authentication.authorization-mode: a session cannot be recycled with the scheme "
            "'Application Token' (recycle goes with Basic and Negotiate; use challenge)",
        ),
        (
            lambda: authentication(**{"http-header": "X Y"}),
            "security.realms[0].authentication.http-header[0]: no request can have such a name "
            "(letters, digits, dash and underscore)",
        ),
        (
            lambda: authentication(**{"http-header": "authorization"}),
            "security.realms[0].authentication.http-header[0]: the Authorization header is always read (remove it)",
        ),
        (
            lambda: authentication(**{"http-header": ["X-A", "x-a"]}),
            "security.realms[0].authentication.http-header[1]: stands here a second time (keep one)",
        ),
        (
            lambda: errors(service(**{"cross-site-constraint": {"allow-origin": "null"}})),
            f"{CROSS}: the origin null stands for any sandboxed or local page (name an origin, or *)",
        ),
        (
            lambda: errors(service(**{"cross-site-constraint": {"allow-origin": "http://a http://b/path"}})),
            f"{CROSS}: no browser sends such an origin (write scheme://host or scheme://host:port, or *)",
        ),
    ],
)
def test_errors(found: Any, expected: str) -> None:
    """Each of these is one error, with its path and its hint."""
    assert found() == [expected]


def test_no_service_in_a_list() -> None:
    """An empty list of services would refuse everything, and is an error."""
    assert "there is no service" in problems({**document(), "services": []})[0]


def test_good_neighbours() -> None:
    """Services that differ by kind, by path or by a host that counts may stand side by side."""
    host = {"match-host": True}
    config = loaded(
        service(accept=["http://h/a", "https://h/a"]),
        service(name="two", accept="ws://h/a"),
        service(**{"name": "three", "accept": "http://x/a", **host}),
        service(**{"name": "four", "accept": "http://x:81/a", **host}),
        service(name="", accept="/b"),
        service(name="", accept="/"),
    ).config
    assert len(config.services or ()) == 6


def test_unused_realm() -> None:
    """A realm that no service uses is a warning."""
    (problem,) = loaded(service(), realms=(realm(), realm("spare"))).problems
    assert (problem.severity, problem.message) == ("warning", "no service uses the realm 'spare'")


def test_recycle_with_passwords() -> None:
    """Sessions go with the Basic and Negotiate families."""
    for scheme in ("Basic", "Application Basic", "Negotiate", "application negotiate"):
        assert loaded(realms=(realm(**{"http-challenge-scheme": scheme, "authorization-mode": "validate"}),)).config
