"""Basic and Application Basic."""

from __future__ import annotations

import base64

import pytest

from asgi_gateway.errors import HeaderError
from asgi_gateway.interfaces import UserNamePassword
from asgi_gateway.model import AuthenticationToken
from asgi_gateway.schemes.basic import ApplicationBasicScheme, BasicScheme


def test_challenges() -> None:
    """The challenge names the realm, quoted, as the configured scheme has it; data is appended."""
    assert BasicScheme().challenge("Demo") == 'Basic realm="Demo"'
    assert ApplicationBasicScheme().challenge("Demo", ("a", "b=c")) == 'Application Basic realm="Demo" a b=c'
    assert BasicScheme().challenge('a"b\\c\r\nd') == 'Basic realm="a\\"b\\\\c  d"'


@pytest.mark.parametrize("scheme", [BasicScheme(), ApplicationBasicScheme()])
def test_read(scheme: BasicScheme) -> None:
    """The first component holds user name and password; no component is no credentials, others are refused."""
    encoded = base64.b64encode(b"joe:s3cret").decode()
    read = scheme.read(AuthenticationToken("basic", [(None, encoded)]))
    assert read == UserNamePassword("joe", "s3cret")
    assert "s3cret" not in repr(read)
    assert scheme.read(AuthenticationToken("")) is None
    with pytest.raises(HeaderError):
        scheme.read(AuthenticationToken("basic", [(None, "!")]))


def test_one_scheme_on_the_line() -> None:
    """Both are basic on the Authorization line, challenge again, and add nothing to a success."""
    for scheme in (BasicScheme(), ApplicationBasicScheme()):
        assert (scheme.wire_name, scheme.forbids, scheme.recycles) == ("basic", False, True)
        assert scheme.success(("x",)) == ()
