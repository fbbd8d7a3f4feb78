"""The Redis store against real servers: the contract, faults, cancelled callers, TLS, Sentinel and Cluster."""

from __future__ import annotations

import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis import asyncio as client

from asgi_gateway.errors import StateFull, StateUnavailable
from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.plugins.state_store import ExpiringState, Partition, PositionLost
from asgi_gateway.stores import redis as redis_store
from asgi_gateway.stores.redis import RedisState
from tests.integration.process import LOOPBACK, free_port, running
from tests.integration.redis import RedisServer
from tests.sessions.limits_contract import LimitsContract, LimitsSite
from tests.stores.contract import LogContract, PartitionContract, StoreContract, model_test
from tests.stores.listing_contract import ListingContract

pytestmark = pytest.mark.anyio

DEPLOYMENT = Path(__file__).parents[2] / "docs" / "how-to" / "deployment.md"


@dataclass
class RedisHarness:
    """A store, and a plain client that lets time pass by shortening the lives of its keys."""

    state: ExpiringState
    plain: client.Redis

    async def advance(self, seconds: float) -> None:
        milliseconds = round(seconds * 1000)
        async for key in self.plain.scan_iter():
            if await self.plain.type(key) == b"zset":  # an index: its scores are times
                names = await self.plain.zrange(key, 0, -1, withscores=True)
                await self.plain.zadd(key, {name: score - milliseconds for name, score in names})
            await self.plain.pexpire(key, await self.plain.pttl(key) - milliseconds)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that nobody breaks."""
    with RedisServer(tmp_path_factory.mktemp("redis")).running() as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server to break."""
    with RedisServer(tmp_path).running() as server:
        yield server


@asynccontextmanager
async def _made(url: str, max_entries: int = 1000) -> AsyncIterator[RedisHarness]:
    state, plain = RedisState(url, max_entries=max_entries), client.Redis.from_url(url)
    await plain.flushall()
    await state.open()
    try:
        yield RedisHarness(state, plain)
    finally:
        await state.close()
        await plain.aclose()


@pytest.fixture
async def harness(shared_server: RedisServer, anyio_backend: str) -> AsyncIterator[RedisHarness]:
    """An empty Redis store."""
    async with _made(shared_server.url) as harness:
        yield harness


@pytest.fixture
async def state(server: RedisServer, anyio_backend: str) -> AsyncIterator[RedisState]:
    """A store on a server to break, with one entry in it."""
    state = RedisState(server.url)
    await state.put_if_absent("key", "value", 60)
    yield state
    await state.close()


@pytest.fixture
async def bounded(shared_server: RedisServer, anyio_backend: str) -> AsyncIterator[RedisHarness]:
    """An empty Redis store whose partitions hold ten entries."""
    async with _made(shared_server.url, max_entries=10) as harness:
        yield harness


class TestContract(StoreContract):
    """The Redis store keeps the contract."""


class TestPartitions(PartitionContract):
    """The Redis store's partitions keep the contract."""


@pytest.fixture
async def limits(harness: RedisHarness) -> LimitsSite:
    """A realm with sessions in an empty Redis store."""
    return LimitsSite(harness.state, SystemClock())


class TestLimits(LimitsContract):
    """The Redis store keeps the limits of sessions."""


@pytest.fixture
async def logs(shared_server: RedisServer, anyio_backend: str) -> AsyncIterator[tuple[RedisState, RedisState]]:
    """Two stores on one server, with one connection each for commands, and a third that must not disturb them."""
    one, other, foreign = (
        RedisState(shared_server.url, namespace=name, max_connections=1) for name in ("n", "n", "foreign")
    )
    shared_server.ask("FLUSHALL")
    await foreign.append("foreign")
    yield one, other
    for state in (one, other, foreign):
        await state.close()


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that reaches back some ten messages."""
    monkeypatch.setattr(redis_store, "_MESSAGES", 10)


class TestListing(ListingContract):
    """The Redis store's list keeps the contract."""


class TestLog(LogContract):
    """The Redis store's message log keeps the contract."""


