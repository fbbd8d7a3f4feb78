"""Sessions: cookies, lives, rotation, revocation, and what is remembered of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError, HeaderError, StateFull, StateUnavailable
from asgi_gateway.model import GroupPrincipal, Principal, RevocationKey, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.sessions.cookies import MAX_LIFE, Session, Sessions, SessionSettings
from asgi_gateway.sessions.revocation import Revocations
from tests.helpers import ManualClock, OnePartState

pytestmark = pytest.mark.anyio

KEY, OLD = b"k" * 32, b"o" * 32
JOE = Subject((UserPrincipal("joe"), RolePrincipal("A"), GroupPrincipal("B"), Principal("C")))


class CountingState(OnePartState):
    """A memory store that counts how often it is asked, and can be down."""

    asked = 0
    error: Exception | None = None

    async def get(self, key: str) -> str | None:
        self._count()
        return await super().get(key)

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        self._count()
        return await super().extend(key, value, ttl)

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        self._count()
        return await super().put_if_absent(key, value, ttl)

    def _count(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


class Clock(ManualClock):
    """A clock that can be set, too."""

    offset = 0.0

    def time(self) -> float:
        return self.now + self.offset


@dataclass
class Host:
    """A store and the workers that share it."""

    clock: Clock = field(default_factory=lambda: Clock(1_800_000_000.0))

    def __post_init__(self) -> None:
        self.state = CountingState(self.clock)
        self.revocations = Revocations(self.state)

    def worker(self, realm: str = "demo", **changed: Any) -> Sessions[Session]:
        values: dict[str, Any] = {"realm": realm, "life": 3600.0, "idle": 600.0, "keys": [KEY]}
        settings = SessionSettings(**(values | changed))
        sessions: Sessions[Session] = Sessions(settings, self.state, self.clock, lambda session, left: session)
        self.revocations.subscribe(sessions.invalidate)
        return sessions


@pytest.fixture
def host() -> Host:
    """A host."""
    return Host()


def _cookie(set_cookie: bytes, *more: str) -> bytes:
    return "; ".join([set_cookie.decode().split(";")[0], *more]).encode()


async def _good(sessions: Sessions[Session], headers: bytes, *, secure: bool | None = False) -> bool:
    return (
        _recall(sessions, headers, secure=secure) is not None or await sessions.load(headers, secure=secure) is not None
    )


def _recall(sessions: Sessions[Session], headers: bytes, *, secure: bool | None = False) -> Session | None:
    return sessions.peek([(b"cookie", headers)], secure=secure)


async def test_session_stands_for_the_subject(host: Host) -> None:
    """The cookie of a login stands for the same principals, on every worker."""
    cookie = await host.worker().begin(JOE, secure=False)
    session = await host.worker().load(_cookie(cookie, "other=1"), secure=False)
    assert session is not None
    assert session.subject == JOE
    assert session.subject.roles == {"A", "B"}


async def test_cookie_attributes(host: Host) -> None:
    """The cookie is for this host and HTTP alone, lives as long as the session, and over TLS never goes without it."""
    for secure in (False, True):
        text = (await host.worker().begin(JOE, secure=secure)).decode()
        ((name, morsel),) = SimpleCookie(text).items()
        assert name.startswith("__Host-") is secure
        assert bool(morsel["secure"]) is secure
        assert (morsel["path"], morsel["httponly"], morsel["samesite"]) == ("/", True, "Lax")
        assert (morsel["max-age"], morsel["domain"]) == ("3600", "")
        assert "joe" not in text
        end = host.worker().end_cookie(secure=secure).decode()
        assert end.startswith(f"{name}=;")
        assert "Max-Age=0" in end


async def test_cookie_of_plain_http_is_nothing_over_tls(host: Host) -> None:
    """A cookie that could be set without TLS does not count over TLS, nor the other way round."""
    sessions = host.worker()
    for secure in (False, True):
        headers = _cookie(await sessions.begin(JOE, secure=secure))
        assert await _good(sessions, headers, secure=secure)
        assert not await _good(sessions, headers, secure=not secure)


async def test_new_id_at_login(host: Host) -> None:
    """Each login gets an id of its own."""
    assert len({await host.worker().begin(JOE, secure=False) for _ in range(20)}) == 20


async def test_realms_are_apart(host: Host) -> None:
    """A session of one realm is none of another's, whatever the cookie is called."""
    cookie = await host.worker("one").begin(JOE, secure=False)
    other = host.worker("two")
    name = (await other.begin(JOE, secure=False)).split(b"=")[0]
    value = cookie.split(b";")[0].split(b"=", 1)[1]
    assert not await _good(other, _cookie(cookie))
    assert not await _good(other, name + b"=" + value)


