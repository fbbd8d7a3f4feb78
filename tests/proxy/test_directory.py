"""Serving the files of a folder: what is served, how, and that nothing else is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import RevocationKey
from asgi_gateway.proxy.directory import Directory, DirectorySettings
from asgi_gateway.websockets.closable import ConnectionEnded
from tests.gateways import Server, World, ask, basic, scope, service, users

Ask = Callable[..., Any]
PAGE = b"<h1>hello</h1>\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with some files, and others beside it that no request may reach."""
    folder = tmp_path / "web" / "site"
    (folder / "docs" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "index.html").write_bytes(PAGE)
    (folder / "docs" / "index.html").write_bytes(b"docs")
    (folder / "numbers.txt").write_bytes(b"0123456789")
    (folder / "café & crème.txt").write_text("crème", encoding="utf-8")
    (folder / ".htpasswd").write_text("secret")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / ".well-known").mkdir()
    (folder / ".well-known" / "security.txt").write_text("Contact: mailto:a@example.org\n")
    (tmp_path / "web" / "site-two").mkdir()
    (tmp_path / "web" / "site-two" / "secret.txt").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def directory(site: Path, accept: str = "", **more: Any) -> Directory:
    settings = {"welcome_file": "index.html"} | more
    return Directory(DirectorySettings(folder=Path(os.path.realpath(site)), accepts=(accept,), **settings))


async def answer(app: Directory, path: str, *headers: tuple[bytes, bytes], **more: Any) -> Server:
    return await ask(app, scope(path, *headers, **more))


def header(server: Server, name: bytes) -> bytes | None:
    values = [value for key, value in server.headers if key == name]
    assert len(values) <= 1
    return values[0] if values else None


# ------------------------------------------------------------------------------------------------------- what is served


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/", PAGE, b"text/html; charset=utf-8"),
        ("/index.html", PAGE, b"text/html; charset=utf-8"),
        ("/docs/", b"docs", b"text/html; charset=utf-8"),
        ("/numbers.txt", b"0123456789", b"text/plain; charset=utf-8"),
        ("/café & crème.txt", "crème".encode(), b"text/plain; charset=utf-8"),
        ("/.well-known/security.txt", b"Contact: mailto:a@example.org\n", b"text/plain; charset=utf-8"),
    ],
)
async def test_files(site: Path, path: str, body: bytes, kind: bytes) -> None:
    """A file is served with its type, its length and nosniff; a folder by its welcome file."""
    found = await answer(directory(site), path)
    assert (found.status, found.body) == (200, body)
    assert header(found, b"content-type") == kind
    assert header(found, b"content-length") == str(len(body)).encode()
    assert header(found, b"x-content-type-options") == b"nosniff"


@pytest.mark.anyio
async def test_head(site: Path) -> None:
    """HEAD gets the headers of GET without a body, ranges not counted."""
    app = directory(site)
    whole = await answer(app, "/numbers.txt")
    head = await answer(app, "/numbers.txt", (b"range", b"bytes=0-3"), method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers == whole.headers


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND"])
async def test_other_methods(site: Path, method: str) -> None:
    """Only GET and HEAD are answered, and 405 says so."""
    found = await answer(directory(site), "/index.html", method=method)
    assert (found.status, header(found, b"allow")) == (405, b"GET, HEAD")


@pytest.mark.anyio
async def test_a_websocket_is_refused(site: Path) -> None:
    """A WebSocket is never accepted, whoever lets it come this far."""
    found = await answer(directory(site), "/index.html", kind="websocket")
    assert (found.types[0], found.status) == ("websocket.http.response.start", 403)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.js", b"text/javascript; charset=utf-8"),
        ("a.MJS", b"text/javascript; charset=utf-8"),
        ("a.css", b"text/css; charset=utf-8"),
        ("a.json", b"application/json"),
        ("a.svg", b"image/svg+xml"),
        ("a.wasm", b"application/wasm"),
        ("a.html.gz", b"application/gzip"),
        ("a.tar.bz2", b"application/x-bzip2"),
        ("noextension", b"application/octet-stream"),
        ("a.unknown-extension", b"application/octet-stream"),
        ("a.special", b"text/x-special; charset=iso-8859-1"),
        ("a.txt", b"application/x-own"),
    ],
)
async def test_types(site: Path, name: str, kind: bytes) -> None:
    """Types come from the service's own mappings, else from the extension; compressed files are what they are."""
    (site / name).write_bytes(b"x")
    types = {"special": "text/x-special; charset=iso-8859-1", "txt": "application/x-own"}
    found = await answer(directory(site, types=types), f"/{name}")
    assert (header(found, b"content-type"), header(found, b"content-encoding")) == (kind, None)


