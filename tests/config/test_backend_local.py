"""Services of the types directory, echo and http.redirect: their properties, and the folders that may be served."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load, load_config, loads
from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.config.load import read
from asgi_gateway.config.named_files import named_files
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from asgi_gateway.middleware import GatewayMiddleware
from tests.asgi import Answer, get
from tests.config.helpers import document, realm, service
from tests.gateways import App

USERS = "<jaas-config><user><name>ada</name><password>ada-pw</password></user></jaas-config>"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a configuration, with a users file and a folder ``web/site``."""
    (tmp_path / "users.xml").write_text(USERS)
    (tmp_path / "users.xml").chmod(0o600)
    (tmp_path / "web" / "site" / "docs").mkdir(parents=True)
    (tmp_path / "web" / "site" / "index.html").write_text("hello")
    return tmp_path


def site(directory: str = "/site", **more: Any) -> dict[str, Any]:
    properties = {"directory": directory, **more.pop("properties", {})}
    return {"name": "site", "accept": "/site", "type": "directory", "properties": properties, **more}


def write(home: Path, *services: dict[str, Any], **more: Any) -> Path:
    file = home / "gateway.yaml"
    file.write_text(json.dumps(document(*services) | more))
    return file


def built(home: Path, *services: dict[str, Any], **more: Any) -> Gateway:
    return load_config(write(home, *services, service(), **more))


def problems(home: Path, *services: dict[str, Any], **more: Any) -> list[str]:
    """The errors of a file, as ``path: message (hint)``."""
    with pytest.raises(ConfigError) as caught:
        built(home, *services, **more)
    return [f"{p.path}: {p.message} ({p.hint})" for p in caught.value.problems if p.severity == "error"]


async def ask(gateway: Gateway, path: str, **more: Any) -> Answer:
    return await get(GatewayMiddleware(App(), gateway), path, **more)


async def to_site(home: Path, path: str, *services: dict[str, Any], **more: Any) -> Answer:
    file = write(home, *services, **more)
    return await ask(load_config(file), path)


# ---------------------------------------------------------------------------------------------------------- directory


@pytest.mark.anyio
@pytest.mark.parametrize("directory", ["/site", "site", "site/", "/site/", "//site", "./site", "/"])
async def test_the_folder_is_below_web(home: Path, directory: str) -> None:
    """A leading slash means ``web`` beside the file, as in the original, not the root of the machine."""
    path = "/site/site/docs" if directory == "/" else "/site/docs"
    (home / "web" / "site" / "docs" / "index.html").write_text("docs")
    found = await to_site(home, f"{path}/", site(directory, properties={"welcome-file": "index.html"}))
    assert (found.status, found.body) == (200, b"docs")


@pytest.mark.anyio
async def test_web_root(home: Path) -> None:
    """``web-root`` names another folder, relative to the file or absolute."""
    (home / "public").mkdir()
    (home / "public" / "a.txt").write_text("a")
    for root in ("public", "./public/", str(home / "public")):
        assert (await to_site(home, "/site/a.txt", site("/"), **{"web-root": root})).body == b"a"


@pytest.mark.anyio
async def test_a_mapping_without_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a mapping the folder ``web`` is that of the working directory."""
    monkeypatch.chdir(home)
    found = await ask(load_config(document(site())), "/site/index.html")
    assert found.body == b"hello"


@pytest.mark.anyio
async def test_behind_a_login(home: Path) -> None:
    """Nobody reaches a file of a service with a realm without a login."""
    gateway = built(home, site() | {"realm-name": "demo"})
    for path in ("/site/index.html", "/site/", "/site/missing"):
        assert (await ask(gateway, path)).status == 401
    assert (await ask(gateway, "/site/index.html", basic=("ada", "ada-pw"))).body == b"hello"
    assert (await ask(gateway, "/site/missing", basic=("ada", "ada-pw"))).status == 404


@pytest.mark.parametrize(
    ("properties", "path", "words"),
    [
        ({}, "properties", "missing property 'directory'"),
        ({"dirctory": "/site"}, "properties.dirctory", "did you mean 'directory'?"),
        ({"directory": ""}, "properties.directory", "is empty"),
        ({"directory": "/missing"}, "properties.directory", "is missing"),
        ({"directory": "/site/index.html"}, "properties.directory", "is not a folder"),
        ({"directory": "../etc"}, "properties.directory", "nothing outside the folder is served"),
        ({"directory": "/site/../.."}, "properties.directory", "nothing outside the folder is served"),
        ({"directory": "C:\\site"}, "properties.directory", "backslash"),
        ({"directory": "/.git"}, "properties.directory", "begin with a dot"),
        ({"directory": "/site", "welcome-fil": "a"}, "properties.welcome-fil", "did you mean 'welcome-file'?"),
        ({"directory": "/site", "welcome-file": "../x"}, "properties.welcome-file", "outside the folder"),
        ({"directory": "/site", "welcome-file": "/"}, "properties.welcome-file", "not the name of a file"),
        ({"directory": "/site", "welcome-file": ".htpasswd"}, "properties.welcome-file", "not the name of a file"),
        ({"directory": "/site", "options": "index"}, "properties.options", "one of: indexes"),
        ({"directory": ["/site", "/docs"]}, "properties.directory", "expected text"),
    ],
)
def test_wrong_properties(home: Path, properties: dict[str, Any], path: str, words: str) -> None:
    """Each wrong property is an error at its place, with a hint where there is one."""
    found = problems(home, {"accept": "/site", "type": "directory", "properties": properties})
    assert any(each.startswith(f"services[0].{path}: ") and words in each for each in found), found


@pytest.mark.anyio
async def test_properties_of_the_original(home: Path) -> None:
    """The original's other properties are listed as ignored; indexes counts in any case, as there."""
    location = [{"patterns": "**/*.html", "cache-control": "max-age=1 year"}, {"patterns": "*", "cache-control": "x"}]
    more = {"options": "Indexes", "error-pages-directory": "/error-pages", "location": location}
    gateway = built(home, site(properties=more))
    ignored = [(p.path, p.severity) for p in gateway.problems if "properties" in p.path]
    assert sorted(ignored) == [
        ("services[0].properties.error-pages-directory", "ignored"),
        ("services[0].properties.location", "ignored"),
    ]
    assert b"index.html" in (await ask(gateway, "/site/")).body


