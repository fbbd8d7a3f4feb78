"""The client's side of Kerberos: tokens as browsers and libraries make them, and modules asked as a chain asks them."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import gssapi

from asgi_gateway.model import AuthenticationToken, Grant
from asgi_gateway.modules.kerberos.gss import GssLoginModule
from asgi_gateway.modules.kerberos.kerberos5 import Kerberos5LoginModule
from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.plugins.login_module import LoginModule, ModuleContext
from asgi_gateway.stores.memory import MemoryState
from tests import helpers

KRB5 = gssapi.MechType.kerberos
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
Flag = gssapi.RequirementFlag


class Client:
    """A client that has tickets.

    Args:
        cache: the ticket cache's name.
        service: whom to talk to, as GSS-API writes it.
        mech: SPNEGO, or KRB5 for bare Kerberos.
        flags: what to ask for.
    """

    def __init__(self, cache: str, service: str = "HTTP@localhost", mech: Any = SPNEGO, flags: Any = None) -> None:
        credentials = gssapi.Credentials(usage="initiate", store={"ccache": cache})
        name = gssapi.Name(service, gssapi.NameType.hostbased_service)
        flags = [Flag.mutual_authentication] if flags is None else flags
        self.context = gssapi.SecurityContext(name=name, creds=credentials, usage="initiate", mech=mech, flags=flags)

    def token(self, answer: str | None = None) -> str:
        """The next token in base64, given the service's last one."""
        step = self.context.step(None if answer is None else base64.b64decode(answer))
        return base64.b64encode(step or b"").decode()


def module(kind: type[LoginModule], directory: Path, **options: Any) -> Any:
    """A login module with options, and a memory store on the system's clock."""
    clock = SystemClock()
    context: ModuleContext = helpers.context(directory, state=MemoryState(clock), clock=clock).context
    return kind(kind.Options.model_validate(options), context)


def acceptor(keytab: Path, **options: Any) -> Kerberos5LoginModule:
    """kerberos5 as acceptor."""
    values = {"principal": "*", "isInitiator": False, "useKeyTab": True, "storeKey": True, "doNotPrompt": True}
    found: Kerberos5LoginModule = module(Kerberos5LoginModule, keytab.parent, keyTab=str(keytab), **(values | options))
    return found


def attempt(token: str | None, **values: Any) -> helpers.Attempt:
    """An attempt with a Negotiate token."""
    components = () if token is None else ((None, token),)
    return helpers.attempt(token=AuthenticationToken("negotiate", components), **values)


async def login(kerberos5: LoginModule, gss: GssLoginModule, token: str | None, **values: Any) -> Grant:
    """Ask kerberos5, then gss, as the chain does; returns the grant of gss."""
    asked = attempt(token, **values)
    await kerberos5.login(asked)
    grant = await gss.login(asked)
    assert grant is not None
    return grant


def shift_clock(cache: str, seconds: int) -> None:
    """Make a ticket cache say that the KDC's clock is ahead, so that its user's tokens carry that time.

    Source: MIT Kerberos, "Credential cache file format", version 4, tag 1.
    """
    file = Path(cache.removeprefix("FILE:"))
    data = file.read_bytes()
    version, size = struct.unpack(">HH", data[:4])
    assert version == 0x0504
    file.write_bytes(struct.pack(">HHHHii", version, 12, 1, 8, seconds, 0) + data[4 + size :])


def with_version(keytab: bytes, version: int) -> bytes:
    """A keytab whose keys have another version number, as other programs write it.

    Source: MIT Kerberos, "Keytab file format" (version 0x0502).
    """
    result, position = keytab[:2], 2
    while position + 4 <= len(keytab):
        (size,) = struct.unpack_from(">i", keytab, position)
        record = bytearray(keytab[position + 4 : position + 4 + size])
        at = 2
        for _ in range(struct.unpack_from(">H", record)[0] + 1):
            at += 2 + struct.unpack_from(">H", record, at)[0]
        at += 8
        record[at] = version
        key = at + 5 + struct.unpack_from(">H", record, at + 3)[0]
        result += struct.pack(">i", key) + record[:key]  # without the wider field that may follow
        position += 4 + size
    return result