async def test_forged_cookies(host: Host) -> None:
    """Without a signature no cookie is looked up; a signed id without a record is no session."""
    sessions = host.worker()
    cookie = await sessions.begin(JOE, secure=False)
    name, _, rest = cookie.decode().partition("=")
    value = rest.split(";")[0]
    host.state.asked = 0
    for forged in ("", "x", value[:-2], value + "x", value.swapcase(), "." + value, "x" * 9000):
        assert not await _good(sessions, f"{name}={forged}".encode())
    assert not await _good(sessions, b"")
    assert not await _good(sessions, b"other=1")
    assert host.state.asked == 0
    for signed in ({"id": "unknown"}, {"id": 1}, {}):
        assert not await _good(sessions, f"{name}={sessions._plain.signer.sign(signed)}".encode())


async def test_strict_cookies(host: Host) -> None:
    """Two cookies of the session's name are refused."""
    sessions = host.worker()
    one, two = await sessions.begin(JOE, secure=False), await sessions.begin(JOE, secure=False)
    for both in (_cookie(one, two.decode().split(";")[0]), _cookie(one) + b"; " + _cookie(one)):
        assert _recall(sessions, both) is None
        with pytest.raises(HeaderError, match="duplicate"):
            await sessions.load(both, secure=False)


async def test_key_rotation(host: Host) -> None:
    """A new key in front signs, an old one behind it still verifies, and one that was taken out does not."""
    old = await host.worker(keys=[OLD]).begin(JOE, secure=False)
    new = await host.worker(keys=[KEY, OLD]).begin(JOE, secure=False)
    assert await _good(host.worker(keys=[KEY, OLD]), _cookie(old))
    assert await _good(host.worker(keys=[KEY]), _cookie(new))
    assert not await _good(host.worker(keys=[KEY]), _cookie(old))


@pytest.mark.parametrize("wrong", [{"keys": []}, {"keys": [b"short"]}])
async def test_bad_keys(host: Host, wrong: dict[str, Any]) -> None:
    """No key and a short key are errors."""
    with pytest.raises(ConfigError):
        host.worker(**wrong)


@pytest.mark.parametrize("wrong", [{"life": 0}, {"life": MAX_LIFE + 1}, {"idle": 0}, {"idle": -1}])
async def test_bad_times(host: Host, wrong: dict[str, Any]) -> None:
    """A life or idle time that makes no sense is an error."""
    with pytest.raises(ValueError, match="366 days"):
        host.worker(**wrong)


async def test_remembered(host: Host) -> None:
    """A session in use asks the store once in ten seconds and writes no more often, however many requests it has."""
    sessions = host.worker()
    headers = _cookie(await sessions.begin(JOE, secure=False))
    host.state.asked = 0
    for _ in range(100):
        assert await _good(sessions, headers)
        host.clock.advance(0.5)
    assert host.state.asked == 3 * 5


async def test_idle(host: Host) -> None:
    """A session ends when it was not used for the idle time, and lives on while it is used on any worker."""
    workers = [host.worker(life=10_000), host.worker(life=10_000)]
    headers = _cookie(await workers[0].begin(JOE, secure=False))
    for number in range(10):
        host.clock.advance(590)
        assert await _good(workers[number % 2], headers)
    host.clock.advance(611)
    assert not await _good(workers[0], headers)
    assert not await _good(workers[1], headers)


