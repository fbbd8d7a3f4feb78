"""From a Kerberos principal to the user's name: realms refused, stripped or mapped."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator

from asgi_gateway.errors import LoginFailed
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions

__all__ = ["NameOptions", "check_realm", "split_principal", "user_name", "words"]

_UNUSUAL = re.compile(r"[\\\x00-\x1f\x7f]")


def words(value: object) -> object:
    """An option's text as words, separated by spaces or commas; other values as they are."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class NameOptions(ModuleOptions):
    """Options of kerberos5 and gss that say which principals may come in, and under which name.

    Attributes:
        clientRealm: ``keep``: the user is ``alice@EXAMPLE.COM``; ``strip``: ``alice``, in the gateway's own realm only,
            so that nobody of another realm takes a local user's name; ``map``: as ``auth_to_local`` of krb5.conf says.
        refuseForeignRealms: refuse everyone who is not of the gateway's own realm.
        refuseRealms: realms whose users are refused.
    """

    clientRealm: Literal["keep", "strip", "map"] = "keep"
    refuseForeignRealms: Boolean = False
    refuseRealms: Annotated[tuple[str, ...], BeforeValidator(words)] = ()


def split_principal(principal: str) -> tuple[str, str]:
    """Name and realm of a principal; the realm is empty if the text has none.

    Raises:
        LoginFailed: a name that needs escapes, which could be read in two ways, or that is empty.
    """
    if _UNUSUAL.search(principal):
        raise LoginFailed("a principal with escaped or control characters is refused")
    name, at, realm = principal.rpartition("@") if "@" in principal else (principal, "", "")
    if not name or "@" in name or (at and not realm):
        raise LoginFailed("not a principal's name")
    return name, realm


def check_realm(principal: str, local_realm: str, options: NameOptions) -> tuple[str, str]:
    """Refuse principals of refused realms.

    Returns:
        Name and realm of a principal that is not refused.

    Raises:
        LoginFailed: the realm is refused, or the principal is the anonymous one (RFC 8062).
    """
    name, realm = split_principal(principal)
    if realm.startswith("WELLKNOWN:") or name.startswith("WELLKNOWN/"):
        raise LoginFailed("anonymous principals are refused")
    if realm in options.refuseRealms:
        raise LoginFailed("the user's realm is one that refuseRealms lists")
    if options.refuseForeignRealms and realm != local_realm:
        raise LoginFailed(f"the user is not of the realm {local_realm}, and refuseForeignRealms is set")
    return name, realm


def user_name(principal: str, local_realm: str, options: NameOptions) -> str:
    """The user's name for a principal that was authenticated.

    Args:
        principal: ``name@REALM``, as the library shows it.
        local_realm: the realm that ``strip`` removes and that is not foreign.
        options: what the operator wants.

    Raises:
        LoginFailed: the principal is refused, or has no local name.
    """
    name, realm = check_realm(principal, local_realm, options)
    if options.clientRealm == "map":
        return libkrb5.local_name(principal)
    return name if options.clientRealm == "strip" and realm == local_realm else principal
