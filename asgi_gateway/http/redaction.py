"""Keep credentials in query parameters out of the server's own access log."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus

__all__ = ["MaskCredentials"]

# A parameter begins a word, since a bare query is logged too, or follows "?" or "&". Its value ends where a query's
# field or a word ends, and nowhere else: servers log '"' and "#" of a request's target as they came. Neither part can
# run past where the next match may begin, so that the time is linear in what a client sends.
_PARAMETER = re.compile(r"""(\A|[?&"' \t\r\n])([^=?&"' \t\r\n]*)=([^& \t\r\n]*)""")
_UNMASKED_TYPES = (int, float, type(None))


class MaskCredentials(logging.Filter):
    """A logging filter that replaces the values of credential query parameters with ``***`` in all that is logged.

    Put it on the loggers of the server: ``asgi-gateway run`` does so for uvicorn's. It masks the message, its arguments
    of any type, fields given as ``extra``, and tracebacks.

    Args:
        names: the query parameters that carry credentials.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = frozenset(names)

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the credentials in a record.

        Args:
            record: the record, changed in place.

        Returns:
            True: no record is dropped.
        """
        if not self._names:
            return True
        if isinstance(record.args, tuple):
            record.args = tuple(map(self._masked, record.args))
        elif isinstance(record.args, dict):
            record.args = self._masked_mapping(record.args)
        if record.args and self._masked(record.msg) != record.msg:  # "?token=%s" would lose its place for an argument
            record.msg, record.args = record.getMessage(), ()
        if record.exc_info and not record.exc_text:
            self._mask_traceback(record)
        for name, value in list(vars(record).items()):
            if name not in ("args", "exc_info"):
                setattr(record, name, self._masked(value))
        return True

    def _mask_traceback(self, record: logging.LogRecord) -> None:
        """Format the traceback here if it has credentials; a formatter takes what is formatted already."""
        if record.exc_info is not None and record.exc_info[0] is not None:
            text = logging.Formatter().formatException(record.exc_info)
            if (masked := self._masked(text)) != text:
                record.exc_text = masked

    def _masked_mapping(self, values: dict[str, Any]) -> dict[str, Any]:
        masked = copy.copy(values)  # of the same class: gunicorn's and hypercorn's answer for missing names, too
        for name, value in values.items():
            masked[name] = self._masked(value)
        return masked

    def _masked(self, value: Any) -> Any:
        """Return a value as it is, or as a text without credentials if its text has any."""
        if isinstance(value, str):
            return _PARAMETER.sub(self._replace, value) if "=" in value else value
        if isinstance(value, _UNMASKED_TYPES):
            return value
        try:
            text = str(value)
        except Exception:  # logging reports it
            return value
        masked = self._masked(text)
        return value if masked == text else masked

    def _replace(self, match: re.Match[str]) -> str:
        before, name, value = match.groups()
        if unquote_plus(name) not in self._names:
            return match[0]
        quote = value[-1:] if value.endswith(('"', "'")) else ""  # the one that a log format puts around
        return f"{before}{name}=***{quote}"