async def test_log_was_emptied(server: RedisServer, state: RedisState) -> None:
    """After FLUSHALL a follower is told that messages may be missing."""
    await state.append("one")
    position, _ = await state.follow(None, 0)
    server.ask("FLUSHALL")
    with pytest.raises(PositionLost):
        await state.follow(position, 0.01)


def test_model(shared_server: RedisServer) -> None:
    """The Redis store does what the model does, over random histories."""
    result = model_test(lambda: _made(shared_server.url), examples=15)("runTest").run()
    assert result is None or result.wasSuccessful(), result.failures + result.errors


@pytest.mark.timing
async def test_life_is_never_shorter_than_asked(harness: RedisHarness) -> None:
    """A time to live between two milliseconds is rounded up."""
    await harness.state.put_if_absent("key", "value", 0.0301)
    (name,) = [key async for key in harness.plain.scan_iter()]
    assert 0 < await harness.plain.pttl(name) <= 31
    begun = time.monotonic()
    while await harness.state.get("key") is not None:
        await anyio.sleep(0.002)
        assert time.monotonic() - begun < 2


async def test_keys_tell_nothing(harness: RedisHarness) -> None:
    """Keys begin with the namespace and hold a hash; another namespace does not see them."""
    await harness.state.put_if_absent("nonce-of-a-token", "value", 60)
    (name,) = [key async for key in harness.plain.scan_iter()]
    assert name.startswith(b"asgi-gateway:")
    assert len(name) == len(b"asgi-gateway:") + 64
    assert b"nonce" not in name
    port = harness.plain.connection_pool.connection_kwargs["port"]
    other = RedisState(f"redis://{LOOPBACK}:{port}", namespace="other")
    assert await other.put_if_absent("nonce-of-a-token", "value", 60) is None
    await other.close()


async def test_one_winner_on_two_gateways(shared_server: RedisServer) -> None:
    """Fifty equal tokens at once on two gateways: exactly one gets in."""
    gateways = [RedisState(shared_server.url, max_connections=5) for _ in range(2)]
    for attempt in range(5):
        answers: list[str | None] = []

        async def put(state: RedisState, attempt: int = attempt, answers: list[str | None] = answers) -> None:
            answers.append(await state.put_if_absent(f"nonce of two {attempt}", "v", 60))

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(put, gateways[number % 2])
        assert answers.count(None) == 1
        assert len(answers) == 50
    for gateway in gateways:
        await gateway.close()


# --------------------------------------------------------------------------------------------------------------- faults


async def _refused(call: Callable[[], Awaitable[object]], within: float = 1.5) -> str:
    begun = time.monotonic()
    with pytest.raises(StateUnavailable) as caught:
        await call()
    assert time.monotonic() - begun < within
    return str(caught.value)


async def _recovers(state: RedisState, within: float = 5.0) -> None:
    end = time.monotonic() + within
    while True:
        try:
            assert await state.put_if_absent(f"{time.monotonic()}", "value", 60) is None
            return
        except StateUnavailable:
            assert time.monotonic() < end, "not back in time"
            await anyio.sleep(0.02)


@pytest.mark.timing
async def test_never_there() -> None:
    """A server that is not there keeps nobody from opening the store; every call is refused at once."""
    state = RedisState(f"redis://{LOOPBACK}:{free_port()}")
    await state.open()
    for call in (lambda: state.put_if_absent("k", "v", 1), lambda: state.get("k"), lambda: state.remove("k", "v")):
        assert LOOPBACK in await _refused(call)
    await state.close()


@pytest.mark.timing
async def test_killed_and_started_again(server: RedisServer, state: RedisState) -> None:
    """A killed server is refused at once; when it is back, the store is within seconds, with what the server kept."""
    server.kill()
    for _ in range(3):
        await _refused(lambda: state.put_if_absent("key", "value", 60), within=0.5)
    with server.running():
        await _recovers(state)
        assert await state.get("key") is None


async def test_connections_from_before_a_restart(server: RedisServer, state: RedisState) -> None:
    """Connections that died with the server while they were idle cost no call."""
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(state.put_if_absent, f"{number}", "value", 60)
    server.kill()
    with server.running():
        await anyio.sleep(0.05)  # the loop has to see that the connections are closed
        for number in range(20):
            assert await state.put_if_absent(f"{number}", "value", 60) is None


