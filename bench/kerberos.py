"""What Negotiate costs under uvicorn, a fresh token on every request: ratios to ASGI classes that only call gssapi.

All servers run at once and are asked in turns; what counts is the processor time that each uses for a request, since
the client needs the machine as well. Tokens are made beforehand.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.served import server

TOKENS, ROUNDS, CONNECTIONS = 600, 11, 8
PEERS = ("gateway", "peer_with_replay_cache", "peer_without")


class Peer:
    """The least that takes a ticket: decode, step, name.

    Args:
        app: the application.
        store: what gssapi is to use.
    """

    def __init__(self, app: Any, store: dict[str, str]) -> None:
        import gssapi

        self.app, self.gssapi = app, gssapi
        self.credentials = gssapi.Credentials(usage="accept", store=store)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        value = next(value for name, value in scope["headers"] if name == b"authorization")
        context = self.gssapi.SecurityContext(creds=self.credentials, usage="accept")
        final = context.step(base64.b64decode(value[10:]))
        if not context.complete:
            raise RuntimeError("refused")
        scope["user"] = str(context.initiator_name)
        header = (b"www-authenticate", b"Negotiate " + base64.b64encode(final))

        async def adding(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        await self.app(scope, receive, adding)


def peer_with_replay_cache() -> Peer:
    """As anybody would write it: libkrb5 remembers tokens in a file of this host."""
    from bench.apps import bare

    return Peer(bare, {"keytab": os.environ["KRB5_KTNAME"]})


def peer_without() -> Peer:
    """The floor: a class that takes the same token twice."""
    from bench.apps import bare

    return Peer(bare, {"keytab": os.environ["KRB5_KTNAME"], "rcache": "none:"})


def gateway() -> Any:
    """The gateway: kerberos5 and gss, tokens remembered in memory."""
    from asgi_gateway import GatewayMiddleware
    from bench.apps import bare

    acceptor = {"isInitiator": False, "useKeyTab": True, "principal": "*", "storeKey": True}
    modules = [
        {"type": "kerberos5", "success": "required", "options": acceptor},
        {"type": "gss", "success": "required"},
    ]
    authentication = {"http-challenge-scheme": "Negotiate", "login-modules": modules}
    return GatewayMiddleware(bare, {"security": {"realms": [{"name": "bench", "authentication": authentication}]}})


def tokens(count: int) -> Iterator[bytes]:
    """Fresh tokens for HTTP@localhost."""
    import gssapi

    spnego = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
    name = gssapi.Name("HTTP@localhost", gssapi.NameType.hostbased_service)
    flags = [gssapi.RequirementFlag.mutual_authentication]
    credentials = gssapi.Credentials(usage="initiate")
    for _ in range(count):
        context = gssapi.SecurityContext(name=name, creds=credentials, usage="initiate", mech=spnego, flags=flags)
        yield base64.b64encode(context.step())


async def ask(port: int, fresh: list[bytes]) -> None:
    """Use up tokens on some connections at once; each must be let in."""

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while fresh:
            token = fresh.pop()
            writer.write(
                b"GET /app/hello HTTP/1.1\r\nHost: localhost\r\nAuthorization: Negotiate " + token + b"\r\n\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            await reader.readexactly(5)
        writer.close()

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    """Measure and print."""
    if shutil.which("krb5kdc", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        return print("\nNegotiate: not measured, krb5kdc is not installed")
    from tests.integration.kdc import realm

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kdc = stack.enter_context(realm(folder / "kdc"))
        kdc.user("alice", "alicepw")
        os.environ |= kdc.environment | {
            "KRB5_KTNAME": f"FILE:{kdc.keytab}",
            "KRB5CCNAME": kdc.kinit("alice", "alicepw"),
        }
        servers = [stack.enter_context(server(f"bench.kerberos:{name}", "--factory")) for name in PEERS]
        used = [0.0] * len(servers)
        for number in range(ROUNDS + 1):
            for index, (port, pid) in enumerate(servers):
                fresh = list(tokens(TOKENS))
                before = processor_seconds(pid)
                await ask(port, fresh)
                used[index] += (processor_seconds(pid) - before) * bool(number)  # the first round is for warming up
    print("\nNegotiate under uvicorn, a fresh ticket each time (gateway / class that only calls gssapi)")
    rows = (("with libkrb5's replay cache", "at least 0.95"), ("that lets replays in", ""))
    for index, (what, bound) in enumerate(rows, 1):
        rate = TOKENS * ROUNDS / used[0]
        print(f"  {what:<62} {used[index] / used[0]:6.3f}  {rate:8.0f} for a second of processor time   {bound}")
    return None


if __name__ == "__main__":
    asyncio.run(main())