# -------------------------------------------------------------------------------------------------- where it is mounted


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "root", "status"),
    [
        ("/files/numbers.txt", "", 200),
        ("/files/", "", 200),
        ("/outer/files/numbers.txt", "/outer", 200),
        ("/files/files/numbers.txt", "", 404),
        ("/numbers.txt", "", 404),
        ("/filesnumbers.txt", "", 404),
        ("/outer/files/numbers.txt", "", 404),
    ],
)
async def test_path_below_the_accept(site: Path, path: str, root: str, status: int) -> None:
    """The accept's path, below the root path of the server, stands for the folder, by whole segments."""
    assert (await answer(directory(site, "/files"), path, root_path=root)).status == status


@pytest.mark.anyio
async def test_longest_accept(site: Path) -> None:
    """Of several accepts that hold a path, the longest one counts."""
    settings = DirectorySettings(folder=site, accepts=("", "/a", "/a/b"))
    for prefix in ("", "/a", "/a/b"):
        assert (await answer(Directory(settings), f"{prefix}/numbers.txt")).body == b"0123456789"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "query", "root", "location"),
    [
        ("/docs", b"", "", b"/docs/"),
        ("/docs", b"a=1&b=%20", "", b"/docs/?a=1&b=%20"),
        ("/docs", b"a=\r\nx: y", "", b"/docs/"),
        ("/outer/docs", b"", "/outer", b"/outer/docs/"),
        ("/outer", b"", "/outer", b"/outer/"),
        ("/café & crème", b"", "", b"/caf%C3%A9%20&%20cr%C3%A8me/"),
        ("/evil.example", b"", "", b"/evil.example/"),
    ],
)
async def test_folders_are_redirected(site: Path, path: str, query: bytes, root: str, location: bytes) -> None:
    """A folder without slash is redirected to the one with it, on the same site, whatever the Host header says."""
    for name in ("café & crème", "evil.example"):
        (site / name).mkdir()
        (site / name / "index.html").write_bytes(b"x")
    host = (b"host", b"evil.example")
    found = await answer(directory(site), path, host, root_path=root, query_string=query)
    assert (found.status, header(found, b"location"), found.body) == (302, location, b"")


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["//docs", "//evil.example/..", "///docs", "/\\evil.example", "docs"])
async def test_no_redirect_to_another_site(site: Path, path: str) -> None:
    """A path that a browser would read as another host is never a redirect's target."""
    assert (await answer(directory(site), path)).status == 404


# --------------------------------------------------------------------------------------------------- what is not served


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        "/missing.txt",
        "/numbers.txt/",
        "/numbers.txt/x",
        "/.htpasswd",
        "/.git/config",
        "/.git/",
        "/docs/.hidden",
        "/..",
        "/../secret.txt",
        "/../../secret.txt",
        "/docs/../../../secret.txt",
        "/../site-two/secret.txt",
        "/./numbers.txt",
        "/docs/..;/numbers.txt",
        "/..\\secret.txt",
        "\\..\\secret.txt",
        "/C:\\secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/docs//index.html",
        "/numbers.txt\x00.html",
        "/numbers.txt\n",
        "/fullwidth/\uff0e\uff0e/secret.txt",
        "/empty/",
        "/empty",
        "/docs/deep",
        "/" + "a" * 300,
        "/" + "a/" * 3000,
        "/\ud800",
        "",
    ],
)
async def test_nothing_else(site: Path, path: str) -> None:
    """What is missing, hidden, above the folder, beside it or read in two ways is 404, and so is a folder to itself."""
    found = await answer(directory(site), path)
    assert (found.status, found.body) == (404, b"Not Found\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/docs/index.html", b"/docs%2Findex.html"),
        ("/docs/index.html", b"/docs%2findex.html"),
        ("/numbers.txt", b"/%2E/numbers.txt"),
        ("/a\\b", b"/a%5cb"),
        ("/café & crème.txt", b"/caf%C3%A9%20%26%20cr%C3%A8me.txt"),
    ],
)
async def test_encoded_separators(site: Path, path: str, raw: bytes) -> None:
    """An encoded separator is 404 also where the service allows encoded slashes; other characters may be encoded."""
    found = await answer(directory(site), path, raw_path=raw)
    assert found.status == (200 if b"caf" in raw else 404)


