"""The ldap login module against a real OpenLDAP server."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Grant, RolePrincipal, UserPrincipal
from asgi_gateway.modules.ldap import LdapLoginModule, LdapPrincipal
from asgi_gateway.plugins.login_module import SHARED_NAME, SHARED_PASSWORD
from tests.helpers import attempt, context
from tests.integration.slapd import BASE, PEOPLE, READER, READER_PASSWORD, Slapd, directory, ldap_module

__all__ = ["directory"]

pytestmark = pytest.mark.anyio

PRINCIPAL = "java.naming.security.principal"
CREDENTIALS = "java.naming.security.credentials"
ALICE = f"uid=alice,{PEOPLE}"
ODD_NAME = 'o," +(*)\\;#'
MODES: list[dict[str, Any]] = [
    {},
    {"authIdentity": f"uid={{USERNAME}},{PEOPLE}"},
    {"authIdentity": f"uid={{USERNAME}},{PEOPLE}", "userFilter": None},
]


async def log_in(module: LdapLoginModule, username: str, password: str) -> Grant:
    grant = await module.login(attempt(username, password))
    assert grant is not None
    return grant


@pytest.mark.parametrize("options", MODES)
async def test_right_password(directory: Slapd, options: dict[str, Any]) -> None:
    """In each mode the right password gives the entry's DN and the user's name, and no role."""
    grant = await log_in(ldap_module(directory, **options), "alice", "alice-pw")
    assert grant.principals == (LdapPrincipal(ALICE), UserPrincipal("alice"))


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("alice", "bob-pw"),
        ("nobody", "alice-pw"),
        ("locked", "locked-pw"),
        ("*", "alice-pw"),
        ("ali*", "alice-pw"),
        ("alice)(uid=*", "alice-pw"),
        ("alice,ou=x", "alice-pw"),
        ("a" * 1000, "alice-pw"),
        ("alice", "a" * 4000),
    ],
)
async def test_wrong_password(directory: Slapd, options: dict[str, Any], username: str, password: str) -> None:
    """Wrong passwords, unknown and locked users, and names made to widen the search are refused, not unavailable."""
    with pytest.raises(LoginFailed):
        await log_in(ldap_module(directory, **options), username, password)


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("alice", ""),
        ("", "alice-pw"),
        ("alice\0", "alice-pw"),
        ("alice", "alice-pw\0"),
        ("a" * 10_000, "pw"),
        ("\udcff", "pw"),
        ("alice", "\udcff"),
    ],
)
async def test_refused_without_asking(directory: Slapd, options: dict[str, Any], username: str, password: str) -> None:
    """An empty password, a NUL, non-UTF-8 and huge names are refused with nothing sent to the directory."""
    module = ldap_module(directory, **options)
    with directory.operations() as operations, pytest.raises(LoginFailed):
        await log_in(module, username, password)
    assert operations == []


async def test_escaping(directory: Slapd) -> None:
    """A user whose name has every special character logs in, by filter and by DN."""
    assert (await log_in(ldap_module(directory), ODD_NAME, "odd-pw")).principals[1] == UserPrincipal(ODD_NAME)
    by_dn = ldap_module(directory, authIdentity=f"cn={{USERNAME}},{PEOPLE}", userFilter=None)
    assert (await log_in(by_dn, ODD_NAME, "odd-pw")).principals[1] == UserPrincipal(ODD_NAME)


async def test_exactly_one_entry(directory: Slapd) -> None:
    """Two entries that match are a failure, whoever's password it is."""
    module = ldap_module(directory, userFilter="(title={USERNAME})")
    for password in ("twin1-pw", "twin2-pw"):
        with pytest.raises(LoginFailed, match="several entries"):
            await log_in(module, "twin", password)


async def test_ten_thousand_entries(directory: Slapd) -> None:
    """A filter that matches 10,000 entries is a failure, for which no more than two are sent."""
    url, text = directory.url(f"ou=many,{BASE}"), "(|(uid={USERNAME})(objectClass=device))"
    module = ldap_module(directory, userProvider=url, userFilter=text)
    with pytest.raises(LoginFailed, match="Size limit exceeded"):
        await log_in(module, "alice", "alice-pw")
    assert "nentries=2 text=" in (directory.folder / "slapd.log").read_text()


async def test_unknown_user_costs_the_same_requests(directory: Slapd) -> None:
    """For an unknown user the directory is asked as often as for a known one with a wrong password."""
    module = ldap_module(directory)
    counts = []
    for username in ("alice", "alice", "nobody"):
        with directory.operations() as operations, pytest.raises(LoginFailed):
            await log_in(module, username, "wrong")
        counts.append([operation.split()[0] for operation in operations])
    assert counts[1] == counts[2] == ["SRCH", "BIND"]


