"""The gateway answers the 401s of a back end: over HTTP and for WebSockets, from files and by a handler in Python."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from asgi_gateway.passwords import hash_password
from tests.integration.apps.challenging_app import basic
from tests.integration.process import Process, free_port, running
from tests.integration.servers import ROOT, connect, serve

GATEWAY = basic("gateway", "s3cret-pw")
CONFIG = """
security:
  session-keys: {file: session.keys}
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Application Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
    - name: sessions
      authentication:
        http-challenge-scheme: Application Basic
        authorization-mode: recycle
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
service-defaults: {type: http.proxy, max-authentication-attempts: 3}
services:
"""
SERVICE = """
  - name: {name}
    accept: [http://localhost/{name}, ws://localhost/{name}]
    connect: http://127.0.0.1:{port}/reports
"""
STORED = "{username: gateway, password-file: password}"
SERVICES = {
    "stored": f"    realm-name: staff\n    connect-login: {STORED}\n",
    "none": f"    realm-name: staff\n    max-authentication-attempts: 0\n    connect-login: {STORED}\n",
    "token": "    realm-name: staff\n    connect-login: {token-file: token}\n",
    "user": "    realm-name: staff\n    connect-login: {pass-basic: true}\n",
    "again": "    realm-name: sessions\n    connect-login: {pass-basic: true}\n",
    "given": "    realm-name: staff\n",
    "public": f"    connect-login: {STORED}\n",
    "passed": f"    realm-name: staff\n    pass-credentials: true\n    connect-login: {STORED}\n",
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("challenging_app:app", log=tmp_path_factory.mktemp("back end") / "log") as process:
        yield process


@pytest.fixture(scope="module")
def file(backend: Process, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    users = [f"{{name: {name}, password: '{hash_password(f'{name}-pw')}'}}" for name in ("joe", "ann")]
    secrets = {"users.yaml": f"users: [{', '.join(users)}]", "password": "s3cret-pw", "token": "t0k"}
    for name, text in (secrets | {"session.keys": "k" * 43}).items():
        (folder / name).write_text(text + "\n")
        (folder / name).chmod(0o600)
    services = [SERVICE.format(name=name, port=backend.port) + rest for name, rest in SERVICES.items()]
    (folder / "gateway.yaml").write_text(CONFIG + "".join(services))
    return folder / "gateway.yaml"


@pytest.fixture(scope="module")
def gateway(file: Path) -> Iterator[Process]:
    env = {"GATEWAY_FILE": str(file), "GATEWAY_HANDLER": "1"}
    with serve("back_end_login_app:app", log=file.parent / "log", env=env) as process:
        yield process


class Client:
    """A client of the gateway."""

    def __init__(self, http: httpx.Client, gateway: Process, backend: Process) -> None:
        self._http = http
        self._gateway = gateway
        self._backend = backend
        self.log()

    def ask(self, path: str, method: str = "GET", user: str = "joe", **options: Any) -> httpx.Response:
        """Send a request."""
        auth = (user, f"{user}-pw") if user else None
        return self._http.request(method, f"http://127.0.0.1:{self._gateway.port}{path}", auth=auth, **options)

    def log(self) -> list[str | None]:
        """The Authorization headers that the back end received since the last call."""
        return [each["authorization"] for each in self.records()]

    def records(self) -> list[dict[str, Any]]:
        """What the back end received since the last call."""
        found: list[dict[str, Any]] = self._http.get(f"http://127.0.0.1:{self._backend.port}/log").json()
        return found

    def audit(self) -> list[str]:
        """The lines that the gateway wrote about its back ends."""
        return [line for line in self._gateway.output().splitlines() if "back end: " in line]


@pytest.fixture
def client(gateway: Process, backend: Process) -> Iterator[Client]:
    with httpx.Client(trust_env=False, timeout=20) as http:
        yield Client(http, gateway, backend)


@pytest.mark.parametrize(
    ("service", "kind", "sent"),
    [
        ("stored", "basic", GATEWAY),
        ("stored", "application", GATEWAY),
        ("token", "token", "Token t0k"),
        ("token", "bearer", "Bearer t0k"),
        ("user", "user", basic("joe", "joe-pw")),
        ("given", "user", basic("joe", "joe-pw")),
    ],
)
def test_the_client_never_sees_the_401(client: Client, service: str, kind: str, sent: str) -> None:
    """The back end's 401 is answered, and the client gets what the back end says then."""
    answer = client.ask(f"/{service}/{kind}/first-{service}")
    assert (answer.status_code, "www-authenticate" in answer.headers) == (200, False)
    received = client.log()
    assert received[-1] == sent
    assert received[:-1] in ([None], [])


def test_the_second_request_needs_one_exchange(client: Client) -> None:
    """Once the gateway's own credentials were accepted, they are sent at once; the user's never are."""
    for service, first, second in (("stored", [None, GATEWAY], [GATEWAY]),):
        path = f"/{service}/basic/deep/er/page"
        assert client.ask(path).status_code == 200
        assert client.log() in (first, second)
        assert client.ask(path, user="ann").status_code == 200
        assert client.log() == second
    for user in ("joe", "ann"):
        assert client.ask("/user/user/page", user=user).status_code == 200
        assert client.log() == [None, basic(user, f"{user}-pw")]


def test_nothing_is_sent_for_a_request_that_is_refused(client: Client) -> None:
    """A request that the gateway refuses reaches no back end, with or without credentials."""
    assert client.ask("/stored/basic/page", user="").status_code == 401
    assert client.ask("/stored/basic/page", user="eve").status_code == 401
    assert client.log() == []


@pytest.mark.parametrize("service", ["public", "passed"])
def test_the_clients_own_credentials(client: Client, service: str) -> None:
    """Where the client's own credentials go to the back end, its 401 is the client's, who gets in by nobody else's."""
    answer = client.ask(f"/{service}/basic/x")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="reports"')
    assert client.log() == [basic("joe", "joe-pw")]
    assert client.ask(f"/{service}/user/x").status_code == 200
    assert client.log() == [basic("joe", "joe-pw")]


def test_a_public_service(client: Client) -> None:
    """On a public service the gateway answers for whoever sends no credentials."""
    assert client.ask("/public/basic/y/x", user="").status_code == 200
    assert client.ask("/public/basic/y/x").status_code == 401
    assert client.log() == [None, GATEWAY, basic("joe", "joe-pw")]


@pytest.mark.parametrize("kind", ["basic", "bearer", "never"])
def test_no_attempt(client: Client, kind: str) -> None:
    """With 0 attempts the 401 is passed on with its challenge, whatever credentials there are."""
    answer = client.ask(f"/none/{kind}/x")
    assert (answer.status_code, answer.text) == (401, "who?")
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="reports"' if kind == "bearer" else 'Basic realm="reports"'
    )
    assert client.log() == [None]


