"""The lesson of docs/tutorial/getting-started.md, followed step by step with its own files and commands."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.process import LOOPBACK, Process, free_port, running

ROOT = Path(__file__).parents[2]
LESSON = (ROOT / "docs" / "tutorial" / "getting-started.md").read_text()


def block(kind: str) -> str:
    """The text of the lesson's only code block with these words behind its fence."""
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", LESSON, re.DOTALL | re.MULTILINE)
    return str(text)


def run(words: list[str], folder: Path, standard_input: str = "") -> tuple[int, str]:
    """Run a command in the lesson's folder; gives its exit code and all of its output."""
    done = subprocess.run(
        words,
        cwd=folder,
        input=standard_input,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "NO_PROXY": "*"},
    )
    return done.returncode, done.stdout


def gateway(folder: Path, *arguments: str, standard_input: str = "") -> tuple[int, str]:
    """Run ``asgi-gateway``."""
    return run([sys.executable, "-m", "asgi_gateway", *arguments], folder, standard_input)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after step 4: the application, the users with hashes of the command's making, the configuration."""
    folder = tmp_path_factory.mktemp("lesson")
    (folder / "main.py").write_text(block("python"))
    users = block("yaml users")
    while "$argon2id$…" in users:
        code, made = gateway(folder, "hash-password", standard_input="welcome")
        assert code == 0
        users = users.replace("$argon2id$…", made.strip(), 1)
    (folder / "users.yaml").write_text(users)
    (folder / "gateway.yaml").write_text(block("yaml gateway"))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Process]:
    """Step 6: uvicorn, as the lesson starts it but for the port."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port)]
    env = {"PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=folder / "log", name="uvicorn", cwd=folder, env=env) as process:
        yield process


def test_check_and_the_mistake(folder: Path) -> None:
    """The lesson's file is good, and its mistake gives the error that it shows, word for word."""
    assert gateway(folder, "check", "gateway.yaml")[0] == 0
    mistake, _ = re.findall(r"^```text\n(.*?)^```$", LESSON, re.DOTALL | re.MULTILINE)
    text = (folder / "gateway.yaml").read_text()
    (folder / "wrong.yaml").write_text(text.replace("realm-name: demo", "realm-name: dmo", 1))
    code, printed = gateway(folder, "check", "wrong.yaml")
    assert code == 1
    assert mistake.replace("gateway.yaml", "wrong.yaml") in printed


def test_explain(folder: Path) -> None:
    """What the lesson shows of explain is what it prints."""
    _, explanation = re.findall(r"^```text\n(.*?)^```$", LESSON, re.DOTALL | re.MULTILINE)
    assert gateway(folder, "explain", "gateway.yaml", "GET", "/admin", "--user", "joe", standard_input="welcome") == (
        1,
        explanation,
    )


def test_requests(server: Process, folder: Path) -> None:
    """Each request that the lesson makes with curl gets the answer that stands below it."""
    lines = block("console").splitlines()
    requests = list(zip(lines[::2], lines[1::2], strict=True))
    assert len(requests) == 5
    for command, answer in requests:
        words = command.removeprefix("$ ").replace("localhost:8000", f"{LOOPBACK}:{server.port}").split()
        assert run([words[0], "--silent", *words[1:]], folder) == (
            0,
            answer + "\n" * (answer in ("Unauthorized", "Forbidden")),
        )


@pytest.mark.parametrize(
    ("password", "printed"),
    [("welcome", "Hello joe\n"), ("Welcome", "server rejected WebSocket connection: HTTP 401\n")],
)
def test_socket(server: Process, folder: Path, password: str, printed: str) -> None:
    """The lesson's client is greeted by name with the right password, and refused with another."""
    program = block("python client").replace("localhost:8000", f"{LOOPBACK}:{server.port}").replace("welcome", password)
    (folder / "talk.py").write_text(program)
    code, output = run([sys.executable, "talk.py"], folder)
    assert output.endswith(printed)
    assert (code == 0) is (password == "welcome")


def test_a_removed_user_is_out_within_two_seconds(server: Process, folder: Path) -> None:
    """After joe is taken out of users.yaml his password is refused within two seconds, and ann's still works."""
    url = f"http://{LOOPBACK}:{server.port}/account"
    assert "joe" in run(["curl", "--silent", "-u", "joe:welcome", url], folder)[1]
    users = (folder / "users.yaml").read_text()
    (folder / "users.yaml").write_text("".join(line for line in users.splitlines(True) if "joe" not in line))
    end = time.monotonic() + 2.5
    while (answer := run(["curl", "--silent", "-u", "joe:welcome", url], folder)[1]) != "Unauthorized\n":
        assert time.monotonic() < end, answer
        time.sleep(0.1)
    assert '"user":"ann"' in run(["curl", "--silent", "-u", "ann:welcome", url], folder)[1]