@pytest.mark.timing
async def test_frozen(server: RedisServer, state: RedisState) -> None:
    """A server that says nothing: each of many calls ends by its time, the loop stays free, and the store recovers."""
    server.freeze()
    lags: list[float] = []
    refusals: list[str] = []

    async def call(number: int) -> None:
        refusals.append(await _refused(lambda: state.put_if_absent(f"{number}", "value", 60)))

    async def tick() -> None:
        while True:
            begun = time.monotonic()
            await anyio.sleep(0.01)
            lags.append(time.monotonic() - begun - 0.01)

    async with anyio.create_task_group() as ticker:
        ticker.start_soon(tick)
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(call, number)
        ticker.cancel_scope.cancel()
    assert len(refusals) == 100
    assert all("did not answer within 1 seconds" in refusal for refusal in refusals)
    assert sorted(lags)[int(len(lags) * 0.9)] < 0.05
    server.thaw()
    await _recovers(state)
    assert await state.get("key") == "value"


async def test_read_only_replica(server: RedisServer, state: RedisState) -> None:
    """A server that became a read-only replica is refused until it is a master again."""
    server.ask("CONFIG", "SET", "replica-serve-stale-data", "yes")
    server.ask("REPLICAOF", LOOPBACK, str(free_port()))
    assert "read only" in await _refused(lambda: state.put_if_absent("new", "value", 60))
    await _refused(lambda: state.remove("key", "value"))
    server.ask("REPLICAOF", "NO", "ONE")
    await _recovers(state)
    assert await state.get("key") == "value"


async def test_out_of_memory(server: RedisServer, state: RedisState) -> None:
    """A server at its maxmemory refuses new entries and drops none; it takes them again when there is room."""
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StateFull):
        await state.put_if_absent("new", "value", 60)
    assert await state.get("key") == "value"
    server.ask("CONFIG", "SET", "maxmemory", "0")
    await _recovers(state)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "volatile-random"])
async def test_eviction(server: RedisServer, policy: str) -> None:
    """A server that would drop entries to make room is refused, with a sentence that says what to set."""
    server.ask("CONFIG", "SET", "maxmemory", "100mb")
    server.ask("CONFIG", "SET", "maxmemory-policy", policy)
    state = RedisState(server.url)
    assert "must be noeviction" in await _refused(lambda: state.put_if_absent("key", "value", 60))
    assert server.ask("DBSIZE") == "0"
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await _recovers(state)
    await state.close()


async def test_eviction_after_a_restart(server: RedisServer, state: RedisState) -> None:
    """The policy is looked at again when the server was away."""
    server.kill()
    await _refused(lambda: state.get("key"))
    server.arguments = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]
    with server.running():
        assert "must be noeviction" in await _refused(lambda: state.put_if_absent("key", "value", 60))


async def test_emptied(server: RedisServer, state: RedisState) -> None:
    """After FLUSHALL and SCRIPT FLUSH the store works on, empty."""
    assert await state.remove("key", "other") is False
    server.ask("FLUSHALL")
    server.ask("SCRIPT", "FLUSH")
    assert await state.get("key") is None
    assert await state.put_if_absent("key", "again", 60) is None
    assert await state.remove("key", "again") is True


async def test_cancelled_callers(shared_server: RedisServer) -> None:
    """200 callers that vanish at any moment: nobody ever gets another's answer, and no connection is lost."""
    state = RedisState(shared_server.url, max_connections=4)
    for number in range(50):
        await state.put_if_absent(f"owner {number}", f"owner {number}", 60)
    dice = random.Random(7)
    answered: list[bool] = []

    async def ask(number: int) -> None:
        name = f"owner {number % 50}"
        with anyio.move_on_after(dice.uniform(0, 0.02)):
            answered.append(await state.get(name) == name)
            answered.append(await state.put_if_absent(name, "mine", 60) == name)

    for _ in range(3):
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(ask, number)
    assert answered
    assert all(answered)
    for number in range(50):
        assert await state.get(f"owner {number}") == f"owner {number}"
    await state.close()


