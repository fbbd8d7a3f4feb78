"""Read ``WWW-Authenticate``: several challenges in one line, several lines, token68, parameters, quoted strings.

The grammar is RFC 9110 section 11.6.1 with two additions, both the original gateway's: the prefix ``Application``
before a scheme, and challenge data appended with spaces, so that words and parameters may also be separated by them.
After a comma a bare word always begins the next challenge, as the RFC has it.

Every line is read once from left to right. What does not fit is an error and never a guess; ``readable_challenges``
leaves the malformed challenge out and goes on with the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from asgi_gateway.errors import HeaderError

__all__ = [
    "MAX_CHALLENGES",
    "MAX_LENGTH",
    "OfferedChallenge",
    "ReadableChallenges",
    "parse_challenges",
    "readable_challenges",
]

MAX_LENGTH = 64 * 1024
"""The most characters that all lines together may have; a Negotiate token can be long."""
MAX_CHALLENGES = 32
"""The most challenges that all lines together may offer."""

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_SCHEME = re.compile(rf"({_NAME})(?=[ \t,]|\Z)")
_SPACES = re.compile(r"[ \t]*+")
_WORD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z/]++=*+)(?=[ \t,]|\Z)")
_VALUE = rf'(?:({_NAME})|"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+)")(?=[ \t,]|\Z)'
_PARAMETER = re.compile(rf"({_NAME})[ \t]*+=[ \t]*+{_VALUE}")
_TIGHT_PARAMETER = re.compile(rf"({_NAME})={_VALUE}")  # among data words, "YQ== x" are two words
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_UNTIL_COMMA = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class OfferedChallenge:
    """A frozen challenge that a server offers.

    Args:
        scheme: the scheme's name in lower case, without ``Application``.
        words: the token68 words after the scheme; for Negotiate the token, for Application Token the challenge data.
        parameters: auth-params, names in lower case, quoted strings unquoted.
        application: whether the scheme had the prefix ``Application``.
    """

    scheme: str
    words: tuple[str, ...] = field(default=(), repr=False)
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    application: bool = False

    @property
    def realm(self) -> str:
        """The ``realm`` parameter, or the empty string."""
        return self.parameters.get("realm", "")


@dataclass(frozen=True, slots=True)
class ReadableChallenges:
    """The challenges that could be read, and an error for each that could not."""

    challenges: tuple[OfferedChallenge, ...]
    errors: tuple[HeaderError, ...]


def parse_challenges(lines: Iterable[str]) -> tuple[OfferedChallenge, ...]:
    """Read the values of all ``WWW-Authenticate`` lines of one response.

    Args:
        lines: the values, each as it was sent, in order.

    Returns:
        the challenges, in order.

    Raises:
        HeaderError: a challenge is malformed, or there are too many challenges or characters.

    Source: RFC 9110 sections 5.6 and 11.6.1.
    """
    read = readable_challenges(lines)
    if read.errors:
        raise read.errors[0]
    return read.challenges


def readable_challenges(lines: Iterable[str]) -> ReadableChallenges:
    """Read the challenges of one response that are well-formed, and leave out the others.

    Servers send values that no grammar has, such as ``Bearer resource_metadata=https://host/``. The challenges beside
    them are good all the same. Browsers join all lines to one, so that one line has to be read in this way too. Reading
    goes on after a comma outside quotes that a scheme follows; a quoted string that does not end takes the rest of its
    line with it.

    Args:
        lines: the values, each as it was sent, in order.

    Returns:
        the challenges and the errors, each in order.

    Raises:
        HeaderError: there are too many challenges or characters.
    """
    challenges: list[OfferedChallenge] = []
    errors: list[HeaderError] = []
    remaining = MAX_LENGTH
    for line in lines:
        remaining -= len(line)
        if remaining < 0:
            raise HeaderError(f"WWW-Authenticate is longer than {MAX_LENGTH} characters")
        for each in _read_line(line):
            if len(challenges) + len(errors) == MAX_CHALLENGES:
                raise HeaderError(f"WWW-Authenticate offers more than {MAX_CHALLENGES} challenges")
            if isinstance(each, HeaderError):
                errors.append(each)
            else:
                challenges.append(each)
    return ReadableChallenges(tuple(challenges), tuple(errors))


def _read_line(line: str) -> Iterator[OfferedChallenge | HeaderError]:
    position = _separators(line, 0)[0]
    while position < len(line):
        start = position
        try:
            challenge, position = _read_challenge(line, position)
            yield challenge
        except HeaderError as error:
            position = _next_challenge(line, start)
            yield error


def _next_challenge(line: str, position: int) -> int:
    """Return where the challenge after a malformed one begins; the line's end if there is none."""
    while position < len(line):
        end = _UNTIL_COMMA.match(line, position)
        position = end.end() if end else position
        if line[position : position + 1] != ",":
            return len(line)
        position = _separators(line, position)[0]
        if _SCHEME.match(line, position) and not _PARAMETER.match(line, position):
            return position
    return position


def _read_challenge(line: str, position: int) -> tuple[OfferedChallenge, int]:
    """Return the challenge that begins at a position, and where the next one begins."""
    scheme, position = _scheme(line, position)
    application = False
    if scheme == "application" and (prefixed := _SCHEME.match(line, _spaces(line, position))):
        application, scheme, position = True, prefixed[1].lower(), prefixed.end()
    parameter_here = (_TIGHT_PARAMETER if application else _PARAMETER).match
    words: list[str] = []
    parameters: dict[str, str] = {}
    while position < len(line):
        position, comma = _separators(line, position)
        if parameter := parameter_here(line, position):
            name = parameter[1].lower()
            if name in parameters:
                raise HeaderError("WWW-Authenticate has a duplicate parameter in one challenge")
            parameters[name] = parameter[2] if parameter[3] is None else _QUOTED_PAIR.sub(r"\1", parameter[3])
            position = parameter.end()
        elif comma or position == len(line):
            break
        elif word := _WORD.match(line, position):
            words.append(word[1])
            position = word.end()
        else:
            raise HeaderError(f"WWW-Authenticate is malformed at character {position + 1}")
    return OfferedChallenge(scheme, tuple(words), MappingProxyType(parameters), application), position


def _scheme(line: str, position: int) -> tuple[str, int]:
    match = _SCHEME.match(line, position)
    if match is None:
        raise HeaderError(f"WWW-Authenticate: a scheme is missing at character {position + 1}")
    return match[1].lower(), match.end()


def _spaces(line: str, position: int) -> int:
    match = _SPACES.match(line, position)
    return match.end() if match else position


def _separators(line: str, position: int) -> tuple[int, bool]:
    """Return where the next item begins, and whether a comma precedes it; empty list elements are skipped."""
    comma = False
    position = _spaces(line, position)
    while position < len(line) and line[position] == ",":
        comma = True
        position = _spaces(line, position + 1)
    return position, comma
