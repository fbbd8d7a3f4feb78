"""Build what a realm's login page shows: check texts, colours, logo and templates."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asgi_gateway.authentication.login_page import LoginPageSettings
from asgi_gateway.config.model import LoginPageConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.endpoints.login_page import login_scheme
from asgi_gateway.endpoints.page_colors import COLORS, contrast_problems
from asgi_gateway.endpoints.page_html import TEMPLATES, PageWriter
from asgi_gateway.endpoints.page_texts import SHIPPED, shipped_texts
from asgi_gateway.errors import ConfigError
from asgi_gateway.plugins.scheme import ChallengeScheme

__all__ = ["build_login_page", "check_login_schemes"]

AddProblem = Callable[..., None]

_MAX_LOGO = 64 * 1024
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
_SVG = re.compile(rb"\s*(<\?xml[^>]*\?>\s*)?(<!--.*?-->\s*)*<svg[\s>]", re.DOTALL)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_OWN_WINDOW = ("Basic", "Negotiate")


def check_login_schemes(schemes: Sequence[ChallengeScheme], path: ConfigPath, add_problem: AddProblem) -> None:
    """Report schemes with which people would not see the login page.

    Args:
        schemes: the realm's.
        path: the path of ``authentication``.
        add_problem: called for each problem.
    """
    for scheme in schemes:
        if scheme.name not in _OWN_WINDOW:
            continue
        message = f"login-page with the scheme {scheme.name}: browsers answer it themselves, with a window of their own"
        hint = f"use Application {scheme.name}"
        # without a ticket most browsers show the page; some open their window first
        severity = "error" if scheme.name == "Basic" else "warning"
        add_problem((*path, "login-page"), message, hint, severity)
    if schemes and login_scheme(tuple(each.wire_name for each in schemes)) is None:
        message = "login-page: no scheme of the realm takes what a form can ask for"
        add_problem((*path, "login-page"), message, "add Application Basic or Application Token")


def build_login_page(
    config: LoginPageConfig, name: str, directory: Path, path: ConfigPath, add_problem: AddProblem
) -> LoginPageSettings | None:
    """Return the settings of a realm's login page; None if they have errors.

    Args:
        config: the element.
        name: what the site is called if it has no ``title``.
        directory: the directory to which relative files are relative.
        path: the element's path.
        add_problem: called for each problem.
    """
    errors: list[ConfigPath] = []

    def report(where: str | int, message: str, hint: str = "", severity: str = "error") -> None:
        if severity == "error":
            errors.append(path)
        add_problem((*path, where), message, hint, severity)

    templates = None if config.templates is None else directory / config.templates.expanduser()
    if templates is not None and not templates.is_dir():
        report("templates", f"folder not found: {templates}")
    elif templates is not None and not any((templates / each).is_file() for each in TEMPLATES):
        report("templates", f"no template in {templates}", f"add one of {', '.join(TEMPLATES)}", "warning")
    texts = _texts(config.texts, report)
    if config.language is not None and config.language not in texts:
        known = ", ".join(texts)
        report("language", f"no texts in the language {config.language!r}", f"use one of {known}, or add its texts")
    colors = _colors(config.colors, report)
    logo = "" if config.logo is None else _logo(directory / config.logo.expanduser(), report)
    if errors:
        return None
    settings = LoginPageSettings(
        title=config.title or name,
        texts=texts,
        logo=logo,
        colors=colors,
        language=config.language or "",
        templates=templates,
        after_logout=config.after_logout or "",
    )
    try:
        for problem in PageWriter(settings).template_problems():
            report("templates", problem, severity="warning")
    except ConfigError as error:
        (problem_found,) = error.problems
        report("templates", problem_found.message, problem_found.hint)
        return None
    return settings


def _texts(configured: Mapping[str, Any], report: AddProblem) -> dict[str, dict[str, str]]:
    """Return all texts: those of the configuration in place of the shipped ones."""
    texts = {language: dict(each) for language, each in shipped_texts().items()}
    known = texts[SHIPPED[0]].keys()
    everywhere: dict[str, str] = {}
    for key, value in configured.items():
        if isinstance(value, Mapping) and _LANGUAGE.fullmatch(key):
            texts[key] = texts.get(key, dict(texts[SHIPPED[0]])) | _named(value, known, report)
        else:
            everywhere |= _named({key: value}, known, report)
    return {language: each | everywhere for language, each in texts.items()}


def _named(values: Mapping[str, Any], known: Any, report: AddProblem) -> dict[str, str]:
    for name, value in values.items():
        if name not in known:
            report("texts", f"unknown text {str(name)[:80]!r}", did_you_mean(str(name), known))
        elif not isinstance(value, str):
            report("texts", f"{name}: expected text", "write the text, or a language with its texts")
    return {name: value for name, value in values.items() if name in known and isinstance(value, str)}


def _colors(configured: Mapping[str, Any], report: AddProblem) -> dict[str, str]:
    for name in configured:
        if name not in COLORS:
            report("colors", f"unknown colour {str(name)[:80]!r}", did_you_mean(str(name), COLORS))
    colors = {name: str(value) for name, value in configured.items() if name in COLORS}
    try:
        for problem in contrast_problems(colors):
            report("colors", problem, "choose colours that differ more in brightness", "warning")
    except ValueError as error:
        report("colors", f"a colour {error}")
    return colors


def _logo(file: Path, report: AddProblem) -> str:
    """Return an image as a ``data:`` URL; empty if it cannot be used."""
    try:
        data = file.read_bytes()
    except OSError as error:
        report("logo", f"cannot read {file}: {error.strerror}")
        return ""
    media_type = next((each for magic, each in _IMAGES if data.startswith(magic)), "")
    if _SVG.match(data):
        media_type = "image/svg+xml"
    if not media_type:
        report("logo", f"{file}: not an image that browsers show", "use SVG, PNG, JPEG, GIF or WebP")
    elif len(data) > _MAX_LOGO:
        report(
            "logo", f"{file}: {len(data)} bytes, more than {_MAX_LOGO}: it is a part of each page", "make it smaller"
        )
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
