"""The whole gateway from a configuration, and what it never shows of a credential."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.services.identity import SCOPE_KEY
from tests.gateways import App, ask, basic, scope

pytestmark = pytest.mark.anyio


USERS = """
<jaas-config>
  <user><name>joe</name><password>{}</password><role-name>R</role-name></user>
  <role><name>R</name></role>
</jaas-config>
"""


def configured(tmp_path: Path, password: str) -> dict[str, Any]:
    (tmp_path / "users.xml").write_text(USERS.format(password))
    module = {"type": "file", "success": "required", "options": {"file": str(tmp_path / "users.xml")}}
    authentication = {
        "http-challenge-scheme": "Basic",
        "http-header": ["X-Key"],
        "http-query-parameter": ["key"],
        "http-cookie": ["key-cookie"],
        "login-modules": [module],
    }
    return {
        "security": {"realms": [{"name": "demo", "authentication": authentication}]},
        "services": [
            {"name": "public", "accept": "/public"},
            {"name": "in", "accept": "/in", "realm-name": "demo", "authorization-constraint": {"require-role": ["R"]}},
            {"name": "no", "accept": "/no", "realm-name": "demo", "authorization-constraint": {"require-role": ["X"]}},
        ],
    }


async def test_from_a_configuration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A dict of the YAML form is enough; what it leaves to warn about is logged; a bad one raises ConfigError."""
    app = GatewayMiddleware(App(), configured(tmp_path, "pw"))
    assert "plain text" in caplog.text
    assert (await ask(app, scope("/in", basic("joe", "pw")))).status == 200
    await app.gateway.close()
    with pytest.raises(ConfigError):
        GatewayMiddleware(App(), {"securty": {}})


CANARY = "c4n4ry-d0-n0t-sh0w"


async def test_canary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Passwords, tokens, cookies, keys and names of failed logins stand in no log record and no repr."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asgi_gateway.audit").setLevel(logging.DEBUG)
    gateway = load_config(configured(tmp_path, CANARY))
    app = GatewayMiddleware(inner := App(), gateway)
    raw = CANARY.encode()
    credentials: list[list[tuple[bytes, bytes]]] = [
        [basic("joe", CANARY)],
        [basic("joe", CANARY + "x")],
        [basic(CANARY, "pw")],
        [basic(CANARY, CANARY), basic("joe", CANARY)],
        [basic("joe", CANARY + "\x00")],
        [(b"authorization", raw)],
        [(b"authorization", raw + b" x")],
        [(b"authorization", b"Bearer " + raw)],
        [(b"authorization", b"Basic " + raw)],
        [(b"authorization", b"Basic\x01" + raw)],
        [(b"x-key", raw)],
        [(b"x-key", raw + b"\x00")],
        [(b"x-key", raw), (b"x-key", raw)],
        [(b"cookie", b"key-cookie=" + raw)],
        [(b"cookie", b"key-cookie=" + raw + b"; key-cookie=" + raw)],
        [(b"cookie", b"other=" + raw), (b"x-other", raw)],
    ]
    statuses = set()
    for headers in credentials:
        for kind in ("http", "websocket"):
            for path in ("/in", "/no", "/public", f"/{CANARY}", f"/in/../{CANARY}"):
                for query in (b"", b"key=" + raw, b"key=" + raw + b"&key=" + raw, b"key=%00" + raw):
                    asked = scope(path, *headers, kind=kind, query_string=query)
                    answer = await ask(app, asked)
                    assert CANARY not in str(answer.sent)
                    statuses.add(answer.sent[0].get("status", 101))
                    if inner.scopes:
                        seen = inner.scopes[-1]
                        assert CANARY not in repr([seen["user"], vars(seen["auth"]), seen[SCOPE_KEY]])
    await gateway.close()
    assert statuses == {101, 200, 401, 403}
    assert len(caplog.records) > 100
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    for record in caplog.records:
        assert CANARY not in formatter.format(record) + repr(record.args)
    (realm,) = gateway.realms
    shown = [
        app,
        gateway,
        gateway.services,
        realm,
        realm.reader,
        realm.cache,
        realm.cache._cache._entries,
        gateway.problems,
    ]
    assert CANARY not in "".join(map(repr, shown))
