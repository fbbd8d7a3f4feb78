"""Derive a user's name from a Kerberos principal: realms are refused, stripped or mapped."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator

from asgi_gateway.errors import LoginFailed
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions

__all__ = ["NameOptions", "check_realm", "check_rules", "split_principal", "user_name", "words"]

_UNUSUAL = re.compile(r"[\\\x00-\x1f\x7f]")


def words(value: object) -> object:
    """Split an option's text at spaces and commas; return other values unchanged."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class NameOptions(ModuleOptions):
    """Options of kerberos5 and gss: the principals that are refused, and the user names of the others.

    Attributes:
        clientRealm: ``keep``: the user is ``alice@EXAMPLE.COM``; ``strip``: ``alice``, for users of the local realm
            only, so that no user of another realm gets a local user's name; ``map``: by ``auth_to_local`` of krb5.conf.
        refuseForeignRealms: refuse all users of other realms than the local one.
        refuseRealms: realms whose users are refused, in any case.
    """

    clientRealm: Literal["keep", "strip", "map"] = "keep"
    refuseForeignRealms: Boolean = False
    refuseRealms: Annotated[tuple[str, ...], BeforeValidator(words)] = ()


def check_rules(options: NameOptions, warn: Callable[[str], None]) -> None:
    """Warn of ``auth_to_local`` rules that refuse every user, where the options use them.

    Args:
        options: the options that say whether names are mapped.
        warn: called with the warning.
    """
    realm = libkrb5.default_realm() if options.clientRealm == "map" else None
    if realm is not None and (error := libkrb5.auth_to_local_error(realm)) is not None:
        warn(f"clientRealm=map: {error}")


def split_principal(principal: str) -> tuple[str, str]:
    """Return name and realm of a principal; the realm is empty if the text has none.

    Raises:
        LoginFailed: the name is empty, or needs escapes and is therefore ambiguous.
    """
    if _UNUSUAL.search(principal):
        raise LoginFailed("invalid principal: escaped or control characters are refused")
    name, at, realm = principal.rpartition("@") if "@" in principal else (principal, "", "")
    if not name or "@" in name or (at and not realm):
        raise LoginFailed("invalid principal")
    return name, realm


def check_realm(principal: str, local_realm: str, options: NameOptions) -> tuple[str, str]:
    """Check that a principal's realm is not refused.

    Args:
        principal: ``name@REALM``.
        local_realm: the gateway's own realm.
        options: the options with the refused realms.

    Returns:
        The principal's name and realm.

    Raises:
        LoginFailed: the realm is refused, or the principal is the anonymous one (RFC 8062).
    """
    name, realm = split_principal(principal)
    if realm.startswith("WELLKNOWN:") or name.startswith("WELLKNOWN/"):
        raise LoginFailed("anonymous principals are refused")
    if realm.casefold() in (refused.casefold() for refused in options.refuseRealms):
        raise LoginFailed("the user's realm is listed in refuseRealms")
    if options.refuseForeignRealms and realm != local_realm:
        raise LoginFailed(f"the user is not in realm {local_realm} (refuseForeignRealms)")
    return name, realm


def user_name(principal: str, local_realm: str, options: NameOptions) -> str:
    """Return the user's name for an authenticated principal.

    Args:
        principal: ``name@REALM``, as libkrb5 writes it.
        local_realm: the realm that ``strip`` removes and that is not foreign.
        options: the options that say how.

    Raises:
        LoginFailed: the principal is refused, or has no local name.
    """
    name, realm = check_realm(principal, local_realm, options)
    if options.clientRealm == "map":
        return libkrb5.local_name(principal)
    return name if options.clientRealm == "strip" and realm == local_realm else principal
