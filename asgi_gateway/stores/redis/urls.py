"""Redis URLs and what goes with them: passwords, certificates, database numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from asgi_gateway._runtime.secret_files import permission_problem, read_secret
from asgi_gateway.errors import ConfigError

__all__ = ["PORT", "TlsFiles", "options_of", "parse"]

PORT = 6379
_logger = logging.getLogger("asgi_gateway.stores.redis")
_SCHEMES = ("redis", "rediss", "unix")


def parse(urls: Sequence[str]) -> list[SplitResult]:
    """Return the parts of Redis URLs.

    Raises:
        ConfigError: a URL is invalid, or they do not go together.
    """
    parsed = []
    for url in urls:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ConfigError("a Redis URL cannot be parsed") from None  # not shown: it may hold a password
        if parts.scheme not in _SCHEMES:
            raise ConfigError(f"a Redis URL begins with redis://, rediss:// or unix://, not {parts.scheme}://")
        if parts.scheme == "unix" and not parts.path:
            raise ConfigError("unix:// wants the socket's path")
        if parts.fragment or set(parse_qs(parts.query, keep_blank_values=True)) - {"db"}:
            raise ConfigError("a Redis URL has no options but ?db=; give the others as options of the store")
        parsed.append(parts)
    if not parsed:
        raise ConfigError("the Redis store needs a URL")
    if len({(part.scheme, part.username, part.password) for part in parsed}) > 1:
        raise ConfigError("all Redis URLs must agree in scheme, user and password")
    return parsed


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files for TLS: certificates to trust, the client's certificate, its key."""

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None


def options_of(url: SplitResult, password_file: str | Path | None, tls: TlsFiles, cluster: bool) -> dict[str, Any]:
    """Return redis-py's options for a URL and the files that go with it.

    Raises:
        ConfigError: they are invalid, or a file is missing or cannot be read.
    """
    options: dict[str, Any] = {"username": unquote(url.username) if url.username else None}
    options["password"] = unquote(url.password) if url.password else None
    if password_file is not None:
        options["password"] = read_secret(Path(password_file), _logger.warning)
    db = parse_qs(url.query).get("db", [url.path.lstrip("/") if url.scheme != "unix" else ""])[-1] or "0"
    if not db.isascii() or not db.isdigit() or (cluster and db != "0"):
        raise ConfigError("a Redis database is a number, and 0 in a cluster")
    if not cluster:
        options["db"] = int(db)
    if url.scheme == "unix":
        options["unix_socket_path"] = unquote(url.path)
    files = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    given = {name: Path(file) for name, file in files.items() if file is not None}
    if given and url.scheme != "rediss":
        raise ConfigError("certificates are for TLS: the URL must begin with rediss://")
    _check_files(given)
    if url.scheme == "rediss":
        options |= {"ssl": True, "ssl_check_hostname": True, "ssl_cert_reqs": "required"}
        options |= {name: str(file) for name, file in given.items()}
    return options


def _check_files(files: Mapping[str, Path]) -> None:
    for file in files.values():
        if not file.is_file():
            raise ConfigError(f"{file} is missing")
    key = files.get("ssl_keyfile")
    if key is not None and (problem := permission_problem(key.stat().st_mode, key, "key file")) is not None:
        _logger.warning("%s", problem)
