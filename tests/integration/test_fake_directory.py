"""What Active Directory is known to answer, and Samba does not: values in parts, and every reason of a refused bind."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.errors import AccountProblem, LoginFailed, LoginUnavailable
from asgi_gateway.model import RolePrincipal
from asgi_gateway.modules.ldap import LdapLoginModule, LdapOptions
from asgi_gateway.modules.ldap.client.bind_result import refusal_in_words, unusable_account
from tests.helpers import attempt, context
from tests.integration.ber import BIND, SEARCH, elements, entry, requests, result, search_done
from tests.integration.neighbours import Neighbour

pytestmark = pytest.mark.anyio

BASE = "DC=corp,DC=example"
GROUPS = [f"CN=Group{number:04d},OU=Groups,{BASE}" for number in range(3701)]
PAGE = 1500
DIAGNOSTIC = "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data {}, v4563\0"

Attributes = dict[str, list[str]]
Part = Callable[[int, int], Attributes]


def in_parts(groups: list[str]) -> Part:
    """Values as Active Directory cuts them: whole if they are few, else so many at once."""

    def part(first: int, asked: int) -> Attributes:
        if asked == 0 and len(groups) <= PAGE:
            return {"memberOf": groups}
        some = groups[first : first + PAGE]
        last = "*" if first + PAGE >= len(groups) else first + PAGE - 1
        whole: Attributes = {"memberOf": []} if asked == 0 else {}
        return whole | {f"memberOf;range={first}-{last}": some}

    return part


def active_directory(part: Part, bind: str | int | None = None) -> Callable[[socket.socket], None]:
    """A domain controller with one user, whose bind fails with a sub-code or a result code if one is given."""
    asked = [0]

    def attributes(names: list[str]) -> Attributes:
        found: Attributes = {"sAMAccountName": ["Alice"]}
        for name in names:
            if name.lower().startswith("memberof"):
                match = re.fullmatch(r"memberof;range=(\d+)-\*", name.lower())
                found |= part(int(match[1]) if match else 0, asked[0] if match else 0)
                asked[0] += 1
        return found

    def handle(sock: socket.socket) -> None:
        for number, operation, content in requests(sock):
            parts = elements(elements(content)[0][1])
            if operation == BIND:
                code = bind if isinstance(bind, int) else 49 if bind else 0
                sock.sendall(result(number, 0x61, code, DIAGNOSTIC.format(bind) if code else ""))
            elif operation == SEARCH and parts[0][1]:
                names = [value.decode() for _, value in elements(parts[7][1])]
                sock.sendall(entry(number, f"CN=Alice,OU=Users,{BASE}", attributes(names)) + search_done(number))
            elif operation == SEARCH:
                sock.sendall(search_done(number))

    return handle


def module(server: Neighbour, **options: Any) -> LdapLoginModule:
    values = {
        "userProvider": server.url(BASE),
        "userFilter": "(sAMAccountName={USERNAME})",
        "useSSL": "false",
        "memberOfAttribute": "memberOf",
        "com.sun.jndi.ldap.read.timeout": "20000",
    } | options
    return LdapLoginModule(LdapOptions.model_validate(values), context(Path()).context)


async def roles(made: LdapLoginModule) -> list[str]:
    grant = await made.login(attempt("alice", "pw"))
    await made.close()
    assert grant is not None
    return [principal.name for principal in grant.principals if isinstance(principal, RolePrincipal)]


@pytest.mark.parametrize("count", [0, 1, 1499, 1500, 1501, 3000, 3001, 3701])
async def test_values_in_parts(count: int) -> None:
    """However many groups a user has, every one of them is a role, each once and in order."""
    with Neighbour(active_directory(in_parts(GROUPS[:count]))) as server:
        assert await roles(module(server)) == [f"Group{number:04d}" for number in range(count)]


def never_ending(first: int, asked: int) -> Attributes:
    return {f"memberOf;range={first}-{first}": [GROUPS[first % len(GROUPS)]]}


BROKEN: dict[str, Part] = {
    "the rest does not come": lambda first, asked: in_parts(GROUPS)(0, 0) if asked == 0 else {},
    "a part is left out": lambda first, asked: in_parts(GROUPS)(first + (10 if asked else 0), asked),
    "the beginning is missing": lambda first, asked: {"memberOf;range=10-*": GROUPS[10:20]},
    "the same part again": lambda first, asked: in_parts(GROUPS)(0, asked),
    "an empty part": lambda first, asked: in_parts(GROUPS)(0, 0) if asked == 0 else {f"memberOf;range={first}-*": []},
    "no end": never_ending,
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_parts_that_do_not_fit(broken: str) -> None:
    """Groups that cannot be read to the end are a fault and never a part of the roles."""
    with Neighbour(active_directory(BROKEN[broken])) as server:
        with pytest.raises(LoginUnavailable, match="memberof"):
            await roles(module(server))


CODES = {
    "525": "unknown user",
    "52e": "wrong password",
    "530": "login not allowed at this time",
    "531": "login not allowed from this computer",
    "532": "password expired",
    "533": "account disabled",
    "701": "account expired",
    "773": "password must be changed",
    "775": "account locked out",
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("identity", [{}, {"authIdentity": "{USERNAME}@corp.example"}])
async def test_reasons_of_refused_binds(code: str, identity: dict[str, str]) -> None:
    """Every sub-code of Active Directory is a refusal and is logged in words; the final NUL is not."""
    with Neighbour(active_directory(in_parts([]), code)) as server:
        with pytest.raises(LoginFailed, match=f"bind: {CODES[code]} ") as error:
            await roles(module(server, **identity))
        assert "\0" not in str(error.value)
        told = {each.value for each in AccountProblem}
        expected = CODES[code].replace("must be changed", "must change").replace(" ", "-")
        problem = error.value.account_problem
        assert (problem.value if problem is not None else None) == (expected if expected in told else None)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(19, LoginFailed), (48, LoginFailed), (50, LoginFailed), (53, LoginFailed), (51, LoginUnavailable)]
    + [(code, LoginUnavailable) for code in (1, 8, 52, 80)],
)
async def test_other_results_of_binds(code: int, expected: type[Exception]) -> None:
    """What says something about the user is a refusal, and what says something about the server an outage."""
    with Neighbour(active_directory(in_parts([]), code)) as server:
        with pytest.raises(expected):
            await roles(module(server))


@pytest.mark.parametrize(
    ("diagnostic", "words"),
    [
        (DIAGNOSTIC.format("52E"), "wrong password"),
        (DIAGNOSTIC.format("00000775"), "account locked out"),
        (DIAGNOSTIC.format("999"), None),
        ("data 0", None),
        ("Account inactivated. Contact system administrator.", None),
        ("", None),
    ],
)
def test_reasons_in_words(diagnostic: str, words: str | None) -> None:
    """A sub-code is found in any spelling, and an unknown one is left as it is."""
    assert refusal_in_words(diagnostic) == words


POLICY, EXPIRED = "1.3.6.1.4.1.42.2.27.8.5.1", "2.16.840.1.113730.3.4.4"


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ([], None),
        ([(POLICY, None)], None),
        ([(POLICY, bytes.fromhex("3000"))], None),
        ([(POLICY, bytes.fromhex("3003810100"))], "password expired"),
        ([(POLICY, bytes.fromhex("3003810101"))], "account locked"),
        ([(POLICY, bytes.fromhex("3003810102"))], "password must be changed"),
        ([(POLICY, bytes.fromhex("3005a003800103"))], None),  # 3 seconds until the password expires
        ([(EXPIRED, b"0")], "password must be changed"),
        ([("1.2.3", b"x"), (EXPIRED, None)], "password must be changed"),
    ],
)
def test_controls_of_binds(controls: list[tuple[str, bytes | None]], words: str | None) -> None:
    """A bind that succeeds for an account which must change its password first, or is locked, is told by controls."""
    assert unusable_account(controls) == words
    assert refusal_in_words("", controls) == words


@pytest.mark.parametrize("value", ["ff", "30", "30038101", "0101"])
def test_controls_that_cannot_be_read(value: str) -> None:
    """A control that cannot be read is a fault where the bind succeeds, and nothing where it is refused."""
    controls = [(POLICY, bytes.fromhex(value))]
    assert refusal_in_words("", controls) is None
    with pytest.raises(LoginUnavailable, match="invalid password policy control"):
        unusable_account(controls)
