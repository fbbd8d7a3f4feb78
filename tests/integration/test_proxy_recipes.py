"""The configurations of docs/how-to/proxy-websocket.md, started as they stand but for names and ports."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.server import ServerConnection

from tests.integration.process import LOOPBACK
from tests.integration.servers import basic, connect
from tests.integration.test_docs_examples import USERS, block
from tests.integration.tunnels import echo, gateway, greet, stomp, tcp_server, tls_server, websocket_server

PAGE = "how-to/proxy-websocket.md"
JOE = basic("joe", "welcome")
REALM = """
security:
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with users and noVNC's page."""
    (tmp_path / "users.yaml").write_text(USERS)
    (tmp_path / "web" / "novnc").mkdir(parents=True)
    (tmp_path / "web" / "novnc" / "vnc.html").write_text("<title>noVNC</title>")
    return tmp_path


def recipe(info: str, **replaced: str) -> str:
    """A configuration of the page, with the services' accepts as paths, and other texts replaced."""
    text = re.sub(r"(http|ws)://localhost:8000/", "/", block(PAGE, info))
    for old, new in ((name.replace("_", ":"), value) for name, value in replaced.items()):
        assert old in text
        text = text.replace(old, new)
    return text


def test_novnc(folder: Path) -> None:
    """noVNC's page needs a login, and its session cookie opens the way to the VNC server."""
    with tcp_server(greet(b"RFB 003.008\n")) as port:
        with gateway(folder, recipe("yaml novnc", localhost_5900=f"{LOOPBACK}:{port}")) as server:
            url = f"http://{LOOPBACK}:{server.port}/novnc/vnc.html"
            assert httpx.get(url, trust_env=False).status_code == 401
            page = httpx.get(url, headers=JOE, trust_env=False)
            assert "noVNC" in page.text
            with pytest.raises(InvalidStatus), connect(server, "/vnc"):
                pass
            cookie = {"Cookie": page.headers["set-cookie"].partition(";")[0]}
            with connect(server, "/vnc", subprotocols=["binary"], additional_headers=cookie) as client:
                assert client.subprotocol == "binary"
                assert client.recv(timeout=5) == b"RFB 003.008\n"
                client.send(b"RFB 003.008\n")
                assert client.recv(timeout=5) == b"RFB 003.008\n"


def test_stomp(folder: Path) -> None:
    """A STOMP client of the page that is allowed connects; one of another page does not."""
    with tcp_server(stomp) as port:
        with gateway(folder, recipe("xml stomp", localhost_61613=f"{LOOPBACK}:{port}")) as server:
            with pytest.raises(InvalidStatus), connect(server, "/stomp", origin="https://x.example", **headers(JOE)):
                pass
            options = {"origin": "https://app.example.com", "subprotocols": ["v12.stomp"], **headers(JOE)}
            with connect(server, "/stomp", **options) as client:
                client.send("CONNECT\naccept-version:1.2\n\n\0")
                assert client.recv(timeout=5) == "CONNECTED\nversion:1.2\n\n\0"


def headers(values: dict[str, str]) -> dict[str, object]:
    return {"additional_headers": values}


def certificate(folder: Path, name: str) -> Path:
    """A certificate for a host with its key, in one file; the certificate alone goes to ``trusted.pem``."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "trusted.pem").write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + private)
    return folder / "server.pem"


@pytest.mark.parametrize("trusted", [True, False])
def test_amqp(folder: Path, trusted: bool) -> None:
    """AMQP reaches a broker over TLS whose certificate is trusted, although the other broker is down; else none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder, "localhost"))
    truststore = "  truststore: {file: trusted.pem}\n" if trusted else ""
    with tls_server(greet(b"AMQP\x00\x00\x09\x01"), context) as port:
        brokers = {"broker1.example.com_5671": "localhost:1", "broker2.example.com_5671": f"localhost:{port}"}
        config = REALM.replace("security:\n", f"security:\n{truststore}") + recipe("yaml amqp", **brokers)
        with gateway(folder, config) as server:
            if not trusted:
                with pytest.raises(InvalidStatus) as refused, connect(server, "/amqp", **headers(JOE)):
                    pass
                assert refused.value.response.status_code == 502
                assert "certificate refused" in server.output()
                return
            with connect(server, "/amqp", subprotocols=["other", "amqp"], **headers(JOE)) as client:
                assert client.subprotocol == "amqp"
                assert client.recv(timeout=5) == b"AMQP\x00\x00\x09\x01"
                client.send(b"AMQP\x00\x00\x09\x01")
                assert client.recv(timeout=5) == b"AMQP\x00\x00\x09\x01"


def test_certificate_of_another_host(folder: Path) -> None:
    """A trusted certificate of another host is refused, and no byte of the back end counts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder, "other.example"))
    with tls_server(echo, context) as port:
        config = f"""
security: {{truststore: {{file: trusted.pem}}}}
services: [{{name: a, accept: /a, connect: "tls://localhost:{port}"}}]
"""
        with gateway(folder, config) as server:
            with pytest.raises(InvalidStatus) as refused, connect(server, "/a"):
                pass
            assert refused.value.response.status_code == 502
            assert "certificate refused: Hostname mismatch" in server.output()


@pytest.mark.parametrize("shown", [True, False])
def test_client_certificate(folder: Path, shown: bool) -> None:
    """A back end over wss that asks for a client certificate gets the configured one; without it the answer is 502."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder, "localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / "trusted.pem")
    pem = (folder / "server.pem").read_bytes()
    key, own = load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
    store = pkcs12.serialize_key_and_certificates(b"gateway", key, own, None, BestAvailableEncryption(b"secret"))
    (folder / "keys.p12").write_bytes(store)
    (folder / "password").write_text("secret\n")
    (folder / "password").chmod(0o600)

    def app(websocket: ServerConnection) -> None:
        websocket.send(str(bool(websocket.socket.getpeercert())))  # type: ignore[attr-defined]

    with websocket_server(app, ssl=context) as port:
        config = f"""
security:
  keystore: {{type: PKCS12, file: keys.p12, password-file: password}}
  truststore: {{file: trusted.pem}}
services:
  - {{name: a, accept: /a, connect: "wss://localhost:{port}"{", client-certificate: gateway" if shown else ""}}}
"""
        with gateway(folder, config) as server:
            if shown:
                with connect(server, "/a") as client:
                    assert client.recv(timeout=5) == "True"
                return
            with pytest.raises(InvalidStatus) as refused, connect(server, "/a"):
                pass
            assert refused.value.response.status_code == 502


def test_chat(folder: Path) -> None:
    """A WebSocket server learns path, query and user."""

    def app(websocket: ServerConnection) -> None:
        assert websocket.request is not None
        websocket.send(f"{websocket.request.path} {websocket.request.headers['X-User']}")

    with websocket_server(app) as port:
        config = REALM + recipe("yaml chat", localhost_9000=f"{LOOPBACK}:{port}")
        with gateway(folder, config) as server, connect(server, "/chat/a?b=c", **headers(JOE)) as client:
            assert client.recv(timeout=5) == "/rooms/a?b=c joe"