async def test_life(host: Host) -> None:
    """A session ends when its life is over, however busy it is."""
    sessions = host.worker()
    headers = _cookie(await sessions.begin(JOE, secure=False))
    for _ in range(35):
        host.clock.advance(100)
        assert await _good(sessions, headers)
    host.clock.advance(100)
    assert not await _good(sessions, headers)


async def test_shorter_limits(host: Host) -> None:
    """A login may ask for a shorter life and idle time than the realm's, never for longer ones."""
    sessions = host.worker(idle=None)
    short = _cookie(await sessions.begin(JOE, secure=False, life=100, idle=50))
    long = _cookie(await sessions.begin(JOE, secure=False, life=10_000))
    host.clock.advance(49)
    assert await _good(sessions, short)
    host.clock.advance(52)
    assert not await _good(sessions, short)
    host.clock.advance(3400)
    assert await _good(sessions, long)
    host.clock.advance(100)
    assert not await _good(sessions, long)


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_clock_an_hour_off(host: Host, step: float) -> None:
    """A clock set an hour forward or back revives no session and extends none."""
    sessions = host.worker(life=1800)
    ended = _cookie(await sessions.begin(JOE, secure=False))
    host.clock.advance(1801)
    headers = _cookie(await sessions.begin(JOE, secure=False))
    host.clock.offset = step
    assert not await _good(sessions, ended)
    for _ in range(18):
        host.clock.advance(100)
        await _good(sessions, headers)
        assert not await _good(sessions, ended)
    assert not await _good(sessions, headers)
    host.clock.offset = 0
    assert not await _good(sessions, headers)


async def test_revoked_session(host: Host) -> None:
    """A revoked session is over on every worker at once, and no other is."""
    workers = [host.worker(), host.worker()]
    one, two = [_cookie(await workers[0].begin(JOE, secure=False)) for _ in range(2)]
    for worker in workers:
        assert await _good(worker, one)
        assert await _good(worker, two)
    session = await workers[0].load(one, secure=False)
    assert session is not None
    assert await host.revocations.revoke(RevocationKey("session", session.id)) is True
    assert await host.revocations.revoke(RevocationKey("session", session.id)) is False
    for worker in workers:
        assert not await _good(worker, one)
        assert await _good(worker, two)


async def test_revoked_user(host: Host) -> None:
    """All sessions of a revoked user in that realm are over, nobody else's are, and the user may log in again."""
    worker, other = host.worker(), host.worker("other")
    ann = Subject((UserPrincipal("ann"),))
    joes = [_cookie(await worker.begin(JOE, secure=False)) for _ in range(3)]
    hers = _cookie(await worker.begin(ann, secure=False))
    elsewhere = _cookie(await other.begin(JOE, secure=False))
    for headers in (*joes, hers):
        assert await _good(worker, headers)
    for _ in range(3):
        await host.revocations.revoke(RevocationKey("user", "joe", "demo"))
    for headers in joes:
        assert not await _good(worker, headers)
        assert not await _good(host.worker(), headers)
    assert await _good(worker, hers)
    assert await _good(other, elsewhere)
    assert await _good(worker, _cookie(await worker.begin(JOE, secure=False)))


async def test_revoked_while_it_is_looked_up(host: Host) -> None:
    """A session that is revoked while the store is being asked is not remembered."""
    worker = host.worker()
    headers = _cookie(await worker.begin(JOE, secure=False))
    revocation = RevocationKey("user", "joe", "demo")

    class Slow(CountingState):
        async def extend(self, key: str, value: str, ttl: float) -> bool:
            self.__class__ = CountingState  # type: ignore[assignment]
            await host.revocations.revoke(revocation)
            return await self.extend(key, value, ttl)

    host.state.__class__ = Slow
    assert await worker.load(headers, secure=False) is not None
    assert _recall(worker, headers) is None
    assert not await _good(worker, headers)


