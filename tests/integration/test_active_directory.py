"""The ldap login module against a real Active Directory, Samba's domain controller."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from asgi_gateway import Gateway, load_config
from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.model import Allow, AuthRequest, Challenge, Grant, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.modules.ldap import LdapLoginModule, LdapPrincipal
from asgi_gateway.modules.ldap.client.bind_result import account_problem
from tests.helpers import attempt
from tests.integration.process import LOOPBACK, Process, free_port
from tests.integration.samba import ACCOUNT, BASE, PASSWORD, REALM, USERS, SambaDomain, samba
from tests.integration.servers import basic, connect, serve
from tests.integration.tickets import Client

__all__ = ["samba"]

pytestmark = pytest.mark.anyio

SEARCH_FIRST: dict[str, Any] = {}
UPN = {"authIdentity": "{USERNAME}@corp.example", "userFilter": "(userPrincipalName={USERNAME}@corp.example)"}
DOMAIN_NAME = {"authIdentity": "CORP\\{USERNAME}", "userFilter": "(sAMAccountName={USERNAME})"}
DN_FIRST = {"authIdentity": f"CN={{USERNAME}},{USERS}", "userFilter": "(sAMAccountName={USERNAME})"}
DN_ONLY = {"authIdentity": f"CN={{USERNAME}},{USERS}", "userFilter": None}
MODES = pytest.mark.parametrize(
    "mode",
    [SEARCH_FIRST, UPN, DOMAIN_NAME, DN_FIRST, DN_ONLY],
    ids=["search-first", "upn", "domain-name", "dn-first", "dn-only"],
)
IN_CHAIN = {"groupSearchBase": BASE, "groupInChain": "true"}
DIRECT = {"memberOfAttribute": "memberOf"}


async def log_in(module: LdapLoginModule, username: str, password: str = PASSWORD) -> Grant:
    grant = await module.login(attempt(username, password))
    assert grant is not None
    return grant


def roles(grant: Grant) -> list[str]:
    return sorted(principal.name for principal in grant.principals if isinstance(principal, RolePrincipal))


# ---------------------------------------------------------------------------------------------------------- identity


@MODES
@pytest.mark.parametrize("typed", ["alice", "ALICE", "aLice"])
async def test_the_name_is_the_entrys(samba: SambaDomain, mode: dict[str, Any], typed: str) -> None:
    """In every mode a user who types another letter case is the user that the directory knows."""
    grant = await log_in(samba.module(**mode), typed)
    assert grant.principals[:2] == (LdapPrincipal(f"CN=alice,{USERS}"), UserPrincipal("alice"))


@pytest.mark.parametrize("identity", ["{USERNAME}@corp.example", "CORP\\{USERNAME}", f"CN={{USERNAME}},{USERS}"])
@pytest.mark.parametrize("other", ["(sAMAccountName=bob)", "(sAMAccountName=web-users)", "(cn=disabled)"])
async def test_another_entry_than_the_one_bound(samba: SambaDomain, identity: str, other: str) -> None:
    """A filter that finds another entry than the account that was bound, by whatever name, gives none of its roles."""
    text = f"(|{other}(&(objectClass=group)(description={{USERNAME}})))"
    with pytest.raises(LoginFailed, match="another entry"):
        await log_in(samba.module(authIdentity=identity, userFilter=text, **DIRECT), "alice")


@pytest.mark.parametrize("typed", ["CORP\\alice", "corp\\ALICE", "corp.example\\alice", "alice"])
async def test_names_with_a_domain(samba: SambaDomain, typed: str) -> None:
    """With stripDomain, DOMAIN\\name of a configured domain is the user of that name."""
    module = samba.module(stripDomain="CORP corp.example")
    assert (await log_in(module, typed)).principals[1] == UserPrincipal("alice")


@pytest.mark.parametrize("typed", ["OTHER\\alice", "\\alice", "CORP\\", "CORP\\CORP\\alice", "CORP.example.org\\alice"])
async def test_names_with_another_domain(samba: SambaDomain, typed: str) -> None:
    """Another domain's alice is not this one's."""
    with pytest.raises(LoginFailed):
        await log_in(samba.module(stripDomain="CORP corp.example"), typed)


async def test_user_principal_names(samba: SambaDomain) -> None:
    """A user may log in by either name; the principal is the first attribute's value, and a warning says so."""
    text = "(|(sAMAccountName={USERNAME})(userPrincipalName={USERNAME}))"
    module = samba.module(userFilter=text)
    for typed in ("alice", "ALICE@CORP.EXAMPLE", "alice@corp.example"):
        assert (await log_in(module, typed)).principals[1] == UserPrincipal("alice")


