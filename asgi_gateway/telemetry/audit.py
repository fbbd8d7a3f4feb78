"""The audit log: one JSON object a line on the logger ``asgi_gateway.audit``, and never a secret in it.

Names of failed logins are written as a keyed hash unless configured otherwise, because people type passwords into the
wrong field. Clients never see reasons: they are written here only. What is unavailable is also a warning, rate-limited.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from datetime import UTC, datetime

from asgi_gateway.model import AuthRequest
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.telemetry.outages import Outages

__all__ = ["Audit"]

_MAX_FIELD = 500


class Audit:
    """Writes audit events.

    Args:
        clock: the source of time.
        logger: the logger; ``asgi_gateway.audit`` by default.
        plain_names: write the names of failed logins as they were typed.
        outages: warns of what is unavailable.
    """

    def __init__(
        self,
        clock: Clock,
        logger: logging.Logger | None = None,
        *,
        plain_names: bool = False,
        outages: Outages | None = None,
    ) -> None:
        self._clock = clock
        self._logger = logger or logging.getLogger("asgi_gateway.audit")
        self._plain_names = plain_names
        self._outages = outages or Outages(clock)
        self._key = secrets.token_bytes(16)

    @property
    def listening(self) -> bool:
        """Whether events are written: whether the logger is enabled for INFO."""
        return self._logger.isEnabledFor(logging.INFO)

    def event(self, outcome: str, request: AuthRequest | None = None, **fields: str | None) -> None:
        """Write one event.

        Args:
            outcome: ``success``, ``failure``, ``challenge``, ``denial``, ``unavailable``, ``replay``, ``logout`` or
                ``reload``.
            request: the request of the event; all events of one request have its id.
            fields: further fields. None and empty values are left out, control characters are escaped, long values are
                cut.
        """
        if outcome == "unavailable":
            where = [f"{name} {fields[name]}" for name in ("realm", "service") if fields.get(name)]
            self._outages.report(fields.get("reason") or "unknown reason", ", ".join(where))
        if not self.listening:
            return
        now = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="milliseconds")
        record = {"time": now, "outcome": outcome}
        if request is not None:
            fields = {"id": request.id, "kind": request.protocol, "peer": request.remote_address, **fields}
        for name, value in fields.items():
            if value:
                record[name] = value[:_MAX_FIELD]
        # DEL is the one control character that json lets through
        line = json.dumps(record, ensure_ascii=True).replace("\x7f", "\\u007f")
        self._logger.info("%s", line)

    def failed_name(self, name: str | None) -> str | None:
        """Return the user name of a failed login as it is written."""
        if name is None or self._plain_names:
            return name
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).hexdigest()
        return f"hashed:{digest}"
