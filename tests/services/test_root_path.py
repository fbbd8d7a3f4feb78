"""The rule on root_path, and the root paths that are built into applications."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Host, Mount

from asgi_gateway.errors import ConfigError
from asgi_gateway.services.inspection import DjangoRoot, FastAPIRoot, application_roots, wrapped_applications
from asgi_gateway.services.paths import path_below_root
from asgi_gateway.services.root_path import RootPath


def scope(path: str, root: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "http", "path": path, **({} if root is None else {"root_path": root}), **more}


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/api/x", "/api", "/x"),
        ("/api/x", "/api/", "/x"),
        ("/api", "/api", ""),
        ("/api", "/api/", ""),
        ("/x", "/", "/x"),
        ("/x", "", "/x"),
        ("/x", None, "/x"),
        ("/a/b/c", "/a/b", "/c"),
        ("/ä/x", "/ä", "/x"),
    ],
)
def test_fits(path: str, root: str | None, below: str) -> None:
    """A root that is a leading part of the path is taken off; one slash at its end is dropped from the scope, too."""
    settled = RootPath().settle(scope(path, root))
    assert settled.refusal is None
    assert path_below_root(settled.scope) == below
    assert settled.scope.get("root_path", "") in ("", (root or "").rstrip("/"))


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/public/api/admin", "/api"),
        ("/public/c/admin", "c"),
        ("/apiary", "/api"),
        ("/API/x", "/api"),
        ("/x", "/api"),
        ("/x", "//"),
        ("/api//x", "/api//"),
        ("/a//b/x", "/a//b"),
        ("/a/../b", "/a/.."),
        ("/a/./b", "/a/."),
        ("/a;b/x", "/a;b"),
        ("/a\\b/x", "/a\\b"),
        ("/%2e/x", "/%2e"),
        ("/a\n/x", "/a\n"),
        ("/.\u200d./x", "/.\u200d."),
        ("x/y", "x"),
    ],
)
def test_does_not_fit(path: str, root: str) -> None:
    """A root that is no leading part of the path, not by whole segments, or ambiguous itself, refuses the request."""
    settled = RootPath().settle(scope(path, root))
    assert settled.refusal is not None
    assert "root_path" in settled.refusal
    assert path_below_root(settled.scope) == path


@pytest.mark.parametrize("given_root", [None, "", "/", "/api", "/other", "c", "/public/"])
def test_configured(given_root: str | None) -> None:
    """A configured root replaces what the server says, and refuses every path outside it."""
    root = RootPath("/api")
    assert root.concerns_every_scope
    settled = root.settle(scope("/api/x", given_root, app_root_path=given_root))
    assert settled.refusal is None
    assert settled.scope["root_path"] == "/api"
    assert settled.scope.get("app_root_path") in (None, "/api")
    assert root.settle(scope("/x", given_root)).refusal is not None
    assert root.settle(scope("/public/api/x", given_root)).refusal is not None


@pytest.mark.parametrize("given_root", ["/x", "c", "/public/"])
def test_configured_empty(given_root: str) -> None:
    """A configured empty root removes what the server says."""
    root = RootPath("")
    assert not root.concerns_every_scope
    settled = root.settle(scope("/x/y", given_root))
    assert settled.refusal is None
    assert settled.scope["root_path"] == ""


@pytest.mark.parametrize(
    ("path", "root", "remaining", "below"),
    [
        ("/ws/admin", "", "admin", "/admin"),
        ("/ws/admin", None, "admin", "/admin"),
        ("/api/ws/admin", "/api", "admin", "/admin"),
        ("/ws/", "", "", "/"),
        ("/admin", "", "admin", "/admin"),
        ("/a/b/a/b", "", "a/b", "/a/b"),
    ],
)
def test_below_a_router_of_channels(path: str, root: str | None, remaining: str, below: str) -> None:
    """What an outer URLRouter took off the path is the root, for the gateway and for each application inside."""
    settled = RootPath().settle(scope(path, root, path_remaining=remaining))
    assert settled.refusal is None
    assert path_below_root(settled.scope) == below
    assert "path_remaining" not in settled.scope
    configured = RootPath("").settle(scope(path, root, path_remaining=remaining))
    assert path_below_root(configured.scope) == path
    assert "path_remaining" not in configured.scope


@pytest.mark.parametrize(("path", "remaining"), [("/wsadmin", "admin"), ("/a//admin", "admin"), ("/../admin", "admin")])
def test_half_a_segment_of_a_router(path: str, remaining: str) -> None:
    """An outer URLRouter that took off half a segment, or something ambiguous, refuses the request."""
    assert RootPath().settle(scope(path, path_remaining=remaining)).refusal is not None


def test_router_of_channels_behind_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an outer URLRouter made of a root that a client chose does not count."""
    monkeypatch.setattr("asgi_gateway.services.root_path.clients_choose_root", lambda: True)
    settled = RootPath().settle(scope("/public/admin", "/public", path_remaining="admin"))
    assert path_below_root(settled.scope) == "/public/admin"
    assert "path_remaining" not in settled.scope
    assert path_below_root(RootPath().settle(scope("/ws/admin", "", path_remaining="admin")).scope) == "/admin"


def test_scope_is_not_changed() -> None:
    """The server's own scope stays as it is, and is handed on where nothing is to change."""
    original = scope("/api/x", "/api/", app_root_path="/api/")
    before = dict(original)
    assert RootPath().settle(original).scope == {"type": "http", "path": "/api/x", "root_path": "/api"}
    assert original == before
    unchanged = scope("/api/x", "/api")
    assert RootPath().settle(unchanged).scope is unchanged
    lifespan = {"type": "lifespan", "root_path": "/api"}
    assert RootPath("/api").settle(lifespan).scope is lifespan