@pytest.mark.anyio
async def test_symbolic_links(site: Path) -> None:
    """A link is followed to what is served, and to nothing else: not outside, not beside, not to a hidden name."""
    outside = site.parent.parent
    links = {
        "inside.txt": site / "numbers.txt",
        "linked": site / "docs",
        "out.txt": outside / "secret.txt",
        "numbers.txt.gz": outside / "secret.txt",
        "sibling": site.parent / "site-two",
        "up": outside,
        "hidden.txt": site / ".htpasswd",
        "loop": site / "loop",
        "gone": site / "gone-too",
    }
    for name, target in links.items():
        (site / name).symlink_to(target)
    app = directory(site, indexes=True)
    found = {}
    for path in (*links, "linked/index.html", "sibling/secret.txt", "up/secret.txt", "up/web/site/numbers.txt"):
        found[path] = (await answer(app, f"/{path}", (b"accept-encoding", b"gzip"))).status
    assert {path for path, status in found.items() if status == 200} == {
        "inside.txt",
        "linked/index.html",
        "up/web/site/numbers.txt",
    }
    assert found["linked"] == 302
    assert {status for path, status in found.items() if status not in (200, 302)} == {404}
    page = (await answer(app, "/", headers=[])).body
    assert page == PAGE
    listing = (await answer(directory(site, welcome_file="", indexes=True), "/")).body.decode()
    names = set(re.findall(r"<bdi>(.*?)</bdi>", listing))
    assert {"inside.txt", "linked/"} <= names
    assert names & {"out.txt", "numbers.txt.gz", "sibling/", "up/", "loop", "gone", ".htpasswd", ".git/"} == set()


@pytest.mark.anyio
async def test_no_compressed_twins(site: Path) -> None:
    """A compressed file beside another one is never sent in its place."""
    (site / "numbers.txt.gz").write_bytes(b"compressed")
    found = await answer(directory(site), "/numbers.txt", (b"accept-encoding", b"gzip, br"))
    assert found.body == b"0123456789"


