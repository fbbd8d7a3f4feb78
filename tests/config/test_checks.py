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
            "security.realms[1].name: duplicate realm name 'demo' (rename one of them)",
        ),
        (
            lambda: errors(service(**{"realm-name": "dmeo"})),
            "services[0].realm-name[0]: unknown realm 'dmeo' (did you mean 'demo'?)",
        ),
        (
            lambda: errors(service(**{"realm-name": ["demo", "demo"]})),
            "services[0].realm-name[1]: duplicate value (remove one)",
        ),
        (
            lambda: errors(service(), realms=({"name": "demo"},)),
            "security.realms[0]: missing authentication: service 'one' uses this realm "
            "(add authentication with login-modules)",
        ),
        (
            lambda: authentication(**{"login-modules": []}),
            "security.realms[0].authentication: missing login-modules: service 'one' uses this realm "
            "(add login-modules)",
        ),
        (
            lambda: errors(realms=({"name": "demo"},)),
            "security.realms[0]: missing authentication: it protects everything "
            "(add authentication with login-modules)",
        ),
        (
            lambda: errors(realms=(realm(), realm("two"))),
            ": no services and 2 realms (without services, exactly one realm protects everything)",
        ),
        (
            lambda: errors(realms=()),
            ": neither services nor realms (without services, exactly one realm protects everything)",
        ),
        (
            lambda: errors(service(), service(accept="/two")),
            "services[1].name: duplicate service name 'one' (rename one of them)",
        ),
        (
            lambda: errors(service(), service(name="two", accept="http://h/one")),
            "services[1].accept[0]: duplicate accept: it differs from service 'one' by its host alone, "
            "which is not compared (give them different paths, or set match-host: true on both)",
        ),
        (
            lambda: errors(service(), service(name="two", accept="/one/")),
            "services[1].accept[0]: duplicate accept: service 'one' accepts the same requests (change the path)",
        ),
        (
            lambda: errors(
                service(**{"accept": "ws://h/a", "match-host": True}),
                service(**{"name": "two", "accept": ["/b", "ws://H/a"], "match-host": True}),
            ),
            "services[1].accept[1]: duplicate accept: service 'one' accepts the same requests (change the path)",
        ),
        (
            lambda: errors(service(**{"match-host": True})),
            "services[0].match-host: match-host needs an accept URL with a host "
            "(write ws://host:port/path, or remove it)",
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
            "services[0].authorization-constraint: missing realm-name: a constraint needs a realm (add a realm-name)",
        ),
        (
            lambda: errors(service(**{"authorization-constraint": {"require-valid-user": False}})),
            "services[0].authorization-constraint: empty constraint: it requires nothing "
            "(name a require-role, or write require-valid-user)",
        ),
        (
            lambda: authentication(**{"http-header": "X Y"}),
            "security.realms[0].authentication.http-header[0]: invalid header name "
            "(write letters, digits, dash and underscore)",
        ),
        (
            lambda: authentication(**{"http-header": "authorization"}),
            "security.realms[0].authentication.http-header[0]: the Authorization header is always read (remove it)",
        ),
        (
            lambda: authentication(**{"http-header": ["X-A", "x-a"]}),
            "security.realms[0].authentication.http-header[1]: duplicate value (remove one)",
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
    assert "empty services" in problems({**document(), "services": []})[0]


def test_good_neighbours() -> None:
    """Services that differ by kind, by path or by a host that is compared do not conflict."""
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
    assert (problem.severity, problem.message) == ("warning", "unused realm 'spare'")


def test_recycle_with_passwords() -> None:
    """Sessions go with the Basic and Negotiate families."""
    for scheme in ("Basic", "Application Basic", "Negotiate", "application negotiate"):
        assert loaded(realms=(realm(**{"http-challenge-scheme": scheme, "authorization-mode": "validate"}),)).config