USERS_OF = ("security", "realms", 0, "authentication", "login-modules", 0, "options", "file")


def _put(config: Any, path: tuple[str | int, ...], value: str) -> None:
    """Write a value into a configuration, with the elements around it."""
    for step in path[:-1]:
        config = config[step] if isinstance(step, int) else config.setdefault(step, {})
    config[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (USERS_OF, "web/site/users.xml"),
        (USERS_OF, "./web/../web/site/users.xml"),
        (USERS_OF, "{home}/web/site/docs/users.xml"),
        (USERS_OF, "linked.xml"),
        (USERS_OF, "web/site/linked.xml"),
        (("security", "keystore", "file"), "web/site/any"),
        (("security", "truststore", "password-file"), "web/site/any"),
        (("security", "session-keys", "file"), "web/site/any"),
        (("security", "state", "options", "file"), "web/site/any"),
        (("security", "state", "options", "file"), "web/site/new.db"),
        (("services", 0, "identity-token", "key-file"), "web/site/any"),
        (("services", 0, "connect-login", "password-file"), "web/site/any"),
        (("services", 0, "connect-login", "token-file"), "web/site/any"),
        (("services", 0, "connect-login", "keytab"), "web/site/any"),
    ],
)
def test_folders_that_hold_secrets(home: Path, path: tuple[str | int, ...], name: str) -> None:
    """A folder that holds a file that the configuration names, in whatever place, is not served: an error."""
    folder = home / "web" / "site"
    for each in ("users.xml", "docs/users.xml", "any"):
        (folder / each).write_text(USERS)
    (home / "linked.xml").symlink_to(folder / "users.xml")
    (folder / "linked.xml").symlink_to(home / "users.xml")
    config = document(site())
    _put(config, path, name.format(home=home))
    file = home / "gateway.yaml"
    file.write_text(json.dumps(config))
    held = [each for each in named_files(read(file, environment={})) if folder in each.parents]
    assert held != []
    if path == USERS_OF:  # the others need what this test does not have
        with pytest.raises(ConfigError) as caught:
            load_config(file)
        found = [p.message for p in caught.value.problems if p.path == "services[0].properties.directory"]
        assert found == [f"the folder {folder} holds {each}, which no client may read" for each in held]


@pytest.mark.parametrize(
    ("root", "directory"),
    [(".", "/"), ("..", "/"), (".", "conf"), ("{home}", "/")],
)
def test_the_folder_of_the_configuration(home: Path, root: str, directory: str) -> None:
    """The configuration's own folder, or one above it, is not served."""
    conf = home / "conf"
    conf.mkdir()
    where = conf if root == ".." else home
    (conf / "users.xml").write_text(USERS)
    if directory == "conf":
        (home / "users.xml").rename(home / "conf" / "own.xml")
        (home / "users.xml").symlink_to(home / "conf" / "own.xml")
    found = problems(where, site(directory), **{"web-root": root.format(home=home)})
    assert any("which no client may read" in each for each in found)