@pytest.mark.parametrize("tls", [True, False])
async def test_transports(samba: SambaDomain, tls: bool) -> None:
    """TLS from the first byte and StartTLS work, and check has nothing to report."""
    module = samba.module(userProvider=samba.url(tls=tls), groupSearchBase=USERS)
    assert roles(await log_in(module, "bob")) == ["Sales, EU", "web-users"]
    assert await module.check() == []


# ------------------------------------------------------------------------------------------------------ account states


@MODES
@pytest.mark.parametrize(
    ("username", "words"),
    [
        ("disabled", "account disabled"),
        ("expired", "account expired"),
        ("oldpassword", "password expired"),
        ("mustchange", "password must be changed"),
    ],
)
async def test_accounts_that_may_not_log_in(
    samba: SambaDomain, mode: dict[str, Any], username: str, words: str
) -> None:
    """The right password of an account that may not log in is refused in every mode, and the log says why."""
    with pytest.raises(LoginFailed, match=words) as error:
        await log_in(samba.module(**mode), username)
    assert PASSWORD not in str(error.value)
    assert error.value.account_problem is account_problem(words)
    assert error.value.account_problem is not None


@MODES
@pytest.mark.parametrize("username", ["alice", "disabled", "mustchange"])
async def test_wrong_passwords(samba: SambaDomain, mode: dict[str, Any], username: str) -> None:
    """A wrong password is refused as one, whatever state the account is in."""
    samba.modify(f"CN={username},{USERS}", lockoutTime="0")
    with pytest.raises(LoginFailed, match="wrong password") as error:
        await log_in(samba.module(**mode), username, "wrong")
    assert error.value.account_problem is None
    samba.modify(f"CN={username},{USERS}", lockoutTime="0")


async def test_locked_out(samba: SambaDomain) -> None:
    """An account locked by wrong passwords is refused with the right one, and the log says that it is locked."""
    module = samba.module()
    for _ in range(3):
        with pytest.raises(LoginFailed):
            await log_in(module, "lockedout", "wrong")
    with pytest.raises(LoginFailed, match="account locked out") as error:
        await log_in(module, "lockedout")
    assert error.value.account_problem is None  # the server says so after a wrong password, too


async def test_unknown_user(samba: SambaDomain) -> None:
    """An unknown user is refused, also where the domain's root brings references to other partitions."""
    with pytest.raises(LoginFailed, match="no entry matches"):
        await log_in(samba.module(), "stranger")


@pytest.mark.parametrize(
    ("username", "words"),
    [("disabled", "account disabled"), ("mustchange", "password must be changed"), ("expired", "account expired")],
)
async def test_reasons_in_the_decision(samba: SambaDomain, username: str, words: str) -> None:
    """A client is asked for credentials again and told nothing; the reason for the log has the words."""
    options = samba.module().options.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    modules = [{"type": "ldap", "success": "required", "options": options | ACCOUNT}]
    authentication = {"http-challenge-scheme": "Basic", "login-modules": modules}
    gateway = load_config(
        {
            "security": {"realms": [{"name": "demo", "authentication": authentication}]},
            "services": [{"name": "site", "accept": "/", "realm-name": "demo"}],
        }
    )
    credentials = b"Basic " + base64.b64encode(f"{username}:{PASSWORD}".encode())
    decision = await gateway.decide(AuthRequest("http", "GET", "/", headers=[(b"authorization", credentials)]))
    await gateway.close()
    assert isinstance(decision, Challenge), decision
    assert words in decision.reason
    assert words not in str(decision.headers)


