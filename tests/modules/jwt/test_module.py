"""The jwt login module: signatures, claims, replay."""
# ruff: noqa: RUF001 - names in other scripts

from __future__ import annotations

import base64
import json
import string
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable, StateUnavailable
from asgi_gateway.model import AuthenticationToken, Grant, RevocationKey, RolePrincipal, UserPrincipal
from asgi_gateway.modules.jwt import JwtLoginModule, JwtOptions
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.stores.memory import MemoryState
from tests.helpers import Attempt, EmptyState, ManualClock, attempt, context
from tests.modules.jwt.issuer import CLAIMS, EC, ED, NOW, OTHER_RSA, RSA, SECRET, jwk, key_server, key_set, token

pytestmark = pytest.mark.anyio

BASICS: dict[str, Any] = {"algorithms": ["RS256"], "issuer": "https://issuer", "audience": "app"}


def _module(
    directory: Path, *keys: dict[str, Any], state: ExpiringState | None = None, **options: Any
) -> JwtLoginModule:
    (directory / "jwks.json").write_text(key_set(*(keys or (jwk(RSA, "RS256", kid="one"),))))
    clock = ManualClock(NOW)
    made = context(directory, clock=clock, state=EmptyState() if state is None else state)
    return JwtLoginModule(JwtOptions(**{**BASICS, "jwksFile": "jwks.json", **options}), made.context)


def _bearing(text: str, name: str | None = None) -> Attempt:
    return attempt(token=AuthenticationToken("bearer", [(name, text)]))


async def _refused(module: JwtLoginModule, text: str) -> str:
    with pytest.raises(LoginFailed) as caught:
        await module.login(_bearing(text))
    return str(caught.value)


async def test_token_lets_in(tmp_path: Path) -> None:
    """A good token gives its subject and the roles at the configured path; the socket ends when it expires."""
    module = _module(tmp_path, rolesClaim="realm_access.roles")
    tried = _bearing(token(kid="one", realm_access={"roles": ["A", "B", "A", ""]}))
    grant = await module.login(tried)
    assert isinstance(grant, Grant)
    assert grant.principals == (UserPrincipal("joe"), RolePrincipal("A"), RolePrincipal("B"))
    assert tried.session_limits == [90]
    assert "joe" not in repr(grant.private_credentials) or "private_credentials" not in repr(grant)


@pytest.mark.parametrize(("algorithm", "key"), [("PS256", RSA), *EC.items(), ("EdDSA", ED), ("HS512", SECRET)])
async def test_algorithms(tmp_path: Path, algorithm: str, key: Any) -> None:
    """Each family of algorithms works with a key of its own."""
    module = _module(tmp_path, jwk(key, algorithm), algorithms=[algorithm])
    assert await module.login(_bearing(token(key, algorithm)))


def _forged(header: dict[str, Any], signature: str = "") -> str:
    parts = (json.dumps(part).encode() for part in (header, dict(CLAIMS)))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature])


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 1, ["RS256"], "HS256", "RS512"])
async def test_other_algorithms(tmp_path: Path, name: Any) -> None:
    """No signature, in any spelling, and any algorithm not listed are refused."""
    module = _module(tmp_path)
    for signature in ("", "AA"):
        await _refused(module, _forged({"alg": name, "typ": "JWT"}, signature))
        await _refused(module, _forged({"alg": name, "kid": "one"}, signature))
    await _refused(module, _forged({"kid": "one"}))


async def test_public_key_is_no_secret(tmp_path: Path) -> None:
    """A token signed with HMAC and the public RSA key as its secret is refused, whatever is listed."""
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = token(SECRET, "HS256", kid="one").rsplit(".", 1)[0]
    for secret in (pem, pem.strip(), der, json.dumps(jwk(RSA, "RS256")).encode()):
        signature = jwt.get_algorithm_by_name("HS256").sign(head.encode(), secret)
        forged = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        await _refused(_module(tmp_path), forged)
        await _refused(_module(tmp_path, algorithms=["HS256"]), forged)


