"""Read the account name from a ticket of Active Directory.

The client chooses how its name is written in a ticket: Active Directory ignores case, and accepts other names of an
account. The ticket's PAC has the account's name as the directory writes it, signed by the KDC.

Source: MS-PAC section 2.5 (KERB_VALIDATION_INFO), encoded by MS-RPCE section 2.2.6.
"""

from __future__ import annotations

import struct

__all__ = ["LOGON_INFO", "account_name"]

LOGON_INFO = b"urn:mspac:logon-info"
"""The attribute of a GSS-API name (RFC 6680) by which MIT Kerberos gives the structure."""

_HEADER = b"\x01\x10\x08\x00\xcc\xcc\xcc\xcc"  # version 1, little-endian
_NAME = 68
"""The offset of EffectiveName: behind three headers of 20 bytes and six times of 8 bytes."""
_STRINGS = 236
"""The offset of the first string, which is EffectiveName's: behind the structure's fixed part."""


def account_name(logon_info: bytes) -> str:
    """Return the account's name (``sAMAccountName``).

    Args:
        logon_info: the encoded structure.

    Raises:
        ValueError: the structure is invalid, or the name is empty.
    """
    try:
        size, _, pointer = struct.unpack_from("<HHI", logon_info, _NAME)
        _, skipped, count = struct.unpack_from("<III", logon_info, _STRINGS)
    except struct.error:
        raise ValueError("the PAC is truncated") from None
    name = logon_info[_STRINGS + 12 :][:size]
    if not logon_info.startswith(_HEADER) or not pointer or skipped or not size or not size == 2 * count == len(name):
        raise ValueError("the PAC has no valid account name")
    return name.decode("utf-16-le")