def test_what_is_no_file(home: Path) -> None:
    """Texts that only look like files, such as URLs, filters and descriptions, keep no folder from being served."""
    config = document(site(), service())
    options = {"userProvider": "ldap://h/ou=web", "text": "web", "filter": "(a=*)", "long": "web/" + "x" * 5000}
    config["security"]["realms"].append(realm("other", **{"login-modules": [{"type": "x", "success": "required"}]}))
    config["security"]["realms"][1]["authentication"]["login-modules"][0]["options"] = options
    config["security"]["realms"][1]["description"] = "~nobody-of-that-name/x"
    file = home / "gateway.yaml"
    file.write_text(json.dumps(config))
    names = {each.name for each in named_files(load(file, environment={}))}
    assert names == {"gateway.yaml", "users.xml", "web"}


def test_a_folder_that_leads_out(home: Path) -> None:
    """A folder that is a link to one outside web-root is an error; web-root itself may be a link."""
    outside = home / "outside"
    outside.mkdir()
    (home / "web" / "linked").symlink_to(outside)
    (found,) = problems(home, site("linked"))
    assert "which is outside" in found
    (home / "w").symlink_to(home / "web")
    assert built(home, site(), **{"web-root": "w"}).services


@pytest.mark.anyio
async def test_mime_mappings(home: Path) -> None:
    """A service's own media types go before those of service-defaults, which go before the built-in ones."""
    for name in ("a.html", "a.aa", "a.bb"):
        (home / "web" / "site" / name).touch()
    defaults = {"mime-mapping": [_mapping("html", "text/x-a"), _mapping("aa", "text/x-b"), _mapping(".bb", "text/x-c")]}
    own = {"mime-mapping": _mapping("AA", "application/x-own")}
    file = write(home, site() | own, service(), **{"service-defaults": defaults})
    gateway = load_config(file)
    kinds = [(await ask(gateway, f"/site/a.{end}")).header("content-type") for end in ("html", "aa", "bb")]
    assert kinds == [["text/x-a; charset=utf-8"], ["application/x-own"], ["text/x-c; charset=utf-8"]]
    assert [p for p in gateway.problems if "mime" in p.path] == []
    for again, form in ((to_yaml(load(file)), "yaml"), (to_xml(load(file)), "xml")):
        assert loads(again, form, directory=home).config == load(file).config  # type: ignore[arg-type]


def _mapping(extension: str, kind: str) -> dict[str, str]:
    return {"extension": extension, "mime-type": kind}


def test_mime_mappings_elsewhere(home: Path) -> None:
    """The media types of a service that serves no files are listed as ignored."""
    gateway = built(home, {"accept": "/e", "type": "echo", "mime-mapping": _mapping("a", "a/b")})
    assert [p.path for p in gateway.problems if p.severity == "ignored"] == ["services[0].mime-mapping"]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"extension": "html"}, "is missing"),
        ({"extension": "a/b", "mime-type": "a/b"}, "invalid file name extension"),
        ({"extension": "a", "mime-type": "text"}, "invalid media type"),
        ({"extension": "a", "mime-type": "text/html\r\nx: y"}, "invalid media type"),
        ({"extension": "a", "mime-typ": "text/html"}, "did you mean 'mime-type'?"),
    ],
)
def test_wrong_mime_mappings(home: Path, mapping: dict[str, str], words: str) -> None:
    """A wrong mapping is an error: what it says becomes a header."""
    assert any(words in each for each in problems(home, site() | {"mime-mapping": mapping}))


@pytest.mark.parametrize(
    ("outer", "inner", "warned"),
    [
        ({}, {"realm-name": "demo"}, True),
        ({"realm-name": "demo"}, {"realm-name": "demo"}, False),
        ({"realm-name": "demo"}, {}, False),
        (
            {"realm-name": "demo"},
            {"realm-name": "demo", "authorization-constraint": {"require-role": "ADMIN"}},
            True,
        ),
        ({}, {"realm-name": "demo", "accept": "/all/site"}, False),
        ({}, {"realm-name": "demo", "accept": "/all/site/docs"}, True),
        ({}, {"realm-name": "demo", "accept": "/all/site", "properties": {"directory": "/"}}, True),
        ({"accept": ["/all", "/too"]}, {"realm-name": "demo", "accept": "/all/site"}, True),
        ({}, {"realm-name": "demo", "accept": "http://a/all/site", "match-host": True}, True),
    ],
)
def test_a_folder_inside_another(home: Path, outer: dict[str, Any], inner: dict[str, Any], warned: bool) -> None:
    """A service that gives away the files of another one, which asks for another login, is warned of."""
    first = site("/", accept="/all") | outer
    second = site(name="inner", accept="/inner") | inner
    gateway = built(home, first, second)
    found = [p.path for p in gateway.problems if "holds that of service 'inner'" in p.message]
    assert found == (["services[0].properties.directory"] if warned else [])


