"""``asgi-gateway run``, as far as nothing is served: addresses, definitions, one gateway, and uvicorn's log."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.cli import main
from asgi_gateway.cli.run import _INCOMPLETE, application
from asgi_gateway.cli.server import ServerConfig
from asgi_gateway.middleware import GatewayMiddleware
from tests.cli import apps
from tests.keystores import PASSWORD, STORES

FILE = str(apps.FILE)
APP = "tests.cli.apps:app"


@dataclass(frozen=True)
class Served:
    """What uvicorn would have been started with: its configuration, and the names of the bound sockets."""

    config: ServerConfig
    addresses: list[Any]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """uvicorn is not started; gives what it would have been started with."""
    calls: list[Served] = []

    def serve(config: ServerConfig, sockets: Sequence[socket.socket]) -> int:
        calls.append(Served(config, [each.getsockname() for each in sockets]))
        return 0

    monkeypatch.setattr("asgi_gateway.cli.server.serve", serve)
    return calls


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Environment and loggers are afterwards what they were before."""
    for name in ("ASGI_GATEWAY_CONFIG", "ASGI_GATEWAY_APP", "ASGI_GATEWAY_DEFINITIONS", "ASGI_GATEWAY_BY_PORT"):
        monkeypatch.setenv(name, "")
    names = ("asgi_gateway", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each, each.handlers[:], each.filters[:], each.level, each.propagate) for each in loggers]
    yield
    for each, handlers, filters, level, propagate in before:
        each.handlers[:], each.filters[:], each.propagate = handlers, filters, propagate
        each.setLevel(level)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The only line that is printed; the exit code is 2."""
    capsys.readouterr()
    assert main(["run", *arguments]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in (out + err).splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]


def test_port_in_use(served: list[Served], capsys: pytest.CaptureFixture[str]) -> None:
    """A port that another process listens on is one line, and nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is in use" in refused(capsys, FILE, APP, "--port", port)
        assert f"port {port} of 0.0.0.0 is in use" in refused(capsys, FILE, APP, "--port", port, "--host", "0.0.0.0")
    assert served == []
    assert main(["run", FILE, APP, "--port", port]) == 0
    assert served[0].addresses == [("127.0.0.1", int(port))]


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "\u00fc" * 70])
def test_unknown_host(host: str, served: list[Served], capsys: pytest.CaptureFixture[str]) -> None:
    """A host that has no address is one line."""
    assert "unknown host" in refused(capsys, FILE, APP, "--host", host)


def test_address_of_another_machine(served: list[Served], capsys: pytest.CaptureFixture[str]) -> None:
    """An address that is not this machine's is one line."""
    assert "192.0.2.1 is not an address of this machine" in refused(capsys, FILE, APP, "--host", "192.0.2.1")


@pytest.mark.parametrize("port", ["99999", "-1", "http", "65536", "\u0661", "8000.0", ""])
def test_no_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid port is a usage error that says which ports are valid."""
    with pytest.raises(SystemExit) as caught:
        main(["run", FILE, APP, f"--port={port}"])
    assert caught.value.code == 2
    assert "expected 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_no_number_of_workers(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At least one worker is needed."""
    with pytest.raises(SystemExit) as caught:
        main(["run", FILE, APP, f"--workers={workers}"])
    assert caught.value.code == 2
    assert "expected 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tests.cli.apps:number", "is not an ASGI application"),
        ("tests.cli.apps:wsgi", "a2wsgi"),
        ("tests.cli.apps:create_badly", "no database"),
        ("tests.cli.nothing:app", "no Python module named tests.cli.nothing"),
        ("tests.cli.apps:wrapped_otherwise", "another configuration"),
    ],
)
def test_wrong_application(target: str, message: str, served: list[Served], capsys: pytest.CaptureFixture[str]) -> None:
    """An application that cannot be served is one line, and nothing is started."""
    assert message in refused(capsys, FILE, target)
    assert served == []


