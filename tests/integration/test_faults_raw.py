"""What no HTTP library would send: each request is refused or decided as the plain one, by every parser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.process import Process
from tests.integration.raw import HOST, UPGRADE, credentials, exchange, head, status_of
from tests.integration.servers import serve

RIGHT = credentials("alice", "wonderland")
SERVERS = ("uvicorn", "uvicorn-no-lifespan", "hypercorn", "granian")
"""Four parsers: httptools, h11 below uvicorn and below hypercorn, and hyper."""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("faults:app", request.param, log=tmp_path_factory.mktemp(request.param) / "log") as process:
        yield process
        assert "Traceback" not in process.output()


TARGETS = {
    "absolute": "http://gateway.example/who",
    "absolute, host like a public path": "http://public/who",
    "absolute with user": "http://alice:wonderland@gateway.example/who",
    "asterisk": "*",
    "empty segment": "//who",
    "authority like a path": "//public/who",
    "path parameter": "/public/..;/who",
    "encoded dots and slash": "/public/%2e%2e%2fwho",
    "dots": "/public/../who",
    "dots in the middle": "/public/.././who",
    "twice encoded": "/public/%252e%252e/who",
    "backslashes": "/public\\..\\who",
    "NUL": "/public\x00/../who",
    "encoded NUL": "/who%00",
    "encoded newline": "/who%0a",
    "byte that is not UTF-8": "/who\xff",
    "encoded byte that is not UTF-8": "/who%ff",
    "overlong UTF-8": "/public/%c0%ae%c0%ae/who",
    "full-width solidus": "/public/%ef%bc%8f..%ef%bc%8fwho",
    "fragment": "/who#/public",
    "query": "/who?/public",
    "query that climbs": "/who?/../public",
    "tab": "/who\t/public",
    "blank": "/who /public",
    "no slash": "who",
    "nothing": "",
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_targets(server: Process, target: str) -> None:
    """A request target of any form never opens what is closed to its client."""
    response = exchange(server, head(target))
    assert 400 <= status_of(response) < 500
    assert b'"who"' not in response


METHODS = ("get", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO")


@pytest.mark.parametrize("method", METHODS)
def test_methods(server: Process, method: str) -> None:
    """No method is exempt, written in capitals or not; a preflight is answered where a rule says so, not elsewhere."""
    preflight = ("Origin: https://evil.example\r\n", "Access-Control-Request-Method: GET\r\n")
    for lines in ((), preflight):
        response = exchange(server, head("/who", *lines, method=method) + b"\r\n")
        assert 400 <= status_of(response) < 500
        assert b'"who"' not in response
        assert b"access-control-allow" not in response.lower()


def test_options_asterisk(server: Process) -> None:
    """``OPTIONS *`` names no service, so it is refused."""
    assert 400 <= status_of(exchange(server, head("*", method="OPTIONS"))) < 500


WIDENING = {
    "two hosts": "Host: public\r\n",
    "connection names authorization": "Connection: authorization\r\n",
    "method override": "X-HTTP-Method-Override: OPTIONS\r\nX-HTTP-Method: OPTIONS\r\n_method: OPTIONS\r\n",
    "rewritten URL": "X-Original-URL: /public\r\nX-Rewrite-URL: /public\r\nX-Forwarded-Prefix: /public\r\n",
    "forwarded identity": "X-Forwarded-User: alice\r\nRemote-User: alice\r\nX_Remote_User: alice\r\n",
    "forwarded address": "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1;host=public\r\n",
    "underscore": RIGHT.replace("Authorization", "Authoriz_ation"),
    "blank before the colon": RIGHT.replace(":", " :"),
    "blank in front": "X-Any: value\r\n " + RIGHT,
    "credentials in a folded line of another": "X-Any: value\r\n\t" + RIGHT,
    "proxy's": RIGHT.replace("Authorization", "Proxy-Authorization"),
    "query's": "X-Any: /who?authorization=Basic\r\n",
}


@pytest.mark.parametrize("lines", WIDENING.values(), ids=WIDENING.keys())
def test_headers_that_widen_nothing(server: Process, lines: str) -> None:
    """No header but well-formed credentials in their configured place opens anything."""
    response = exchange(server, head("/who", lines))
    assert 400 <= status_of(response) < 500
    assert b'"who"' not in response


SPOILT = {
    "twice": RIGHT + RIGHT,
    "twice, in two cases": RIGHT + RIGHT.replace("Authorization", "AUTHORIZATION"),
    "twice, the second one wrong": RIGHT + credentials("alice", "wrong"),
    "twice, the second one folded": RIGHT + RIGHT.replace("Basic ", "Basic\r\n "),
    "joined by a comma": RIGHT.rstrip() + ", Basic x\r\n",
    "truncated": RIGHT[:-3] + "\r\n",
    "not ASCII": RIGHT.replace("Basic ", "Basic\xa0"),
    "NUL": RIGHT[:-2] + "\x00\r\n",
    "vertical tab": RIGHT.replace("Basic ", "Basic\x0b"),
}


@pytest.mark.parametrize("lines", SPOILT.values(), ids=SPOILT.keys())
def test_spoilt_credentials(server: Process, lines: str) -> None:
    """Right credentials that are there twice, or not in their exact form, are refused."""
    response = exchange(server, head("/who", lines))
    assert 400 <= status_of(response) < 500
    assert b"alice" not in response


SAME = {
    "lower case": RIGHT.replace("Authorization", "authorization"),
    "upper case": RIGHT.replace("Authorization", "AUTHORIZATION"),
    "scheme in capitals": RIGHT.replace("Basic", "BASIC"),
    "connection names authorization": RIGHT + "Connection: authorization\r\n",
}


@pytest.mark.parametrize("lines", SAME.values(), ids=SAME.keys())
def test_the_same_request(server: Process, lines: str) -> None:
    """The case of names changes nothing, and ``Connection`` takes no credentials away."""
    assert b'"alice"' in exchange(server, head("/who", lines))


def test_folded_line(server: Process) -> None:
    """A folded credential (obs-fold) is refused or read as the plain one, and never without its check."""
    folded = exchange(server, head("/who", RIGHT.replace("Basic ", "Basic\r\n ")))
    assert status_of(folded) == 400 or b'"alice"' in folded
    wrong = exchange(server, head("/who", credentials("alice", "wrong").replace("Basic ", "Basic\r\n ")))
    assert status_of(wrong) in (400, 401)


def test_old_versions(server: Process) -> None:
    """HTTP/1.0 without Host is decided as the plain request; HTTP/0.9 opens nothing."""
    old = {"version": "HTTP/1.0", "host": ""}
    assert status_of(exchange(server, head("/who", **old))) == 401
    assert b'"alice"' in exchange(server, head("/who", RIGHT, **old))
    assert b'"who"' not in exchange(server, b"GET /who\r\n\r\n")


def test_smuggled(server: Process) -> None:
    """A request hidden in the body of a public one is never answered as if it were public."""
    hidden = head("/who")
    both = f"Content-Length: {len(hidden) + 5}\r\nTransfer-Encoding: chunked\r\n"
    for lines in (both, "Content-Length: 0\r\nContent-Length: 5\r\n", "Transfer-Encoding: chunked, identity\r\n"):
        response = exchange(server, head("/public", lines) + b"0\r\n\r\n" + hidden)
        assert response.count(b'"who":') <= 1  # the public one's own
        assert b'"alice"' not in response


def handshake(server: Process, path: str, *lines: str, host: str = HOST) -> int:
    return status_of(exchange(server, head(path, UPGRADE, *lines, host=host)))


OWN = "http://gateway.example"
FOREIGN = (
    "null",
    "https://evil.example",
    "http://other.gateway.example",
    "http://sibling.example",
    "http://gateway.example.evil.example",
    "http://evilgateway.example",
    "http://gateway.example:81",
    "http://gateway.example@evil.example",
    "http://gateway.example/",
    "gateway.example",
    "http://gateway.example, https://evil.example",
    "http://gateway.example\xff",
    "file://",
    "",
)


@pytest.mark.parametrize("path", ["/who/echo", "/cross/echo"])
@pytest.mark.parametrize("origin", FOREIGN)
def test_origin(server: Process, path: str, origin: str) -> None:
    """A handshake from any origin but the service's own and the listed ones is refused, right credentials or not."""
    assert 400 <= handshake(server, path, RIGHT, f"Origin: {origin}\r\n") < 500