@pytest.mark.anyio
async def test_the_documented_example(home: Path) -> None:
    """The file of files-and-redirects.md redirects, serves files and echoes as the page says."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "files-and-redirects.md").read_text()
    text = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[0]
    keystore = "  keystore: {type: PKCS12, file: keystore.p12, password-file: keystore.pw}\n"
    assert keystore in text
    (home / "web" / "reports").mkdir()
    (home / "web" / "reports" / "may.txt").write_text("May")
    (home / "web" / "site" / "map.geojson").write_text("{}")
    (home / "users.yaml").write_text("users:\n  - {name: ada, password: ada-pw}\n")
    file = home / "own.yaml"
    file.write_text(text.replace(keystore, ""))
    gateway = load_config(file)
    assert [p.message for p in gateway.problems if p.severity == "warning" and "folder" in p.message] == []
    assert (await ask(gateway, "/map.geojson")).header("content-type") == ["application/geo+json"]
    assert (await ask(gateway, "/")).body == b"hello"
    assert (await ask(gateway, "/reports/may.txt")).status == 401
    assert b"may.txt" in (await ask(gateway, "/reports/", basic=("ada", "ada-pw"))).body


# ----------------------------------------------------------------------------------------------- echo and http.redirect


@pytest.mark.anyio
async def test_echo(home: Path) -> None:
    """An echo service answers with the request's body, after a login where it has a realm."""
    gateway = built(home, {"accept": "/e", "type": "echo"}, {"accept": "/f", "type": "echo", "realm-name": "demo"})
    assert (await ask(gateway, "/e/x", method="POST")).status == 200
    assert (await ask(gateway, "/f")).status == 401
    assert (await ask(gateway, "/f", basic=("ada", "ada-pw"))).status == 200


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"repeat": "0"}, "must be greater than or equal to 1"),
        ({"repeat": "1000"}, "must be less than or equal to 100"),
        ({"repeat": "often"}, "expected a whole number"),
        ({"repaet": "2"}, "did you mean 'repeat'?"),
    ],
)
def test_wrong_echo(home: Path, properties: dict[str, str], words: str) -> None:
    """Wrong properties of an echo service are errors."""
    (found,) = problems(home, {"accept": "/e", "type": "echo", "properties": properties})
    assert words in found


@pytest.mark.anyio
@pytest.mark.parametrize(("given", "status"), [(None, 302), ("301", 301), (308, 308)])
async def test_redirect(home: Path, given: Any, status: int) -> None:
    """A redirect has 302 unless the file says otherwise; nothing of the request is added to its location."""
    properties = {"location": "https://localhost:8443/"} | ({"status-code": given} if given else {})
    gateway = built(home, {"accept": "/x", "type": "http.redirect", "properties": properties})
    found = await ask(gateway, "/x/y/z?next=1", headers=[("host", "evil.example")])
    assert (found.status, found.header("location")) == (status, ["https://localhost:8443/"])


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({}, "missing property 'location'"),
        ({"location": "javascript:alert(1)"}, "neither a URL nor a path"),
        ({"location": "/a\r\nb: c"}, "percent-encoded"),
        ({"location": "/y", "status-code": "200"}, "not a status code that redirects"),
        ({"location": "/y", "status-code": "304"}, "not a status code that redirects"),
        ({"location": "/y", "status-code": "abc"}, "not a status code that redirects"),
        ({"location": "/y", "status": "301"}, "did you mean 'status-code'?"),
        ({"location": "/x"}, "redirected for ever"),
        ({"location": "/x/y"}, "redirected for ever"),
        ({"location": "http://a:8000/x/y?z"}, "redirected for ever"),
    ],
)
def test_wrong_redirects(home: Path, properties: dict[str, str], words: str) -> None:
    """A redirect without a good location, with another status, or to itself, is an error."""
    redirect = {"accept": "http://a:8000/x", "type": "http.redirect", "properties": properties}
    (found,) = problems(home, redirect)
    assert words in found


@pytest.mark.parametrize("location", ["/xy", "http://a:8001/x", "https://a:8000/x", "http://b:8000/x", "ws://a:8000/x"])
def test_redirects_elsewhere(home: Path, location: str) -> None:
    """A location at another path, port, scheme or host is none of the service's own."""
    redirect = {"accept": "http://a:8000/x", "type": "http.redirect", "properties": {"location": location}}
    assert built(home, redirect).services


def test_names_of_files_are_found_whatever_they_are(home: Path) -> None:
    """A file that is named twice, by a URL or through a link is found by what it really is."""
    (home / "store.db").touch()
    (home / "link.db").symlink_to(home / "store.db")
    config = document(service())
    config["security"]["state"] = {"type": "sqlite", "options": {"file": "file:link.db"}}
    file = home / "gateway.yaml"
    file.write_text(json.dumps(config))
    found = {os.path.relpath(each, home) for each in named_files(load(file, environment={}))}
    assert {"gateway.yaml", "users.xml", "link.db", "store.db"} <= found
