"""Read the system's Kerberos configuration through libkrb5, where the gssapi package has no function for it.

libkrb5 reads krb5.conf with its includes, defaults and environment variables; a parser of our own could only differ.
The krb5 package (pykrb5) covers half of these functions: it has no ``auth_to_local`` and no ``clockskew``.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_int32, c_void_p, create_string_buffer
from functools import cache
from typing import Any

from asgi_gateway.errors import ConfigError, LoginFailed

__all__ = [
    "auth_to_local_error",
    "clock_skew",
    "default_keytab_name",
    "default_realm",
    "keep_configuration",
    "keytab_in_memory",
    "local_name",
]

_END = -1765328202
"""KRB5_KT_END: a keytab has no more entries."""
_NO_RULE = frozenset((0, -1765328208, -1765328227))
"""KRB5_LNAME_NOTRANS, KRB5_NO_LOCALNAME, or an empty name: no rule of auth_to_local covers a principal."""
_ENTRY_SIZE = 256
"""More bytes than a krb5_keytab_entry has."""
_numbers = itertools.count()
DEFAULT_CLOCK_SKEW = 300
"""Seconds; libkrb5's own default."""


class _InvalidRule(LoginFailed):
    """A rule of auth_to_local that libkrb5 cannot read."""


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libkrb5.so.3")
    except OSError as error:
        raise ConfigError(f"MIT Kerberos is not installed: {error} (Debian: apt-get install libkrb5-3)") from None
    library.krb5_get_error_message.restype = c_void_p
    library.krb5_get_error_message.argtypes = [c_void_p, c_int32]
    library.krb5_free_error_message.argtypes = [c_void_p, c_void_p]
    return library


@contextmanager
def _context() -> Iterator[tuple[Any, c_void_p]]:
    library = _library()
    context = c_void_p()
    if code := library.krb5_init_context(byref(context)):
        raise ConfigError(f"cannot read krb5.conf: {_error_text(library, c_void_p(), code)}")
    try:
        yield library, context
    finally:
        library.krb5_free_context(context)


def _error_text(library: Any, context: c_void_p, code: int) -> str:
    """Return the library's text for an error code."""
    text = library.krb5_get_error_message(context, code)
    try:
        return ctypes.string_at(text).decode("utf-8", "replace")
    finally:
        library.krb5_free_error_message(context, text)


@cache
def keep_configuration() -> None:
    """Make libkrb5 keep the parsed krb5.conf.

    It drops the file with the last context that uses it, and would read it twice for each ticket. One permanent context
    avoids that; the library still checks every second whether the file has changed.
    """
    context = c_void_p()
    _library().krb5_init_context(byref(context))


def default_realm() -> str | None:
    """Return the system's ``default_realm``, None if there is none."""
    with _context() as (library, context):
        name = c_void_p()
        if library.krb5_get_default_realm(context, byref(name)):
            return None
        try:
            return ctypes.string_at(name).decode("utf-8")
        finally:
            library.krb5_free_default_realm(context, name)


def default_keytab_name() -> str:
    """Return the system's keytab: ``KRB5_KTNAME``, ``default_keytab_name``, or the built-in one.

    Raises:
        ConfigError: the name is too long.
    """
    with _context() as (library, context):
        buffer = create_string_buffer(4096)
        if code := library.krb5_kt_default_name(context, buffer, len(buffer)):
            raise ConfigError(f"invalid name of the system's keytab: {_error_text(library, context, code)}")
        return buffer.value.decode("utf-8")


def clock_skew() -> int:
    """Return the ``clockskew`` of krb5.conf, in seconds.

    Raises:
        ConfigError: the value is invalid.
    """
    with _context() as (library, context):
        profile, text, seconds = c_void_p(), c_void_p(), c_int32()
        if library.krb5_get_profile(context, byref(profile)):
            return DEFAULT_CLOCK_SKEW
        try:
            names = (c_char_p(b"libdefaults"), c_char_p(b"clockskew"), None, None)
            if library.profile_get_string(profile, *names, byref(text)) or not text:
                return DEFAULT_CLOCK_SKEW
            try:
                if library.krb5_string_to_deltat(text, byref(seconds)):
                    raise ConfigError("krb5.conf: clockskew is an invalid duration")
            finally:
                library.profile_release_string(text)
            return seconds.value
        finally:
            library.profile_release(profile)


@contextmanager
def keytab_in_memory(file: str) -> Iterator[str]:
    """Copy a keytab into memory, since the library reads and locks a file for each ticket.

    Args:
        file: the keytab's name, such as ``FILE:/etc/krb5.keytab``.

    Yields:
        The copy's name. The copy lasts as long as the block, and as the objects that were made from it in the block.

    Raises:
        ConfigError: the keytab cannot be read.
    """
    with _context() as (library, context):
        source, copy = c_void_p(), c_void_p()
        name = f"MEMORY:asgi_gateway_{next(_numbers)}"
        if library.krb5_kt_resolve(context, c_char_p(file.encode()), byref(source)):
            raise ConfigError(f"invalid keytab name: {file}")
        try:
            library.krb5_kt_resolve(context, c_char_p(name.encode()), byref(copy))
            try:
                if code := _copy_keys(library, context, source, copy):
                    raise ConfigError(f"cannot read keytab {file}: {_error_text(library, context, code)}")
                yield name
            finally:
                library.krb5_kt_close(context, copy)
        finally:
            library.krb5_kt_close(context, source)


def _copy_keys(library: Any, context: c_void_p, source: c_void_p, copy: c_void_p) -> int:
    """Copy every key; return 0 or the library's error."""
    cursor, entry = c_void_p(), create_string_buffer(_ENTRY_SIZE)
    code: int = library.krb5_kt_start_seq_get(context, source, byref(cursor))
    if code:
        return code
    while not code and not (code := library.krb5_kt_next_entry(context, source, entry, byref(cursor))):
        code = library.krb5_kt_add_entry(context, copy, entry)
        library.krb5_free_keytab_entry_contents(context, entry)
    library.krb5_kt_end_seq_get(context, source, byref(cursor))
    return 0 if code == _END else code


def local_name(principal: str) -> str:
    """Return the local user name that ``auth_to_local`` of krb5.conf gives a principal.

    Raises:
        LoginFailed: no rule covers the principal, or a rule is invalid.
    """
    with _context() as (library, context):
        parsed = c_void_p()
        if library.krb5_parse_name(context, c_char_p(principal.encode()), byref(parsed)):
            raise LoginFailed("invalid principal")
        try:
            buffer = create_string_buffer(1024)
            code = library.krb5_aname_to_localname(context, parsed, len(buffer) - 1, buffer)
            reason = _error_text(library, context, code)
        finally:
            library.krb5_free_principal(context, parsed)
    name = buffer.value.decode("utf-8", "replace")
    if name and not code:
        return name
    if code in _NO_RULE:
        raise LoginFailed("no local name: no auth_to_local rule of krb5.conf covers the principal")
    raise _InvalidRule(
        f"no local name: invalid auth_to_local rule in krb5.conf: {reason} (libkrb5 accepts no flag but g after a "
        "substitution, so not Hadoop's L)"
    )


def auth_to_local_error(realm: str) -> str | None:
    """Return why ``auth_to_local`` of krb5.conf is invalid for the users of a realm; None if no error is found.

    libkrb5 reads a rule only when a principal reaches it. This tries a principal that no user has, so that an error in
    a rule for other names is not found.
    """
    try:
        local_name(f"asgi-gateway-check@{realm}")
    except _InvalidRule as error:
        return str(error)
    except LoginFailed:
        pass
    return None