def test_origin_allowed(server: Process) -> None:
    """The own origin opens a socket, a listed one where it is listed, two Origin lines none; and none without login."""
    friend = "Origin: https://friend.example\r\n"
    own = f"Origin: {OWN}\r\n"
    assert handshake(server, "/who/echo", RIGHT, own) == 101
    assert handshake(server, "/cross/echo", RIGHT, friend) == 101
    assert handshake(server, "/who/echo", RIGHT, friend) == 403
    assert 400 <= handshake(server, "/cross/echo", RIGHT, own, friend) < 500
    assert handshake(server, "/cross/echo", friend) == 401
    assert handshake(server, "/who/echo", own) == 401


def test_spoilt_handshakes(server: Process) -> None:
    """A handshake with two hosts or a confusing path opens no socket; of an odd version or method, none by itself."""
    own = f"Origin: {OWN}\r\n"
    spoilt = [
        head("/who/echo", UPGRADE, own, RIGHT, "Host: evil.example\r\n"),
        head("/who/echo", UPGRADE, "Origin: http://evil.example\r\n", RIGHT, "Host: evil.example\r\n"),
        head("/who/echo", UPGRADE, own, version="HTTP/1.0"),
        head("/who/echo", UPGRADE, own, method="POST"),
        head("/public/../who/echo", UPGRADE),
        head("//who/echo", UPGRADE, RIGHT, own),
        head("/who/echo;", UPGRADE, RIGHT, own),
    ]
    assert [bytes(request) for request in spoilt if status_of(exchange(server, request)) == 101] == []