@pytest.mark.timing
async def test_slow_answers_after_a_timeout(server: RedisServer) -> None:
    """An answer that comes after its caller gave up is nobody else's."""
    state = RedisState(server.url, max_connections=1, timeout=0.2)
    await state.put_if_absent("a", "value of a", 60)
    await state.put_if_absent("b", "value of b", 60)
    for _ in range(5):
        server.freeze()
        await _refused(lambda: state.get("a"))
        server.thaw()
        assert await state.get("b") == "value of b"
    await state.close()


# ------------------------------------------------------------------------------------------------- passwords and TLS


async def test_password_file(tmp_path: Path) -> None:
    """The password comes from a file; a wrong one is StateUnavailable, and neither is ever shown."""
    (tmp_path / "right").write_text("correct horse\n")
    (tmp_path / "wrong").write_text("wrong horse\n")
    with RedisServer(tmp_path, ["--requirepass", "correct horse"]).running() as server:
        state = RedisState(server.url, password_file=tmp_path / "right")
        assert await state.put_if_absent("key", "value", 60) is None
        await state.close()
        state = RedisState(server.url, password_file=tmp_path / "wrong")
        assert "horse" not in await _refused(lambda: state.get("key")) + repr(state)
        await state.close()
        state = RedisState(server.url.replace("//", "//default:correct%20horse@"))
        assert await state.get("key") == "value"
        assert "horse" not in repr(state)
        await state.close()


async def test_least_privilege(server: RedisServer) -> None:
    """A Redis user that may do just what docs/how-to/deployment.md lists can do all that the store needs."""
    listed = re.search(r"A Redis user needs `([^`]*)` on the keys `([^`]*)`", DEPLOYMENT.read_text())
    assert listed is not None
    server.ask("ACL", "SETUSER", "gateway", "on", ">pw", f"~{listed[2]}", *listed[1].split())
    state = RedisState(server.url.replace("//", "//gateway:pw@"))
    assert await state.put_if_absent("key", "value", 60) is None
    assert await state.put_if_absent("key", "other", 60) == "value"
    assert await state.extend("key", "value", 120) is True
    assert await state.replace("key", "value", "new", 60) is True
    assert await state.remove("key", "new") is True
    part = RedisState(server.url.replace("//", "//gateway:pw@"), max_entries=2).partition(Partition.SESSIONS)
    for number in range(4):
        assert await part.put_if_absent(f"{number}", "value", 60) is None
    assert await part.extend("3", "value", 120) is True
    assert await part.remove("3", "value") is True
    await part.close()
    position, _ = await state.follow(None, 0)
    await state.append("message")
    assert (await state.follow(position, 1))[1] == ["message"]
    with pytest.raises(PositionLost):
        await state.follow("9999999999999-0", 0.01)
    await _listing_works(state)
    await state.close()
    other = RedisState(server.url.replace("//", "//gateway:pw@"), namespace="other")
    assert "permission" in await _refused(lambda: other.put_if_absent("key", "value", 60))
    await other.close()


async def _listing_works(state: RedisState) -> None:
    for name in ("one", "two", "three"):
        await state.enlist(name, f"text of {name}", 60)
    await state.strike("three")
    assert sorted(await state.listed(10)) == ["text of one", "text of two"]
    assert await state.left("missing") is None


async def test_unix_socket(tmp_path: Path) -> None:
    """A server behind a Unix socket works, with a database number."""
    socket = tmp_path / "redis.sock"
    with RedisServer(tmp_path, ["--unixsocket", socket]).running() as server:
        state = RedisState(f"unix://{socket}?db=3")
        assert await state.put_if_absent("key", "value", 60) is None
        await state.close()
        assert server.ask("INFO", "keyspace").count("db3:keys=1") == 1


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis of the tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory / "cert.pem", directory / "key.pem"


