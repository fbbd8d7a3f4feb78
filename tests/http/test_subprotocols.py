"""Credentials among a WebSocket's subprotocols."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.errors import HeaderError
from asgi_gateway.http.subprotocols import subprotocol_values, without_credentials
from asgi_gateway.model import Grant
from asgi_gateway.schemes import ApplicationTokenScheme
from tests.gateways import World, ask, scope, service, tokens, wrapped

PROTOCOL = b"sec-websocket-protocol"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"bearer.abc, chat"], {"bearer": "abc"}),
        ([b"chat,bearer.a.b-c_d"], {"bearer": "a.b-c_d"}),
        ([b"chat", b"bearer.abc"], {"bearer": "abc"}),
        ([b"chat, bearer, Bearer.abc, xbearer.abc"], {}),
        ([], {}),
    ],
)
def test_values(lines: list[bytes], expected: dict[str, str]) -> None:
    """What follows the name and its first dot is the credential, in whichever line and place; names are exact."""
    assert subprotocol_values(lines, ["bearer"]) == expected


@pytest.mark.parametrize(
    "lines",
    [[b"bearer.a, bearer.b"], [b"bearer.a", b"bearer.a"], [b"bearer."], [b"a," * 200]],
    ids=["twice", "twice in two lines", "empty", "too many"],
)
def test_refused(lines: list[bytes]) -> None:
    """A credential that is doubled or empty, and an endless list, are refused."""
    with pytest.raises(HeaderError):
        subprotocol_values(lines, ["bearer"])


def test_stripped() -> None:
    """Neither the header nor the list shows credentials; other subprotocols and headers stay in order."""
    headers = [(b"host", b"x"), (PROTOCOL, b"v1, bearer.abc"), (PROTOCOL, b"bearer.d"), (PROTOCOL, b"v2")]
    left = without_credentials({"headers": headers, "subprotocols": ["v1", "bearer.abc", "bearer.d", "v2"]}, ["bearer"])
    assert left == {"headers": [(b"host", b"x"), (PROTOCOL, b"v1"), (PROTOCOL, b"v2")], "subprotocols": ["v1", "v2"]}


def gateway() -> Any:
    """A realm whose module takes the token ``good`` from the subprotocols."""
    world = World()

    async def login(attempt: Any) -> Grant | None:
        return Grant.user("joe", ["R"]) if attempt.token.get("bearer") == "good" else None

    reader = CredentialReader(subprotocols=["bearer"])
    realm = world.realm(tokens(login), reader=reader, schemes=[ApplicationTokenScheme()])
    return world.gateway(service("chat", "/chat", realm))


def handshake(*offered: str) -> dict[str, Any]:
    header = (PROTOCOL, ", ".join(offered).encode())
    return scope("/chat", header, kind="websocket", subprotocols=list(offered))


@pytest.mark.anyio
async def test_the_application_never_sees_it() -> None:
    """The login is the token's, and the application's scope holds no trace of it."""
    app, entered = wrapped(gateway())
    await ask(app, handshake("bearer.good", "v1"))
    (seen,) = entered.scopes
    assert seen["user"].display_name == "joe"
    assert seen["subprotocols"] == ["v1"]
    assert "good" not in repr(seen)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("offered", "status"), [(["bearer.bad", "v1"], 403), (["v1"], 401), (["bearer.good", "bearer.good"], 403)]
)
async def test_refused_handshakes(offered: list[str], status: int) -> None:
    """A wrong token, none and a doubled one never reach the application."""
    app, entered = wrapped(gateway())
    server = await ask(app, handshake(*offered))
    assert server.status == status
    assert entered.scopes == []
