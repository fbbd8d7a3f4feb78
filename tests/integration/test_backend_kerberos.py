"""Negotiate towards back ends: by the gateway's keytab with MIT's KDC, as the user by delegation with Samba's."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gssapi
import httpx
import pytest
from gssapi.raw import accept_sec_context, display_name

from asgi_gateway.client import (
    BasicChallengeHandler,
    ChallengeHandler,
    GatewayAuth,
    KerberosChallengeHandler,
    MutualAuthenticationError,
    NegotiateChallengeHandler,
    PasswordAuthentication,
)
from asgi_gateway.config.backend_login import build_backend_login
from asgi_gateway.config.backends import BackendContext
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.errors import ConfigError
from asgi_gateway.model import Headers, Subject, UserPrincipal
from asgi_gateway.proxy.login import BackendLogin
from asgi_gateway.services.trusted_proxies import TrustedProxies
from tests.gateways import World, service, users
from tests.integration.kdc import Kdc, realm
from tests.integration.process import Process
from tests.integration.samba import PASSWORD, REALM, USERS, SambaDomain, samba
from tests.integration.servers import serve
from tests.integration.tickets import KRB5, SPNEGO, Client, Flag
from tests.proxy.challenging import Accept, Answer, ChallengingBackend, challenging, proxied

__all__ = ["samba"]

pytestmark = pytest.mark.anyio

ALICE = "alice@EXAMPLE.COM"


class KerberosBackend:
    """Accepts tickets by a keytab, and answers with the name of whoever they are of.

    Args:
        keytab: the keytab.
        proof: the token that it sends, in place of its own; empty for none.
    """

    def __init__(self, keytab: Path, proof: str | None = None) -> None:
        store = {"keytab": f"FILE:{keytab}", "rcache": "none:"}
        self._credentials = gssapi.Credentials(usage="accept", store=store)
        self._proof = proof

    def __call__(self, authorization: str | None) -> Headers | None:
        if authorization is None:
            return None
        accepted = accept_sec_context(base64.b64decode(authorization.removeprefix("Negotiate ")), self._credentials)
        token = base64.b64encode(accepted.token or b"").decode() if self._proof is None else self._proof
        headers = ((b"x-user", display_name(accepted.initiator_name, False).name),)
        return (*headers, (b"www-authenticate", f"Negotiate {token}".encode())) if token else headers


class Built:
    """A service's login to its back end, with the problems of its configuration and the audit events."""

    def __init__(self, directory: Path, url: str, connect_login: dict[str, Any]) -> None:
        self.world = World()
        self.problems: list[str] = []
        values = {"accept": ["http://localhost:8000/"], "connect": [url], "connect-login": connect_login}
        self.login: BackendLogin = build_backend_login(
            ServiceConfig.model_validate(values | {"max-authentication-attempts": 3}),
            BackendContext(
                service=service("reports", "", self.world.realm(users(joe=""))),
                directory=directory,
                file=None,
                web_root=None,
                keystore=None,
                truststore=None,
                clock=self.world.clock,
                audit=self.world.audit,
                pools=self.world.pools,
                trusted_proxies=TrustedProxies(),
                session_cookie="gateway",
                files=(),
            ),
            ("services", 0),
            lambda path, message, hint="", severity="error": self.problems.append(f"{severity}: {message}"),
        )

    @property
    def events(self) -> list[str]:
        """The outcomes and reasons of the audit log."""
        events = [json.loads(line) for line in self.world.records.lines]
        return [f"{each['outcome']}: {each['reason']}" for each in events]

    async def fetch(self, backend: ChallengingBackend, subject: Subject | None = None) -> Answer:
        """Pass a request on."""
        return await proxied(self.login, backend.url(host="localhost"), subject=subject)


def user_of(answer: Answer) -> str:
    """The user whom the back end saw."""
    return dict(answer.headers)[b"x-user"].decode()


def subject(name: str, *credentials: Any) -> Subject:
    """An authenticated user."""
    return Subject((UserPrincipal(name),), private_credentials=credentials)


# ------------------------------------------------------------------------------------------------- the gateway's own


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with realm(tmp_path_factory.mktemp("kdc") / "kdc") as found:
        found.user("alice", "alicepw")
        found.user("bob", "bobpw")
        found.service("gateway", found.directory / "gateway.keytab")
        (found.directory / "gateway.keytab").chmod(0o600)
        yield found