@pytest.mark.parametrize(
    ("authz", "username", "roles"),
    [
        ("AUTHORIZED", "carol", ["AUTHORIZED"]),
        ("{EMPLOYEENUMBER}", "alice", ["AUTHORIZED"]),
        ("{employeeNumber}", "bob", ["OPERATOR"]),
        ("{EMPLOYEENUMBER}", "carol", []),
    ],
)
async def test_authz_identity(directory: Slapd, authz: str, username: str, roles: list[str]) -> None:
    """authzIdentity is a literal role or one value of an attribute; an absent attribute is left out."""
    for mode in MODES[:2]:
        grant = await log_in(ldap_module(directory, authzIdentity=authz, **mode), username, f"{username}-pw")
        assert list(grant.principals[2:]) == [RolePrincipal(role) for role in roles]


async def test_another_entry_than_the_one_bound(directory: Slapd) -> None:
    """Whoever is bound by a DN gets the roles of that entry and of no other."""
    identity = f"uid={{USERNAME}},{PEOPLE}"
    module = ldap_module(directory, authIdentity=identity, userFilter="(&(uid=bob)(!(title={USERNAME})))")
    with pytest.raises(LoginFailed, match="another entry"):
        await log_in(module, "alice", "alice-pw")
    assert (await log_in(module, "BOB", "bob-pw")).principals[0] == LdapPrincipal(f"uid=bob,{PEOPLE}")


async def test_name_from_the_entry(directory: Slapd) -> None:
    """userNameAttribute names the attribute that holds the user's name; useTypedName takes the name as typed."""
    typed = ldap_module(directory, useTypedName="true")
    assert (await log_in(typed, "ALICE", "alice-pw")).principals[1] == UserPrincipal("ALICE")
    module = ldap_module(directory, userNameAttribute="uid")
    assert (await log_in(module, "ALICE", "alice-pw")).principals[1] == UserPrincipal("alice")
    with pytest.raises(LoginFailed, match="no attribute 'mobile'"):
        await log_in(ldap_module(directory, userNameAttribute="mobile"), "alice", "alice-pw")


async def test_bind_account(directory: Slapd) -> None:
    """The bind account finds entries that nobody else may see; without it they are not found."""
    url = directory.url(f"ou=private,{BASE}")
    (directory.folder / "bind.pw").write_text(READER_PASSWORD + "\n")
    secret = {CREDENTIALS + "-file": "bind.pw"}
    for credentials in ({CREDENTIALS: READER_PASSWORD}, secret):
        module = ldap_module(directory, userProvider=url, **{PRINCIPAL: READER}, **credentials)
        assert (await log_in(module, "hidden", "hidden-pw")).principals[1] == UserPrincipal("hidden")
    with pytest.raises(LoginUnavailable, match="Insufficient access"):
        await log_in(ldap_module(directory, userProvider=url), "hidden", "hidden-pw")


@pytest.mark.parametrize(("tls", "use_ssl"), [(False, None), (False, "false"), (True, None), (True, "true")])
async def test_transports(directory: Slapd, tls: bool, use_ssl: str | None) -> None:
    """StartTLS, plain text when asked for, and TLS from the first byte: each works, and only plain text warns."""
    module = ldap_module(directory, userProvider=directory.url(tls=tls), useSSL=use_ssl)
    await log_in(module, "alice", "alice-pw")
    log = (directory.folder / "slapd.log").read_text()
    assert "TLS established" in log


async def test_truststore(directory: Slapd) -> None:
    """The gateway's truststore is used where no caFile is named, and refuses other CAs."""

    class Truststore:
        def pem_bundle(self) -> bytes:
            return directory.ca.read_bytes()

    options = ldap_module(directory, caFile=None).options
    module = LdapLoginModule(options, context(directory.folder, truststore=Truststore()).context)
    await log_in(module, "alice", "alice-pw")
    with pytest.raises(LoginUnavailable, match="TLS: invalid server certificate"):
        await log_in(ldap_module(directory, caFile=None), "alice", "alice-pw")