def test_wrong_credentials(client: Client) -> None:
    """Credentials that the back end refuses are sent once; its 401 is passed on, and the audit log says so."""
    answer = client.ask("/stored/never/x")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="reports"')
    assert client.log() == [None, GATEWAY]
    line = client.audit()[-1]
    assert '"service": "stored"' in line
    assert "the back end refused the credentials" in line
    assert "s3cret-pw" not in "".join(client.audit())


def test_a_scheme_without_credentials(client: Client) -> None:
    """A challenge that there are no credentials for is passed on."""
    answer = client.ask("/token/basic/x")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="reports"')
    assert client.log() == [None]


@pytest.mark.parametrize(("kind", "status"), [("third", 200), ("never", 401)])
def test_three_attempts(client: Client, kind: str, status: int) -> None:
    """A handler in Python is asked three times, and no more."""
    assert client.ask(f"/given/{kind}/x", user="ann").status_code == status
    assert client.log() == [None, *(basic("gateway", f"guess {number}") for number in (1, 2, 3))]


def test_a_session_has_no_password(client: Client) -> None:
    """A request with a session alone has no password of the user's, so that the 401 is passed on."""
    answer = client.ask("/again/user/x")
    assert answer.status_code == 200
    assert answer.cookies
    client.log()
    assert client.ask("/again/user/x", user="").status_code == 401
    assert client.log() == [None]


def test_another_users_password_in_a_session(client: Client) -> None:
    """Beside a session the header is not looked at: a password in it is not sent unless it is the session's user's."""
    assert client.ask("/again/user/x").status_code == 200
    client.log()
    assert client.ask("/again/user/x", user="ann").status_code == 401
    assert client.log() == [None]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_small_bodies_are_sent_again(client: Client, method: str) -> None:
    """A small body is kept and sent again, whole."""
    answer = client.ask("/user/user/x", method, content=b"x" * 20_000 + b"end.")
    assert (answer.status_code, answer.json()["length"], answer.json()["end"]) == (200, 20_004, "end.")
    assert [each["length"] for each in client.records()] == [20_004, 20_004]


def test_large_bodies_are_not(client: Client) -> None:
    """A body that was not kept is never sent again as an empty one: the 401 is passed on."""
    answer = client.ask("/user/user/x", "POST", content=(b"x" * 65_536 for _ in range(40)))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="reports"')
    assert len(client.records()) == 1


