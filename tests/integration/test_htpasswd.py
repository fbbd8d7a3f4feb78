"""htpasswd files: Apache, nginx and the gateway answer the same lines; what both others refuse is refused here."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.modules.file import FileLoginModule, FileOptions
from asgi_gateway.plugins.user_names import user_name_problem
from tests.helpers import context
from tests.integration.htpasswd_peers import Judges, judges

PASSWORD = "pw1"
SEED = 11
LINES = 250
NOT_HERE = ("$y$", "$gy$", "$7$", "$sm3$", "$md5", "$2x$", "$3$", "_")
"""Forms that the C library of this system knows and the gateway does not; they stop the start, with their name."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Judges]:
    """Apache and nginx."""
    with judges() as found:
        yield found


def _made_by_htpasswd() -> list[str]:
    """The password in every form that Apache's tool makes."""
    forms = ("-m", "-s", "-d", "-p", "-2", "-5", "-B -C 4", "-B -C 5", "-2 -r 5435", "-5 -r 2000")
    lines = [
        subprocess.run(
            ["htpasswd", "-nbi", *form.split(), "joe"], input=PASSWORD, capture_output=True, text=True, check=True
        ).stdout.strip()
        for form in forms
    ]
    return [line.partition(":")[2] for line in lines]


def _made_by_openssl() -> list[str]:
    """The password in every form that OpenSSL makes."""
    command = ["openssl", "passwd", "-stdin", "-noverify"]
    return [
        subprocess.run([*command, form], input=PASSWORD, capture_output=True, text=True, check=True).stdout.strip()
        for form in ("-1", "-apr1", "-5", "-6")
    ]