@pytest.fixture
def mit(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> Kdc:
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)
    return kdc


OWN = {"kerberos": "gateway", "keytab": "gateway.keytab"}


@pytest.mark.parametrize("challenge", ["Negotiate", "Application Negotiate", 'Basic realm="x", Negotiate'])
async def test_the_gateways_own_ticket(mit: Kdc, challenge: str) -> None:
    """A back end lets the gateway in by its keytab, whoever the user is, and proves who it is."""
    async with challenging(KerberosBackend(mit.keytab), challenge) as backend:
        built = Built(mit.directory, backend.url(host="localhost"), OWN)
        for name in ("alice", "bob"):
            answer = await built.fetch(backend, subject(name))
            assert (answer.status, user_of(answer)) == (200, "gateway@EXAMPLE.COM")
        first, second = (each for each in backend.received if each is not None)
        assert first != second
        assert (built.problems, built.events, await built.login.check()) == ([], [], [])


@pytest.mark.parametrize(
    ("proof", "trusted"), [(None, True), ("", True), ("oRQwEqADCgEAoQsGCSqGSIb3EgECAg==", False), ("AAAA", False)]
)
async def test_proof_of_the_back_end(mit: Kdc, proof: str | None, trusted: bool) -> None:
    """A token that does not prove who the back end is loses the answer; on this machine none is needed."""
    async with challenging(KerberosBackend(mit.keytab, proof), "Negotiate") as backend:
        built = Built(mit.directory, backend.url(host="localhost"), OWN)
        if trusted:
            assert (await built.fetch(backend)).status == 200
            return
        with pytest.raises(MutualAuthenticationError):
            await built.fetch(backend)
        assert built.events == ["failure: back end: the server did not prove its identity by Kerberos"]


async def test_a_back_end_that_the_kdc_does_not_know(mit: Kdc) -> None:
    """Without a ticket for the back end its 401 is passed on, and the audit log says why."""
    async with challenging(KerberosBackend(mit.keytab), "Negotiate") as backend:
        built = Built(mit.directory, backend.url(), OWN)
        assert (await proxied(built.login, backend.url())).status == 401
        assert backend.received == [None]
        assert "no ticket for HTTP/127.0.0.1: Server" in built.events[0]


