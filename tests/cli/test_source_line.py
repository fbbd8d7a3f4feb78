"""The line of the file below an error, and what of it is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_gateway.cli import main
from asgi_gateway.cli.source_line import source_line
from asgi_gateway.errors import Problem

HEAD = """security:
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        login-modules:
"""


OPTION = "security.realms[0].authentication.login-modules[0].options.pw"


def shown(tmp_path: Path, text: str, column: int, path: str = "", name: str = "gateway.yaml") -> list[str]:
    (tmp_path / name).write_bytes(text.encode())
    line = text.count("\n") + 1
    return source_line(Problem("x", tmp_path / name, line, column, path))


@pytest.mark.parametrize(
    ("text", "column", "path", "expected"),
    [
        ("  - {name: a, accept: /a*}", 23, "services[0].accept[0]", "  - {name: a, accept: /a*}"),
        ("    - /admin/*", 7, "services[0].accept[1]", "    - /admin/*"),
        ("  fooo: hunter2", 3, "security.fooo", "  fooo: …"),
        ("- {type: file, succes: required}", 16, "security.realms[0].authentication.x", "- {type: file, succes: …"),
        ("- {type: ldap, options: {bindPw: hunter2}}", 4, "security.realms[0]", "- {type: ldap, options: {bindPw: …"),
        (
            "- {type: ldap, options: {pw: 'a, hunter2'}, success: x}",
            54,
            "security.realms[0].x",
            "- {type: ldap, options: {pw: …",
        ),
        (
            "- {options: {pw: hunter2}}",
            18,
            OPTION,
            "- {options: {pw: …",
        ),
        ('    password: "hunter2', 15, "", "    password: …"),
        ("  type: file  # the password is hunter2", 9, "security.state.type", "  type: file"),
        ("<type>fiel</type>", 7, "security.realms[0].type", "<type>fiel</type>"),
        ("<k:name>a</k:name><password>hunter2</password>", 1, "x", "<k:name>a</k:name><password>…"),
        ("<user password='hunter2'><name>a</name></user>", 1, "", ""),
        ("<accept>http://joe:hunter2@h/x</accept>", 9, "services[0].accept[0]", "<accept>http://…@h/x</accept>"),
        ("<!-- hunter2 --><name>a</name>", 17, "security.realms[0].name", ""),
        ("  db: hunter2", 7, "properties.db", "  db: …"),
        ("          hunter2", 11, OPTION, ""),
        ("          hunter2", 11, "", ""),
        ('{"type": "file", "secret": "hunter2"}', 3, "security", '{"type": "file", "secret": …'),
    ],
)
def test_lines(tmp_path: Path, text: str, column: int, path: str, expected: str) -> None:
    """Values of the configuration's own elements are shown; anything that may be a secret is not."""
    lines = shown(tmp_path, text, column, path)
    assert not any("hunter2" in line for line in lines)
    assert (lines[0].partition(" | ")[2] if lines else "") == expected


def test_caret(tmp_path: Path) -> None:
    """The caret is below the column, also in a long line of which a part is shown, and after other letters."""
    number, caret = shown(tmp_path, "  - {name: é, accept: /a*}", 23, "services[0].accept[0]")
    assert number.index("/a*") == caret.index("^")
    long = "  - {name: " + "a" * 300 + ", accept: /a*}"
    number, caret = shown(tmp_path, long, long.index("/a*") + 1, "services[0].accept[0]")
    assert number.index("/a*") == caret.index("^")
    assert len(number) < 200


@pytest.mark.parametrize("name", ["users.htpasswd", "keys", "gateway.conf"])
def test_other_files(tmp_path: Path, name: str) -> None:
    """Nothing is shown of files whose form is not known."""
    assert shown(tmp_path, "joe:hunter2", 1, "services", name) == []


@pytest.mark.parametrize(
    "problem", [Problem("x"), Problem("x", Path("/nowhere.yaml"), 1, 1), Problem("x", Path("a.yaml"))]
)
def test_no_line(problem: Problem) -> None:
    """A problem without a position, or of a file that is gone, has no line."""
    assert source_line(problem) == []


def test_line_beyond_the_end(tmp_path: Path) -> None:
    """A file that has become shorter since has no such line."""
    (tmp_path / "a.yaml").write_text("name: a")
    assert source_line(Problem("x", tmp_path / "a.yaml", 9, 1, "services")) == []


def test_control_characters(tmp_path: Path) -> None:
    """A terminal is not sent what a file may hold."""
    assert "\x1b" not in "".join(shown(tmp_path, "  - {name: \x1b[31ma, accept: /a*}", 3, "services[0]"))


def test_check_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """check prints the line and the caret below each error, and JSON keeps its fields."""
    (tmp_path / "g.yaml").write_text(HEAD + "          - {type: fiel, success: required}\n")
    assert main(["check", str(tmp_path / "g.yaml")]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[1:] == ["  7 |           - {type: fiel, success: required}", "    |                    ^"]
    assert main(["check", str(tmp_path / "g.yaml"), "--format", "json"]) == 1
    assert " | " not in capsys.readouterr().out


SECRET = "hunter2"
FORMS = ["{n}: {s}", "<{n}>{s}</{n}>", "- {{type: a, options: {{{n}: {s}}}, success: b}}", "{n}: '{s}', name: x"]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["password", "keyPassword", "my-secret", "value", "x.y", "Passwort", "user.password"]),
    st.sampled_from(
        ["{n}: {s}", "<{n}>{s}</{n}>", "- {{type: a, options: {{{n}: {s}}}, success: b}}", "{n}: '{s}', name: x"]
    ),
    st.integers(1, 60),
    st.sampled_from(["", "properties.x", OPTION, "users[0].password"]),
)
def test_never_a_secret(tmp_path: Path, name: str, form: str, column: int, path: str) -> None:
    """Whatever the name, the form and the position, the value of an option, a property or a user is not shown."""
    text = form.format(n=name, s=SECRET)
    for file in ("g.yaml", "g.xml"):
        assert not any(SECRET in line for line in shown(tmp_path, text, column, path, file))
