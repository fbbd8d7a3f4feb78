"""Translate GSS-API's errors into messages that an operator can act on."""

from __future__ import annotations

from typing import Any

from asgi_gateway.errors import ConfigError, LoginError, LoginFailed, LoginUnavailable

__all__ = ["NOT_FOUND", "WRONG_KEY", "explain", "kdc_error", "protocol_code", "require_gssapi"]

# krb5_err.et: the protocol's own codes (RFC 4120 section 7.5.9) are the table's base plus their number.
_BASE = -1765328384
NOT_FOUND = 7
"""KDC_ERR_S_PRINCIPAL_UNKNOWN: the KDC does not know the service."""
WRONG_KEY = frozenset((24, 31))
"""KDC_ERR_PREAUTH_FAILED, KRB_AP_ERR_BAD_INTEGRITY: the key or password differs from the KDC's."""
_SERVICE_UNAVAILABLE, _GENERIC, _UNREACHABLE, _REALM_UNKNOWN, _REALM_UNRESOLVED = 29, 60, 156, 154, 220

# By the library's text, since SPNEGO renumbers minor codes.
_HINTS = (
    ("Clock skew", "the clocks of the client, the KDC and this host differ by more than clockskew allows: check NTP"),
    ("is a replay", "the token was used before"),
    ("Decrypt integrity check failed", "a wrong password, or a keytab whose key is not the KDC's (any more)"),
    ("Preauthentication failed", "a wrong password, or a keytab whose key is not the KDC's (any more)"),
    ("Message stream modified", "a wrong password, or a KDC that is not the real one"),
    ("likely out of date", "the service's key was changed: export the keytab again, compare klist -k"),
    ("Cannot find key for", "the service's key was changed: export the keytab again, compare klist -k"),
    ("not found in keytab", "the keytab lacks the service that the client asked for: compare its SPN and klist -k"),
    ("but cannot decrypt ticket", "the keytab's key is not the KDC's: export the keytab again"),
    ("Cannot decrypt ticket for", "of two names: the client asked for another service than the configured principal"),
    ("Ticket expired", "the client must renew its ticket: kinit, or log in to the desktop again"),
    ("Ticket not yet valid", "the clocks of the KDC and this host differ: check NTP"),
    ("Password has expired", "the user must change the password"),
    ("have been revoked", "the account is locked or disabled"),
    ("entry in database has expired", "the account has expired"),
    ("not found in Kerberos database", "no such principal in that realm"),
    (
        "fulfill requested option",
        "the KDC refuses the delegation: check forwardable = true in krb5.conf, the services that the account may "
        "delegate to, and whether the user may be delegated",
    ),
    ("Cannot find KDC", "krb5.conf has no such realm, or DNS does not know its KDC"),
    ("Cannot contact any KDC", "the KDC is down or cannot be reached"),
)


def require_gssapi() -> None:
    """Check that the gssapi package can be imported.

    Raises:
        ConfigError: it cannot; the message names the extra to install.
    """
    try:
        import gssapi  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"Kerberos needs pip install 'asgi-gateway[kerberos]': {error}") from None


def explain(error: Any) -> str:
    """Return a GSSError in one line: the library's text, and a hint.

    Call it in the thread that got the error, since the library keeps its texts by thread.

    Args:
        error: the GSSError.
    """
    minor = _text(error, error.min_code, major=False)
    major = _text(error, error.maj_code, major=True)
    text = major if not minor or minor.startswith(("Success", "Unknown error")) else minor
    hints = [hint for needle, hint in _HINTS if needle in text]
    return f"{text} ({hints[0]})" if hints else text


def protocol_code(error: Any) -> int:
    """Return the protocol's number of a Kerberos error (RFC 4120 section 7.5.9).

    It is meaningless for an error that passed through SPNEGO.
    """
    code: int = error.min_code
    return (code - (1 << 32) if code >= 1 << 31 else code) - _BASE


def kdc_error(error: Any, *, local_realm: bool, typed: tuple[str, ...] = ()) -> LoginError:
    """Return the login error for a failed exchange with the KDC.

    Args:
        error: the GSSError.
        local_realm: True if the realm is the gateway's own, whose KDC must be reachable.
        typed: texts that a user typed; the message omits them, since users type passwords into the wrong field.

    Returns:
        LoginUnavailable if the KDC cannot be reached, LoginFailed if it refused.
    """
    code, text = protocol_code(error), explain(error)
    for word in typed:
        text = text.replace(word, "(as typed)")
    unavailable = {_SERVICE_UNAVAILABLE, _GENERIC, _UNREACHABLE}
    if local_realm:
        unavailable |= {_REALM_UNKNOWN, _REALM_UNRESOLVED}
    return LoginUnavailable(text) if code in unavailable else LoginFailed(text)


def _text(error: Any, code: int, *, major: bool) -> str:
    return "; ".join(part for part in error.get_all_statuses(code, major) if part).strip()
