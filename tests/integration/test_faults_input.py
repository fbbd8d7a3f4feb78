"""Inputs that are too large, too many, too slow or not text."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator

import pytest

from tests.integration.process import Process
from tests.integration.raw import UPGRADE, connected, credentials, exchange, head, status_of
from tests.integration.servers import ask, basic, serve

RIGHT = credentials("alice", "wonderland")
KIB = 1024
LINE = 7 * KIB
"""Websockets takes lines of 8 KiB at the most, and uvicorn never answers a handshake with a longer one."""


@pytest.fixture(scope="module", params=["uvicorn", "uvicorn-no-lifespan", "granian"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("faults:app", request.param, log=tmp_path_factory.mktemp(request.param) / "log") as process:
        yield process
        assert "Traceback" not in process.output()


def long_base64(size: int) -> str:
    return b64encode(b"alice:" + b"x" * size).decode()


OVERSIZE = {
    "authorization": head("/places", f"Authorization: Basic {long_base64(48 * KIB)}\r\n"),
    "authorization without an end": head("/places", f"Authorization: {'Basic' * 12 * KIB}\r\n"),
    "authorization of blanks": head("/places", f"Authorization: Basic{' ' * 60 * KIB}x\r\n"),
    "authorization of commas": head("/places", f"Authorization: Digest {',' * 60 * KIB}\r\n"),
    "authorization of quotes": head("/places", "Authorization: Digest " + 'a="\\' * 15 * KIB + "\r\n"),
    "configured header": head("/places", f"X-Key: {'x' * 60 * KIB}\r\n"),
    "cookies": head("/places", "Cookie: " + "; ".join(f"name{i}=value" for i in range(1000)) + "\r\n"),
    "cookies of the one name": head("/places", "Cookie: " + "pass=x; " * 1000 + "\r\n"),
    "cookie lines": head("/places", "Cookie: pass=x\r\n" * 90),
    "cookie of semicolons": head("/places", f"Cookie: {';' * 60 * KIB}\r\n"),
    "parameters": head("/places?" + "&".join(f"name{i}=value" for i in range(1000))),
    "parameters of the one name": head("/places?" + "ticket=x&" * 1000),
    "parameter of percents": head("/places?ticket=" + "%" * 30 * KIB),
    "encoded parameter": head("/places?ticket=" + "%41" * 10 * KIB),
    "path": head("/places/" + "a" * 60 * KIB),
    "path of segments": head("/places" + "/a" * 30 * KIB),
    "headers": head("/places", *(f"X-Any-{i}: value\r\n" for i in range(90))),
    "method": head("/places", method="A" * 30 * KIB),
    "bytes": head("/places", "Authorization: Basic \xff\xfe\xa0\x80\r\n"),
    "bytes in a cookie": head("/places", "Cookie: pass=\xff\xfe; \xe4=\xf6\r\n"),
    "bytes in a header": head("/places", "X-Key: \xff\xfe\r\n"),
    "bytes in a parameter": head("/places?ticket=%ff%fe&%ff=%00"),
    "truncated base64": head("/places", "Authorization: Basic YWxpY2U6d29uZGVybGFuZ\r\n"),
    "base64 of bytes": head("/places", f"Authorization: Basic {b64encode(bytes(range(256))).decode()}\r\n"),
    "base64 of a lone colon": head("/places", "Authorization: Basic Og==\r\n"),
    "no credentials after the scheme": head("/places", "Authorization: Basic\r\n"),
    "empty authorization": head("/places", "Authorization: \r\n"),
    "long origin": head("/places/echo", UPGRADE, f"Origin: http://{'a' * LINE}\r\n"),
    "long host": head("/places/echo", UPGRADE, "Origin: http://a\r\n", host=f"Host: {'a' * LINE}\r\n"),
    "long handshake": head("/places/echo", UPGRADE, f"Authorization: Basic {long_base64(LINE * 2 // 3)}\r\n"),
}


@pytest.mark.timing
@pytest.mark.parametrize("data", OVERSIZE.values(), ids=OVERSIZE.keys())
def test_oversize(server: Process, data: bytes) -> None:
    """No input, however large or spoilt, gets a 5xx, takes long, or gets in."""
    began = time.monotonic()
    response = exchange(server, data)
    assert time.monotonic() - began < 2
    assert 400 <= status_of(response) < 500 or (status_of(response) == 0 and server.name == "granian")
    assert b'"who"' not in response


@pytest.mark.timing
def test_slow_heads(server: Process) -> None:
    """Clients that send their head byte by byte keep nobody else waiting."""
    slow = head("/places", RIGHT)
    began = time.monotonic()
    with connected(server, slow[:1]) as one, connected(server, slow[:1]) as other:
        for byte in slow[1:-1]:
            one.sendall(bytes([byte]))
            other.sendall(bytes([byte]))
        assert ask(server, "/who", *basic("alice", "wonderland").items())[0] == 200
        one.sendall(slow[-1:])
        assert one.recv(12) == b"HTTP/1.1 200"
    assert time.monotonic() - began < 5
