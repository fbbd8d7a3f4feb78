"""Serve the files of a folder: the service type ``directory``."""

from __future__ import annotations

import html
import mimetypes
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from asgi_gateway.services.backend import Backend, Message, Receive, Scope, Send
from asgi_gateway.services.paths import ambiguity, is_below, path_below_root

__all__ = ["Directory", "DirectorySettings", "is_hidden"]

_MAX_RANGES = 10
"""The most ranges of one request. A Range header with more is ignored, which RFC 9110 section 14.2 allows."""
_MAX_ENTRIES = 10_000
"""The most entries of one listing."""
_RANGE = r"(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"
_RANGES = re.compile(rf"bytes=[ \t]*({_RANGE}(?:[ \t]*,[ \t]*{_RANGE}){{0,{_MAX_RANGES - 1}}})[ \t]*", re.IGNORECASE)
_PUBLIC_DOT_NAME = ".well-known"
"""The one name with a leading dot that is served (RFC 8615)."""
_NOSNIFF = {"x-content-type-options": "nosniff"}
_LISTING_HEADERS = {
    **_NOSNIFF,
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
_COMPRESSED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}
_TYPES = {
    "avif": "image/avif",
    "ico": "image/x-icon",
    "js": "text/javascript",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
}
"""Types that do not depend on the machine's own table."""
_UNKNOWN = "application/octet-stream"
_QUERY = re.compile(rb"[!-~]*")
_SAFE_IN_PATH = "/~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySettings:
    """What a service says of the folder that it serves.

    Args:
        folder: the folder, without symbolic links in its path. Nothing outside it is served.
        accepts: the paths of the service's accept URLs, decoded, without a slash at their end; empty for every path.
        welcome_file: the file that a request for a folder gets, relative to that folder; empty for none.
        indexes: whether a folder without welcome file is listed.
        types: the media types of file name extensions, in lower case and without dot, that go before the built-in ones.
    """

    folder: Path
    accepts: tuple[str, ...]
    welcome_file: str = ""
    indexes: bool = False
    types: Mapping[str, str] = field(default_factory=dict)


class _LongFileResponse(FileResponse):
    """A file in larger pieces than Starlette's: each is read in a thread, which costs more than a copy of it."""

    chunk_size = 262_144


@dataclass(frozen=True, slots=True)
class _File:
    """A regular file below the folder that the process can read."""

    path: str
    status: os.stat_result


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of a listing."""

    name: str
    is_folder: bool
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder at or below the one that is served.

    Args:
        welcome: its welcome file, or None.
        entries: its entries, or None if it is not listed.
    """

    welcome: _File | None = None
    entries: tuple[_Entry, ...] | None = None


