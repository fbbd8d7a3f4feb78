"""Opening the gateway: before the first request, once, or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.servers import COMMANDS, ask, basic, serve

WITHOUT_LIFESPAN = ("daphne", "uvicorn-no-lifespan")
ALICE = basic("alice", "any").items()


@pytest.mark.parametrize("server", ["daphne", "uvicorn", "uvicorn-no-lifespan"])
def test_opened_once_before_use(server: str, tmp_path: Path) -> None:
    """Of many first requests at once none reaches a login module before all are open, and each is opened once."""
    with serve("openings:slow", server, log=tmp_path / "log") as process, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, process, "/", *ALICE) for _ in range(8)]
        assert {answer.result() for answer in answers} == {(200, b"alice")}


@pytest.mark.parametrize("server", [name for name in COMMANDS if name not in WITHOUT_LIFESPAN])
@pytest.mark.parametrize(
    ("app", "reason"), [("broken", "no directory answers"), ("added", "no-such-gateway.yaml")], ids=["module", "file"]
)
def test_cannot_open(server: str, app: str, reason: str, tmp_path: Path) -> None:
    """A gateway that cannot be opened, or whose file cannot be used, ends the server's start; the log says why."""
    try:
        with serve(f"openings:{app}", server, log=tmp_path / "log") as process:
            process.popen.wait(10)  # gunicorn listens before its worker starts
            said = process.output()
    except RuntimeError as error:
        said = str(error)
    assert reason in said


@pytest.mark.parametrize("server", WITHOUT_LIFESPAN)
def test_cannot_open_without_lifespan(server: str, tmp_path: Path) -> None:
    """Where a server has no lifespan, every request to a gateway that cannot be opened is answered 503."""
    with serve("openings:broken", server, log=tmp_path / "log") as process:
        assert [ask(process, "/", *ALICE)[0] for _ in range(2)] == [503, 503]
