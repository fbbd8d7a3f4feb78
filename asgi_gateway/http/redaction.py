"""Keep credentials in query parameters out of the server's own access log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

__all__ = ["MaskCredentials"]

# Neither part can run past where the next match may begin, so that the time is linear in what a client sends.
_PARAMETER = re.compile(r"([?&])([^=?&#\s]*)=([^&#\s\"]*)")


class MaskCredentials(logging.Filter):
    """A logging filter that replaces the values of credential query parameters with ``***``, wherever a URL is logged.

    Put it on the loggers of the server: ``asgi-gateway run`` does so for uvicorn's.

    Args:
        names: the query parameters that carry credentials.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = frozenset(names)

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the credentials in a record's message and arguments.

        Args:
            record: the record, changed in place.

        Returns:
            True: no record is dropped.
        """
        if self._names:
            record.msg = self._masked(record.msg)
            if isinstance(record.args, tuple):
                record.args = tuple(map(self._masked, record.args))
            elif isinstance(record.args, dict):
                record.args = {key: self._masked(value) for key, value in record.args.items()}
        return True

    def _masked(self, value: object) -> object:
        return _PARAMETER.sub(self._replace, value) if isinstance(value, str) and "=" in value else value

    def _replace(self, match: re.Match[str]) -> str:
        if unquote_plus(match[2]) not in self._names:
            return match[0]
        return f"{match[1]}{match[2]}=***"