async def test_announcement_was_missed(host: Host) -> None:
    """A worker that no announcement reached ends the session within ten seconds all the same."""
    worker = host.worker()
    headers = _cookie(await worker.begin(JOE, secure=False))
    assert await _good(worker, headers)
    await Revocations(host.state).revoke(RevocationKey("user", "joe", "demo"))
    assert await _good(worker, headers)
    host.clock.advance(10)
    assert not await _good(worker, headers)


async def test_everything_may_have_been_revoked(host: Host) -> None:
    """A worker that may have missed announcements asks the store again for every session."""
    worker = host.worker()
    headers = _cookie(await worker.begin(JOE, secure=False))
    assert await _good(worker, headers)
    worker.invalidate(None)
    assert _recall(worker, headers) is None
    assert await _good(worker, headers)


@pytest.mark.parametrize("error", [StateUnavailable("down"), StateFull("full")])
async def test_store_is_down(host: Host, error: Exception) -> None:
    """When the store cannot be asked no session begins and none is believed, beyond what was just verified."""
    worker = host.worker()
    headers = _cookie(await worker.begin(JOE, secure=False))
    assert await _good(worker, headers)
    host.state.error = error
    assert await _good(worker, headers)
    host.clock.advance(10)
    with pytest.raises(type(error)):
        await _good(worker, headers)
    with pytest.raises(type(error)):
        await worker.begin(JOE, secure=False)
    host.state.error = None
    assert await _good(worker, headers)