async def test_signature(tmp_path: Path) -> None:
    """A token signed with another key, changed or cut is refused."""
    module = _module(tmp_path)
    await _refused(module, token(OTHER_RSA, kid="one"))
    text = token(kid="one")
    head, claims, signature = text.split(".")
    for changed in (f"{head}.{claims}.", f"{head}.{claims}", f"{head}..{signature}", f"{head}.{claims}A.{signature}"):
        await _refused(module, changed)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "....", "é.é.é", "\ud800", "x" * 20_000, "eyJ.eyJ.", "e30.e30.e30"])
async def test_garbage(tmp_path: Path, text: str) -> None:
    """Anything else fails as a wrong token, and the reason repeats nothing of it."""
    assert "eyJ" not in await _refused(_module(tmp_path), text)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "https://other"}, "issuer"), ({"iss": None}, "issuer"), ({"iss": ["https://issuer"]}, "valid|issuer"),
        ({"aud": "other"}, "audience"), ({"aud": None}, "audience"), ({"aud": []}, "audience"),
        ({"aud": {"app": 1}}, "audience"), ({"aud": [["app"]]}, "audience"),
        ({"exp": None}, "never expires"), ({"exp": NOW - 30}, "expired"), ({"exp": str(NOW + 60)}, "is not a time"),
        ({"exp": True}, "is not a time"), ({"exp": 1e300}, "is not a time"), ({"exp": 10**400}, "is not a time"),
        ({"nbf": NOW + 31}, "not valid yet"), ({"nbf": "soon"}, "is not a time"), ({"iat": NOW + 31}, "not valid yet"),
        ({"sub": None}, "is missing or not a string"), ({"sub": ""}, "is missing or not a string"),
    ],
)  # fmt: skip
async def test_claims(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    """Another issuer or audience, a time that is over, not come or none, and a missing name are refused."""
    head, _, _ = token(kid="one").split(".")
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    signature = jwt.get_algorithm_by_name("RS256").sign(f"{head}.{body}".encode(), RSA)
    text = f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(LoginFailed, match=reason):
        await _module(tmp_path).login(_bearing(text))


@pytest.mark.parametrize(
    "payload", ['{"exp": NaN}', '{"exp": 1, "exp": 2}', "[]", "1", "{", '"' + "x" * 10, "[" * 9000]
)
async def test_payloads(tmp_path: Path, payload: str) -> None:
    """A signed payload that is no object, or holds a claim twice, is refused."""
    await _refused(_module(tmp_path), jwt.PyJWS().encode(payload.encode(), RSA, "RS256", headers={"kid": "one"}))


async def test_times_within_the_leeway(tmp_path: Path) -> None:
    """Clocks may differ by the leeway; a missing iat or nbf is fine; several audiences are fine if one is right."""
    module = _module(tmp_path)
    for changed in ({"exp": NOW - 29}, {"nbf": NOW + 30}, {"iat": NOW + 30}, {"iat": None}, {"aud": ["x", "app"]}):
        assert await module.login(_bearing(token(kid="one", **changed)))


@pytest.mark.parametrize(
    ("claims", "path", "roles"),
    [
        ({"scope": "a b  a"}, "scope", ["a", "b"]),
        ({"https://x.y/roles": ["a"]}, "https://x.y/roles", ["a"]),
        ({"a": {"b": {"c": ["d"]}}}, "a.b.c", ["d"]),
        ({"a": "text"}, "a.b.c", []),
        ({}, "roles", []),
        ({"roles": ["a"]}, None, []),
    ],
)
async def test_roles(tmp_path: Path, claims: dict[str, Any], path: str | None, roles: list[str]) -> None:
    """Roles come from the configured place and no other, as a list or a text; there may be none."""
    grant = await _module(tmp_path, rolesClaim=path).login(_bearing(token(kid="one", **claims)))
    assert grant is not None
    assert [principal.name for principal in grant.principals[1:]] == roles


@pytest.mark.parametrize(
    ("claims", "path", "roles"),
    [
        ({"https://example.com/claims": {"roles": ["a"]}}, "https://example.com/claims.roles", ["a"]),
        ({"https://example.com/roles": ["a"]}, "https://example.com/roles", ["a"]),
        ({"a.b": {"c.d": {"e": ["f"]}}}, "a.b.c.d.e", ["f"]),
        ({"a": {"b.c": ["d"]}}, "a.b.c", ["d"]),
        ({"a.b": {"x": 1}, "a": {"b": {"c": ["d"]}}}, "a.b.c", ["d"]),
        ({"a.b": ["outer"], "a": {"b": ["inner"]}}, "a.b", ["outer"]),
    ],
)
async def test_claims_with_dotted_names(tmp_path: Path, claims: dict[str, Any], path: str, roles: list[str]) -> None:
    """A path finds claims whose own names have dots, at every depth; the longest name goes first."""
    grant = await _module(tmp_path, rolesClaim=path).login(_bearing(token(kid="one", **claims)))
    assert grant is not None
    assert [principal.name for principal in grant.principals[1:]] == roles


@pytest.mark.parametrize(
    ("role", "roles"),
    [
        ("Domain Admins", ["Domain Admins"]), ("Not ADMIN", ["Not ADMIN"]), ("ADMIN,USER", ["ADMIN,USER"]),
        (" ADMIN ", ["ADMIN"]), ("", []), (["Domain Admins", "a b"], ["Domain Admins", "a b"]),
    ],
)  # fmt: skip
async def test_role_text_is_one_role(tmp_path: Path, role: Any, roles: list[str]) -> None:
    """A text is one role, so that none of its words becomes a role of its own; scope and scp are lists of words."""
    grant = await _module(tmp_path, rolesClaim="role").login(_bearing(token(kid="one", role=role)))
    assert grant is not None
    assert [principal.name for principal in grant.principals[1:]] == roles
    for name in ("scope", "scp"):
        grant = await _module(tmp_path, rolesClaim=name).login(_bearing(token(kid="one", **{name: "read write"})))
        assert grant is not None
        assert [principal.name for principal in grant.principals[1:]] == ["read", "write"]


@pytest.mark.parametrize("value", [7, True, {"name": "ADMIN"}, ["ADMIN", 7], [["ADMIN"]], [{"name": "ADMIN"}], [None]])
async def test_roles_that_are_not_understood(tmp_path: Path, value: Any) -> None:
    """Roles in a form that is not understood fail the login with a reason, and are never an empty list."""
    module = _module(tmp_path, rolesClaim="roles")
    assert 'claim "roles" (rolesClaim) is not a list of role names' in await _refused(
        module, token(kid="one", roles=value)
    )


async def test_roles_of_several_claims(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Several claims give their roles together; one that a token lacks is logged."""
    module = _module(tmp_path, rolesClaim=["realm_access.roles", "resource_access.app.roles"])
    text = token(kid="one", realm_access={"roles": ["A", "B"]}, resource_access={"app": {"roles": ["B", "C"]}})
    grant = await module.login(_bearing(text))
    assert grant is not None
    assert [principal.name for principal in grant.principals[1:]] == ["A", "B", "C"]
    assert caplog.records == []
    for _ in range(3):
        grant = await module.login(_bearing(token(kid="one", resource_access={"app": {"roles": ["C"]}})))
    assert grant is not None
    assert [principal.name for principal in grant.principals[1:]] == ["C"]
    assert [record.getMessage() for record in caplog.records] == [
        "a token has no claim 'realm_access.roles' (rolesClaim): its user has no roles from it"
    ]


@pytest.mark.parametrize("name", ["client_id", "azp", "cid"])
async def test_audience_in_another_claim(tmp_path: Path, name: str) -> None:
    """The audience can be compared with another claim, as Amazon Cognito's access tokens need; aud is nothing then."""
    module = _module(tmp_path, audienceClaim=name)
    assert await module.login(_bearing(token(kid="one", aud=None, **{name: "app"})))
    for claims in ({name: "other"}, {}, {name: ["x"]}):
        assert "another audience" in await _refused(module, token(kid="one", aud="app", **claims))


async def test_no_kid_and_several_keys(tmp_path: Path) -> None:
    """A token without a kid is verified with every key of its algorithm; a wrong signature fits none of them."""
    module = _module(tmp_path, jwk(OTHER_RSA, "RS256", kid="other"), jwk(RSA, "RS256", kid="one"))
    assert await module.login(_bearing(token()))
    assert await module.login(_bearing(token(OTHER_RSA)))
    assert await module.login(_bearing(token(OTHER_RSA, kid="other")))
    assert "signature" in await _refused(module, token(OTHER_RSA, kid="one"))
    head, claims, _ = token().split(".")
    assert "signature" in await _refused(module, f"{head}.{claims}.AAAA")


async def test_key_of_another_issuer(tmp_path: Path) -> None:
    """A token that is signed with a key of another issuer is refused, though its iss is accepted."""
    key = jwk(RSA, "RS256", kid="one", issuer="https://other")
    assert "another issuer" in await _refused(_module(tmp_path, key), token(kid="one"))
    assert await _module(tmp_path, key | {"issuer": "https://issuer"}).login(_bearing(token(kid="one")))


async def test_user_with_control_characters(tmp_path: Path) -> None:
    """A user name with control characters is refused; one in any script, or with a joiner, is not."""
    module = _module(tmp_path)
    for name in ("a\nb", "a\0", "\x1b[0m", "a\x85"):
        assert "control characters" in await _refused(module, token(kid="one", sub=name))
    for name in ("علی\u200cرضا", "O’Brien", "auth0|123", "Jürgen M."):
        assert await module.login(_bearing(token(kid="one", sub=name)))


async def test_user_claim(tmp_path: Path) -> None:
    """The user's name may be another claim."""
    module = _module(tmp_path, userClaim="email")
    grant = await module.login(_bearing(token(kid="one", email="joe@example.com")))
    assert grant is not None
    assert grant.principals == (UserPrincipal("joe@example.com"),)
    assert "is missing or not a string" in await _refused(module, token(kid="one"))


async def test_critical_extensions(tmp_path: Path) -> None:
    """A token that demands extensions is refused."""
    demanding: list[dict[str, Any]]
    demanding = [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"]}, {"crit": ["b64"], "b64": True}]
    for more in demanding:
        headers: dict[str, Any] = {"kid": "one", **more}
        await _refused(_module(tmp_path), jwt.PyJWS().encode(b"{}", RSA, "RS256", headers=headers))


async def test_once(tmp_path: Path) -> None:
    """With singleUse a token is good for one login, and the same jti of another issuer is another token."""
    state = MemoryState(ManualClock(NOW))
    module = _module(tmp_path, state=state, singleUse=True, issuer=["https://issuer", "https://second"])
    assert module.replay_protected is True
    assert await module.login(_bearing(token(kid="one", jti="x")))
    assert "used before" in await _refused(module, token(kid="one", jti="x"))
    assert await module.login(_bearing(token(kid="one", jti="x", iss="https://second")))
    assert 'no "jti"' in await _refused(module, token(kid="one"))
    assert 'no "jti"' in await _refused(module, token(kid="one", jti=""))
    assert "longer than a day" in await _refused(module, token(kid="one", jti="y", exp=NOW + 90_000))


@pytest.mark.parametrize("options", [{"revocable": True}, {"singleUse": True}])
async def test_revoked(tmp_path: Path, options: dict[str, Any]) -> None:
    """A token that was revoked is refused, where each login looks; and it needs a jti there."""
    state = MemoryState(ManualClock(NOW))
    module = _module(tmp_path, state=state, **options)
    await Revocations(state).revoke(RevocationKey("token", "x", "https://issuer"))
    assert "revoked" in await _refused(module, token(kid="one", jti="x"))
    assert 'no "jti"' in await _refused(module, token(kid="one"))
    grant = await module.login(_bearing(token(kid="one", jti="y")))
    assert grant is not None
    assert grant.revocation_keys == (RevocationKey("token", "y", "https://issuer"),)


async def test_many_times(tmp_path: Path) -> None:
    """Without singleUse a token works until it expires, asks no store, and needs none to be shared."""
    module = _module(tmp_path)
    assert module.replay_protected is False
    for _ in range(3):
        assert await module.login(_bearing(token(kid="one", jti="x")))


async def test_store_is_down(tmp_path: Path) -> None:
    """When the store cannot say whether a token was used, the login is unavailable."""

    class Down(EmptyState):
        async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
            raise StateUnavailable("down")

        async def get(self, key: str) -> str | None:
            raise StateUnavailable("down")

    for options in ({"singleUse": True}, {"revocable": True}):
        with pytest.raises(LoginUnavailable):
            await _module(tmp_path, state=Down(), **options).login(_bearing(token(kid="one", jti="x")))


async def test_component(tmp_path: Path) -> None:
    """A named component is read where it is configured, and no other."""
    module = _module(tmp_path, component="access_token")
    assert await module.login(_bearing(token(kid="one"), "access_token"))
    for tried in (_bearing(token(kid="one")), attempt()):
        with pytest.raises(LoginFailed, match="no token"):
            await module.login(tried)


async def test_keys_from_a_url(tmp_path: Path) -> None:
    """The key set may be at a URL."""
    with key_server() as server:
        module = _module(tmp_path, jwksFile=None, jwksUrl=server.url)
        assert await module.login(_bearing(token(kid="one")))
        assert "no key of the set" in await _refused(module, token(OTHER_RSA, kid="two"))
        assert server.asked == 1
        (agent,) = server.agents
        assert agent is not None
        assert agent.startswith("asgi-gateway/")


@pytest.mark.parametrize(
    "changed",
    [
        {"algorithms": []}, {"algorithms": ["none"]}, {"algorithms": ["HS256", "RS256"]}, {"algorithms": None},
        {"issuer": []}, {"issuer": None}, {"issuer": ""}, {"audience": []}, {"audience": None},
        {"jwksFile": None}, {"jwksUrl": "https://issuer/jwks"}, {"caFile": "ca.pem"},
        {"jwksFile": None, "jwksUrl": "http://issuer/jwks"}, {"jwksFile": None, "jwksUrl": "file:///etc/passwd"},
        {"jwksFile": None, "jwksUrl": "https://a:b@issuer/"}, {"jwksFile": None, "jwksUrl": "http://127.evil/"},
        {"jwksFile": None, "jwksUrl": "https://issuer/", "algorithms": ["HS256"]},
        {"jwksFile": None, "jwksUrl": "http://[::1"},
        {"leeway": "10 minutes"}, {"keyLife": 1}, {"singleUse": "yes"}, {"verify": False},
    ],
)  # fmt: skip
async def test_bad_options(changed: dict[str, Any]) -> None:
    """Missing, weak, contradicting and misspelt options are errors."""
    values = {**BASICS, "jwksFile": "jwks.json", **changed}
    with pytest.raises(ValidationError):
        JwtOptions(**{name: value for name, value in values.items() if value is not None})


async def test_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key set or certificates that are missing or broken stop the start, and so does a missing extra."""
    made = context(tmp_path).context
    with pytest.raises(ConfigError, match="cannot be read"):
        JwtLoginModule(JwtOptions(**BASICS, jwksFile="missing"), made)
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(ConfigError, match="not a JSON Web Key Set"):
        JwtLoginModule(JwtOptions(**BASICS, jwksFile="bad"), made)
    with pytest.raises(ConfigError, match="certificates"):
        JwtLoginModule(JwtOptions(**BASICS, jwksUrl="https://issuer/", caFile="bad"), made)
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigError, match="pip install"):
        JwtLoginModule(JwtOptions(**BASICS, jwksUrl="https://issuer/"), made)


async def test_other_spellings(tmp_path: Path) -> None:
    """A token has one spelling: other characters beside its parts, or for the same bytes, are refused."""
    module = _module(tmp_path)
    good = token(kid="one")
    assert await module.login(_bearing(good))
    header, payload, signature = good.split(".")
    alphabet = string.ascii_letters + string.digits + "-_"
    spellings = [good[:-1] + last for last in alphabet if last != good[-1]]
    for added in "=!+/ \n\t~*":
        spellings += [
            f"{header}.{payload}.{signature}{added}",
            f"{header}.{payload}.{signature[:9]}{added}{signature[9:]}",
        ]
        spellings += [f"{header}{added}.{payload}.{signature}", f"{header}.{added}{payload}.{signature}"]
    for spelling in spellings:
        await _refused(module, spelling)
