"""Print results and problems: text for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from asgi_gateway.cli.source_line import source_line
from asgi_gateway.errors import Problem

__all__ = ["Output"]


class Output:
    """Prints results on standard output and problems on standard error; with JSON, everything as one object a line.

    Args:
        form: ``text`` or ``json``.
    """

    def __init__(self, form: str) -> None:
        self.json = form == "json"

    def line(self, text: str = "") -> None:
        """Print a line for people; nothing with JSON."""
        if not self.json:
            print(text)

    def record(self, record: dict[str, Any]) -> None:
        """Print an object for programs; nothing with text."""
        if self.json:
            print(json.dumps(record))

    def error(self, message: str) -> None:
        """Print an error."""
        if self.json:
            print(json.dumps({"error": message}))
        else:
            print(f"asgi-gateway: {message}", file=sys.stderr)

    def problems(self, problems: Iterable[Problem]) -> None:
        """Print problems, each with its position; for people errors with their line of the file, too."""
        for problem in problems:
            if self.json:
                print(json.dumps(problem_record(problem)))
                continue
            print(problem, file=sys.stderr)
            for line in source_line(problem) if problem.severity == "error" else ():
                print(line, file=sys.stderr)


def problem_record(problem: Problem) -> dict[str, Any]:
    """Return a Problem as an object of JSON."""
    return {
        "severity": problem.severity,
        "message": problem.message,
        "file": str(problem.file) if problem.file is not None else None,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "cure": problem.hint,
    }
