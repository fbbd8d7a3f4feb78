"""Translate what KAAZING Gateway's files write in another way: options of transports, and the deprecated constraint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

from asgi_gateway.config.accept import parse_accept
from asgi_gateway.config.element_names import ignored_option
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.documents import Mark, Node

__all__ = ["BINDS", "NOT_SUPPORTED", "module_hint", "prepare_service"]

NOT_SUPPORTED = "ignored: not supported by asgi_gateway"
"""The message for elements and options of the original that change nothing."""

_OPTIONS = {
    "accept-options": ("http.realm", "realm-name"),
    "connect-options": ("http.max.authentication.attempts", "max-authentication-attempts"),
}
BINDS = ("http.bind", "https.bind", "ws.bind", "wss.bind", "tcp.bind")
"""The accept options that say where the server listens instead of at the accept URL's host and port."""
_TRANSPORT = re.compile(r"[a-z]+\.transport")
_VERIFY_CLIENT = re.compile(r"([a-z]+\.)?ssl\.verify-client")
_JAVA_CLASS = re.compile(
    r"(?:class:)?\s*((?:com|de|edu|eu|fr|io|java|javax|net|nl|org|sun|uk)(?:\.\w+)+\.[A-Z][\w$]*)\s*"
)
_EQUIVALENTS = {
    "FileLoginModule": "file",
    "GrantLoginModule": "grant",
    "TimeoutLoginModule": "timeout",
    "LdapLoginModule": "ldap",
    "JndiLoginModule": "jndi",
    "KeyStoreLoginModule": "keystore",
    "Krb5LoginModule": "kerberos5",
    "Kerberos5LoginModule": "kerberos5",
    "GSSLoginModule": "gss",
    "GssLoginModule": "gss",
    "NegotiateLoginModule": "gss",
}
_UNSUPPORTED_MODULES = {
    "ip-filter": "KAAZING's ip-filter is not available here: restrict addresses in front of the gateway, "
    "or write a login module that reads attempt.remote_address",
}


class AddProblem(Protocol):
    """Adds a problem at a position."""

    def __call__(self, mark: Mark, path: ConfigPath, message: str, hint: str = "", severity: str = "error") -> None: ...


def prepare_service(node: Node, path: ConfigPath, add_problem: AddProblem) -> Node:
    """Return a service in which the original's own elements are replaced by the equivalent ones.

    Args:
        node: the service as it was written.
        path: the service's path.
        add_problem: called for each problem.
    """
    entries: dict[str, Node] = {}
    keys: dict[str, Mark] = {}

    def add(name: str, mark: Mark, value: Node) -> None:
        if name in entries:
            message = "duplicate value: accept-options, connect-options or auth-constraint gives it again"
            add_problem(mark, (*path, name), message, "remove one")
        entries.setdefault(name, value)
        keys.setdefault(name, mark)

    for key, child in node.entries.items():
        mark = node.keys[key]
        if key in ("auth-constraint", "auth-constraints"):
            hint = "write authorization-constraint"
            add_problem(mark, (*path, key), f"{key} is a deprecated name", hint, "warning")
            add("authorization-constraint", mark, child)
        elif key in _OPTIONS:
            _options(key, child, path, add_problem, add)
        else:
            add(key, mark, child)
    for transport in _transports(node, path, add_problem):
        accept = entries.get("accept", Node(transport.mark, []))
        entries["accept"] = Node(accept.mark, [*(accept.items if accept.is_sequence else [accept]), transport])
        keys.setdefault("accept", transport.mark)
    return Node(node.mark, entries, keys=keys)


def _transports(node: Node, path: ConfigPath, add_problem: AddProblem) -> Iterator[Node]:
    """Yield where a service is really accepted, by options such as ``pipe.transport``: not at its accept URLs.

    Such a service is one behind another, or behind a connection that leads out. At its accept URL it would be open.
    """
    options = node.entries.get("accept-options", Node(node.mark, ""))
    for option, value in options.entries.items():
        if _TRANSPORT.fullmatch(option) is None:
            continue
        if path == ("service-defaults",) or not value.is_scalar or not _is_other_transport(value.text):
            message = f"{option} is not supported: the service would be accepted at its accept URL"
            add_problem(options.keys[option], (*path, "accept-options", option), message, "remove the service")
        else:
            yield value


def _is_other_transport(text: str) -> bool:
    try:
        accept = parse_accept(text.strip())
    except ValueError:
        return False
    return bool(accept.unsupported) and not accept.kinds


def module_hint(name: str) -> str:
    """Return the hint for a login module type that is not found, if it comes from KAAZING Gateway or Java; else "".

    Args:
        name: the configured type, such as ``class:com.example.CustomLoginModule``.
    """
    if hint := _UNSUPPORTED_MODULES.get(name.strip().lower()):
        return hint
    if (match := _JAVA_CLASS.fullmatch(name)) is None:
        return ""
    if equivalent := _EQUIVALENTS.get(match[1].rpartition(".")[2]):
        return f"Java classes cannot be loaded; write {equivalent}"
    return "Java classes cannot be loaded; port the module to Python (docs/how-to/login-modules.md), then write class:…"


def _options(
    key: str, node: Node, path: ConfigPath, add_problem: AddProblem, add: Callable[[str, Mark, Node], None]
) -> None:
    wanted, name = _OPTIONS[key]
    if not node.is_mapping and node.value != "":
        add_problem(node.mark, (*path, key), f"expected names with values, found {node.kind}")
    binds = {option: value for option, value in node.entries.items() if key == "accept-options" and option in BINDS}
    if binds:
        add("bind", node.keys[next(iter(binds))], Node(node.mark, binds, keys=node.keys))
    for option, value in node.entries.items():
        mark = node.keys[option]
        where = (*path, key, option[:80])
        if option in binds or (key == "accept-options" and _TRANSPORT.fullmatch(option)):
            continue
        if option == wanted:
            add(name, mark, _words(value) if name == "realm-name" else value)
        elif key == "accept-options" and _VERIFY_CLIENT.fullmatch(option) and not _is_optional(value):
            message = "client certificates are not verified by asgi_gateway, so every client would get in without one"
            add_problem(mark, where, message, "verify them in front of the gateway and remove it, or write none")
        elif ignored_option(option):
            add_problem(mark, where, NOT_SUPPORTED, severity="ignored")
        else:
            message = f"unknown option {option[:80]!r} in {key}"
            add_problem(
                mark, where, message, did_you_mean(option, [wanted, *(BINDS if key == "accept-options" else ())])
            )


def _is_optional(node: Node) -> bool:
    """Return whether ``ssl.verify-client`` lets every client in anyway. A reference may expand to ``required``."""
    return node.is_scalar and node.text.strip().lower() in ("none", "optional")


def _words(node: Node) -> Node:
    """Return the words of a list such as ``demo, second``; YAML may write a list of its own."""
    if not node.is_scalar:
        return node
    words = [Node(node.mark, word, word) for word in re.split(r"\s*,\s*|\s+", node.text.strip()) if word]
    return Node(node.mark, list(words))