class Gateway:
    """The file module on a file of one line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, line: str) -> FileLoginModule | str:
        """Return the module on this line, or why the file cannot be used."""
        (self.folder / "users").write_bytes(line.encode())
        try:
            return FileLoginModule(FileOptions.model_validate({"file": "users"}), context(self.folder).context)
        except ConfigError as error:
            return str(error)

    @staticmethod
    def answer(module: FileLoginModule | str, name: str, password: str) -> bool | str:
        """Return whether the login succeeds, or why the file cannot be used."""
        if isinstance(module, str):
            return module
        if user_name_problem(name) is not None or not password:
            return False
        try:
            module._verify(name, password)
        except LoginFailed:
            return False
        return True


def _passwords(name: str, rest: str) -> list[str]:
    """What may be taken for the password of a line: the right one, and everything that stands there."""
    first = rest.partition(":")[0]
    candidates = [PASSWORD, rest, first, first.strip(), rest.strip(), first.lstrip("!*"), name, "x", "!", "*", "pw1:"]
    if first.startswith("{"):
        candidates.append(first.partition("}")[2])
    return [each for each in dict.fromkeys(candidates) if each and "\n" not in each and "\0" not in each]


def _agree(servers: Judges, gateway: Gateway, lines: list[tuple[str, str]]) -> int:
    """Compare all three for each line, with each password; return how many answers were compared.

    What the others both refuse must be refused, and what both accept accepted, or be an error that says what it is.
    """
    servers.write("".join(f"{name}:{rest}\n" for name, rest in lines))
    compared, wrong = 0, list[str]()
    for name, rest in lines:
        module = gateway.open(f"{name}:{rest}\n")
        for password in _passwords(name, rest):
            apache, nginx = servers.apache.lets_in(name, password), servers.nginx.lets_in(name, password)
            ours = gateway.answer(module, name, password)
            compared += 1
            if ours is True and not (apache or nginx):
                wrong.append(f"let in: {name}:{rest!r} with {password!r}")
            elif apache and nginx and ours is not True and not _is_documented(rest, password, ours):
                wrong.append(f"kept out: {name}:{rest!r} with {password!r}: {ours}")
    assert wrong == []
    return compared


def _is_documented(rest: str, password: str, ours: bool | str) -> bool:
    """Return whether the gateway is stricter on purpose: forms that it does not know, and bcrypt beyond 72 bytes."""
    if isinstance(ours, str):
        return rest.startswith(NOT_HERE) and "cannot be verified here" in ours
    return rest.startswith("$2") and len(password.encode()) > 72


FIELDS = ("", ":", ":the comment", ":/home/joe:/bin/sh", "::", ": ", ":x", ":!", ":{PLAIN}pw1")
MARKS = ("!", "!!", "*", "x", "*LK*", "!*", "NP", "")


@pytest.mark.parametrize("maker", [_made_by_htpasswd, _made_by_openssl])
def test_forms_and_fields(servers: Judges, tmp_path: Path, maker: object) -> None:
    """Every form that htpasswd and openssl make, with and without fields after it, gets the same answer."""
    assert callable(maker)
    hashes = maker()
    lines = [
        (f"u{number}x{index}", stored + field)
        for number, stored in enumerate(hashes)
        for index, field in enumerate(FIELDS)
    ]
    assert _agree(servers, Gateway(tmp_path), lines) >= 4 * len(lines)
    plain = {stored for stored in hashes if stored == PASSWORD}
    accepted = [rest for name, rest in lines if servers.nginx.lets_in(name, PASSWORD)]
    assert len(accepted) >= len(FIELDS) * (len(hashes) - len(plain) - 1)


def test_marks(servers: Judges, tmp_path: Path) -> None:
    """A lock mark, alone and before or after every form of hash, lets nobody in, with whatever password."""
    hashes = [*_made_by_htpasswd()[::2], *_made_by_openssl()[::2], ""]
    lines = [
        (f"u{number}x{index}{place}", mark + stored if place else stored + mark)
        for number, stored in enumerate(hashes)
        for index, mark in enumerate(MARKS)
        for place in (0, 1)
        if mark
    ]
    assert _agree(servers, Gateway(tmp_path), lines) > 4 * len(lines)


def test_other_texts(servers: Judges, tmp_path: Path) -> None:
    """Texts of other programs, plain text, white space and prefixes in other letters get the same answer."""
    hashes = [*_made_by_htpasswd(), *_made_by_openssl()]
    texts = [
        PASSWORD, "{PLAIN}pw1", "{plain}pw1", "{PLAIN}", "{CLEARTEXT}pw1", "{CRYPT}" + hashes[2], "{SHA}", "{SSHA}AAAA",
        "5f4dcc3b5aa765d61d8327deb882cf99", "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29", "{BCRYPT}" + hashes[6],
        "_J9..rasmBYk8r9AiWNc", "$y$j9T$abcdefgh$x", "$apr1$", "$apr1$$", "$1$", "$2y$", "$5$rounds=10$a$b", "{MD5}x",
    ]  # fmt: skip
    texts += [f" {stored}" for stored in hashes] + [f"\t{stored}" for stored in hashes] + [f"{h} " for h in hashes]
    texts += [stored.upper() for stored in hashes] + [stored[:-1] for stored in hashes] + [f"{h}\r" for h in hashes]
    lines = [(f"u{number}", text) for number, text in enumerate(texts)]
    gateway = Gateway(tmp_path)
    ours_only = ("{plain}", "{CLEARTEXT}", "{CRYPT}", "{SHA}")
    compared = _agree(servers, gateway, [line for line in lines if not line[1].startswith(ours_only)])
    assert compared > 3 * len(lines) - 30


def test_generated(servers: Judges, tmp_path: Path) -> None:
    """Lines that differ from good ones at random places get the same answer."""
    rng = random.Random(SEED)
    hashes = [*_made_by_htpasswd(), *_made_by_openssl(), "{PLAIN}pw1"]
    letters = "$./=+:{}!*,x09aZ- \t"
    lines = []
    for number in range(LINES):
        text = list(rng.choice(hashes))
        for _ in range(rng.choice((1, 1, 2, 4))):
            place = rng.randrange(len(text) + 1)
            how = rng.randrange(4)
            if how == 0:
                text.insert(place, rng.choice(letters))
            elif how == 1 and place < len(text):
                text[place] = rng.choice(letters)
            elif how == 2:
                del text[place : place + rng.randrange(4)]
            else:
                text[place:place] = rng.choice(FIELDS + MARKS)
        lines.append((f"u{number}", "".join(text)))
    assert _agree(servers, Gateway(tmp_path), lines) > 4 * LINES


@pytest.mark.parametrize(
    "password", ["pässwörd", "密码", "x" * 72, "x" * 200, "a b", "12345678", "123456789", "é" * 40]
)
def test_passwords(servers: Judges, tmp_path: Path, password: str) -> None:
    """Passwords beyond ASCII and long ones get the same answer in every form, right and with one letter less."""
    lines = []
    for number, form in enumerate(("-m", "-s", "-d", "-2", "-5", "-B -C 4")):
        result = subprocess.run(
            ["htpasswd", "-nbi", *form.split(), "joe"], input=password, capture_output=True, text=True, check=False
        )
        if result.returncode == 0:
            lines.append((f"u{number}", result.stdout.strip().partition(":")[2]))
    assert len(lines) >= 5
    servers.write("".join(f"{name}:{rest}\n" for name, rest in lines))
    gateway = Gateway(tmp_path)
    for name, rest in lines:
        for tried in (password, password[:-1], password + "x", password[:8]):
            answers = {servers.apache.lets_in(name, tried), servers.nginx.lets_in(name, tried)}
            ours = gateway.answer(gateway.open(f"{name}:{rest}\n"), name, tried)
            if not (rest.startswith("$2") and len(tried.encode()) > 72):
                assert ours in answers, (rest, tried)
            else:
                assert ours is False