def test_large_bodies_with_known_credentials(client: Client) -> None:
    """After a request without a body the gateway's own credentials go with a large one at once."""
    assert client.ask("/stored/basic/large/x").status_code == 200
    client.log()
    answer = client.ask("/stored/basic/large/x", "POST", content=b"x" * 3_000_000)
    assert (answer.status_code, answer.json()["length"]) == (200, 3_000_000)
    assert client.log() == [GATEWAY]


def test_head(client: Client) -> None:
    """HEAD is answered like GET, without a body."""
    answer = client.ask("/stored/basic/x", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("service", "kind", "sent"),
    [("stored", "basic", GATEWAY), ("token", "bearer", "Bearer t0k"), ("given", "user", basic("joe", "joe-pw"))],
)
def test_websockets(gateway: Process, client: Client, service: str, kind: str, sent: str) -> None:
    """The 401 to a WebSocket's handshake is answered too."""
    headers = {"Authorization": basic("joe", "joe-pw")}
    with connect(gateway, f"/{service}/{kind}/socket-{service}", additional_headers=headers) as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
    assert client.log()[-1] == sent


@pytest.mark.parametrize(("service", "attempts"), [("none", 1), ("stored", 2)])
def test_a_refused_websocket(gateway: Process, client: Client, service: str, attempts: int) -> None:
    """A WebSocket that the back end refuses is refused with its 401 and its challenge."""
    headers = {"Authorization": basic("joe", "joe-pw")}
    with pytest.raises(InvalidStatus) as raised:
        connect(gateway, f"/{service}/never/x", additional_headers=headers)
    assert raised.value.response.status_code == 401
    assert raised.value.response.headers["www-authenticate"] == 'Basic realm="reports"'
    assert len(client.log()) == attempts


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_authenticator_of_run(file: Path, backend: Process, tmp_path: Path, workers: str) -> None:
    """``run`` asks the handler that -D names, in each of its workers."""
    alone = file.with_name("given.yaml")  # without sessions, which several workers would have to share
    alone.write_text(CONFIG.replace("    - name: sessions", "    - name: other").replace("recycle", "challenge"))
    alone.write_text(alone.read_text() + SERVICE.format(name="given", port=backend.port) + SERVICES["given"])
    port, module = free_port(), "tests.integration.apps.back_end_handler"
    command = [sys.executable, "-m", "asgi_gateway", "run", str(alone), "tests.integration.apps.challenging_app:app"]
    command += ["--port", str(port), "--workers", workers, "-D", f"http.authenticator={module}:handler"]
    with running(command, port=port, log=tmp_path / "log", cwd=ROOT) as process:
        with httpx.Client(trust_env=False, timeout=20) as http:
            for _ in range(4):
                client = Client(http, process, backend)
                assert client.ask("/given/user/x").status_code == 200
                assert client.log() == [None, basic("joe", "joe-pw")]
        assert "http.authenticator" not in process.output()  # neither unused nor never asked


PAGE = (ROOT / "docs" / "how-to" / "back-end-login.md").read_text()
EXAMPLES = dict(enumerate(re.findall(r"^```(?:yaml partial|python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)))
SITE = CONFIG.partition("    - name: sessions")[0] + EXAMPLES[0]


@pytest.mark.parametrize("example", ["password file", "handler"])
def test_examples_of_the_documentation(file: Path, backend: Process, tmp_path: Path, example: str) -> None:
    """The configuration and the Python code of back-end-login.md do what the page says."""
    site = SITE.replace("https://reports.internal.example/", f"http://127.0.0.1:{backend.port}/reports")
    code = EXAMPLES[3].replace('"alice": "her password there"', '"joe": "joe-pw"')
    if example == "handler":
        site = site.partition("    connect-login:")[0]
    else:
        code = code.replace(", connect_handler=handler", "")
    for name, text in {"gateway.yaml": site, "doc.py": code, "reports.password": "s3cret-pw"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "users.yaml").write_text(file.with_name("users.yaml").read_text())
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "doc:app", "--port", str(port)]
    env = {"PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=tmp_path / "log", cwd=tmp_path, env=env) as process:
        with httpx.Client(trust_env=False, timeout=20) as http:
            client = Client(http, process, backend)
            kind, sent = ("user", basic("joe", "joe-pw")) if example == "handler" else ("basic", GATEWAY)
            assert client.ask(f"/reports/{kind}/x").status_code == 200
            assert client.log() == [None, sent]