@pytest.mark.anyio
async def test_special_files(site: Path) -> None:
    """A pipe or a socket is 404 at once: nobody waits for a writer."""
    os.mkfifo(site / "pipe")
    assert (await answer(directory(site), "/pipe")).status == 404


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/locked.txt", "/locked/x.txt", "/locked/"])
async def test_unreadable(site: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process may not read is 404 before a byte is sent."""
    (site / "locked.txt").write_text("x")
    (site / "locked").mkdir()
    real_stat, real_access = os.stat, os.access

    def refusing(file: Any, *args: Any, **more: Any) -> Any:
        if "locked/" in os.fspath(file):
            raise PermissionError(13, "Permission denied")
        return real_stat(file, *args, **more)

    # the tests may run as root, whom no mode keeps out
    monkeypatch.setattr(os, "stat", refusing)
    monkeypatch.setattr(os, "access", lambda file, mode: "locked" not in os.fspath(file) and real_access(file, mode))
    assert (await answer(directory(site), path)).status == 404


# ------------------------------------------------------------------------------------------ conditions, ranges, lengths


@pytest.mark.anyio
async def test_not_modified(site: Path) -> None:
    """If-None-Match and If-Modified-Since give 304 without a body; another tag or an older date the file."""
    app = directory(site)
    whole = await answer(app, "/numbers.txt")
    tag, date = header(whole, b"etag"), header(whole, b"last-modified")
    assert tag is not None
    assert date is not None
    old = formatdate(0, usegmt=True).encode()
    cases = [
        ([(b"if-none-match", tag)], 304),
        ([(b"if-none-match", b'"other", W/' + tag)], 304),
        ([(b"if-none-match", b"*")], 304),
        ([(b"if-none-match", b'"other"')], 200),
        ([(b"if-modified-since", date)], 304),
        ([(b"if-modified-since", old)], 200),
        ([(b"if-modified-since", b"yesterday")], 200),
        ([(b"if-none-match", b'"other"'), (b"if-modified-since", date)], 200),
    ]
    for headers, status in cases:
        found = await answer(app, "/numbers.txt", *headers)
        assert (found.status, found.body) == (status, b"" if status == 304 else b"0123456789"), headers
    os.utime(site / "numbers.txt", (1, 1))
    assert (await answer(app, "/numbers.txt", (b"if-none-match", tag))).status == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        (b"bytes=0-3", 206, b"0123"),
        (b"bytes=7-", 206, b"789"),
        (b"bytes=-2", 206, b"89"),
        (b"bytes=5-100", 206, b"56789"),
        (b"bytes=-100", 206, b"0123456789"),
        (b"bytes=0-1,50-60", 206, b"01"),
        (b"bytes=0-4, 3-6", 206, b"0123456"),
        (b"Bytes=0-0", 206, b"0"),
        (b"bytes=50-60", 416, b""),
        (b"bytes=-0", 416, b""),
        (b"bytes=3-1", 200, b"0123456789"),
        (b"items=0-3", 200, b"0123456789"),
        (b"bytes=a-b", 200, b"0123456789"),
        (b"bytes=", 200, b"0123456789"),
        (b"bytes=-", 200, b"0123456789"),
        (b"bytes=0-" + b"9" * 5000, 200, b"0123456789"),
        (b"bytes=" + b",".join(b"%d-%d" % (i % 10, i % 10) for i in range(11)), 200, b"0123456789"),
        (b"bytes=" + b"0-0," * 5000, 200, b"0123456789"),
    ],
)
async def test_ranges(site: Path, value: bytes, status: int, body: bytes) -> None:
    """A range is served; one beyond the end is 416; invalid or numerous ones are ignored, as RFC 9110 allows."""
    found = await answer(directory(site), "/numbers.txt", (b"range", value))
    assert (found.status, found.body) == (status, body)
    if status == 416:
        assert header(found, b"content-range") == b"bytes */10"


@pytest.mark.anyio
async def test_several_ranges(site: Path) -> None:
    """Several ranges are one multipart answer of the announced length; two Range headers are both ignored."""
    app = directory(site)
    found = await answer(app, "/numbers.txt", (b"range", b"bytes=0-1,4-5,8-"))
    assert found.status == 206
    assert (header(found, b"content-type") or b"").startswith(b"multipart/byteranges; boundary=")
    assert header(found, b"content-length") == str(len(found.body)).encode()
    assert re.findall(rb"\r\n\r\n(.*)\r\n", found.body) == [b"01", b"45", b"89"]
    twice = await answer(app, "/numbers.txt", (b"range", b"bytes=0-1"), (b"range", b"bytes=2-3"))
    assert (twice.status, twice.body) == (200, b"0123456789")


@pytest.mark.anyio
async def test_if_range(site: Path) -> None:
    """A range counts only for the file that the client has a part of."""
    app = directory(site)
    tag = header(await answer(app, "/numbers.txt"), b"etag")
    assert tag is not None
    for value, status in ((tag, 206), (b'"other"', 200), (b"W/" + tag, 200)):
        found = await answer(app, "/numbers.txt", (b"range", b"bytes=0-1"), (b"if-range", value))
        assert found.status == status


@pytest.mark.anyio
async def test_an_empty_file(site: Path) -> None:
    """An empty file is served; no range of it can be."""
    (site / "nothing.txt").touch()
    app = directory(site)
    found = await answer(app, "/nothing.txt")
    assert (found.status, found.body, header(found, b"content-length")) == (200, b"", b"0")
    assert (await answer(app, "/nothing.txt", (b"range", b"bytes=0-"))).status == 416


@pytest.mark.anyio
@pytest.mark.parametrize("size", [10, 65_536, 200_000])
async def test_a_file_that_grows(site: Path, size: int) -> None:
    """A file that grows while it is sent, such as a log, is cut at the length that was announced."""
    log = site / "log.txt"
    log.write_bytes(b"a" * size)
    app = directory(site)
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        if not sent:
            with log.open("ab") as file:
                file.write(b"b" * 100_000)
        sent.append(dict(message))

    await app(scope("/log.txt"), Server().receive, send)
    assert b"".join(message.get("body", b"") for message in sent[1:]) == b"a" * size
    assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]


@pytest.mark.anyio
async def test_the_server_does_not_send_by_itself(site: Path) -> None:
    """A server that can send files itself is not asked to: a logout could not end that."""
    found = await answer(directory(site), "/numbers.txt", extensions={"http.response.pathsend": {}})
    assert found.types == ["http.response.start", "http.response.body"]


# ------------------------------------------------------------------------------------------------------------- listings


@pytest.mark.anyio
async def test_listing(site: Path) -> None:
    """With indexes a folder without welcome file is listed, folders first, hidden names left out."""
    app = directory(site, indexes=True)
    assert (await answer(app, "/docs/")).body == b"docs"
    assert (await answer(app, "/docs/deep")).status == 302
    (site / "empty" / "b.txt").write_bytes(b"12345")
    (site / "empty" / "a").mkdir()
    (site / "empty" / ".hidden").touch()
    found = await answer(app, "/empty/")
    assert found.status == 200
    assert header(found, b"content-type") == b"text/html; charset=utf-8"
    assert re.findall(r"href='(.*?)'", found.body.decode()) == ["../", "./a/", "./b.txt"]
    assert "<td>5</td>" in found.body.decode()
    policy = header(found, b"content-security-policy") or b""
    assert policy.startswith(b"default-src 'none'")
    head = await answer(app, "/empty/", method="HEAD")
    assert (head.body, header(head, b"content-length")) == (b"", header(found, b"content-length"))


@pytest.mark.anyio
async def test_names_in_listings(site: Path) -> None:
    """No file or folder name becomes markup or a link elsewhere; names that no request can have are left out."""
    names = [
        "<script>alert(1)<",
        "' onmouseover='alert(1)",
        '"><img src=x>',
        "javascript:alert(1)",
        "a&amp;b#c?d%41",
        "ünï",
    ]
    folder = site / "<b>bold"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode())
    for name in ("semi;colon", "new\nline", "back\\slash"):
        (folder / name).touch()
    with open(os.fsencode(folder) + b"/latin\xe9", "wb"):
        pass
    app = directory(site, indexes=True)
    page = (await answer(app, "/<b>bold/")).body.decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    links = re.findall(r"href='(.*?)'", page)
    assert len(links) == 1 + len([name for name in names if "%" not in name])
    assert all(re.fullmatch(r"\./[A-Za-z0-9%._~/-]+", link) for link in links[1:])


@pytest.mark.anyio
async def test_check_names_a_missing_folder(site: Path) -> None:
    """``check --connect`` says that a folder is gone, and nothing while it is there."""
    app = directory(site)
    assert await app.check() == []
    site.rename(site.with_name("moved"))
    assert await app.check() == [f"the folder {site} is missing"]
    assert (await answer(app, "/index.html")).status == 404


@pytest.mark.anyio
async def test_a_download_ends_with_its_login(site: Path) -> None:
    """A download whose user is revoked meanwhile is cut off, and its file is closed."""
    (site / "large.bin").write_bytes(b"x" * 3_000_000)
    world = World()
    assert world.state is not None
    realm = world.realm(users(ada="R"), recycle=(world.state, [b"k" * 32]))
    protected = replace(service("files", "", realm), backend=directory(site))
    gateway = world.gateway(protected)
    await gateway.open()
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 4:
            await gateway.revocations.revoke(RevocationKey("user", "ada", "demo"))

    app = GatewayMiddleware(None, gateway)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectionEnded):
        await app(scope("/large.bin", basic("ada"), asgi={"spec_version": "2.4"}), Server().receive, send)
    assert sum(len(message.get("body", b"")) for message in sent) < 2_000_000
    assert sent[-1]["more_body"] is True
    assert len(os.listdir("/proc/self/fd")) == before
    await gateway.close()
