"""The command line: what it takes, and which function does it.

Exit codes: 0 if the answer is yes (the configuration is good, the request is allowed), 1 if it is no, 2 if the question
could not be answered (usage, a file that is not there, a configuration that cannot be used).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asgi_gateway.cli import check, convert, explain, passwords, run
from asgi_gateway.cli.output import Output
from asgi_gateway.errors import ConfigError, GatewayError

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The argument parser, also read by the documentation's tests."""
    top = argparse.ArgumentParser(
        prog="asgi-gateway",
        description="A security gateway in front of any ASGI application.",
        epilog="exit codes: 0 yes, 1 no, 2 the question could not be answered",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help_: str, example: str, handler: object) -> argparse.ArgumentParser:
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

    sub = command(
        "check",
        "check a configuration file and everything it names",
        "  asgi-gateway check gateway.yaml\n  asgi-gateway check gateway-config.xml --connect --format json",
        check.check,
    )
    sub.add_argument("file", type=Path, help="the configuration, XML or YAML")
    sub.add_argument("--connect", action="store_true", help="also try the back ends that login modules use")

    sub = command(
        "run",
        "serve an application with uvicorn, the gateway in front",
        "  asgi-gateway run gateway.yaml example_app.app:app\n"
        "  asgi-gateway run gateway.yaml mysite.asgi:application --host 0.0.0.0 --port 8080 --workers 4\n"
        "  asgi-gateway run gateway.yaml mysite.asgi:application --port 8443 --tls gateway.example.com",
        run.run,
    )
    sub.add_argument("file", type=Path, help="the configuration, XML or YAML")
    sub.add_argument("app", metavar="module:app", help="the ASGI application, unwrapped")
    sub.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    sub.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    sub.add_argument("--workers", type=int, default=1, help="worker processes (default: 1)")
    sub.add_argument("--tls", metavar="HOST", help="serve https and wss, with the keystore's certificate for this host")
    sub.add_argument("--log-level", default="info", choices=("critical", "error", "warning", "info", "debug"))

    sub = command(
        "explain",
        "say what the gateway decides on a request, and why",
        "  asgi-gateway explain gateway.yaml GET /chat\n"
        "  asgi-gateway explain gateway.yaml WS /chat --user joe\n"
        "  asgi-gateway explain gateway.yaml GET '/chat?token=abc' --header 'Cookie: sampleCookie1=xyz'",
        explain.explain,
    )
    sub.add_argument("file", type=Path, help="the configuration, XML or YAML")
    sub.add_argument("method", metavar="METHOD", help="an HTTP method, or WS for a WebSocket")
    sub.add_argument("path", metavar="PATH", help="the path, with a query if need be")
    sub.add_argument("--header", action="append", default=[], metavar="'Name: value'", help="may be given repeatedly")
    sub.add_argument("--user", help="Basic credentials; the password is read from the terminal or standard input")
    sub.add_argument("--address", default="127.0.0.1", help="the client's address (default: 127.0.0.1)")

    sub = command(
        "hash-password",
        "hash a password for a users file (argon2id); it is read from the terminal or standard input",
        '  asgi-gateway hash-password\n  printf %s "$PASSWORD" | asgi-gateway hash-password',
        passwords.hash_password_command,
    )

    sub = command(
        "convert",
        "turn an XML configuration into YAML, or a YAML one into XML, without loss",
        "  asgi-gateway convert gateway-config.xml > gateway.yaml\n  asgi-gateway convert gateway.yaml --to xml",
        convert.convert,
    )
    sub.add_argument("file", type=Path, help="the configuration, XML or YAML")
    sub.add_argument("--to", choices=("yaml", "xml"), help="default: the other one")
    sub.add_argument("--output", type=Path, help="a file to write; it must not be there yet (default: standard output)")

    command(
        "schema",
        "print the JSON Schema of the YAML form, for editors",
        "  asgi-gateway schema > gateway.schema.json",
        convert.schema,
    )
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the command line without the program's name; ``sys.argv``'s by default.

    Returns:
        the exit code.
    """
    namespace = parser().parse_args(arguments)
    output = Output(namespace.format)
    try:
        if (here := str(Path.cwd())) not in sys.path:  # a script's own folder stands there instead
            sys.path.insert(0, here)
        return int(namespace.handler(namespace, output))
    except ConfigError as error:
        output.problems(error.problems)
        return 2
    except (GatewayError, OSError, ValueError) as error:
        output.error(str(error))
        return 2
    except KeyboardInterrupt:
        return 2


if __name__ == "__main__":
    sys.exit(main())
