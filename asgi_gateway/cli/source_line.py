"""Show the line of a file that a problem is about, with a caret under the column.

The line may hold a secret, so it is shown only as far as it is known to hold none: values of the configuration's own
elements, and the value that the problem itself is about. The rest is left out from the first other value on, such as
that of a login module's option or of a user in a users file.
"""

from __future__ import annotations

import re
from functools import cache

from asgi_gateway.config.element_names import fields, names
from asgi_gateway.config.model import ConfigElement, GatewayConfig
from asgi_gateway.errors import Problem

__all__ = ["source_line"]

_MAX_BYTES = 16 * 1024 * 1024
_WIDTH = 160
_MORE = "…"
_SUFFIXES = (".xml", ".yaml", ".yml", ".json")
# The name of a value: an XML start tag without attributes other than XML's own, or a YAML key.
_NAME = re.compile(
    r"<(?:\w+:)?([\w.-]+)(?:\s+(?:xml|xmlns|xsi)(?::\w+)?=(?:\"[^\"<>]*\"|'[^'<>]*'))*\s*/?>"
    r"|(?<![\w.-])[\"']?([\w.-]+)[\"']?\s*:(?=\s|$)"
)
_VALUE = re.compile(r"</[^<>]*>|[^\s\[\]{}<>/,-]")
_COMMENT = re.compile(r"(^|\s)#.*|<!--.*")
_USER_INFO = re.compile(r"(?<=://).*@")


def source_line(problem: Problem) -> list[str]:
    """Return the line and the caret below it; nothing if the file cannot be read or nothing of the line can be shown.

    Args:
        problem: a problem; one without a position in an XML or YAML file has no line.
    """
    if problem.file is None or not problem.line or problem.file.suffix.lower() not in _SUFFIXES:
        return []
    try:
        with problem.file.open("rb") as file:
            lines = file.read(_MAX_BYTES).decode("utf-8-sig", "replace").split("\n")
    except OSError:
        return []
    if problem.line > len(lines):
        return []
    text = "".join(each if each.isprintable() else " " for each in lines[problem.line - 1].rstrip("\r"))
    column = max(0, problem.column - 1)
    shown = _without_secrets(_COMMENT.sub("", text), column if _is_element(problem.path) else None)
    if not shown.strip(f" <-{_MORE}"):
        return []
    column = min(column, len(shown) - 1)
    first = max(0, column - _WIDTH // 2) if len(shown) > _WIDTH else 0
    number = str(problem.line)
    return [
        f"  {number} | {shown[first : first + _WIDTH].rstrip()}",
        f"  {' ' * len(number)} | {' ' * (column - first)}^",
    ]


def _is_element(path: str) -> bool:
    """Return whether a path leads to an element of the configuration, whose value is shown in messages as well."""
    steps = re.split(r"[.\[]", path)
    return "options" not in steps and (steps[0] in names(GatewayConfig) or steps[0] == "service-defaults")


def _without_secrets(line: str, column: int | None) -> str:
    """Cut a line before the first value that may be a secret.

    Args:
        line: the line.
        column: the position of a value that may be shown in any case, or None.
    """
    matches = list(_NAME.finditer(line))
    ends = [0, *(match.end() for match in matches)]
    starts = [*(match.start() for match in matches), len(line)]
    known = [False, *((match[1] or match[2]) in _elements_with_values() for match in matches)]
    for start, end, shown in zip(ends, starts, known, strict=True):
        value = _VALUE.search(line, start, end)
        if value is None or value[0].startswith("</") or shown or (column is not None and start <= column < end):
            continue
        return line[: value.start()] + _MORE
    return _USER_INFO.sub(f"{_MORE}@", line)


@cache
def _elements_with_values() -> frozenset[str]:
    found: set[str] = set()

    def collect(element: type[ConfigElement]) -> None:
        for name, field in names(element).items():
            if field.element is None and name != "options":
                found.add(name)
        for field in fields(element).values():
            if field.element is not None:
                collect(field.element)

    collect(GatewayConfig)
    return frozenset(found)
