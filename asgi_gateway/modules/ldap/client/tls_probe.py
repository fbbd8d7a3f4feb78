"""Explain in words why a directory server is unreachable.

libldap reports every failure of TLS as an unknown error. Once it failed, the same is therefore tried with Python's own
TLS, which tells whether the certificate expired, is for another host, or was issued by an unknown CA.
"""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

from asgi_gateway.modules.ldap.client.urls import Address

__all__ = ["explain"]

# an ExtendedRequest for StartTLS with message id 1 (RFC 4511 section 4.14), and how a successful response begins
_START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_RESULT_CODE = b"\x0a\x01"
_MAX_RESPONSE = 4096


def explain(address: Address, ca_file: Path | None, timeout: float) -> str | None:
    """Connect to a server and return what fails. Blocks.

    Args:
        address: the server.
        ca_file: CA certificates; None for the system's.
        timeout: seconds.

    Returns:
        A clause for a log line; None if nothing fails.
    """
    end = time.monotonic() + timeout
    try:
        sock = socket.create_connection((address.host, address.port), timeout)
    except OSError as error:
        return f"cannot connect: {error}"
    with sock:
        return None if address.security == "plain" else _explain_tls(sock, address, ca_file, end)


def _explain_tls(sock: socket.socket, address: Address, ca_file: Path | None, end: float) -> str | None:
    try:
        if address.security == "starttls" and (refusal := _start_tls(sock, end)):
            return refusal
        sock.settimeout(_left(end))
        with _context(ca_file).wrap_socket(sock, server_hostname=address.host):
            return None
    except ssl.SSLCertVerificationError as error:
        return f"TLS: invalid server certificate: {error.verify_message}"
    except TimeoutError:
        return "TLS: the server accepts the connection and does not answer"
    except (ssl.SSLError, OSError) as error:
        return f"TLS: {error}"


def _start_tls(sock: socket.socket, end: float) -> str | None:
    sock.sendall(_START_TLS)
    response = b""
    while _RESULT_CODE not in response[:-1]:
        sock.settimeout(_left(end))
        received = sock.recv(_MAX_RESPONSE)
        response += received
        if not received or len(response) > _MAX_RESPONSE:
            return "StartTLS: the server ends the connection"
    code = response[response.index(_RESULT_CODE) + len(_RESULT_CODE)]
    return f"StartTLS: the server refuses it (result code {code})" if code else None


def _context(ca_file: Path | None) -> ssl.SSLContext:
    # not create_default_context, whose strict flags refuse certificates that libldap accepts
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    return context


def _left(end: float) -> float:
    return max(end - time.monotonic(), 0.001)