async def test_bounded_memory(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cookies are shown, a worker remembers a bounded number, and forgets only what it can ask again."""
    monkeypatch.setattr("asgi_gateway.sessions.cookies._REMEMBERED", 10)
    worker = host.worker()
    headers = _cookie(await worker.begin(JOE, secure=False))
    for number in range(100):
        assert await _good(worker, headers + f"; flood={number}".encode())
    assert len(worker._plain.verified) == 10
    long = headers + b"; other=" + b"x" * 5000
    assert await _good(worker, long)
    assert _recall(worker, long) is None
    assert await _good(worker, headers)


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"p": [["z", ""]], "u": 9e9, "i": null, "g": ""}', '{"p": 1}'])
async def test_unreadable_records(host: Host, record: str) -> None:
    """A record that cannot be read is no session."""
    worker = host.worker()
    name = (await worker.begin(JOE, secure=False)).split(b"=")[0]
    await host.state.put_if_absent(RevocationKey("session", "x").key, record, 60)
    cookie = name + b"=" + worker._plain.signer.sign({"id": "x"}).encode()
    assert not await _good(worker, cookie)


async def test_doubled_lines(host: Host) -> None:
    """Where Cookie or Authorization is there twice, nothing is recalled without looking."""
    worker = host.worker()
    cookie = (b"cookie", _cookie(await worker.begin(JOE, secure=False)))
    assert await worker.load(cookie[1], secure=False)
    assert worker.peek([(b"accept", b"*/*"), cookie, (b"authorization", b"x")], secure=False)
    assert worker.peek([cookie, (b"authorization", b"x"), (b"authorization", b"x")], secure=False) is None
    assert worker.peek([cookie, (b"cookie", b"a=1")], secure=False) is None
    assert worker.peek([], secure=False) is None


BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize("secure", [True, False])
async def test_other_spellings_of_a_signature(host: Host, secure: bool) -> None:
    """Only the signature's own characters are valid: none beside them, none in their place, none with equal bytes."""
    sessions = host.worker()
    name, _, value = _cookie(await sessions.begin(JOE, secure=secure)).decode().partition("=")
    data, _, signature = value.rpartition(".")
    assert await _good(host.worker(), f"{name}={value}".encode(), secure=secure)
    spellings = {signature[:-1] + last for last in BASE64} - {signature}
    spellings |= {signature + "=", signature + "==", signature + "A", "=" + signature, signature[:-1]}
    for added in "!$%&'()*+,/:<>?@[]^`{|}~#":
        spellings |= {signature[:20] + added + signature[20:], added + signature, signature + added}
    spellings |= {signature.replace("-", "+").replace("_", "/"), signature.swapcase()} - {signature}
    for spelling in spellings:
        assert not await _good(host.worker(), f"{name}={data}.{spelling}".encode(), secure=secure), spelling
    for other in (data + "=", "." + data, data + "!", data[:5] + "~" + data[5:]):
        assert not await _good(host.worker(), f"{name}={other}.{signature}".encode(), secure=secure), other


async def test_renamed_cookies(host: Host) -> None:
    """A value that was set under one name is not valid under another: neither over TLS nor in another realm."""
    sessions, other = host.worker(), host.worker("other")
    set_by = {
        name: _cookie(await made.begin(JOE, secure=secure)).decode().partition("=")[2]
        for made, secure in ((sessions, True), (sessions, False), (other, True), (other, False))
        for name in [made._tls.name if secure else made._plain.name]
    }
    assert len(set_by) == 4
    for given, value in set_by.items():
        for name in set_by:
            for made in (sessions, other):
                for secure in (True, False, None):
                    shown = f"{name}={value}".encode()
                    expected = [each.name for each in made._candidates(secure)]
                    assert await _good(made, shown, secure=secure) is (given == name and name in expected)


async def test_scheme_is_unknown(host: Host) -> None:
    """Where the server does not say whether it is TLS, either cookie is valid, the one for TLS before the other."""
    sessions = host.worker()
    ann = Subject((UserPrincipal("ann"),))
    over_tls, plain = [_cookie(await sessions.begin(who, secure=s)) for who, s in ((JOE, True), (ann, False))]
    for shown, user in ((over_tls, "joe"), (plain, "ann"), (over_tls + b"; " + plain, "joe"), (b"a=1", None)):
        for worker in (sessions, host.worker()):
            for _ in range(2):
                session = await worker.load(shown, secure=None)
                assert (None if session is None else session.subject.name) == user
            found = await worker.lookup(shown, secure=None)
            assert (None if found is None else found.subject.name) == user
    broken = over_tls[:-1] + (b"A" if over_tls[-1:] != b"A" else b"B")
    session = await sessions.load(broken + b"; " + plain, secure=None)
    assert session is not None
    assert session.subject.name == "ann"
    begun = (await sessions.begin(JOE, secure=None)).decode()
    assert begun.startswith("__Host-")
    assert "; Secure" in begun
    assert sessions.end_cookie(secure=None).startswith(b"__Host-")


@pytest.mark.parametrize(
    "settings",
    [{"gateway": "/srv/a/gateway.yaml"}, {"gateway": "sqlite /srv/state.db "}, {"cookie": "shop"}, {"cookie": "A_1-b"}],
)
async def test_several_gateways_on_one_host(host: Host, settings: dict[str, str]) -> None:
    """Gateways with other names for their cookies do not log each other out, and do not take each other's cookies."""
    one, same, other = host.worker(**settings), host.worker(**settings), host.worker()
    cookies = [_cookie(await each.begin(JOE, secure=True)) for each in (one, other)]
    names = [cookie.partition(b"=")[0] for cookie in cookies]
    assert len(set(names)) == 2
    jar = b"; ".join(cookies)
    for worker in (one, same, other):
        assert await _good(worker, jar, secure=True)
    assert not await _good(other, cookies[0], secure=True)
    assert not await _good(same, cookies[1], secure=True)


async def test_realms_of_one_gateway_have_names_of_their_own(host: Host) -> None:
    """Whatever the cookies are called, each realm has its own."""
    for settings in ({}, {"cookie": "shop"}, {"gateway": "g"}):
        names = {(await host.worker(realm, **settings).begin(JOE, secure=True)).partition(b"=")[0] for realm in "ab"}
        assert len(names) == 2


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "ä", "x" * 65, "a\n", "__Host-a;"])
async def test_bad_names(host: Host, name: str) -> None:
    """A name that no cookie can have is an error."""
    with pytest.raises(ValueError, match="name of a session cookie"):
        host.worker(cookie=name)
