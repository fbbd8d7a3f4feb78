"""Logins by LDAP under uvicorn: uncached against a bare pool of python-ldap threads, cached against no login at all.

All servers run at once, against one slapd; rounds take turns. The uncached peer does the same for every request, as
somebody would write it by hand for this one purpose: search the user, bind as the entry found, run the application.
"""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.served import compared, server

THREADS = 16
URL = "BENCH_LDAP_URL"
CREDENTIALS = base64.b64encode(b"alice:alice-pw")
REQUEST = b"GET /app/hello HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic " + CREDENTIALS + b"\r\n\r\n"


def bare_pool() -> Any:
    """An application that searches and binds with one pair of connections for each of its threads."""
    import ldap
    import ldap.filter

    from bench.apps import bare

    uri, _, base = os.environ[URL].rpartition("/")
    local, pool = threading.local(), ThreadPoolExecutor(THREADS)

    def log_in(username: str, password: str) -> bool:
        if not hasattr(local, "search"):
            local.search, local.login = ldap.initialize(uri), ldap.initialize(uri)
        text = f"(uid={ldap.filter.escape_filter_chars(username)})"
        found = local.search.search_ext_s(base, ldap.SCOPE_SUBTREE, text, ["1.1"], sizelimit=2)
        if len(found) != 1 or not password:
            return False
        local.login.simple_bind_s(found[0][0], password)
        return True

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await bare(scope, receive, send)
            return
        value = dict(scope["headers"])[b"authorization"].partition(b" ")[2]
        username, _, password = base64.b64decode(value).decode().partition(":")
        good = await asyncio.get_running_loop().run_in_executor(pool, log_in, username, password)
        if not good:
            raise PermissionError
        await bare(scope, receive, send)

    return app


def uncached() -> Any:
    """The bare application behind the gateway, which remembers no credential."""
    return _gated(0)


def cached() -> Any:
    """The bare application behind the gateway as it is in service."""
    return _gated(30)


def _gated(cache: int) -> Any:
    from asgi_gateway import GatewayMiddleware
    from bench.apps import bare

    options = {"userProvider": os.environ[URL], "userFilter": "(uid={USERNAME})", "useSSL": False}
    realm = {
        "name": "bench",
        "credential-cache": cache,
        "authentication": {
            "http-challenge-scheme": "Basic",
            "login-modules": [{"type": "ldap", "success": "required", "options": options}],
        },
    }
    return GatewayMiddleware(bare, {"security": {"realms": [realm]}})


async def main() -> None:
    """Measure and print."""
    from tests.integration.slapd import slapd

    with tempfile.TemporaryDirectory() as folder, slapd(Path(folder), debug="0") as directory:
        os.environ[URL] = directory.url()
        print("\nLogins by LDAP under uvicorn (medians of rounds in turn)")
        pairs = (
            ("search and bind, uncached / bare python-ldap threads", "uncached", "bench.directory:bare_pool", 0.9),
            ("search and bind, cached / bare application", "cached", "bench.apps:bare", 0.95),
        )
        for what, ours, theirs, bound in pairs:
            factory = () if theirs.endswith(":bare") else ("--factory",)
            with server(f"bench.directory:{ours}", "--factory") as (a, _), server(theirs, *factory) as (b, _):
                ratio, rate = await compared(a, b, REQUEST)
            print(f"  {what:<62} {ratio:6.3f}  {rate:8.0f}/s   at least {bound:.2f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
