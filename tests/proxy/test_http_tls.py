"""http.proxy over TLS and over Unix sockets, and answers to the 401s of back ends."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from asgi_gateway.proxy.connect import parse_connect
from asgi_gateway.proxy.login import BackendChallenge, BackendCredentials, BackendLogin
from tests.proxy.raw_backend import OK, Client, Proxy, RawBackend, answering, raw_backend

pytestmark = pytest.mark.anyio

CHALLENGE = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno"


class Password(BackendLogin):
    """Answers each challenge with the same credentials."""

    def __init__(self, attempts: int = 1, *, bound: bool = False) -> None:
        super().__init__(attempts)
        self.bound = bound
        self.asked: list[BackendChallenge] = []

    async def answer(self, challenge: BackendChallenge) -> BackendCredentials | None:
        self.asked.append(challenge)
        return BackendCredentials(authorization="Basic own", connection_bound=self.bound)


async def test_unix_socket(tmp_path: Path) -> None:
    """A back end at a Unix socket is asked like any other."""
    backend = RawBackend(answering(OK))
    server = await asyncio.start_unix_server(backend.connected, tmp_path / "app.sock")
    url = f"http+unix://{str(tmp_path / 'app.sock').replace('/', '%2F')}/x"
    try:
        async with Proxy(url) as proxy:
            assert (await Client(proxy, "/a").run()).body == b"ok"
            assert await proxy.backend.check() == []
        assert backend.heads[0].startswith(b"GET /x/a HTTP/1.1\r\nhost: localhost\r\n")
    finally:
        server.close()
        await backend.stop()


async def test_untrusted_certificate(tmp_path: Path, pki: Path) -> None:
    """A certificate that nobody trusts, or that is for another host, is 502; a trusted one is taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki)
    backend = RawBackend(answering(OK))
    server = await asyncio.start_server(backend.connected, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(pki))
    try:
        async with Proxy(f"https://localhost:{port}", tls=ssl.create_default_context()) as proxy:
            assert (await Client(proxy).run()).status == 502
        async with Proxy(f"https://127.0.0.1:{port}", tls=trusting) as proxy:
            assert (await Client(proxy).run()).status == 502
        async with Proxy(f"https://localhost:{port}", tls=trusting) as proxy:
            assert (await Client(proxy).run()).body == b"ok"
            assert await proxy.backend.check() == []
    finally:
        server.close()
        await backend.stop()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost with its key, in one file."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("pki") / "localhost.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


@pytest.mark.parametrize("streamed", [False, True])
async def test_challenge_is_answered(streamed: bool) -> None:
    """A 401 is answered: the request is sent again with credentials, its whole body included."""
    bodies: list[bytes] = []

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await backend.head(reader)
            bodies.append(await reader.readexactly(6))
            writer.write(OK if "authorization" in backend.lines() else CHALLENGE)

    login = Password()
    async with raw_backend(handler) as backend, Proxy(backend.url + "/x", login=login) as proxy:
        pieces = (b"abc", b"def") if streamed else (b"abcdef",)
        length = (b"content-length", b"6")
        client = await Client(proxy, "/a?secret=1", length, method="POST", pieces=pieces).run()
        assert (client.status, client.body, bodies) == (200, b"ok", [b"abcdef"] * 2)
        assert backend.lines()["authorization"] == ["Basic own"]
        assert backend.lines()["content-length"] == ["6"]
        (challenge,) = login.asked
        assert (challenge.url, challenge.attempt) == (f"{backend.url}/x/a", 1)
        assert (b"www-authenticate", b"Basic realm=x") in challenge.headers


async def test_attempts_are_bounded() -> None:
    """A back end that refuses all credentials is asked as often as the attempts say."""
    login = Password(attempts=2)
    async with raw_backend(answering(CHALLENGE)) as backend, Proxy(backend.url, login=login) as proxy:
        client = await Client(proxy).run()
        assert (client.status, client.body, len(backend.heads)) == (401, b"no", 3)
        assert [each.attempt for each in login.asked] == [1, 2]
        assert "authorization" not in backend.lines(0)


async def test_body_that_was_not_kept() -> None:
    """A 401 to a body that is too long to be kept is passed on, and no request is sent with an empty one."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await backend.head(reader)
            await reader.readexactly(100_000)
            writer.write(CHALLENGE)

    login = Password()
    async with raw_backend(handler) as backend, Proxy(backend.url, login=login) as proxy:
        length = (b"content-length", b"100000")
        client = await Client(proxy, "/", length, method="POST", pieces=(b"x" * 50_000,) * 2).run()
        assert (client.status, len(backend.heads), login.asked) == (401, 1, [])


async def test_challenge_in_mid_request() -> None:
    """A 401 that comes while the body is still being sent is passed on."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.head(reader)
        writer.write(CHALLENGE)
        await reader.read()

    login = Password()
    async with raw_backend(handler) as backend, Proxy(backend.url, login=login) as proxy:
        length = (b"content-length", b"10")
        client = await Client(proxy, "/", length, method="POST", pieces=(b"x",), more=True).run()
        assert (client.status, len(backend.heads), login.asked) == (401, 1, [])


async def test_connection_of_the_users_credentials() -> None:
    """A connection on which the gateway authenticated as somebody serves nobody else."""
    served: dict[int, list[bool]] = {}

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = served.setdefault(backend.accepted, [])
        while True:
            await backend.head(reader)
            requests.append("authorization" in backend.lines())
            writer.write(CHALLENGE if len(backend.heads) == 1 else OK)

    async with raw_backend(handler) as backend, Proxy(backend.url, login=Password(bound=True)) as proxy:
        for _ in range(3):
            assert (await Client(proxy).run()).status == 200
    (authenticated,) = (requests for requests in served.values() if True in requests)
    assert authenticated[-1] is True
    assert authenticated.count(True) == 1
    assert len(backend.heads) == 4


async def test_description() -> None:
    """What it is says nothing secret."""
    assert Proxy("http://a:1/x", "https://b").backend.description == "http.proxy to http://a:1/x, https://b"
    assert str(parse_connect("http://a:1/x")) == "http://a:1/x"
