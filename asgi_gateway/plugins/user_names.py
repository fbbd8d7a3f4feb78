"""Check user names by one rule for all login modules: the profile UsernameCasePreserved (RFC 8265 section 3.4)."""

from __future__ import annotations

import re

__all__ = ["MAX_NAME_LENGTH", "user_name_problem"]

MAX_NAME_LENGTH = 1024
"""The longest user name in characters; directories have no longer ones."""

_SEPARATORS = re.compile(r"[ @/\\]+")
_REASONS = {
    "bidi_rule": "letters of both directions in one part",
    "controls": "a control character",
    "has_compat": "a compatibility character, which looks like another one",
    "middle_dot": "a middle dot outside of Catalan",
    "other": "a character that is not valid Unicode text",
    "precis_ignorable_properties": "an invisible character",
    "punctuation": "punctuation beyond ASCII",
    "spaces": "a space other than U+0020",
    "symbols": "a symbol or an emoji",
    "unassigned": "a character that Unicode does not define",
    "zero_width_joiner": "a zero width joiner in a place where it is invisible",
    "zero_width_nonjoiner": "a zero width non-joiner in a place where it is invisible",
}


def user_name_problem(name: str) -> str | None:
    """Return why a user name is refused, or None.

    The profile allows letters and digits of every script, ASCII punctuation, and joiners where a script needs them; it
    refuses what looks like another name or cannot be seen. It is applied to each part between spaces, ``@``, ``/`` and
    ``\\``, so that names such as ``Alice Smith`` and ``علی@EXAMPLE.COM`` are valid.

    Args:
        name: the name as the client sent it.

    Returns:
        a sentence for the log that does not quote the name.
    """
    if not name.strip():
        return "the user name is empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"the user name is longer than {MAX_NAME_LENGTH} characters"
    if name.isascii():
        return None if name.isprintable() else "the user name holds a control character (RFC 8265 section 3.4)"
    from precis_i18n import get_profile  # loads tables, and most names are ASCII

    profile = get_profile("UsernameCasePreserved")
    for part in filter(None, _SEPARATORS.split(name)):
        try:
            profile.enforce(part)
        except UnicodeEncodeError as error:
            kind = error.reason.rpartition("/")[2]
            reason = _REASONS.get(kind, kind.replace("_", " "))
            return f"the user name holds {reason} (RFC 8265 section 3.4)"
    return None
