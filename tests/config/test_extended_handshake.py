"""``extended-handshake``: off unless configured, on in the original's files, and written out by ``convert``."""

from __future__ import annotations

from typing import Literal

import pytest

from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.config.load import loads

BODY = """<service><name>s</name><accept>ws://localhost:8001/s</accept></service>"""


def xml(namespace: str | None, inside: str = "", prefix: str = "") -> str:
    """A file with one service; its root in a namespace, with a prefix if one is given."""
    declared = "" if namespace is None else f' xmlns{":" + prefix if prefix else ""}="{namespace}"'
    name = f"{prefix}:gateway-config" if prefix else "gateway-config"
    return f"<{name}{declared}>{inside}{BODY}</{name}>"


def configured(text: str, form: Literal["xml", "yaml"] = "xml") -> bool:
    return loads(text, form).config.extended_handshake


@pytest.mark.parametrize(
    "namespace",
    [
        "http://xmlns.kaazing.org/2014/09/gateway",
        "http://xmlns.kaazing.org/2016/06/gateway",
        "http://xmlns.kaazing.org/2012/09/gateway",
        "http://xmlns.kaazing.com/2012/08/gateway",
    ],
)
def test_on_in_a_file_of_the_original(namespace: str) -> None:
    """The root element in a namespace of the original turns it on, whatever the prefix; the file may turn it off."""
    assert configured(xml(namespace)) is True
    assert configured(f'<k:gateway-config xmlns:k="{namespace}">{BODY}</k:gateway-config>') is True
    assert configured(xml(namespace, "<extended-handshake>false</extended-handshake>")) is False


@pytest.mark.parametrize(
    "namespace",
    [
        None,
        "http://xmlns.kaazing.org/2014/09/gateway/extended",
        "http://xmlns.kaazing.org.example.com/2014/09/gateway",
        "http://xmlns.kaazing.org/gateway",
        "https://example.com/gateway",
    ],
)
def test_off_in_other_files(namespace: str | None) -> None:
    """Another root, or another namespace, leaves it off unless the file turns it on."""
    assert configured(xml(namespace)) is False
    assert configured(xml(namespace, "<extended-handshake>true</extended-handshake>")) is True


def test_off_below_another_root() -> None:
    """A file whose root is security has it off, whatever its namespace."""
    module = "<login-module><type>class:a.b.C</type><success>required</success></login-module>"
    authentication = (
        "<authentication><http-challenge-scheme>Basic</http-challenge-scheme>"
        f"<login-modules>{module}</login-modules></authentication>"
    )
    realm = f"<realm><name>r</name>{authentication}</realm>"
    assert configured(f'<security xmlns="http://xmlns.kaazing.org/2014/09/gateway">{realm}</security>') is False


def test_yaml() -> None:
    """The YAML form has it off unless the file turns it on."""
    services = "services: [{name: s, accept: /s}]\n"
    assert configured(services, "yaml") is False
    assert configured(services + "extended-handshake: true\n", "yaml") is True
    assert configured(services + "extended-handshake: false\n", "yaml") is False


@pytest.mark.parametrize("namespace", ["http://xmlns.kaazing.org/2014/09/gateway", None])
@pytest.mark.parametrize("inside", ["", "<extended-handshake>false</extended-handshake>"])
def test_convert_writes_it(namespace: str | None, inside: str) -> None:
    """Both spellings of one file mean the same, and the YAML says so where it is on."""
    loaded = loads(xml(namespace, inside), "xml")
    for text, form in ((to_yaml(loaded), "yaml"), (to_xml(loaded), "xml")):
        assert loads(text, form).config == loaded.config  # type: ignore[arg-type]
    assert ("extended-handshake: true" in to_yaml(loaded)) is loaded.config.extended_handshake