def test_client_chooses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Under daphne the root of the scope is the client's: it is ignored, with one warning that names the setting."""
    monkeypatch.setitem(sys.modules, "daphne.server", sys)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", SimpleNamespace(running=True))
    root = RootPath()
    with caplog.at_level(logging.WARNING):
        for chosen in ("/public", "/public/", "c", "/"):
            settled = root.settle(scope("/public/admin", chosen))
            assert settled.refusal is None
            assert path_below_root(settled.scope) == "/public/admin"
    assert len(caplog.records) == 1
    assert "root-path" in caplog.text
    assert RootPath("/public").settle(scope("/public/admin", "/x")).scope["root_path"] == "/public"


def test_daphne_that_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where daphne is installed as a Django application and another server runs, that server's root counts."""
    monkeypatch.setitem(sys.modules, "daphne.server", sys)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", SimpleNamespace(running=False))
    assert path_below_root(RootPath().settle(scope("/api/x", "/api")).scope) == "/x"


@pytest.mark.parametrize("kind", [FastAPIRoot, DjangoRoot])
@pytest.mark.parametrize(
    ("configured", "given_root", "path", "refused"),
    [
        (None, "", "/admin", False),
        (None, "", "/api/v1/admin", True),
        (None, "", "/api/v1", True),
        (None, "/api/v1", "/api/v1/admin", False),
        (None, "/api", "/api/v1/admin", True),
        (None, "/api/v1", "/api/v1/api/v1/admin", False),
        ("/api/v1", "", "/api/v1/admin", False),
        ("/api/v1", "", "/admin", True),
        ("", "/x", "/x/admin", False),
        ("", "", "/api/v1/x", True),
    ],
)
def test_application_root(
    kind: type[FastAPIRoot | DjangoRoot], configured: str | None, given_root: str, path: str, refused: bool
) -> None:
    """A request is refused where the application's own root makes it route another path than the gateway decides on."""
    root = RootPath(configured, [kind("/api/v1")])
    assert root.concerns_every_scope
    assert (root.settle(scope(path, given_root)).refusal is not None) is refused


@pytest.mark.parametrize("configured", ["/other", "/api", "/api/v1/x"])
def test_two_settings(configured: str) -> None:
    """A configured root that the application replaces by another is an error that names both and the setting."""
    with pytest.raises(ConfigError) as error:
        RootPath(configured, [FastAPIRoot("/api/v1")])
    for text in (configured, "/api/v1", "FastAPI(root_path=...)"):
        assert text in str(error.value)


@given(
    st.sampled_from(["/a", "/a/b", "/ab", "/a/"]),
    st.sampled_from(["", "/a", "/a/b", "/b"]),
    st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4),
)
def test_application_reads_what_is_decided(own: str, given_root: str, segments: list[str]) -> None:
    """What passes is read by the application as the gateway reads it, whatever the two roots are."""
    path = "/" + "/".join(segments)
    for application in (FastAPIRoot(own), DjangoRoot(own)):
        settled = RootPath(None, [application]).settle(scope(path, given_root))
        if settled.refusal is None:
            assert application.read(path) == path_below_root(settled.scope)


class _FastAPI(Starlette):
    """Overwrites the scope's root_path as FastAPI does."""

    def __init__(self, root_path: str, **options: Any) -> None:
        super().__init__(**options)
        self.root_path = root_path


class _Wrapper:
    def __init__(self, name: str, app: Any) -> None:
        setattr(self, name, app)


class _Slots:
    __slots__ = ("app",)


FASTAPI = _FastAPI("/api/v1")


@pytest.mark.parametrize(
    "app",
    [
        FASTAPI,
        CORSMiddleware(FASTAPI),
        _Wrapper("application", _Wrapper("inner", CORSMiddleware(FASTAPI))),
        _Wrapper("application_mapping", {"http": FASTAPI, "websocket": _Wrapper("app", None)}),
        _Wrapper("mounts", {"": FASTAPI}),
        CORSMiddleware(FASTAPI).__call__,
        Starlette(routes=[Mount("/", FASTAPI)]),
        Starlette(routes=[Host("a.example", FASTAPI)]),
    ],
)
def test_found(app: Any) -> None:
    """The root_path of an application is found through middlewares, mappings, methods and mounts without a path."""
    assert application_roots(app) == [FastAPIRoot("/api/v1")]
    (warning,) = RootPath(None, application_roots(app)).warnings
    assert "/api/v1" in warning
    assert "root-path: /api/v1" in warning
    assert RootPath("/api/v1", application_roots(app)).warnings == []


@pytest.mark.parametrize(
    "app",
    [
        _FastAPI(""),
        Starlette(),
        Starlette(routes=[Mount("/v1", FASTAPI)]),
        SimpleNamespace(root_path="/home/joe/project"),  # Quart and Flask call the project's folder so
        _Slots(),
        None,
    ],
)
def test_no_root(app: Any) -> None:
    """An application without a root path of its own, or mounted below a path, has one path for each route."""
    assert application_roots(app) == []


def test_circles() -> None:
    """Applications that refer to each other end the search."""
    one = _Wrapper("app", None)
    two = _Wrapper("app", one)
    one.app = two  # type: ignore[attr-defined]
    assert list(wrapped_applications(one)) == [one, two]