@pytest.mark.parametrize("file", ["none.yaml", "none.xml", ".", "none"])
def test_wrong_file(file: str, tmp_path: Path, served: list[Served], capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that is missing or not a file is one line with its name."""
    assert str(tmp_path / file) in refused(capsys, str(tmp_path / file), APP)
    assert served == []


def test_definitions_reach_the_workers(tmp_path: Path, served: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    """What -D defines holds in the process that serves, and what an earlier run defined does not."""
    file = tmp_path / "gateway.yaml"
    text = apps.FILE.read_text().replace("demo", "${realm}")
    file.write_text(text.replace("users.yaml", str(apps.FILE.parent / "users.yaml")))
    monkeypatch.setenv("realm", "environment")
    assert main(["run", str(file), APP, "--port", "0", "-D", "realm=command line"]) == 0
    wrapped = application().app  # type: ignore[attr-defined]
    assert isinstance(wrapped, GatewayMiddleware)
    assert [realm.name for realm in wrapped.gateway.realms] == ["command line"]
    assert main(["run", str(file), APP, "--port", "0"]) == 0
    assert [realm.name for realm in application().app.gateway.realms] == ["environment"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["wrapped", "wrapped_outside", "added", "added_loaded"])
def test_no_second_gateway(name: str, served: list[Served], capsys: pytest.CaptureFixture[str]) -> None:
    """An application behind the same gateway is served as it is; -D, which it would not see, is an error."""
    assert main(["run", FILE, f"tests.cli.apps:{name}", "--port", "0"]) == 0
    assert application().app is getattr(apps, name)  # type: ignore[attr-defined]
    assert len(served) == 1
    assert "-D has no effect" in refused(capsys, FILE, f"tests.cli.apps:{name}", "-D", "x=1")


def test_an_application_without_one_is_wrapped(served: list[Served]) -> None:
    """Any other application is behind the gateway, once."""
    assert main(["run", FILE, "tests.cli.apps:create_app", "--port", "0"]) == 0
    outer = application().app  # type: ignore[attr-defined]
    assert isinstance(outer, GatewayMiddleware)
    assert outer.app is apps.app


SECURE = """
services: [{name: page, accept: "https://localhost:8443/"}]
security: {keystore: {file: server.p12, password-file: store.pw}}
"""


def test_tls_goes_with_a_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --port the accept URLs say which ports use TLS."""
    (tmp_path / "server.p12").write_bytes((STORES / "server.p12").read_bytes())
    (tmp_path / "store.pw").write_text(PASSWORD)
    (tmp_path / "gateway.yaml").write_text(SECURE)
    arguments = ["run", str(tmp_path / "gateway.yaml"), "tests.cli.apps:app", "--tls", "localhost"]
    assert main(arguments) == 2
    assert "--tls goes with --port" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ uvicorn's log


async def _handshake(answer: dict[str, Any] | None, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Play a server that logs as uvicorn does after a handshake; gives what is logged."""

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if answer is not None:
            await send(answer)

    served = application()
    served.app = refusing  # type: ignore[attr-defined]
    await served({"type": "websocket"}, _nothing, _taken)
    caplog.clear()
    logging.getLogger("uvicorn.error").error(_INCOMPLETE)
    logging.getLogger("uvicorn.error").error("another error")
    return [record.message for record in caplog.records]


async def _nothing() -> dict[str, Any]:
    return {"type": "websocket.connect"}


async def _taken(message: Any) -> None:
    return None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "dropped"),
    [
        ({"type": "websocket.http.response.start", "status": 401, "headers": []}, True),
        ({"type": "websocket.close", "code": 1008}, True),
        (None, False),
    ],
)
async def test_refused_handshakes_are_no_errors(
    answer: dict[str, Any] | None, dropped: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """uvicorn's error about an incomplete handshake is dropped where the handshake was answered, and kept where not."""
    monkeypatch.setenv("ASGI_GATEWAY_CONFIG", FILE)
    monkeypatch.setenv("ASGI_GATEWAY_APP", APP)
    monkeypatch.setenv("ASGI_GATEWAY_DEFINITIONS", json.dumps({}))
    logged = await _handshake(answer, caplog)
    assert logged == (["another error"] if dropped else [_INCOMPLETE, "another error"])


def test_uvicorn_still_says_it() -> None:
    """The words that are dropped are those that uvicorn logs."""
    import uvicorn

    sources = (Path(uvicorn.__file__).parent / "protocols" / "websockets").glob("*.py")
    assert any(_INCOMPLETE in source.read_text() for source in sources)
