"""A back end of http.proxy: it streams, takes uploads, and tells what it was asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

PIECE = b"x" * 65_536
SEEN: list[str] = []
COUNTS = {"active": 0}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the last part of the path."""
    if scope["type"] != "http":
        return
    name = scope["path"].rpartition("/")[2]
    if name not in ("seen", "active"):
        SEEN.append(f"{scope['method']} {scope['path']}")
    COUNTS["active"] += 1
    try:
        await ANSWERS.get(name, told)(scope, receive, send)
    finally:
        COUNTS["active"] -= 1


async def answer(send: Any, value: Any, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    body = json.dumps(value).encode()
    lines = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


async def told(scope: Any, receive: Any, send: Any) -> None:
    """What the request was, its body's length included."""
    length = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        length += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    path = scope["raw_path"].decode() + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
    await answer(send, {"method": scope["method"], "target": path, "headers": headers, "length": length})


async def big(scope: Any, receive: Any, send: Any) -> None:
    """As many bytes as the query says."""
    pieces = int(scope["query_string"]) // len(PIECE)
    length = (b"content-length", b"%d" % (pieces * len(PIECE)))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    for number in range(pieces):
        await send({"type": "http.response.body", "body": PIECE, "more_body": number < pieces - 1})


async def events(scope: Any, receive: Any, send: Any) -> None:
    """An event every 50 milliseconds until the client leaves."""
    lines = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": lines})
    leaving = asyncio.create_task(left(receive))
    number = 0
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        number += 1
        await asyncio.wait({leaving}, timeout=0.05)


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """No answer until the client leaves."""
    await left(receive)


async def left(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def moved(scope: Any, receive: Any, send: Any) -> None:
    """A redirect to a path of the back end's own, with a cookie for it."""
    host = dict(scope["headers"])[b"host"]
    headers = ((b"location", b"http://" + host + b"/inner/there"), (b"set-cookie", b"a=1; Path=/inner"))
    await answer(send, None, *headers, status=302)


async def seen(scope: Any, receive: Any, send: Any) -> None:
    """All requests so far, and no more of them."""
    found = list(SEEN)
    SEEN.clear()
    await answer(send, found)


async def active(scope: Any, receive: Any, send: Any) -> None:
    """How many requests are being answered, but this."""
    await answer(send, COUNTS["active"] - 1)


ANSWERS: dict[str, Any] = {
    "big": big,
    "events": events,
    "silent": silent,
    "moved": moved,
    "seen": seen,
    "active": active,
}