async def test_tls(tmp_path: Path) -> None:
    """TLS works with a CA file; a server whose certificate is not trusted or has another name is refused."""
    certificate, key = _certificate(tmp_path)
    arguments: list[str | Path] = [
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        certificate,
    ]
    server = RedisServer(tmp_path, [*arguments, "--tls-auth-clients", "no"], tls=["--tls", "--cacert", certificate])
    with server.running():
        url = f"rediss://{LOOPBACK}:{server.port}"
        state = RedisState(url, ca_file=certificate)
        assert await state.put_if_absent("key", "value", 60) is None
        await state.close()
        for other in (RedisState(url), RedisState(f"rediss://localhost:{server.port}", ca_file=certificate)):
            assert "certificate" in (await _refused(partial(other.get, "key"))).lower()
            await other.close()


# ---------------------------------------------------------------------------------------------- Cluster and Sentinel


@pytest.mark.timing
async def test_cluster(tmp_path: Path) -> None:
    """A Redis Cluster works, and so does the check of its eviction policy."""
    bus = free_port()
    with RedisServer(tmp_path, ["--cluster-enabled", "yes", "--cluster-port", str(bus)]).running() as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        state = RedisState(server.url, cluster=True, max_entries=3)
        await _recovers(state)
        sessions = state.partition(Partition.SESSIONS)
        for number in range(9):
            assert await sessions.put_if_absent(f"key{number}", "value", 60 + number) is None
        assert [number for number in range(9) if await sessions.get(f"key{number}")] == [6, 7, 8]
        assert await sessions.replace("key8", "value", "new", 60) is True
        assert await state.put_if_absent("key", "value", 60) is None
        assert await state.put_if_absent("key", "other", 60) == "value"
        assert await state.remove("key", "value") is True
        await _listing_works(state)
        server.ask("CONFIG", "SET", "maxmemory", "100mb")
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await state.close()
        assert "must be noeviction" in await _refused(lambda: state.put_if_absent("key", "value", 60))
        server.freeze()
        await _refused(lambda: state.get("key"))
        server.thaw()
        await state.close()


@pytest.mark.timing
async def test_sentinel(tmp_path: Path) -> None:
    """With Sentinel, the store finds the master, and the new one after a failover."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with RedisServer(tmp_path / "a").running() as old:
        with RedisServer(tmp_path / "b", ["--replicaof", LOOPBACK, str(old.port)]).running() as new:
            port, file = free_port(), tmp_path / "sentinel.conf"
            file.write_text(
                f"bind {LOOPBACK}\nport {port}\nsentinel monitor mine {LOOPBACK} {old.port} 1\n"
                "sentinel down-after-milliseconds mine 300\nsentinel failover-timeout mine 2000\n"
            )
            with running(["redis-server", file, "--sentinel"], port=port, log=tmp_path / "sentinel.log"):
                state = RedisState(f"redis://{LOOPBACK}:{port}", sentinel="mine")
                await _recovers(state)
                await state.put_if_absent("key", "value", 60)
                with anyio.fail_after(10):
                    while "state=online" not in old.ask("INFO", "replication"):
                        await anyio.sleep(0.05)
                    while "slaves=1" not in RedisServer(tmp_path, port=port).ask("INFO", "sentinel"):
                        await anyio.sleep(0.05)
                assert old.ask("WAIT", "1", "1000") == "1"
                old.kill()
                await _refused(lambda: state.get("key"))
                await _recovers(state, within=15)
                assert "role:master" in new.ask("INFO", "replication")
                assert await state.get("key") == "value"
                await state.close()


async def test_sessions_cannot_fill_the_memory(server: RedisServer) -> None:
    """More sessions than would fit into Redis's memory are begun, and a token's nonce is stored all the same."""
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    used = int(re.search(r"used_memory:(\d+)", server.ask("INFO", "memory"))[1])  # type: ignore[index]
    server.ask("CONFIG", "SET", "maxmemory", str(used + 8_000_000))
    state = RedisState(server.url, max_entries=200)
    sessions = state.partition(Partition.SESSIONS)
    for number in range(1500):
        assert await sessions.put_if_absent(f"session{number}", "x" * 10_000, 600) is None
    assert await state.put_if_absent("nonce", "used", 600) is None
    assert await sessions.get("session1499") is not None
    assert int(server.ask("DBSIZE")) == 202
    await state.close()
