"""The element ``login-page``: both spellings, what is checked, and what is warned of."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load_config, loads
from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.endpoints.page_colors import COLORS, contrast
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway

ELSEWHERE = ("goodbye", "//h.example", "/\\h", "https://h.example", "/a/../b", "/a b", "/a\r\nb", "", "/a?b")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def document(page: Any, *schemes: str, **authentication: Any) -> dict[str, Any]:
    """A configuration of one realm with a login page."""
    authentication |= {
        "http-challenge-scheme": list(schemes or ("Application Basic",)),
        "login-page": page,
        "login-modules": [{"type": "file", "success": "required", "options": {"file": "users.yaml"}}],
    }
    return {"security": {"realms": [{"name": "demo", "description": "Demo", "authentication": authentication}]}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a users file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: x}]")
    (tmp_path / "users.yaml").chmod(0o600)
    return tmp_path


def page_of(gateway: Gateway) -> Any:
    (realm,) = gateway.realms
    return realm.settings.login_page


def errors(page: Any, *schemes: str, **authentication: Any) -> list[str]:
    """What stops the start."""
    with pytest.raises(ConfigError) as raised:
        load_config(document(page, *schemes, **authentication))
    return [each.message for each in raised.value.problems if each.severity == "error"]


def warnings(page: Any, *schemes: str) -> list[str]:
    """What does not, of the login page."""
    problems = load_config(document(page, *schemes)).problems
    return [each.message for each in problems if "login-page" in each.path]


@pytest.mark.parametrize("page", [{}, None])
def test_the_page_implies_sessions(page: Any) -> None:
    """An empty element is enough; the realm has sessions, and is called by its description."""
    gateway = load_config(document(page))
    (realm,) = gateway.realms
    assert realm.sessions is not None
    assert page_of(gateway).title == "Demo"
    assert warnings({}) == []


@pytest.mark.parametrize("scheme", ["Application Token", "Application Bearer"])
def test_tokens_have_sessions_by_the_page(scheme: str) -> None:
    """The page goes with the schemes of tokens, with which ``recycle`` does not."""
    (realm,) = load_config(document({}, scheme)).realms
    assert realm.sessions is not None
    assert errors({}, scheme, **{"authorization-mode": "recycle"}) == [
        f"the scheme '{scheme}' does not support authorization-mode recycle"
    ]


def test_schemes_with_a_window_of_their_own() -> None:
    """Basic is an error, since its window comes first; Negotiate is a warning; alone neither can be asked for."""
    own = "browsers answer it themselves, with a window of their own"
    assert errors({}, "Basic") == [f"login-page with the scheme Basic: {own}"]
    assert errors({}, "Application Basic", "Basic") == [f"login-page with the scheme Basic: {own}"]
    assert warnings({}, "Negotiate", "Application Basic") == [f"login-page with the scheme Negotiate: {own}"]
    assert warnings({}, "Application Negotiate", "Application Basic") == []
    assert errors({}, "Application Negotiate") == ["login-page: no scheme of the realm takes what a form can ask for"]


def test_both_spellings() -> None:
    """XML and YAML with every element load to equal configurations, and convert to each other."""
    page = {
        "title": "Shop",
        "logo": "logo.png",
        "colors": {"accent": "#000000"},
        "texts": {"sign-in": "Hello", "de": {"sign-in": "Hallo"}},
        "language": "de",
        "templates": "pages",
        "after-logout": "/goodbye",
    }
    in_yaml = to_yaml(loads(repr(document(page)).replace("'", '"').replace("None", "null"), "yaml"))
    in_xml = to_xml(loads(in_yaml, "yaml"))
    assert "<login-page>" in in_xml
    assert loads(in_xml, "xml").config == loads(in_yaml, "yaml").config
    empty = re.sub(r"<login-page>.*</login-page>", "<login-page/>", in_xml, flags=re.DOTALL)
    authentication = loads(empty, "xml").config.security.realms[0].authentication
    assert authentication is not None
    assert authentication.login_page is not None


def test_texts(folder: Path) -> None:
    """A text counts for all languages, or for one; a language that is not shipped begins with the English texts."""
    texts = {"user-name": "E-mail", "de": {"sign-in": "Los"}, "fr": {"sign-in": "Connexion"}}
    page = page_of(load_config(document({"texts": texts, "language": "fr"})))
    assert {language: each["user-name"] for language, each in page.texts.items()} == dict.fromkeys(
        ("en", "de", "fr"), "E-mail"
    )
    assert [page.texts[each]["sign-in"] for each in ("en", "de", "fr")] == ["Sign in", "Los", "Connexion"]
    assert page.texts["fr"]["password"] == "Password"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"texts": {"sing-in": "x"}}, "unknown text 'sing-in'"),
        ({"texts": {"de": {"nothing": "x"}}}, "unknown text 'nothing'"),
        ({"texts": {"sign-in": ["a", "b"]}}, "sign-in: expected text"),
        ({"colors": {"accents": "#000000"}}, "unknown colour 'accents'"),
        ({"colors": {"accent": "red"}}, "a colour is not of the form #rrggbb"),
        ({"colors": {"accent": "#fff;}*{color:red"}}, "a colour is not of the form #rrggbb"),
        ({"language": "fr"}, "no texts in the language 'fr'"),
        ({"language": "français"}, "invalid language"),
        ({"logo": "missing.png"}, "cannot read missing.png: No such file or directory"),
        ({"logo": "users.yaml"}, "users.yaml: not an image that browsers show"),
        ({"logo": "large.png"}, "large.png: 70028 bytes, more than 65536"),
        ({"templates": "nowhere"}, "folder not found: nowhere"),
        *(({"after-logout": path}, "invalid path") for path in ELSEWHERE),
    ],
)
def test_errors(folder: Path, page: dict[str, Any], message: str) -> None:
    """What cannot be used stops the start, and says why."""
    (folder / "large.png").write_bytes(PNG + b"\0" * 70_000)
    found = errors(page)
    assert len(found) == 1
    assert message in found[0].replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0x", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b'<?xml version="1.0"?>\n<!-- a -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    ],
)
def test_logos(folder: Path, data: bytes, media_type: str) -> None:
    """An image becomes a part of the page, whatever its file is called."""
    (folder / "logo").write_bytes(data)
    assert page_of(load_config(document({"logo": "logo"}))).logo.startswith(f"data:{media_type};base64,")


def test_contrast_is_warned_of() -> None:
    """Colours that people cannot tell apart are a warning; the built-in ones are none."""
    assert warnings({"colors": {"text": "#999999"}}) == [
        "the contrast of text and background is 2.6; people need 4.5",
    ]
    assert warnings({"colors": {"background-dark": "#8899ff"}}) != []
    assert warnings({"colors": {"accent": "#7a1f5c"}}) == []
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert len(COLORS) == 6


def test_templates_that_cannot_be_read(folder: Path) -> None:
    """A template that is no template is a warning at the start; so is a folder without any."""
    pages = folder / "pages"
    pages.mkdir()
    assert warnings({"templates": "pages"}) == [f"no template in {pages}"]
    (pages / "login.html").write_text("{% if %}")
    (found,) = warnings({"templates": "pages"})
    assert found.startswith("login.html cannot be read, the built-in page is shown: TemplateSyntaxError")


def test_templates_without_jinja(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates need Jinja2: the error says how to install it."""
    (folder / "pages").mkdir()
    (folder / "pages" / "login.html").write_text("x")
    load = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("jinja2"):
            raise ImportError(name)
        return load(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"templates need Jinja2, .*pip install 'asgi-gateway\[login-page\]'"):
        load_config(document({"templates": "pages"}))


def test_keys_are_needed_with_a_shared_store(folder: Path) -> None:
    """As with ``recycle``, sessions in a shared store need configured keys."""
    shared = document({})
    shared["security"]["state"] = {"type": "sqlite", "options": {"file": "state.db"}}
    with pytest.raises(ConfigError, match="missing session-keys"):
        load_config(shared)