# -------------------------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize(
    ("options", "username", "expected"),
    [
        (DIRECT, "alice", ["Ops EMEA", "web-users"]),
        (DIRECT, "bob", ["Sales, EU", "web-users"]),
        (DIRECT, "leaver", []),
        (IN_CHAIN, "alice", ["Ops EMEA", "web-admins", "web-users"]),
        (IN_CHAIN, "carol d'Arc", ["web-users"]),
        ({"groupSearchBase": USERS}, "alice", ["Ops EMEA", "web-users"]),
        ({"groupSearchBase": USERS, "nestedGroupDepth": 1}, "alice", ["Ops EMEA", "web-admins", "web-users"]),
        (DIRECT | {"groupSearchBase": USERS, "nestedGroupDepth": 3}, "bob", ["Sales, EU", "web-users"]),
        (DIRECT | {"roleMapping": ["Sales, EU=SALES"]}, "bob", ["SALES"]),
        (DIRECT | {"roleMapping": {f"CN=Ops EMEA,{USERS}": "OPS", f"CN=Ops EMEA,OU=X,{BASE}": "NO"}}, "alice", ["OPS"]),
        (DIRECT | {"memberOfBase": f"CN=Builtin,{BASE}"}, "alice", []),
    ],
)
async def test_groups(samba: SambaDomain, options: dict[str, Any], username: str, expected: list[str]) -> None:
    """Groups come from memberOf, from a search, from several levels, or by the rule that follows chains."""
    assert roles(await log_in(samba.module(**options), username)) == expected


@MODES
async def test_nested_groups_in_every_mode(samba: SambaDomain, mode: dict[str, Any]) -> None:
    """The rule that follows chains works as the bind account and as the user."""
    assert roles(await log_in(samba.module(**mode, **IN_CHAIN), "alice")) == ["Ops EMEA", "web-admins", "web-users"]


# ------------------------------------------------------------------------------------------------------------- recheck


async def recheck(module: LdapLoginModule, grant: Grant) -> bool | None:
    """The outcome of a check of a login whose data went through JSON, as a session store keeps it."""
    return await module.recheck(Subject(grant.principals), json.loads(json.dumps(grant.recheck_data)))


@pytest.fixture
def user(samba: SambaDomain) -> Iterator[str]:
    """A new user in web-users; removed with the test."""
    name = f"u-{uuid.uuid4().hex[:8]}"
    add_user(samba, name)
    yield name
    connection = samba.connection()
    for dn, _ in connection.search_s(BASE, 2, f"(sAMAccountName={name})", ["1.1"]):
        if dn is not None:
            connection.delete_s(dn)


def add_user(samba: SambaDomain, name: str) -> None:
    connection = samba.connection()
    dn = f"CN={name},{USERS}"
    password = f'"{PASSWORD}"'.encode("utf-16-le")
    values = {
        "objectClass": b"user",
        "sAMAccountName": name.encode(),
        "userPrincipalName": f"{name}@corp.example".encode(),
        "unicodePwd": password,
        "userAccountControl": b"512",
    }
    connection.add_s(dn, [(attribute, [value]) for attribute, value in values.items()])
    connection.modify_s(f"CN=web-users,{USERS}", [(0, "member", [dn.encode()])])


@MODES
async def test_a_login_that_still_holds(samba: SambaDomain, user: str, mode: dict[str, Any]) -> None:
    """A login of which nothing changed holds, in every mode and as often as it is asked."""
    module = samba.module(**mode, **IN_CHAIN)
    grant = await log_in(module, user.upper())
    assert [await recheck(module, grant) for _ in range(2)] == [True, True]


