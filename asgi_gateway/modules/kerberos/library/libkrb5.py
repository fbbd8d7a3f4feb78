"""What libkrb5 knows of the system's configuration and the gssapi package does not tell.

The library reads krb5.conf itself, with its includes, defaults and environment variables; a parser of our own could
only differ.
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

__all__ = ["clock_skew", "default_keytab_name", "default_realm", "keep_configuration", "keytab_in_memory", "local_name"]

_END = -1765328202
"""KRB5_KT_END: a keytab has no more entries."""
_ENTRY_SIZE = 256
"""More bytes than a krb5_keytab_entry has."""
_numbers = itertools.count()
DEFAULT_CLOCK_SKEW = 300
"""Seconds; libkrb5's own default."""


@cache
def _library() -> Any:
    try:
        return ctypes.CDLL("libkrb5.so.3")
    except OSError as error:
        raise ConfigError(f"MIT Kerberos is not installed: {error} (Debian: apt-get install libkrb5-3)") from None


@contextmanager
def _context() -> Iterator[tuple[Any, c_void_p]]:
    library = _library()
    context = c_void_p()
    if code := library.krb5_init_context(byref(context)):
        raise ConfigError(f"krb5.conf cannot be used: libkrb5 reports error {code}")
    try:
        yield library, context
    finally:
        library.krb5_free_context(context)


@cache
def keep_configuration() -> None:
    """Have libkrb5 keep what it read of krb5.conf.

    It forgets the file with the last context that uses it, and would read it twice for each ticket. One context that
    stays is enough; the library still looks every second whether the file has changed.
    """
    context = c_void_p()
    _library().krb5_init_context(byref(context))


def default_realm() -> str | None:
    """The system's ``default_realm``, None if there is none."""
    with _context() as (library, context):
        name = c_void_p()
        if library.krb5_get_default_realm(context, byref(name)):
            return None
        try:
            return ctypes.string_at(name).decode("utf-8")
        finally:
            library.krb5_free_default_realm(context, name)


def default_keytab_name() -> str:
    """The system's keytab: ``KRB5_KTNAME``, ``default_keytab_name``, or the one built in."""
    with _context() as (library, context):
        buffer = create_string_buffer(4096)
        if library.krb5_kt_default_name(context, buffer, len(buffer)):
            raise ConfigError("the system's default keytab has no usable name")
        return buffer.value.decode("utf-8")


def clock_skew() -> int:
    """Seconds by which a client's clock may differ, as krb5.conf has it."""
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
                    raise ConfigError("krb5.conf: clockskew is not a time span")
            finally:
                library.profile_release_string(text)
            return seconds.value
        finally:
            library.profile_release(profile)


@contextmanager
def keytab_in_memory(file: str) -> Iterator[str]:
    """A copy of a keytab in memory: the library reads and locks a file for each ticket.

    Args:
        file: the keytab's name, such as ``FILE:/etc/krb5.keytab``.

    Yields:
        The copy's name. It lasts as long as the block, and as whatever was made with it in the block.

    Raises:
        ConfigError: the keytab cannot be read.
    """
    with _context() as (library, context):
        source, copy = c_void_p(), c_void_p()
        name = f"MEMORY:asgi_gateway_{next(_numbers)}"
        if library.krb5_kt_resolve(context, c_char_p(file.encode()), byref(source)):
            raise ConfigError(f"{file} is not the name of a keytab")
        try:
            library.krb5_kt_resolve(context, c_char_p(name.encode()), byref(copy))
            try:
                if code := _copy_keys(library, context, source, copy):
                    raise ConfigError(f"keytab {file} cannot be read: libkrb5 reports error {code}")
                yield name
            finally:
                library.krb5_kt_close(context, copy)
        finally:
            library.krb5_kt_close(context, source)


def _copy_keys(library: Any, context: c_void_p, source: c_void_p, copy: c_void_p) -> int:
    """Copy every key; 0, or the library's error."""
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
    """The local user that ``auth_to_local`` of krb5.conf makes of a principal.

    Raises:
        LoginFailed: no rule covers it.
    """
    with _context() as (library, context):
        parsed = c_void_p()
        if library.krb5_parse_name(context, c_char_p(principal.encode()), byref(parsed)):
            raise LoginFailed("not a principal's name")
        try:
            buffer = create_string_buffer(1024)
            code = library.krb5_aname_to_localname(context, parsed, len(buffer) - 1, buffer)
        finally:
            library.krb5_free_principal(context, parsed)
    name = buffer.value.decode("utf-8", "replace")
    if code or not name:
        raise LoginFailed(f"no local name: no auth_to_local rule covers it (libkrb5 error {code})")
    return name
