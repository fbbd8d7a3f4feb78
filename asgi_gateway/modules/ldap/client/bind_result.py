"""Read why a bind was refused, or succeeds for an account that cannot be used, from what servers send along.

Sources: MS-ADTS and MS-ERREF (Active Directory's ``data`` codes), draft-behera-ldap-password-policy section 6.2
(OpenLDAP, 389 Directory Server and others), draft-vchu-ldap-pwd-policy section 6 (389 Directory Server).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from asgi_gateway.errors import AccountProblem, LoginUnavailable
from asgi_gateway.modules.ldap.client import imports

__all__ = [
    "PASSWORD_POLICY",
    "account_problem",
    "control_classes",
    "policy_control",
    "refusal_in_words",
    "unusable_account",
]

PASSWORD_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"  # noqa: S105
"""The password policy control (draft-behera-ldap-password-policy section 6)."""
_PASSWORD_EXPIRED = "2.16.840.1.113730.3.4.4"  # noqa: S105
"""The control of 389 Directory Server for a bind that succeeds though the password must be changed."""

_NOTHING_TO_SAY = bytes.fromhex("3000")
"""The policy control's usual value; to decode it by pyasn1 takes as long as all the rest of a login."""

_ACTIVE_DIRECTORY = re.compile(r"\bdata ([0-9a-f]{3,8})\b", re.IGNORECASE)
_CODES = {
    "525": "unknown user",
    "52e": "wrong password",
    "52f": "account restriction",
    "530": "login not allowed at this time",
    "531": "login not allowed from this computer",
    "532": "password expired",
    "533": "account disabled",
    "568": "too many groups",
    "701": "account expired",
    "773": "password must be changed",
    "775": "account locked out",
}
_TOLD = {
    "password expired": AccountProblem.PASSWORD_EXPIRED,
    "password must be changed": AccountProblem.PASSWORD_MUST_CHANGE,
    "account disabled": AccountProblem.ACCOUNT_DISABLED,
    "account inactivated": AccountProblem.ACCOUNT_DISABLED,
    "account expired": AccountProblem.ACCOUNT_EXPIRED,
}
"""What servers report of an account only after its right password; a lock they report after a wrong one, too."""
_POLICY_ERRORS = {0: "password expired", 1: "account locked", 2: "password must be changed"}


def account_problem(reason: str | None) -> AccountProblem | None:
    """Return what a person may be told of a bind's refusal; None if the server gives the reason without the password.

    Args:
        reason: as ``refusal_in_words`` and ``unusable_account`` return it, or that of an entry whose bind succeeded.
    """
    return _TOLD.get(reason or "")


def policy_control() -> Any:
    """Return the request control that asks the server for the account's state."""
    return imports.load_policy_controls().PasswordPolicyControl()


def control_classes() -> dict[str, Any]:
    """Return the classes by which python-ldap hands on response controls as they came."""
    plain = imports.load_ldap().controls.ResponseControl
    return {PASSWORD_POLICY: plain, _PASSWORD_EXPIRED: plain}


def unusable_account(controls: Iterable[tuple[str, bytes | None]]) -> str | None:
    """Return why an account cannot be used, by the controls of a bind's response; None if they name nothing.

    Args:
        controls: OIDs and values.

    Raises:
        LoginUnavailable: a control cannot be read.
    """
    for oid, value in controls:
        if oid == _PASSWORD_EXPIRED:
            return "password must be changed"
        if oid == PASSWORD_POLICY and value and value != _NOTHING_TO_SAY:
            parsed = policy_control()
            try:
                parsed.decodeControlValue(value)
            except Exception as error:  # pyasn1 raises what its decoders happen to meet
                raise LoginUnavailable(f"invalid password policy control: {type(error).__name__}") from None
            if parsed.error is not None:
                return _POLICY_ERRORS.get(parsed.error, f"password policy error {parsed.error}")
    return None


def refusal_in_words(diagnostic: str, controls: Iterable[tuple[str, bytes | None]] = ()) -> str | None:
    """Return in words why a bind was refused; None if the server does not say.

    Args:
        diagnostic: the server's diagnostic message.
        controls: OIDs and values of the response's controls.
    """
    if match := _ACTIVE_DIRECTORY.search(diagnostic):
        code = match[1].lower().lstrip("0")
        return _CODES.get(code)
    try:
        return unusable_account(controls)
    except LoginUnavailable:  # the bind is refused whatever the control says
        return None