CHANGES: dict[str, Callable[[SambaDomain, str], object]] = {
    "password": lambda samba, name: samba.set_password(name, "An0ther-passw0rd"),
    "disabled": lambda samba, name: samba.modify(f"CN={name},{USERS}", userAccountControl="514"),
    "expired": lambda samba, name: samba.modify(f"CN={name},{USERS}", accountExpires="116444736010000000"),
    "must change": lambda samba, name: samba.modify(f"CN={name},{USERS}", pwdLastSet="0"),
    "a role less": lambda samba, name: member(samba, "web-users", name, 1),
    "a role more": lambda samba, name: member(samba, "web-admins", name, 0),
    "renamed": lambda samba, name: samba.connection().rename_s(f"CN={name},{USERS}", f"CN=x-{name}"),
    "moved": lambda samba, name: samba.connection().rename_s(f"CN={name},{USERS}", f"CN={name}", BASE),
    "removed": lambda samba, name: samba.connection().delete_s(f"CN={name},{USERS}"),
}


def member(samba: SambaDomain, group: str, name: str, operation: int) -> None:
    samba.connection().modify_s(f"CN={group},{USERS}", [(operation, "member", [f"CN={name},{USERS}".encode()])])


@pytest.mark.parametrize("mode", [SEARCH_FIRST, UPN, DN_ONLY], ids=["search-first", "upn", "dn-only"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_login_that_no_longer_holds(samba: SambaDomain, user: str, mode: dict[str, Any], change: str) -> None:
    """A login ends with its password, account, entry, or any role."""
    module = samba.module(**mode, **IN_CHAIN)
    grant = await log_in(module, user)
    CHANGES[change](samba, user)
    assert await recheck(module, grant) is False


async def test_another_entry_of_the_same_name(samba: SambaDomain, user: str) -> None:
    """A user who was removed and added again is another one."""
    module = samba.module()
    grant = await log_in(module, user)
    assert grant.recheck_data is not None
    data = dict(grant.recheck_data) | {"password": {}, "complete": False}
    samba.connection().delete_s(f"CN={user},{USERS}")
    add_user(samba, user)
    assert await module.recheck(Subject(), data) is False
    assert await recheck(module, await log_in(module, user)) is True


async def test_a_lockout_ends_no_session(samba: SambaDomain, user: str) -> None:
    """Wrong passwords, which anyone can send, lock an account and leave its sessions alone."""
    module = samba.module()
    grant = await log_in(module, user)
    for _ in range(4):
        with pytest.raises(LoginFailed):
            await log_in(module, user, "wrong")
    with pytest.raises(LoginFailed, match="locked out"):
        await log_in(module, user)
    assert await recheck(module, grant) is True


async def test_recheck_without_answer(samba: SambaDomain) -> None:
    """A directory that is down, or a bind account that is refused, says nothing against a login."""
    grant = await log_in(samba.module(), "alice")
    down = samba.module(userProvider=f"ldaps://{LOOPBACK}:{free_port()}/{BASE}")
    with pytest.raises(LoginUnavailable):
        await recheck(down, grant)
    refused = samba.module(**{"java.naming.security.credentials": "wrong"})
    with pytest.raises(LoginUnavailable, match="bind account"):
        await recheck(refused, grant)


async def test_recheck_of_others(samba: SambaDomain) -> None:
    """Without a bind account, or for another module's login, nothing can be said."""
    grant = await log_in(samba.module(**UPN), "alice")
    anonymous = samba.module(**UPN, **dict.fromkeys(ACCOUNT))
    assert await recheck(anonymous, grant) is None
    assert await samba.module().recheck(Subject(), None) is None
    assert await samba.module().recheck(Subject(), {"other": "module"}) is None


@contextmanager
def site(samba: SambaDomain, folder: Path) -> Iterator[tuple[Process, httpx.Client]]:
    """A server with sessions, whose logins are checked every second, and a client that keeps cookies."""
    options = samba.module(**IN_CHAIN).options.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    modules = [{"type": "ldap", "success": "required", "options": options | ACCOUNT}]
    authentication = {"http-challenge-scheme": "Basic", "authorization-mode": "recycle", "login-modules": modules}
    realm = {"name": "staff", "recheck": "1 second", "credential-cache": 0, "authentication": authentication}
    config: dict[str, Any] = {
        "security": {"realms": [realm]},
        "services": [{"name": name, "accept": f"/{name}", "realm-name": "staff"} for name in ("pid", "chat")],
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(config))  # which is YAML too
    with serve("live_app:app", log=folder / "log", env={"LIVE_CONFIG": str(path)}) as server:
        address = f"http://{LOOPBACK}:{server.port}"
        with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
            yield server, client


@pytest.mark.parametrize("change", ["password", "disabled"])
def test_changes_while_a_session_lives(samba: SambaDomain, user: str, tmp_path: Path, change: str) -> None:
    """A session and its WebSocket end within seconds once the login no longer holds, and another user's do not."""
    with site(samba, tmp_path) as (server, client):
        assert client.get("/pid", headers=basic(user, PASSWORD)).status_code == 200
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        with connect(server, "/chat", additional_headers=cookie) as socket:
            assert json.loads(socket.recv(timeout=10))[1] == user
            time.sleep(2.5)  # checked at least once
            socket.send("open")
            assert socket.recv(timeout=10) == "open"
            assert client.get("/pid").status_code == 200
            with httpx.Client(base_url=client.base_url, trust_env=False, timeout=30) as other:
                assert other.get("/pid", headers=basic("bob", PASSWORD)).status_code == 200
                CHANGES[change](samba, user)
                with pytest.raises(ConnectionClosed) as closed:
                    socket.recv(timeout=20)
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4007, "login no longer valid")
                end = time.monotonic() + 30  # a session that was just read is remembered for up to 10 s
                while (status := client.get("/pid").status_code) == 200 and time.monotonic() < end:
                    time.sleep(0.5)
                assert status == 401
                assert other.get("/pid").status_code == 200


# ------------------------------------------------------------------------------------------------------ single sign-on


def single_sign_on(samba: SambaDomain) -> Gateway:
    """A gateway that takes tickets and looks up the roles of who holds them."""
    acceptor = {"isInitiator": False, "useKeyTab": True, "principal": "HTTP/localhost", "storeKey": True}
    lookup = {
        "userProvider": samba.url(),
        "userFilter": "(&(objectClass=user)(sAMAccountName={USERNAME}))",
        "stripRealm": REALM,
        "lookupOnly": True,
        "caFile": str(samba.certificates.ca),
        **ACCOUNT,
        **IN_CHAIN,
    }
    modules = [
        {"type": "kerberos5", "success": "required", "options": acceptor | {"doNotPrompt": True}},
        {"type": "gss", "success": "required"},
        {"type": "ldap", "success": "required", "options": lookup},
    ]
    authentication = {"http-challenge-scheme": "Negotiate", "login-modules": modules}
    return load_config(
        {
            "security": {"realms": [{"name": "demo", "authentication": authentication}]},
            "services": [{"name": "site", "accept": "/", "realm-name": "demo"}],
        }
    )


@pytest.mark.parametrize(
    ("username", "expected"), [("alice", {"Ops EMEA", "web-admins", "web-users"}), ("mover", {"web-users"})]
)
async def test_tickets_with_roles(
    samba: SambaDomain, monkeypatch: pytest.MonkeyPatch, username: str, expected: set[str]
) -> None:
    """A ticket of the domain says who, and the directory says which roles."""
    for name, value in samba.environment.items():
        monkeypatch.setenv(name, value)
    cache = f"FILE:{samba.folder}/cache-{username}"
    command = ["kinit", "-c", cache, f"{username}@{REALM}"]
    subprocess.run(command, input=PASSWORD + "\n", text=True, check=True, capture_output=True, timeout=30)
    gateway = single_sign_on(samba)
    token = f"Negotiate {Client(cache).token()}".encode()
    decision = await gateway.decide(AuthRequest("http", "GET", "/", headers=[(b"authorization", token)]))
    await gateway.close()
    assert isinstance(decision, Allow), decision
    assert decision.subject is not None
    assert decision.subject.name == f"{username}@{REALM}"
    assert set(decision.subject.roles) == expected
