"""Verification keys: which are taken for what, files that change, URLs that fail and rotate."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.jwt.keys import FileKeys, UrlKeys, parse_keys
from tests.helpers import ManualClock
from tests.modules.jwt.issuer import EC, ED, OTHER_RSA, RSA, SECRET, KeyServer, jwk, key_server, key_set

pytestmark = pytest.mark.anyio

T = TypeVar("T")
LOGGER = logging.getLogger("asgi_gateway.tests")


async def run_blocking(function: Callable[..., T], *args: Any) -> T:
    """As the attempt's."""
    return await anyio.to_thread.run_sync(function, *args)


def test_types_do_not_mix() -> None:
    """A key is found for the algorithms of its own type and curve only."""
    keys = parse_keys(
        key_set(
            jwk(RSA, "RS256", kid="rsa"),
            jwk(EC["ES256"], "ES256", kid="p256"),
            jwk(EC["ES384"], "ES384", kid="p384"),
            jwk(ED, "EdDSA", kid="ed"),
            jwk(SECRET, "HS256", kid="secret"),
        )
    )
    found = {
        (kid, algorithm)
        for kid in ("rsa", "p256", "p384", "ed", "secret")
        for algorithm in ("RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS512")
        if keys.find(kid, algorithm)
    }
    assert found == {
        ("rsa", "RS256"), ("rsa", "PS512"), ("p256", "ES256"), ("p384", "ES384"), ("ed", "EdDSA"),
        ("secret", "HS256"), ("secret", "HS512"),
    }  # fmt: skip
    assert keys.symmetric


def test_algorithm_of_the_key() -> None:
    """A key that names its algorithm is used with no other."""
    keys = parse_keys(key_set(jwk(RSA, "RS256", kid="one", alg="RS512")))
    assert keys.find("one", "RS512")
    assert not keys.find("one", "RS256")
    assert not keys.symmetric


def test_tokens_without_kid() -> None:
    """A token that names no key is tried with every key of its algorithm, one with a kid with those of that name."""
    assert parse_keys(key_set(jwk(RSA, "RS256", kid="one"), jwk(ED, "EdDSA"))).find(None, "RS256")
    two = parse_keys(key_set(jwk(RSA, "RS256", kid="one"), jwk(OTHER_RSA, "RS256", kid="two")))
    assert len(two.find(None, "RS256")) == 2
    assert len(two.find("two", "RS256")) == 1
    assert not two.find("three", "RS256")
    same = parse_keys(key_set(jwk(RSA, "RS256", kid="one"), jwk(OTHER_RSA, "RS256", kid="one")))
    assert len(same.find("one", "RS256")) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"key_ops": [], "x5c": [], "oth": []}, {"use": ""}, {"alg": None, "use": None}, {"key_ops": ["verify"]},
        {"alg": "", "x5t": ""}, {"key_ops": None, "issuer": "", "unknown": {"a": 1}},
    ],
)  # fmt: skip
def test_empty_members(more: dict[str, Any]) -> None:
    """A member that is empty, as some issuers serialize what they leave out, restricts a key to nothing."""
    for key, algorithm in ((EC["ES256"], "ES256"), (RSA, "RS256"), (ED, "EdDSA")):
        assert parse_keys(key_set(jwk(key, algorithm, kid="one") | more)).find("one", algorithm)


def test_duplicate_key() -> None:
    """A key that a set has twice is one key; other keys of the same name stay apart."""
    one, two = jwk(RSA, "RS256", kid="one"), jwk(OTHER_RSA, "RS256", kid="one")
    for keys, count in (((one, one), 1), ((one, two, one), 2), ((one, one, one, two, two), 2)):
        assert len(parse_keys(key_set(*keys)).find("one", "RS256")) == count


def test_key_of_one_issuer() -> None:
    """A key that names its issuer signs for no other; {tenantid} stands for one tenant."""
    tenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
    (any_tenant,) = parse_keys(key_set(jwk(RSA, "RS256", issuer="https://login/{tenantid}/v2.0"))).find(None, "RS256")
    (one_tenant,) = parse_keys(key_set(jwk(RSA, "RS256", issuer=f"https://login/{tenant}/v2.0"))).find(None, "RS256")
    (free,) = parse_keys(key_set(jwk(RSA, "RS256"))).find(None, "RS256")
    assert any_tenant.signs_for(f"https://login/{tenant}/v2.0")
    assert one_tenant.signs_for(f"https://login/{tenant}/v2.0")
    assert free.signs_for("https://elsewhere/")
    for issuer in ("https://login/../v2.0", "https://evil/v2.0", f"https://login/{tenant}/v2.0/", None, 1):
        assert not any_tenant.signs_for(issuer)
        assert not one_tenant.signs_for(issuer)
    assert not one_tenant.signs_for(f"https://login/{tenant[::-1]}/v2.0")


