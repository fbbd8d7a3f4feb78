"""Define the command line: its arguments, and which function runs each command.

Exit codes: 0 if the answer is yes (the configuration is good, the request is allowed), 1 if it is no, 2 if the question
could not be answered (usage, a missing file, a configuration that cannot be used), 141 if standard output was closed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from asgi_gateway.cli import check, convert, explain, passwords, revoke, run, sessions, tokens
from asgi_gateway.cli.definitions import add_configuration
from asgi_gateway.cli.output import Output
from asgi_gateway.errors import ConfigError, GatewayError

__all__ = ["main", "parser"]

_CLOSED = 141
"""The exit code where standard output was closed, as a shell reports SIGPIPE."""

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    top = argparse.ArgumentParser(
        prog="asgi-gateway",
        description="A security gateway in front of any ASGI application.",
        epilog="exit codes: 0 yes, 1 no, 2 the question could not be answered",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    command = partial(_command, commands)

    sub = command(
        "check",
        "check a configuration file and everything it names",
        "  asgi-gateway check gateway.yaml\n  asgi-gateway check gateway-config.xml --connect --format json",
        check.check,
    )
    add_configuration(sub)
    sub.add_argument("--connect", action="store_true", help="also try the state store and the modules' back ends")

    sub = command(
        "run",
        "serve back ends or an application with uvicorn, the gateway in front",
        "  asgi-gateway run gateway-config.xml\n"
        "  asgi-gateway run gateway.yaml example_app.app:api\n"
        "  asgi-gateway run gateway.yaml mysite.asgi:application --host 0.0.0.0 --port 8080 --workers 4\n"
        "  asgi-gateway run gateway.yaml mysite.asgi:application --port 8443 --tls gateway.example.com\n"
        "  asgi-gateway run gateway.yaml mysite.asgi:application --uds /run/gateway/socket",
        run.run,
    )
    add_configuration(sub)
    sub.add_argument(
        "app",
        nargs="?",
        metavar="module:app",
        help="the ASGI application, or a function that returns it; behind services with neither type nor connect",
    )
    sub.add_argument(
        "--host", help="address to listen on (default: the hosts of the accept URLs, or 127.0.0.1 if they name none)"
    )
    sub.add_argument(
        "--port",
        type=_port,
        help="the one port to listen on (default: the ports of the accept URLs, or 8000 if they name none)",
    )
    sub.add_argument("--uds", type=Path, metavar="PATH", help="listen on a Unix socket instead")
    sub.add_argument("--workers", type=_positive, default=1, help="worker processes (default: 1)")
    sub.add_argument(
        "--tls", metavar="HOST", help="with --port: serve https and wss, with the keystore's certificate for this host"
    )
    sub.add_argument("--log-level", default="info", choices=("critical", "error", "warning", "info", "debug"))

    sub = command(
        "explain",
        "say what the gateway decides on a request, and why",
        "  asgi-gateway explain gateway.yaml GET /chat\n"
        "  asgi-gateway explain gateway.yaml WS /chat --user joe\n"
        "  asgi-gateway explain gateway.yaml GET '/chat?token=abc' --header 'Cookie: sampleCookie1=xyz'",
        explain.explain,
    )
    add_configuration(sub)
    sub.add_argument("method", metavar="METHOD", help="an HTTP method, or WS for a WebSocket")
    sub.add_argument("path", metavar="PATH", help="the path, with a query if need be")
    sub.add_argument("--header", action="append", default=[], metavar="'Name: value'", help="may be given repeatedly")
    sub.add_argument("--user", help="Basic credentials; the password is read from the terminal or standard input")
    sub.add_argument("--address", default="127.0.0.1", help="the client's address (default: 127.0.0.1)")
    port_help = "the local port it comes in on, where run without --port serves the file (default: ports do not count)"
    sub.add_argument("--port", type=_port, help=port_help)

    sub = command(
        "hash-password",
        "hash a password for a users file (argon2id); it is read from the terminal or standard input",
        '  asgi-gateway hash-password\n  printf %s "$PASSWORD" | asgi-gateway hash-password',
        passwords.hash_password_command,
    )

    sub = command(
        "token",
        "issue a token for the token login module; it is a credential",
        "  asgi-gateway token issue --user joe --role CHAT --realm demo --audience chat --key-file keys --life 8h\n"
        "  asgi-gateway token issue --user joe --realm demo --audience chat --key-file keys --life 30s --single-use",
        tokens.issue,
    )
    sub.add_argument("action", choices=("issue",), help="issue: print a new one")
    sub.add_argument("--user", required=True, help="the user whom it authenticates")
    sub.add_argument("--role", action="append", default=[], help="a role that it grants; may be given repeatedly")
    sub.add_argument("--realm", required=True, help="the realm it is for")
    sub.add_argument("--audience", required=True, help="the application it is for (the module's option audience)")
    keys = sub.add_mutually_exclusive_group(required=True)
    keys.add_argument("--key-file", type=Path, help="file with the signing keys, one a line; the first signs")
    keys.add_argument("--key-environment", metavar="NAME", help="environment variable with them")
    sub.add_argument("--life", default="1 hour", help="how long it is good (default: 1 hour)")
    sub.add_argument("--single-use", action="store_true", help="good for one login")
    sub.add_argument("--service", default="", help="the only service it is for (default: all of the realm's)")
    sub.add_argument("--session", help="how long what is opened with it may last (default: as long as the token)")

    sub = command(
        "revoke",
        "end logins before their time, and the WebSockets they opened; the same as sessions revoke",
        "  asgi-gateway revoke gateway.yaml user joe --realm demo",
        revoke.revoke,
    )
    _add_revocation(sub)
    _add_sessions(commands)

    sub = command(
        "convert",
        "turn an XML configuration into YAML, or a YAML one into XML, without loss",
        "  asgi-gateway convert gateway-config.xml > gateway.yaml\n  asgi-gateway convert gateway.yaml --to xml",
        convert.convert,
    )
    add_configuration(sub)
    sub.add_argument("--to", choices=("yaml", "xml"), help="default: the other one")
    sub.add_argument("--output", type=Path, help="a new file to write (default: standard output)")

    command(
        "schema",
        "print the JSON Schema of the YAML form, for editors",
        "  asgi-gateway schema > gateway.schema.json",
        convert.schema,
    )
    return top


def _add_sessions(commands: _Commands) -> None:
    """Add ``sessions list`` and ``sessions revoke``."""
    top = commands.add_parser(
        "sessions", help="list active sessions, and end logins", description="List sessions, and end logins."
    )
    actions = top.add_subparsers(dest="action", metavar="ACTION", required=True)
    sub = _command(
        actions,
        "list",
        "list active sessions, the newest first",
        "  asgi-gateway sessions list gateway.yaml --realm demo\n"
        "  asgi-gateway sessions list gateway.yaml --user joe --format json",
        sessions.list_,
    )
    add_configuration(sub)
    sub.add_argument("--realm", help="only this realm's")
    sub.add_argument("--user", help="only this user's")
    sub.add_argument("--limit", type=int, default=1000, help="the most to list (default: 1000)")
    sub = _command(
        actions,
        "revoke",
        "end logins before their time, and the WebSockets they opened",
        "  asgi-gateway sessions revoke gateway.yaml user joe --realm demo\n"
        "  asgi-gateway sessions revoke gateway.yaml session q5Yb0mVqQW4x\n"
        "  asgi-gateway sessions revoke gateway.yaml token 2yq0MgxTVd3rPVDxvDD3Xw",
        revoke.revoke,
    )
    _add_revocation(sub)


def _add_revocation(sub: argparse.ArgumentParser) -> None:
    add_configuration(sub)
    sub.add_argument("kind", choices=("user", "session", "token"), help="what to end")
    sub.add_argument("name", help="the user's name, the session's id or its beginning as listed, or the token's id")
    sub.add_argument("--realm", help="the user's realm")
    sub.add_argument("--issuer", help="the issuer (iss) of a JSON Web Token, whose id is its jti")


def _command(commands: _Commands, name: str, help_: str, example: str, handler: object) -> argparse.ArgumentParser:
    sub = commands.add_parser(
        name,
        help=help_,
        description=help_[0].upper() + help_[1:] + ".",
        epilog=f"examples:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("--format", choices=("text", "json"), default="text", help="how to print (default: text)")
    sub.set_defaults(handler=handler)
    return sub


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the command line without the program's name; ``sys.argv``'s by default.

    Returns:
        the exit code.
    """
    try:
        try:
            code = _run(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()  # here, where a closed pipe is an answer and not a traceback
    except BrokenPipeError:
        # what is still in the buffer would fail again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED
    return code


def _run(namespace: argparse.Namespace) -> int:
    output = Output(namespace.format)
    try:
        if (here := str(Path.cwd())) not in sys.path:  # Python puts the script's own directory there instead
            sys.path.insert(0, here)
        return int(namespace.handler(namespace, output))
    except BrokenPipeError:
        raise
    except ConfigError as error:
        output.problems(error.problems)
    except (GatewayError, OSError, ValueError) as error:
        output.error(str(error))
    except KeyboardInterrupt:
        pass
    return 2


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: expected 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"invalid number {text!r}: expected 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
