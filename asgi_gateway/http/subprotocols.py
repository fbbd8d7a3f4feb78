"""Read credentials among a WebSocket's subprotocols: ``Sec-WebSocket-Protocol: bearer.<token>, chat``.

A browser's script can set no header of a WebSocket but this one. The credential is removed from the list before the
application sees it, so that no application can choose it and no server can send it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.headers import store_once

__all__ = ["PROTOCOL", "subprotocol_values", "without_credentials"]

PROTOCOL = b"sec-websocket-protocol"
"""The header (RFC 6455 section 11.3.4); several lines are one list."""
_MAX_OFFERED = 100


def subprotocol_values(lines: Sequence[bytes], names: Iterable[str]) -> dict[str, str]:
    """Return the credentials in the header's lines.

    Args:
        lines: the header's values.
        names: the wanted credentials; ``bearer`` names the token in ``bearer.<token>``.

    Returns:
        the credentials by name; a missing one is left out.

    Raises:
        HeaderError: a credential is a duplicate, is empty or has a control character, or the list is too long.
    """
    found: dict[str, str] = {}
    if sum(line.count(b",") for line in lines) >= _MAX_OFFERED:
        raise HeaderError("too many subprotocols")
    known = frozenset(names)
    for offered in (each.strip(" \t") for line in lines for each in line.decode("latin-1").split(",")):
        name, dot, value = offered.partition(".")
        if name not in known or not dot:
            continue
        if not value:
            raise HeaderError(f"subprotocol {name} has no value")
        store_once(found, "subprotocol", name, value)
    return found


def without_credentials(scope: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the headers and subprotocols of a WebSocket's scope without credentials.

    Args:
        scope: the ASGI scope.
        names: the credentials' names.

    Returns:
        the keys of the scope that have to be replaced, with their new values.
    """
    prefixes = tuple(f"{name}." for name in names)
    headers = []
    for name, value in scope["headers"]:
        if name == PROTOCOL:
            offered = [each.strip(b" \t") for each in value.split(b",")]
            left = [each for each in offered if not each.decode("latin-1").startswith(prefixes)]
            if not left:
                continue
            value = b", ".join(left)
        headers.append((name, value))
    offered = [each for each in scope.get("subprotocols", ()) if not each.startswith(prefixes)]
    return {"headers": headers, "subprotocols": offered}