def test_keys_that_are_left_out() -> None:
    """Keys for encryption, of unknown types, short or broken ones are left out, and the others are used."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    bad = [
        jwk(RSA, "RS256", use="enc"), jwk(RSA, "RS256", key_ops=["encrypt"]), jwk(RSA, "RS256", key_ops="verify"),
        jwk(short, "RS256"), jwk(b"short", "HS256"), {"kty": "new"}, {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "oct"}, {},
    ]  # fmt: skip
    for each in bad:
        assert parse_keys(key_set(each, jwk(ED, "EdDSA", kid="good"))).find("good", "EdDSA")
        with pytest.raises(ValueError, match="without a key"):
            parse_keys(key_set(each))
    assert not parse_keys(key_set(jwk(b"s" * 32, "HS256"))).find(None, "HS512")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"keys": {}}', '{"keys": []}', '{"keys": [1]}', '{"keys": [{"kty": "oct", "kid": 1}]}',
        json.dumps({"keys": [jwk(ED, "EdDSA")] * 101}), key_set(jwk(ED, "EdDSA") | {"d": "x"}),
    ],
)  # fmt: skip
def test_no_key_set(text: str) -> None:
    """What is no key set, is too large, or holds a private key is refused."""
    with pytest.raises(ValueError):
        parse_keys(text)


async def test_file_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key set file is read again when it changes; a bad version is parsed and logged once, and changes nothing."""
    file = tmp_path / "jwks.json"
    file.write_text(key_set(jwk(RSA, "RS256", kid="one")))
    clock = ManualClock()
    keys = FileKeys(file, clock.monotonic, LOGGER)
    assert await keys.find("one", "RS256", run_blocking)
    (tmp_path / "new").write_text(key_set(jwk(OTHER_RSA, "RS256", kid="two")))
    os.replace(tmp_path / "new", file)
    clock.advance(1)
    assert await keys.find("two", "RS256", run_blocking)
    assert not await keys.find("one", "RS256", run_blocking)
    for text in ("{", "[" * 100_000, key_set(jwk(RSA, "RS256") | {"d": "canary"}), '{"keys": []}'):
        caplog.clear()
        file.write_text(text)
        for _ in range(3):
            clock.advance(1)
            assert await keys.find("two", "RS256", run_blocking)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "its last good version stays" in caplog.text
        assert "canary" not in caplog.text
    file.unlink()
    clock.advance(1)
    assert await keys.find("two", "RS256", run_blocking)


async def test_file_of_secrets(tmp_path: Path) -> None:
    """A key set with secrets that other users can read is a warning; one with public keys is none."""
    file = tmp_path / "jwks.json"
    for key, algorithm, mode, is_warned in (
        (SECRET, "HS256", 0o644, True),
        (SECRET, "HS256", 0o600, False),
        (RSA, "RS256", 0o644, False),
    ):
        file.write_text(key_set(jwk(key, algorithm)))
        file.chmod(mode)
        assert (FileKeys(file, ManualClock().monotonic, LOGGER).warning is not None) == is_warned


@pytest.fixture
def server() -> Iterator[KeyServer]:
    """A server with one key."""
    with key_server() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move."""
    return ManualClock()


def _keys(server: KeyServer, clock: ManualClock) -> UrlKeys:
    return UrlKeys(server.url, clock, logger=LOGGER, life=300, stale=3600, context=None)


async def test_fetched_once(server: KeyServer, clock: ManualClock) -> None:
    """Fifty logins at once fetch the key set once, and later ones use it until it is old."""
    keys = _keys(server, clock)
    found: list[Any] = []

    async def find() -> None:
        found.append(await keys.find("one", "RS256", run_blocking))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(find)
    assert () not in found
    assert len(found) == 50
    clock.advance(299)
    await find()
    assert server.asked == 1
    clock.advance(2)
    await find()
    assert server.asked == 2


async def test_rotation(server: KeyServer, clock: ManualClock) -> None:
    """A token with a key that is not in the set has it fetched again, once in ten seconds at most."""
    keys = _keys(server, clock)
    assert not await keys.find("two", "RS256", run_blocking)
    server.text = key_set(jwk(RSA, "RS256", kid="one"), jwk(OTHER_RSA, "RS256", kid="two"))
    for _ in range(20):
        assert not await keys.find("two", "RS256", run_blocking)
    assert server.asked == 1
    clock.advance(10)
    assert await keys.find("two", "RS256", run_blocking)
    assert server.asked == 2


async def test_url_down(server: KeyServer, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """While the set cannot be fetched its keys stay valid for a while, with one line in the log; then it recovers."""
    keys = _keys(server, clock)
    await keys.find("one", "RS256", run_blocking)
    server.status = 500
    clock.advance(301)
    for _ in range(5):
        assert await keys.find("one", "RS256", run_blocking)
    assert server.asked == 2
    clock.advance(3600)
    with pytest.raises(LoginUnavailable, match="HTTP Error 500"):
        await keys.find("one", "RS256", run_blocking)
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot fetch JWKS from {server.url}: ValueError: HTTP Error 500: Internal Server Error"
    ]
    server.status = 200
    clock.advance(10)
    assert await keys.find("one", "RS256", run_blocking)


async def test_never_there(clock: ManualClock) -> None:
    """Without a key set every token is unavailable, not wrong."""
    keys = UrlKeys("http://127.0.0.1:1/jwks", clock, logger=LOGGER, life=300, stale=3600, context=None)
    for _ in range(2):
        with pytest.raises(LoginUnavailable, match=r"cannot fetch JWKS from http://127\.0\.0\.1:1/jwks"):
            await keys.find("one", "RS256", run_blocking)


@pytest.mark.parametrize("what", ["redirect", "secret", "large", "garbage"])
async def test_bad_answers(server: KeyServer, clock: ManualClock, what: str) -> None:
    """A redirect, a secret served to everybody, an endless answer and garbage are no key set."""
    if what == "redirect":
        server.status, server.location = 302, "http://127.0.0.1:1/"
    server.text = {
        "secret": key_set(jwk(SECRET, "HS256", kid="one")),
        "large": " " * 2_000_000 + server.text,
        "garbage": "<html>",
    }.get(what, server.text)
    with pytest.raises(LoginUnavailable):
        await _keys(server, clock).find("one", "RS256", run_blocking)
