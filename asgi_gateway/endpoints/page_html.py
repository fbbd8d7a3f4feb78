"""Write the gateway's pages: the built-in ones, or those of a site's own templates.

Everything that a request or a directory had a say in is escaped before it reaches a template, so that it stays text
whatever the template does with it. A template that fails is replaced by the built-in page.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from asgi_gateway.authentication.login_page import LoginPageSettings
from asgi_gateway.endpoints.page_colors import color_rules
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.model import Headers, Response
from asgi_gateway.telemetry.outages import Outages

__all__ = ["TEMPLATES", "Button", "Form", "Link", "Page", "PageWriter"]

logger = logging.getLogger("asgi_gateway.login_page")

Kind = Literal["password", "token"]
TEMPLATES = ("login.html", "logout.html", "message.html")
"""The templates that a site may replace, each by itself."""
_PIP = "pip install 'asgi-gateway[login-page]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form of a login page.

    Args:
        action: the URL path that it is sent to.
        state: what it has to come back with.
        script: the URL path of the script that keeps the part of the address after ``#``.
        kind: whether it asks for a user name and a password or for a token.
        name: the user name to begin with.
    """

    action: str
    state: str
    script: str
    kind: Kind = "password"
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button that sends an empty form."""

    action: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link to a path of the site."""

    href: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page shows.

    Args:
        template: one of ``TEMPLATES``.
        status: the HTTP status.
        heading: its heading.
        message: a sentence, which is announced as an error where there is a form; empty for none.
        form: the form of a login page, or None.
        button: a button, or None.
        link: a link, or None.
    """

    template: str
    status: int
    heading: str
    message: str = ""
    form: Form | None = None
    button: Button | None = None
    link: Link | None = None


class PageWriter:
    """Writes the pages of one realm.

    Args:
        settings: what they show.

    Raises:
        ConfigError: there are templates, and Jinja2 is not installed.
    """

    def __init__(self, settings: LoginPageSettings) -> None:
        self._settings = settings
        style = files("asgi_gateway").joinpath("endpoints", "pages", "style.css").read_text(encoding="utf-8")
        self._style = style + color_rules(settings.colors)
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        own = "'self' " if settings.templates is not None else ""
        images = "img-src 'self' data:; font-src 'self'" if own else "img-src data:"
        policy = (
            f"default-src 'none'; script-src 'self'; style-src {own}'sha256-{digest}'; {images};"
            " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        self._headers: Headers = (
            (b"content-security-policy", policy.encode()),
            (b"x-frame-options", b"DENY"),
            (b"x-content-type-options", b"nosniff"),
            # no-referrer would have browsers send the form with "Origin: null"
            (b"referrer-policy", b"same-origin"),
        )
        self._templates = None if settings.templates is None else _Templates(settings.templates)

    def write(self, page: Page, language: str, headers: Headers = ()) -> Response:
        """Return the response that shows a page.

        Args:
            page: the page.
            language: the language of its texts.
            headers: further headers.
        """
        html = self._templates.render(page, self._context(page, language)) if self._templates is not None else None
        text = html if html is not None else self._built_in(page, language)
        return Response(
            status=page.status,
            headers=(*headers, *self._headers, (b"content-language", language.encode())),
            body=text.encode("utf-8"),
            content_type="text/html; charset=utf-8",
        )

    def template_problems(self) -> list[str]:
        """Return which templates cannot be read, each with the reason."""
        return [] if self._templates is None else self._templates.problems()

    def _context(self, page: Page, language: str) -> dict[str, Any]:
        settings = self._settings
        return {
            "title": settings.title,
            "logo": settings.logo,
            "style": self._style,
            "language": language,
            "texts": {name.replace("-", "_"): text for name, text in settings.texts[language].items()},
            **{name: value for name, value in asdict(page).items() if name != "template"},
        }

    def _built_in(self, page: Page, language: str) -> str:
        settings = self._settings
        texts = settings.texts[language]
        alarming = page.form is not None and page.message
        title = f"{texts['error']}: {page.heading}" if alarming else page.heading
        logo = f'<img src="{escape(settings.logo)}" alt="">' if settings.logo else ""
        if alarming:
            message = f'<p class="alert" id="alert" role="alert">{escape(page.message)}</p>'
        else:
            message = f"<p>{escape(page.message)}</p>" if page.message else ""
        parts = [
            f'<!DOCTYPE html>\n<html lang="{escape(language)}">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="robots" content="noindex">',
            f"<title>{escape(title)} - {escape(settings.title)}</title>\n<style>{self._style}</style>\n</head>\n<body>",
            f'<main>\n{logo}<p class="site">{escape(settings.title)}</p>\n<h1>{escape(page.heading)}</h1>\n{message}',
        ]
        if page.form is not None:
            parts.append(_form(page.form, texts, alarming=bool(alarming)))
        if page.button is not None:
            button = page.button
            parts.append(
                f'<form method="post" action="{escape(button.action)}">'
                f'<button type="submit">{escape(button.text)}</button></form>'
            )
        if page.link is not None:
            parts.append(f'<a class="button" href="{escape(page.link.href)}">{escape(page.link.text)}</a>')
        return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def _form(form: Form, texts: Mapping[str, str], *, alarming: bool) -> str:
    """Return the form; the first field that has to be typed into has the focus."""
    invalid = ' aria-invalid="true" aria-describedby="alert"' if alarming else ""
    plain = 'autocapitalize="none" autocorrect="off" spellcheck="false" required'
    if form.kind == "token":
        label, field = texts["token"], f'name="token" autocomplete="one-time-code" {plain} autofocus{invalid}'
        rows = f'<label for="token">{escape(label)}</label>\n<input id="token" type="text" {field}>'
    else:
        at_name, at_password = ("", " autofocus") if form.name else (" autofocus", "")
        rows = (
            f'<label for="username">{escape(texts["user-name"])}</label>\n'
            f'<input id="username" name="username" type="text" autocomplete="username" {plain}'
            f' value="{escape(form.name)}"{at_name}>\n'
            f'<label for="password">{escape(texts["password"])}</label>\n'
            f'<input id="password" name="password" type="password" autocomplete="current-password" required'
            f"{at_password}{invalid}>"
        )
    return (
        f'<form method="post" action="{escape(form.action)}" accept-charset="utf-8">\n'
        f'<input type="hidden" name="state" value="{escape(form.state)}">\n{rows}\n'
        f'<button type="submit">{escape(texts["sign-in"])}</button>\n</form>\n'
        f'<script src="{escape(form.script)}"></script>'
    )


class _Templates:
    """The templates of a folder, in Jinja2's sandbox."""

    def __init__(self, folder: Path) -> None:
        try:
            from jinja2 import FileSystemLoader, StrictUndefined
            from jinja2.sandbox import ImmutableSandboxedEnvironment
            from markupsafe import Markup
        except ImportError:
            raise ConfigError(Problem("templates need Jinja2, which is not installed", hint=_PIP)) from None
        self._folder = folder
        self._markup = Markup
        self._outages = Outages(logger=logger)
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined
        )

    def problems(self) -> list[str]:
        """Return which templates cannot be read, each with the reason."""
        found = []
        for name in TEMPLATES:
            if (self._folder / name).is_file():
                try:
                    self._environment.get_template(name)
                except Exception as error:
                    found.append(f"{name} cannot be read, the built-in page is shown: {_words(error)}")
        return found

    def render(self, page: Page, context: Mapping[str, Any]) -> str | None:
        """Return the page of the site's own template; None if it has none of that name, or it fails."""
        if not (self._folder / page.template).is_file():
            return None
        try:
            return self._environment.get_template(page.template).render(self._escaped(context))
        except Exception as error:  # whatever a template does, there is a page
            file = self._folder / page.template
            self._outages.report(f"the template {file}, so the built-in page is shown: {_words(error)}")
            return None

    def _escaped(self, value: Any) -> Any:
        """Return a context in which every text is escaped already; the style cannot hold what would need it."""
        if isinstance(value, Mapping):
            return {
                name: self._markup(each) if name == "style" else self._escaped(each) for name, each in value.items()
            }
        return self._markup.escape(value) if isinstance(value, str) else value


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