async def test_the_kdc_is_down(mit: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the KDC cannot be reached, 401s are passed on and the outage is reported."""
    text = (mit.directory / "krb5.conf").read_text().replace(f"127.0.0.1:{mit.port}", "127.0.0.1:1")
    (tmp_path / "krb5.conf").write_text(text)
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    async with challenging(KerberosBackend(mit.keytab), "Negotiate") as backend:
        built = Built(mit.directory, backend.url(host="localhost"), OWN)
        assert (await built.fetch(backend)).status == 401
        (event,) = built.events
        assert event.startswith("unavailable: back end: keytab ")
        (line,) = await built.login.check()
        assert "Cannot contact any KDC" in line
        await built.login.open()
        await built.login.close()


async def test_a_stale_key(mit: Kdc) -> None:
    """A key that the KDC refuses stops the start, and is found by the check and by a request."""
    mit.service("stale", mit.directory / "stale.keytab")
    (mit.directory / "stale.keytab").chmod(0o600)
    mit.kadmin("cpw -randkey stale")
    async with challenging(KerberosBackend(mit.keytab), "Negotiate") as backend:
        login = {"kerberos": "stale", "keytab": "stale.keytab"}
        built = Built(mit.directory, backend.url(host="localhost"), login)
        (line,) = await built.login.check()
        assert "export the keytab again" in line or "a keytab whose key is not the KDC's" in line
        with pytest.raises(ConfigError, match="stale key of stale@"):
            await built.login.open()
        assert (await built.fetch(backend)).status == 401
        assert line in built.events[0]


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ({"kerberos": "other", "keytab": "gateway.keytab"}, "has no key of other; it holds gateway@EXAMPLE.COM"),
        ({"kerberos": "gateway", "keytab": "absent.keytab"}, "cannot read keytab"),
        ({"kerberos": "gateway", "keytab": "krb5.conf"}, "is not a keytab"),
    ],
)
def test_unusable_keytabs(mit: Kdc, login: dict[str, Any], message: str) -> None:
    """A keytab that cannot be used is an error of the configuration."""
    (problem,) = Built(mit.directory, "http://localhost/", login).problems
    assert problem.startswith("error: ")
    assert message in problem


def test_a_keytab_of_others(mit: Kdc, tmp_path: Path) -> None:
    """A keytab that other users of the machine can read is a warning."""
    (tmp_path / "gateway.keytab").write_bytes((mit.directory / "gateway.keytab").read_bytes())
    (tmp_path / "gateway.keytab").chmod(0o644)
    (problem,) = Built(tmp_path, "http://localhost/", OWN).problems
    assert problem == "warning: the keytab can be read by every user of this machine"


# --------------------------------------------------------------------------------- tickets that a client delegated


def delegated(kdc: Kdc, user: str, mech: Any = SPNEGO) -> Any:
    """The credentials that a client delegated to the gateway."""
    flags = [Flag.mutual_authentication, Flag.delegate_to_peer]
    client = Client(kdc.kinit(user, f"{user}pw", "-f"), mech=mech, flags=flags)
    store = {"keytab": f"FILE:{kdc.keytab}", "rcache": "none:"}
    own = gssapi.Credentials(usage="accept", store=store)
    accepted = accept_sec_context(base64.b64decode(client.token()), own)
    return gssapi.Credentials(base=accepted.delegated_creds)


@pytest.mark.parametrize("name", [ALICE, "alice", "ALICE@EXAMPLE.COM"])
@pytest.mark.parametrize("mech", [SPNEGO, KRB5], ids=["spnego", "krb5"])
async def test_a_ticket_that_the_client_delegated(mit: Kdc, mech: Any, name: str) -> None:
    """The back end sees the user whose client delegated a ticket."""
    async with challenging(KerberosBackend(mit.keytab), "Negotiate") as backend:
        built = Built(mit.directory, backend.url(host="localhost"), {"delegate": True})
        (problem,) = built.problems
        assert problem.startswith("warning: no login module of the service is kerberos5 or gss, so no client delegates")
        answer = await built.fetch(backend, subject(name, "another credential", delegated(mit, "alice", mech)))
        assert (answer.status, user_of(answer)) == (200, ALICE)


@pytest.mark.parametrize("whose", ["nobody's", "another user's", "the gateway's"])
async def test_no_ticket_of_the_user(mit: Kdc, whose: str) -> None:
    """Without a ticket of this very user nothing is sent: no other user's ticket, and not the gateway's own."""
    own = gssapi.Credentials(
        name=gssapi.Name("gateway@EXAMPLE.COM", gssapi.NameType.kerberos_principal),
        usage="initiate",
        store={"client_keytab": f"FILE:{mit.directory}/gateway.keytab", "ccache": "MEMORY:own"},
    )
    credentials = {"nobody's": (), "another user's": (delegated(mit, "bob"),), "the gateway's": (own,)}[whose]
    async with challenging(KerberosBackend(mit.keytab), "Negotiate") as backend:
        built = Built(mit.directory, backend.url(host="localhost"), {"delegate": True})
        assert (await built.fetch(backend, subject(ALICE, *credentials))).status == 401
        assert backend.received == [None]
        assert built.events == ["failure: back end: the client delegated no ticket"]


# ------------------------------------------------------------------------------- constrained delegation (S4U2Proxy)

DELEGATE = {"kerberos": "proxy", "keytab": "proxy.keytab", "delegate": True}
NOT_DELEGATED = "KDC can't fulfill requested option (the KDC refuses the delegation: check forwardable = true"


@pytest.fixture
def domain(samba: SambaDomain, monkeypatch: pytest.MonkeyPatch) -> SambaDomain:
    for name, value in samba.environment.items():
        monkeypatch.setenv(name, value)
    (samba.folder / "domain" / "proxy.keytab").chmod(0o600)
    return samba


def accepting(domain: SambaDomain) -> Accept:
    """A back end that accepts tickets for HTTP/localhost."""
    return KerberosBackend(domain.folder / "domain" / "http.keytab")


def built_in(domain: SambaDomain, backend: ChallengingBackend) -> Built:
    """A service that delegates."""
    return Built(domain.folder / "domain", backend.url(host="localhost"), DELEGATE)


@pytest.mark.parametrize("name", ["alice", f"alice@{REALM}", f"bob@{REALM}", "carol d'Arc", f"alice@{REALM.lower()}"])
async def test_delegation(domain: SambaDomain, name: str) -> None:
    """The back end sees the user, who logged in to the gateway by whatever means."""
    async with challenging(accepting(domain), "Negotiate") as backend:
        built = built_in(domain, backend)
        for _ in range(2):
            answer = await built.fetch(backend, subject(name))
            assert (answer.status, user_of(answer)) == (200, f"{name.partition('@')[0]}@{REALM}")
        assert built.events == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("alice@OTHER.EXAMPLE", f"users of realm OTHER.EXAMPLE cannot be delegated: the keytab is of realm {REALM}"),
        ("alice@CORP.EXAMPLE.EVIL", "users of realm CORP.EXAMPLE.EVIL cannot be delegated"),
        ("HTTP/localhost", "services cannot be delegated, only users"),
        ("alice@CORP.EXAMPLE@X", "invalid principal"),
        ("CORP\\alice", "invalid principal"),
        ("nosuchuser", "proxy@CORP.EXAMPLE cannot act as nosuchuser@CORP.EXAMPLE: Client not found"),
        ("disabled", "proxy@CORP.EXAMPLE cannot act as disabled@CORP.EXAMPLE: "),
    ],
)
async def test_users_who_cannot_be_delegated(domain: SambaDomain, name: str, reason: str) -> None:
    """For a user whom the account cannot act as, nothing is sent, at once, and the audit log says why."""
    async with challenging(accepting(domain), "Negotiate") as backend:
        built = built_in(domain, backend)
        assert (await built.fetch(backend, subject(name))).status == 401
        assert backend.received == [None]
        (event,) = built.events
        assert event.startswith(f"failure: back end: {reason}")


async def test_no_user(domain: SambaDomain) -> None:
    """A subject that names no user is nobody's, whatever else it has."""
    async with challenging(accepting(domain), "Negotiate") as backend:
        built = built_in(domain, backend)
        for nobody in (Subject(), None):
            assert (await built.fetch(backend, nobody)).status == 401
        assert backend.received == [None, None]


async def test_a_protected_user(domain: SambaDomain) -> None:
    """An account that is sensitive and cannot be delegated is not; once it can be, the next request works."""
    async with challenging(accepting(domain), "Negotiate") as backend:
        built = built_in(domain, backend)
        domain.modify(f"CN=changer,{USERS}", userAccountControl=str(0x200 | 0x100000))
        assert (await built.fetch(backend, subject("changer"))).status == 401
        assert backend.received == [None]
        assert NOT_DELEGATED in built.events[0]
        domain.modify(f"CN=changer,{USERS}", userAccountControl=str(0x200))
        assert user_of(await built.fetch(backend, subject("changer"))) == f"changer@{REALM}"


async def test_an_account_without_the_right(domain: SambaDomain) -> None:
    """The account needs the right to delegate to this very service; a ticket it got is used for some minutes more."""
    account = f"CN=proxy,{USERS}"
    async with challenging(accepting(domain), "Negotiate") as backend:
        built = built_in(domain, backend)
        assert (await built.fetch(backend, subject("alice"))).status == 200
        domain.modify(account, **{"msDS-AllowedToDelegateTo": "HTTP/elsewhere.corp.example"})
        try:
            assert (await built.fetch(backend, subject("alice"))).status == 200
            assert (await built.fetch(backend, subject("bob"))).status == 401
            built.world.clock.advance(301)
            assert (await built.fetch(backend, subject("alice"))).status == 401
            assert [NOT_DELEGATED in event for event in built.events] == [True, True]
        finally:
            domain.modify(account, **{"msDS-AllowedToDelegateTo": "HTTP/localhost"})
        assert user_of(await built.fetch(backend, subject("bob"))) == f"bob@{REALM}"


async def test_an_account_that_needs_the_users_own_ticket(domain: SambaDomain) -> None:
    """Without protocol transition the KDC gives no ticket that could be sent, and none is."""
    account = f"CN=proxy,{USERS}"
    async with challenging(accepting(domain), "Negotiate") as backend:
        built = built_in(domain, backend)
        domain.modify(account, userAccountControl=str(0x200))
        try:
            assert (await built.fetch(backend, subject("alice"))).status == 401
            assert backend.received == [None]
            assert NOT_DELEGATED in built.events[0]
        finally:
            domain.modify(account, userAccountControl=str(0x200 | 0x1000000))
        assert user_of(await built.fetch(backend, subject("alice"))) == f"alice@{REALM}"


# ------------------------------------------------------------------------------------------------ the whole gateway

SITE = """
security:
  realms:
    - name: desktop
      authentication:
        http-challenge-scheme: [Negotiate, Basic]
        login-modules:
          - type: kerberos5
            success: requisite
            options: {{isInitiator: false, useKeyTab: true, keyTab: http.keytab, principal: HTTP/localhost,
                       storeKey: true, doNotPrompt: true}}
          - {{type: gss, success: sufficient, options: {{storeDelegated: true}}}}
          - {{type: kerberos5, success: required, options: {{verifyKeyTab: http.keytab}}}}
services:
  - name: reports
    accept: /reports
    connect: http://localhost:{port}/reports
    type: http.proxy
    realm-name: desktop
    max-authentication-attempts: 1
    connect-login: {login}
"""
LOGIN = "{kerberos: proxy, keytab: proxy.keytab, delegate: true}"


@contextmanager
def site(domain: SambaDomain, backend: ChallengingBackend, folder: Path, login: str = LOGIN) -> Iterator[Process]:
    """A gateway with single sign-on in front of a back end."""
    for name in ("http.keytab", "proxy.keytab"):
        shutil.copy(domain.folder / "domain" / name, folder)
        (folder / name).chmod(0o600)
    (folder / "gateway.yaml").write_text(SITE.format(port=backend.port, login=login))
    env = domain.environment | {"GATEWAY_FILE": str(folder / "gateway.yaml")}
    with serve("back_end_login_app:app", log=folder / "log", env=env) as process:
        yield process


def kinit(domain: SambaDomain, name: str, *options: str) -> str:
    """Log a user in; returns the name of a ticket cache of its own."""
    cache = f"FILE:{domain.folder}/cache-back-end-{name}"
    command = ["kinit", *options, "-c", cache, name]
    subprocess.run(command, input=PASSWORD + "\n", text=True, check=True, capture_output=True, timeout=30)
    return cache


async def ask(gateway: Process, handler: ChallengeHandler) -> httpx.Response:
    """Ask the gateway for a report."""
    async with httpx.AsyncClient(auth=GatewayAuth(handler), trust_env=False, timeout=20) as client:
        return await client.get(f"http://localhost:{gateway.port}/reports/1")


@pytest.mark.parametrize("login", [LOGIN, "{delegate: true}"], ids=["S4U2Proxy", "delegated by the client"])
async def test_single_sign_on_through_the_gateway(
    domain: SambaDomain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    """Whoever signs on to the gateway with a ticket is who the back end sees; its proof stays with the gateway."""
    delegates = login != LOGIN
    async with challenging(accepting(domain), "Negotiate") as backend:
        with site(domain, backend, tmp_path, login) as gateway:
            for name in ("alice", "bob"):
                monkeypatch.setenv("KRB5CCNAME", kinit(domain, name, "-f"))
                handler = NegotiateChallengeHandler(KerberosChallengeHandler(delegate=delegates))
                answer = await ask(gateway, handler)
                assert (answer.status_code, answer.headers.get("x-user")) == (200, f"{name}@{REALM}")
                assert len(answer.headers.get_list("www-authenticate")) == 1  # the gateway's own proof
            assert len(backend.received) == 4


async def test_a_password_at_the_gateway_and_a_ticket_behind(domain: SambaDomain, tmp_path: Path) -> None:
    """A user who gives name and password is known to the back end by a ticket."""
    async with challenging(accepting(domain), "Negotiate") as backend:
        with site(domain, backend, tmp_path) as gateway:
            answer = await ask(gateway, BasicChallengeHandler(lambda request: PasswordAuthentication("bob", PASSWORD)))
            assert (answer.status_code, answer.headers.get("x-user")) == (200, f"bob@{REALM}")
            assert "www-authenticate" not in answer.headers


async def test_no_ticket_to_delegate(domain: SambaDomain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a delegated ticket the back end's 401 is passed on, and no ticket of anyone's is sent."""
    async with challenging(accepting(domain), "Negotiate") as backend:
        with site(domain, backend, tmp_path, "{delegate: true}") as gateway:
            monkeypatch.setenv("KRB5CCNAME", kinit(domain, "alice"))
            answer = await ask(gateway, NegotiateChallengeHandler(KerberosChallengeHandler()))
            assert answer.status_code == 401
            assert set(backend.received) == {None}
            assert "the client delegated no ticket" in gateway.output()
