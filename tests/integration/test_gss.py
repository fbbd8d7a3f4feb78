"""kerberos5 as acceptor and gss, with tickets of a real KDC."""

from __future__ import annotations

import base64
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import gssapi
import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable, StateUnavailable
from asgi_gateway.model import Grant
from asgi_gateway.modules.kerberos.gss import GssLoginModule
from asgi_gateway.modules.kerberos.kerberos5 import Kerberos5LoginModule
from asgi_gateway.modules.kerberos.library.gss_tokens import MAX_TOKEN, SHARED_TOKEN
from asgi_gateway.modules.kerberos.library.keytab import read_keytab
from tests.integration.kdc import SERVICE, Kdc, realm
from tests.integration.tickets import KRB5, Client, Flag, acceptor, attempt, login, module, shift_clock, with_version

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc") as found:
        found.user("alice", "alicepw")
        yield found


@pytest.fixture(autouse=True)
def _environment(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def alice(kdc: Kdc) -> str:
    return kdc.kinit("alice", "alicepw")


@pytest.fixture
def kerberos5(kdc: Kdc) -> Kerberos5LoginModule:
    return acceptor(kdc.keytab)


@pytest.fixture
def gss(tmp_path: Path) -> GssLoginModule:
    found: GssLoginModule = module(GssLoginModule, tmp_path)
    return found


async def test_ticket(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """A ticket makes its owner the user, named with the realm, and the service's token proves the service."""
    client = Client(alice)
    asked = attempt(client.token())
    handed = await kerberos5.login(asked)
    assert handed == Grant(authenticates=False)
    grant = await gss.login(asked)
    assert grant == Grant.user("alice@EXAMPLE.COM")
    assert asked.challenges == []
    [(answer,)] = asked.responses
    client.token(answer)
    assert client.context.complete
    assert Flag.mutual_authentication in client.context.actual_flags


async def test_bare_kerberos(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """A Kerberos token without SPNEGO around it is taken too."""
    assert await login(kerberos5, gss, Client(alice, mech=KRB5).token()) == Grant.user("alice@EXAMPLE.COM")


@pytest.mark.parametrize("principal", ["*", SERVICE, f"{SERVICE}@EXAMPLE.COM"])
async def test_principal(kdc: Kdc, gss: GssLoginModule, alice: str, principal: str) -> None:
    """The service may be named with its realm, without it, or as whatever the keytab has."""
    assert await login(acceptor(kdc.keytab, principal=principal), gss, Client(alice).token())


async def test_another_service(kdc: Kdc, gss: GssLoginModule, alice: str, tmp_path: Path) -> None:
    """A ticket for another service of the realm is refused, and the log line says what to compare."""
    kdc.service("HTTP/other.example.com", tmp_path / "other.keytab")
    with pytest.raises(LoginFailed, match="the keytab lacks the service that the client asked for"):
        await login(acceptor(tmp_path / "other.keytab"), gss, Client(alice).token())
    named = acceptor(tmp_path / "other.keytab", principal="HTTP/other.example.com")
    with pytest.raises(
        LoginFailed, match="of two names: the client asked for another service than the configured principal"
    ):
        await login(named, gss, Client(alice).token())


async def test_replay(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """A token lets its bearer in once, and a fresh token of the same ticket lets in again."""
    token = Client(alice).token()
    await login(kerberos5, gss, token)
    with pytest.raises(LoginFailed, match=r"replay: a token of alice@EXAMPLE.COM was used before"):
        await login(kerberos5, gss, token)
    await login(kerberos5, gss, Client(alice).token())


async def test_replay_in_other_clothes(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """A used token is refused also without its unprotected SPNEGO wrapping, and the other way round."""
    wrapped = Client(alice).token()
    inner = _unwrapped(base64.b64decode(wrapped))
    await login(kerberos5, gss, wrapped)
    with pytest.raises(LoginFailed, match="replay"):
        await login(kerberos5, gss, base64.b64encode(inner).decode())


async def test_replay_on_another_worker(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """Modules that share an ExpiringState share what they have seen; without it a token of theirs would pass."""
    token = Client(alice).token()
    await login(kerberos5, gss, token)
    other = GssLoginModule(gss.options, gss.context)
    with pytest.raises(LoginFailed, match="replay"):
        await login(kerberos5, other, token)


async def test_replay_store_down(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """While the store cannot tell, nobody gets in."""

    async def down(key: str, value: str, ttl: float) -> str | None:
        raise StateUnavailable("down")

    gss.context.state.put_if_absent = down  # type: ignore[method-assign]
    with pytest.raises(LoginUnavailable, match="cannot check for token replay: down"):
        await login(kerberos5, gss, Client(alice).token())


async def test_three_legs(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """A handshake of several legs goes on where it began, once, and gives nothing before its end."""
    client = Client(alice, flags=[Flag.mutual_authentication, Flag.dce_style])
    asked = attempt(client.token())
    await kerberos5.login(asked)
    with pytest.raises(LoginFailed, match="continues with the client's next token"):
        await gss.login(asked)
    [(answer,)] = asked.challenges
    assert asked.responses == []
    last = client.token(answer)
    with pytest.raises(LoginFailed, match="unknown handshake"):
        await login(kerberos5, gss, last, connection=("192.0.2.1", 50_001))
    assert await login(kerberos5, gss, last) == Grant.user("alice@EXAMPLE.COM")
    with pytest.raises(LoginFailed, match="unknown handshake"):
        await login(kerberos5, gss, last)


async def test_legs_without_connection(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """Where the server gives no client address and port, a handshake of several legs is refused, not mixed up."""
    token = Client(alice, flags=[Flag.mutual_authentication, Flag.dce_style]).token()
    with pytest.raises(LoginFailed, match="gives no client address and port"):
        await login(kerberos5, gss, token, connection=None)


async def test_ntlm_offered_first(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str) -> None:
    """A client that guesses NTLM and also knows Kerberos is led to Kerberos in a second leg."""
    client = Client(alice, mech=KRB5)
    mechanisms = _der(0x30, _oid("1.3.6.1.4.1.311.2.2.10") + _oid("1.2.840.113554.1.2.2"))
    guess = _der(0xA0, mechanisms) + _der(0xA2, _der(0x04, b"NTLMSSP\0\1\0\0\0" + bytes(24)))
    first = _der(0x60, _oid("1.3.6.1.5.5.2") + _der(0xA0, _der(0x30, guess)))
    asked = attempt(base64.b64encode(first).decode())
    await kerberos5.login(asked)
    with pytest.raises(LoginFailed, match="continues with the client's next token"):
        await gss.login(asked)
    ticket = base64.b64decode(client.token())
    second = _der(0xA1, _der(0x30, _der(0xA2, _der(0x04, ticket))))
    asked = attempt(base64.b64encode(second).decode())
    await kerberos5.login(asked)
    with pytest.raises(LoginFailed, match="continues with the client's next token"):
        await gss.login(asked)  # SPNEGO now wants the list of mechanisms signed
    reply = base64.b64decode(asked.challenges[0][0])
    client.context.step(reply[reply.index(b"\x60") :][: _size(reply[reply.index(b"\x60") :])])
    signature = client.context.get_signature(mechanisms)
    third = _der(0xA1, _der(0x30, _der(0xA3, _der(0x04, signature))))
    grant = await login(kerberos5, gss, base64.b64encode(third).decode())
    assert grant == Grant.user("alice@EXAMPLE.COM")


async def test_first_token(kerberos5: Kerberos5LoginModule, tmp_path: Path, alice: str) -> None:
    """With tryFirstToken an earlier module's token is tried, and the request's own if that one is refused."""
    gss = module(GssLoginModule, tmp_path, tryFirstToken="true")
    assert await login(kerberos5, gss, None, shared_state={SHARED_TOKEN: Client(alice).token()})
    used = Client(alice).token()
    await login(kerberos5, gss, used)
    assert await login(kerberos5, gss, Client(alice).token(), shared_state={SHARED_TOKEN: used})
    with pytest.raises(LoginFailed, match="replay"):
        await login(kerberos5, gss, None, shared_state={SHARED_TOKEN: used})
    with pytest.raises(LoginFailed, match="no Negotiate token"):
        await login(kerberos5, module(GssLoginModule, tmp_path), None, shared_state={SHARED_TOKEN: used})


async def test_without_kerberos5(gss: GssLoginModule, kdc: Kdc, alice: str) -> None:
    """gss without a kerberos5 that stored its key before it refuses everyone and says what is missing."""
    with pytest.raises(LoginFailed, match="add kerberos5 with useKeyTab and storeKey before gss"):
        await gss.login(attempt(Client(alice).token()))
    with pytest.raises(LoginFailed, match="storeKey"):
        await login(acceptor(kdc.keytab, storeKey=False), gss, Client(alice).token())


async def test_flags(kerberos5: Kerberos5LoginModule, tmp_path: Path, alice: str) -> None:
    """A client that does not agree to a required flag is refused, one that does is let in."""
    gss = module(GssLoginModule, tmp_path, requireFlags="mutual, sequence")
    with pytest.raises(LoginFailed, match=r"alice@EXAMPLE.COM: the client did not agree to sequence \(requireFlags\)"):
        await login(kerberos5, gss, Client(alice).token())
    await login(
        kerberos5, gss, Client(alice, flags=[Flag.mutual_authentication, Flag.out_of_sequence_detection]).token()
    )


@pytest.mark.parametrize("wanted", [True, False])
async def test_delegation(kerberos5: Kerberos5LoginModule, tmp_path: Path, alice: str, wanted: bool) -> None:
    """Delegated credentials reach the subject only if asked for."""
    gss = module(GssLoginModule, tmp_path, storeDelegated=wanted)
    token = Client(alice, flags=[Flag.mutual_authentication, Flag.delegate_to_peer]).token()
    grant = await login(kerberos5, gss, token)
    assert [str(credentials.name) for credentials in grant.private_credentials] == ["alice@EXAMPLE.COM"] * wanted
    assert not (await login(kerberos5, gss, Client(alice).token())).private_credentials


@pytest.mark.parametrize(("option", "name"), [("keep", "alice@EXAMPLE.COM"), ("strip", "alice"), ("map", "alice")])
async def test_names(kerberos5: Kerberos5LoginModule, tmp_path: Path, alice: str, option: str, name: str) -> None:
    """The user's name keeps the realm, loses it, or is what the system's auth_to_local says."""
    gss = module(GssLoginModule, tmp_path, clientRealm=option)
    assert await login(kerberos5, gss, Client(alice).token()) == Grant.user(name)


async def test_clock_skew(kdc: Kdc, kerberos5: Kerberos5LoginModule, gss: GssLoginModule) -> None:
    """A client whose clock is an hour off is refused, and the log line says that it is the clock."""
    cache = kdc.kinit("alice", "alicepw")
    Client(cache).token()  # the service's ticket is in the cache now: the KDC would refuse a wrong clock as well
    shift_clock(cache, 3600)
    with pytest.raises(LoginFailed, match=r"Clock skew too great .*check NTP"):
        await login(kerberos5, gss, Client(cache).token())


async def test_stale_keytab(kdc: Kdc, gss: GssLoginModule, tmp_path: Path) -> None:
    """A keytab whose key was changed on the KDC stops the start, naming file and principal; a new one is just taken."""
    keytab = tmp_path / "stale.keytab"
    kdc.service("HTTP/stale", keytab)
    kerberos5 = acceptor(keytab, principal="HTTP/stale")
    await kerberos5.open()
    kdc.kadmin("cpw -randkey HTTP/stale")
    with pytest.raises(ConfigError, match=rf"{keytab} has a stale key of HTTP/stale@EXAMPLE.COM"):
        await acceptor(keytab, principal="HTTP/stale").open()
    cache = kdc.kinit("alice", "alicepw")
    with pytest.raises(LoginFailed, match="the service's key was changed: export the keytab again"):
        await login(kerberos5, gss, Client(cache, "HTTP@stale").token())
    kdc.kadmin(f"ktadd -k {keytab} -norandkey HTTP/stale")
    assert await login(kerberos5, gss, Client(cache, "HTTP@stale").token())


@pytest.mark.parametrize("shown", [0, 1, 7, 255])
async def test_key_version_of_other_tools(
    kdc: Kdc, gss: GssLoginModule, tmp_path: Path, alice: str, shown: int
) -> None:
    """A keytab that shows another key version, as ktpass writes 0 or 1, takes tickets that its key decrypts."""
    keytab = tmp_path / "shown.keytab"
    keytab.write_bytes(with_version(kdc.keytab.read_bytes(), shown))
    assert read_keytab(keytab).describe() == f"HTTP/localhost@EXAMPLE.COM (kvno {shown})"
    assert await login(acceptor(keytab), gss, Client(alice).token()) == Grant.user("alice@EXAMPLE.COM")


async def test_two_key_versions(kdc: Kdc, gss: GssLoginModule, tmp_path: Path) -> None:
    """A keytab with the old and the new key takes tickets of both; one with the old key takes its own only."""
    old, both = tmp_path / "old.keytab", tmp_path / "both.keytab"
    kdc.service("HTTP/renewed", old)
    before = kdc.kinit("alice", "alicepw")
    Client(before, "HTTP@renewed").token()  # the service's ticket is in the cache now
    kdc.kadmin("cpw -randkey -keepold HTTP/renewed")
    after = kdc.kinit("alice", "alicepw")
    both.write_bytes(old.read_bytes())
    kdc.kadmin(f"ktadd -k {both} -norandkey HTTP/renewed")
    assert read_keytab(both).describe() == "HTTP/renewed@EXAMPLE.COM (kvno 1, 2)"
    for cache in (before, after):
        assert await login(acceptor(both), gss, Client(cache, "HTTP@renewed").token())
    assert await login(acceptor(old), gss, Client(before, "HTTP@renewed").token())
    with pytest.raises(LoginFailed, match="keytab is likely out of date"):
        await login(acceptor(old), gss, Client(after, "HTTP@renewed").token())


@pytest.mark.parametrize(
    "mechanisms",
    [
        ["1.2.840.48018.1.2.2", "1.2.840.113554.1.2.2", "1.3.6.1.4.1.311.2.2.30", "1.3.6.1.4.1.311.2.2.10"],
        ["1.2.840.48018.1.2.2", "1.3.6.1.4.1.311.2.2.10"],
        ["1.2.840.113554.1.2.2", "1.2.840.48018.1.2.2", "1.2.840.113554.1.2.2.3"],
        ["1.2.840.113554.1.2.2"],
    ],
    ids=["windows", "microsoft", "kerberos-first", "kerberos"],
)
async def test_mechanisms_of_other_clients(
    kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str, mechanisms: list[str]
) -> None:
    """A first token with Kerberos foremost, under either of its numbers, is taken at once."""
    ticket = base64.b64decode(Client(alice, mech=KRB5).token())
    offered = _der(0x30, b"".join(_oid(mechanism) for mechanism in mechanisms))
    inner = _der(0xA0, offered) + _der(0xA2, _der(0x04, ticket))
    token = _der(0x60, _oid("1.3.6.1.5.5.2") + _der(0xA0, _der(0x30, inner)))
    grant = await login(kerberos5, gss, base64.b64encode(token).decode())
    assert grant == Grant.user("alice@EXAMPLE.COM")


@pytest.mark.parametrize("kind", ["truncated", "random", "ntlm", "huge", "bits"])
async def test_bad_tokens(kerberos5: Kerberos5LoginModule, gss: GssLoginModule, alice: str, kind: str) -> None:
    """A thousand bad tokens of each kind are refused as failed logins, and leave no memory behind."""
    good = base64.b64decode(Client(alice).token())
    dice = random.Random(4)

    async def refused() -> None:
        token = _bad_token(kind, good, dice)
        text = token if isinstance(token, str) else base64.b64encode(token).decode()
        with pytest.raises(LoginFailed):
            await login(kerberos5, gss, text)

    for _ in range(50):
        await refused()
    before, _ = _memory()
    for _ in range(1000):
        await refused()
    after, _ = _memory()
    assert after - before < 2_000_000, "resident memory grew"


def _memory() -> tuple[int, int]:
    pages, resident = Path("/proc/self/statm").read_text().split()[:2]
    return int(resident) * os.sysconf("SC_PAGE_SIZE"), int(pages)


def _bad_token(kind: str, good: bytes, dice: random.Random) -> bytes | str:
    if kind == "truncated":
        return good[: dice.randrange(len(good) - 1)]
    if kind == "random":
        return dice.randbytes(dice.randrange(1, 2000))
    if kind == "ntlm":
        return b"NTLMSSP\0" + dice.randbytes(40)
    if kind == "huge":
        return dice.choice(["A" * (MAX_TOKEN + 1), base64.b64encode(good + bytes(48_000)).decode()])
    damaged = bytearray(good)  # past the headers and the ticket's plain part, into what is encrypted
    damaged[dice.randrange(300, len(good))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes((size,)) if size < 128 else bytes((0x82,)) + struct.pack(">H", size)
    return bytes((tag,)) + length + content


def _size(data: bytes) -> int:
    """The length of the DER value that data begins with, with its header."""
    if data[1] < 128:
        return 2 + data[1]
    count = data[1] & 0x7F
    return 2 + count + int.from_bytes(data[2 : 2 + count], "big")


def _oid(dotted: str) -> bytes:
    return _der(0x06, bytes(gssapi.OID.from_int_seq(dotted)))


def _unwrapped(spnego: bytes) -> bytes:
    """The Kerberos token inside a SPNEGO token."""
    start = spnego.index(b"\x60", 1)
    return spnego[start : start + _size(spnego[start:])]