def test_truststore_file_goes_with_its_owner(directory: Slapd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that libldap reads the truststore from is removed with the module, but not by a worker that ends."""

    class Truststore:
        def pem_bundle(self) -> bytes:
            return directory.ca.read_bytes()

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    options = ldap_module(directory, caFile=None).options
    module = LdapLoginModule(options, context(directory.folder, truststore=Truststore()).context)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    child = os.fork()
    if child == 0:
        del module
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert file.exists()
    del module
    gc.collect()
    assert not file.exists()


async def test_connections_are_pooled(directory: Slapd) -> None:
    """Logins one after the other use the same two connections, and close gives them back."""
    gc.collect()  # connections of the other tests' modules
    before = await directory.settled_connections()
    module = ldap_module(directory)
    for _ in range(20):
        await log_in(module, "alice", "alice-pw")
        with pytest.raises(LoginFailed):
            await log_in(module, "bob", "alice-pw")
    assert directory.open_connections() == before + 2
    await module.close()
    assert await directory.settled_connections() == before


async def test_first_pass(directory: Slapd) -> None:
    """storePass and useFirstPass pass name and password from one module to the next."""
    first, second = ldap_module(directory, storePass="true"), ldap_module(directory, useFirstPass="true")
    state: dict[str, Any] = {}
    await first.login(attempt("alice", "alice-pw", shared_state=state))
    assert state == {SHARED_NAME: "alice", SHARED_PASSWORD: "alice-pw"}
    assert await second.login(attempt(None, None, shared_state=state)) is not None


async def test_lookup_only(directory: Slapd) -> None:
    """lookupOnly gives the roles of whom an earlier module established, with no bind as the user, and is no login."""
    module = ldap_module(directory, lookupOnly="true", stripRealm="EXAMPLE.COM", memberOfAttribute="memberOf")
    assert (module.authenticates, module.needs_credentials) == (False, False)
    with directory.operations() as operations:
        grant = await module.login(attempt(principals=(UserPrincipal("alice@EXAMPLE.COM"),)))
    assert grant == Grant((RolePrincipal("admins"), RolePrincipal("users")))
    assert [operation.split()[0] for operation in operations] == ["SRCH"]
    with pytest.raises(LoginFailed, match="no module before this one"):
        await module.login(attempt("alice", "alice-pw"))
    for name in ("alice@EVIL.COM", "alice", "@EXAMPLE.COM", "nobody@EXAMPLE.COM"):
        with pytest.raises(LoginFailed):
            await module.login(attempt(principals=(UserPrincipal(name),)))


async def test_realm_in_the_filter(directory: Slapd) -> None:
    """{REALM} is what stands after the last @; a name without one is refused."""
    module = ldap_module(directory, userFilter="(|(userPrincipalName={USERNAME})(o={REALM}))")
    assert (await log_in(module, "alice@MYCOMPANY.NET", "alice-pw")).principals[0] == LdapPrincipal(ALICE)
    with pytest.raises(LoginFailed, match="no realm"):
        await log_in(module, "alice", "alice-pw")


async def test_trace(directory: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    """A login leaves one line with mode, server, DN and roles, at INFO with debug=true, and never a password."""
    caplog.set_level(logging.INFO)
    module = ldap_module(directory, debug="true", memberOfAttribute="memberOf")
    await log_in(module, "alice", "alice-pw")
    (record,) = caplog.records
    assert (record.mode, record.dn, record.roles) == ("search-first", ALICE, ["admins", "users"])  # type: ignore[attr-defined]
    assert "alice-pw" not in caplog.text + repr(vars(record))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"userProvider": "ldap://h/nonsense"}, "not a distinguished name"),
        ({"userProvider": "http://h/"}, "userProvider: .* must begin with ldap://"),
        ({"userFilter": "(uid={USERNAME}"}, "userFilter: .* not an LDAP filter"),
        ({"userFilter": "(uid=alice)"}, "userFilter: .* the same for every user"),
        ({"userFilter": "(uid={USER})"}, r"userFilter: unknown placeholder \{USER\}"),
        ({"authIdentity": "cn=alice"}, "authIdentity: .* the same for every user"),
        ({"authIdentity": "{USER}"}, "authIdentity: "),
        ({"authIdentity": "{USERNAME}@corp", "userFilter": None}, "authIdentity: .* not a distinguished name"),
        ({"groupSearchBase": "nonsense"}, "groupSearchBase: "),
        ({"groupSearchBase": BASE, "groupFilter": "(cn=users)"}, "groupFilter: .* the same for every user"),
        ({"groupSearchBase": BASE, "groupFilter": "(memberUid={USERNAME})", "nestedGroupDepth": 1}, "nestedGroupDepth"),
        ({"caFile": "missing.pem"}, "caFile: "),
        ({"caFile": "slapd.conf"}, "caFile: "),
    ],
)
async def test_unusable_options(directory: Slapd, options: dict[str, Any], message: str) -> None:
    """Options that can never work stop the start, and the error names the option."""
    with pytest.raises(ConfigError, match=message):
        ldap_module(directory, **options)


async def test_plain_text_is_warned_of(directory: Slapd) -> None:
    """useSSL=false warns, since passwords then travel in the clear; on ldaps:// it changes nothing."""
    for tls, warnings in ((False, 1), (True, 0)):
        options = ldap_module(directory, userProvider=directory.url(tls=tls), useSSL="false").options
        made = context(directory.folder)
        LdapLoginModule(options, made.context)
        assert len(made.warnings) == warnings