class Directory(Backend):
    """Serves the files of a folder with Starlette's StaticFiles.

    Names that begin with a dot, such as ``.git`` and ``.htpasswd``, are not served, with the exception of
    ``.well-known``. Symbolic links are followed as long as they lead to a file below the folder.

    Args:
        settings: what the service says of it.
    """

    def __init__(self, settings: DirectorySettings) -> None:
        self.description = f"directory {settings.folder}"
        self._settings = settings
        self._files = StaticFiles(directory=settings.folder, check_dir=False)

    @property
    def folder(self) -> Path:
        """The folder, without symbolic links in its path."""
        return self._settings.folder

    async def check(self) -> list[str]:
        """Return that the folder is missing, if it is."""
        return [] if self._settings.folder.is_dir() else [f"the folder {self._settings.folder} is missing"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a file or a folder."""
        response = await self._response(scope)
        if scope["type"] == "http":
            scope, send = _for_starlette(scope, response), _ExactLength(scope["method"], send)
        await response(scope, receive, send)

    async def _response(self, scope: Scope) -> Response:
        if scope["type"] != "http":
            return PlainTextResponse("Forbidden\n", 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Method Not Allowed\n", 405, {"allow": "GET, HEAD"})
        relative = self._relative(scope)
        found = None if relative is None else await anyio.to_thread.run_sync(self._find, relative)
        if found is None:
            return PlainTextResponse("Not Found\n", 404)
        if isinstance(found, _File):
            return self._file_response(found, scope)
        return self._folder_response(found, scope)

    def _relative(self, scope: Scope) -> str | None:
        """Return the path below the accept URL, with a slash at its end where the request has one; None for 404."""
        path = path_below_root(scope)
        if ambiguity(path, scope.get("raw_path")) is not None:
            return None  # with allow-encoded-slash some of these come here: no file has such a name
        below = [accept for accept in self._settings.accepts if is_below(path, accept)]
        if not below or not scope["path"].startswith("/") or scope["path"].startswith("//"):
            return None
        relative = path[max(map(len, below)) :].removeprefix("/")
        return None if is_hidden(relative) else relative

    # ------------------------------------------------------------------------------------------- blocking, in a thread

    def _find(self, relative: str) -> _File | _Folder | None:
        """Return what a path leads to; None for nothing that is served."""
        try:
            path, status = self._files.lookup_path(relative)
        except (OSError, ValueError):  # not readable, too long, a loop of links
            return None
        if status is None or is_hidden(os.path.relpath(path, self._settings.folder)):
            return None
        if stat.S_ISDIR(status.st_mode):
            return self._folder(path, relative)
        if not stat.S_ISREG(status.st_mode) or relative.endswith("/") or not os.access(path, os.R_OK):
            return None
        return _File(path, status)

    def _folder(self, path: str, relative: str) -> _Folder:
        if self._settings.welcome_file:
            welcome = self._find(_join(relative, self._settings.welcome_file))
            if isinstance(welcome, _File):
                return _Folder(welcome=welcome)
        if not self._settings.indexes:
            return _Folder()
        try:
            entries = sorted(self._entries(path, relative), key=lambda each: (not each.is_folder, each.name))
        except OSError:  # not readable
            return _Folder()
        return _Folder(entries=tuple(entries))

    def _entries(self, path: str, relative: str) -> Iterator[_Entry]:
        """Yield the entries that a request can name."""
        with os.scandir(path) as scan:
            for each in islice(scan, _MAX_ENTRIES):
                if is_hidden(each.name) or ambiguity(f"/{each.name}") is not None:
                    continue
                try:
                    _, status = self._files.lookup_path(_join(relative, each.name))
                except (OSError, ValueError):
                    continue
                if status is None or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                    continue
                yield _Entry(each.name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime)

    # -------------------------------------------------------------------------------------------------------- responses

    def _file_response(self, file: _File, scope: Scope) -> Response:
        response = _LongFileResponse(
            file.path, stat_result=file.status, media_type=self._media_type(file.path), headers=_NOSNIFF
        )
        if self._files.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response

    def _folder_response(self, folder: _Folder, scope: Scope) -> Response:
        if folder.welcome is None and folder.entries is None:
            return PlainTextResponse("Not Found\n", 404)
        if not scope["path"].endswith("/"):  # relative links of the page count from the last slash
            return PlainTextResponse("", 302, {"location": _with_slash(scope)})
        if folder.welcome is not None:
            return self._file_response(folder.welcome, scope)
        return Response(_listing(scope["path"], folder.entries or ()), 200, _LISTING_HEADERS, "text/html")

    def _media_type(self, path: str) -> str:
        name = Path(path).name.lower()
        extension = name.rpartition(".")[2]
        if known := self._settings.types.get(extension) or _TYPES.get(extension):
            return known
        guessed, encoding = mimetypes.guess_type(name)
        if encoding is not None:  # it is sent as it is, without Content-Encoding
            return _COMPRESSED.get(encoding, _UNKNOWN)
        return guessed or _UNKNOWN


def is_hidden(path: str) -> bool:
    """Return whether a segment of a relative path begins with a dot and is not ``.well-known``."""
    return any(name.startswith(".") and name not in (_PUBLIC_DOT_NAME, ".") for name in path.split("/"))


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}".lstrip("/")


class _ExactLength:
    """Wraps ``send`` so that a body has the length that was announced, though a file grows while it is read.

    A body that is too short is left as it is: the server breaks the connection off, which the client notices.
    """

    def __init__(self, method: str, send: Send) -> None:
        self._bodiless = method == "HEAD"
        self._send = send
        self._left: int | None = None
        self._complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            length = next((value for name, value in message["headers"] if name == b"content-length"), None)
            self._left = 0 if self._bodiless else None if length is None else int(length)
        elif self._complete:
            return
        elif self._left is not None:
            body = message.get("body", b"")[: self._left]
            self._left -= len(body)
            self._complete = self._left == 0 or not message.get("more_body", False)
            message = {**message, "body": body, "more_body": not self._complete}
        await self._send(message)


def _for_starlette(scope: Scope, response: Response) -> Scope:
    """Return the scope with a Range header that is cheap to answer, or without one.

    Without ``http.response.pathsend``: a server that sends the file by itself could not be stopped when a login ends.
    """
    extensions = {
        name: value for name, value in (scope.get("extensions") or {}).items() if name != "http.response.pathsend"
    }
    headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
    lines = [value for name, value in scope["headers"] if name == b"range"]
    if len(lines) == 1 and scope["method"] == "GET" and isinstance(response, FileResponse):
        size = int(response.headers["content-length"])
        if (ranges := _ranges(lines[0].decode("latin-1"), size)) is not None:
            headers.append((b"range", ranges.encode("ascii")))
    return {**scope, "headers": headers, "extensions": extensions}


def _ranges(text: str, size: int) -> str | None:
    """Return a Range header without the ranges beyond a file's end, unless all are; None if it is to be ignored.

    Args:
        text: the header (RFC 9110 section 14.1.2).
        size: the file's length.
    """
    match = _RANGES.fullmatch(text)
    if match is None:
        return None
    ranges = [each.strip(" \t") for each in match[1].split(",")]
    satisfiable = []
    for each in ranges:
        first, _, last = each.partition("-")
        if first and last and int(last) < int(first):
            return None
        if int(first or 0) < size and (first or int(last)):
            satisfiable.append(each)
    return f"bytes={','.join(satisfiable or ranges[:1])}"


def _with_slash(scope: Scope) -> str:
    """Return the request's own target with a slash at the end of its path."""
    query: bytes = scope.get("query_string", b"")
    target = f"{quote(scope['path'], safe=_SAFE_IN_PATH)}/"
    return f"{target}?{query.decode('ascii')}" if query and _QUERY.fullmatch(query) else target


def _listing(path: str, entries: Iterable[_Entry]) -> bytes:
    """Return the page that lists a folder.

    Args:
        path: the folder's path in the URL, decoded.
        entries: its entries.
    """
    title = html.escape(f"Index of {path}")
    rows = ["<tr><td><a href='../'>../</a></td><td></td><td></td></tr>"] if path.count("/") > 1 else []
    for entry in entries:
        name = f"{entry.name}/" if entry.is_folder else entry.name
        # in front of it ./, since a name may look like a scheme
        link = f"<a href='./{quote(name)}'><bdi>{html.escape(name)}</bdi></a>"
        modified = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.modified))
        rows.append(f"<tr><td>{link}</td><td>{'' if entry.is_folder else entry.size}</td><td>{modified}</td></tr>")
    page = (
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{title}</title></head>"
        f"<body><h1>{title}</h1><table><tr><th>Name</th><th>Bytes</th><th>Changed (UTC)</th></tr>\n"
    )
    return f"{page}{chr(10).join(rows)}\n</table></body></html>\n".encode()
