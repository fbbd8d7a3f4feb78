"""Login handlers, which obtain user names and passwords: from a callable, the terminal, a keyring, the environment."""

from __future__ import annotations

import abc
import getpass
import netrc
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from asgi_gateway.client.challenge import ChallengeRequest, MaybeAwaitable
from asgi_gateway.errors import GatewayError

__all__ = [
    "CallableLoginHandler",
    "EnvironmentLoginHandler",
    "KeyringLoginHandler",
    "LoginHandler",
    "LoginSource",
    "NetrcLoginHandler",
    "PasswordAuthentication",
    "PromptLoginHandler",
    "login_handler",
]


class PasswordAuthentication:
    """A user name and a password that can be cleared and is never printed (``java.net.PasswordAuthentication``).

    Args:
        username: the user name.
        password: the password; kept as bytes that ``clear`` overwrites.
    """

    __slots__ = ("_password", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = bytearray(password.encode())

    @property
    def password(self) -> str:
        """Return the password; the empty string once cleared."""
        return self._password.decode()

    def clear(self) -> None:
        """Overwrite the password."""
        self._password[:] = bytes(len(self._password))
        self._password.clear()

    def __repr__(self) -> str:
        return "PasswordAuthentication(<user name>, <password>)"

    def __reduce__(self) -> str:
        raise TypeError("a PasswordAuthentication cannot be pickled")


class LoginHandler(abc.ABC):
    """Obtains a user name and a password when asked (``org.kaazing.net.auth.LoginHandler``)."""

    @abc.abstractmethod
    def login(self, request: ChallengeRequest) -> MaybeAwaitable[PasswordAuthentication | None]:
        """Obtain credentials; may block, and may be a coroutine function.

        Args:
            request: the challenge that they answer.

        Returns:
            the credentials, which the caller clears once they are sent, or None to end the attempt.
        """


LoginFunction = Callable[[ChallengeRequest], MaybeAwaitable[PasswordAuthentication | None]]
LoginSource = LoginHandler | LoginFunction


def login_handler(source: LoginSource) -> LoginHandler:
    """Return a LoginHandler for a LoginHandler or a callable.

    Raises:
        TypeError: the source is neither.
    """
    if isinstance(source, LoginHandler):
        return source
    if callable(source):
        return CallableLoginHandler(source)
    raise TypeError(f"login must be a LoginHandler or a callable, not {type(source).__name__}")


class CallableLoginHandler(LoginHandler):
    """Asks a function, plain or coroutine, that gets the ChallengeRequest.

    Args:
        function: returns the credentials, or None to end the attempt; may block.
    """

    def __init__(self, function: LoginFunction) -> None:
        self._function = function

    def login(self, request: ChallengeRequest) -> MaybeAwaitable[PasswordAuthentication | None]:
        return self._function(request)


class PromptLoginHandler(LoginHandler):
    """Asks the person at the terminal; an empty user name, end of input or Ctrl-D ends the attempt.

    After a wrong password the user name stays: an empty one is the last one again.

    Args:
        ask: reads a line after a prompt; ``input`` by default.
        ask_secret: reads a line without echo after a prompt; ``getpass.getpass`` by default.
    """

    def __init__(self, ask: Callable[[str], str] = input, ask_secret: Callable[[str], str] = getpass.getpass) -> None:
        self._ask = ask
        self._ask_secret = ask_secret
        self._usernames: dict[tuple[str, str], str] = {}

    def login(self, request: ChallengeRequest) -> PasswordAuthentication | None:
        key = request.host, request.realm
        again = self._usernames.get(key, "") if request.attempt > 1 else ""
        if request.attempt > 1:
            print("The user name or the password was wrong.", file=sys.stderr)
        place = f"{_printable(request.realm)} on {_printable(request.host)}" if request.realm else request.host
        hint = f" (empty: {_printable(again)})" if again else ""
        try:
            username = self._usernames[key] = self._ask(f"User name for {place}{hint}: ").strip() or again
            return PasswordAuthentication(username, self._ask_secret("Password: ")) if username else None
        except EOFError:
            return None


def _printable(text: str) -> str:
    """Return a server's text without the characters that control a terminal."""
    return "".join(character for character in text[:80] if character.isprintable())


class EnvironmentLoginHandler(LoginHandler):
    """Reads two environment variables when asked; no attempt if either is missing or empty.

    Args:
        username: the variable that holds the user name.
        password: the variable that holds the password.
        environ: the environment.
    """

    def __init__(
        self,
        username: str = "ASGI_GATEWAY_USERNAME",
        password: str = "ASGI_GATEWAY_PASSWORD",  # noqa: S107 (the variable's name)
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._names = username, password
        self._environ = environ

    def login(self, request: ChallengeRequest) -> PasswordAuthentication | None:
        username, password = (self._environ.get(name) for name in self._names)
        return PasswordAuthentication(username, password) if username and password else None


class NetrcLoginHandler(LoginHandler):
    """Looks the host up in a netrc file. The ``default`` entry is not used: it would give any host the password.

    Args:
        file: the file; ``$NETRC`` or ``~/.netrc`` by default.

    Raises:
        GatewayError: (``login``) the file cannot be read or is malformed.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self._file = Path(file or os.environ.get("NETRC") or "~/.netrc").expanduser()

    def login(self, request: ChallengeRequest) -> PasswordAuthentication | None:
        try:
            entry = netrc.netrc(self._file).hosts.get(request.host)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, netrc.NetrcParseError) as error:
            raise GatewayError(f"{self._file} cannot be read: {type(error).__name__}") from None
        return PasswordAuthentication(entry[0], entry[2]) if entry and entry[0] and entry[2] else None


class KeyringLoginHandler(LoginHandler):
    """Reads the system's keyring through the ``keyring`` package.

    Args:
        username: the user name to look up; None: the one that the keyring has for the service.
        service: the keyring's service name; by default ``<realm>@<host>``.

    Raises:
        GatewayError: (``__init__``) the ``keyring`` package is not installed.
    """

    def __init__(self, username: str | None = None, service: str | None = None) -> None:
        try:
            import keyring
        except ImportError:
            raise GatewayError("KeyringLoginHandler needs the keyring package: pip install keyring") from None
        self._keyring = keyring
        self._username = username
        self._service = service

    def login(self, request: ChallengeRequest) -> PasswordAuthentication | None:
        service = self._service or f"{request.realm}@{request.host}"
        found = self._keyring.get_credential(service, self._username)
        return PasswordAuthentication(found.username, found.password) if found else None
