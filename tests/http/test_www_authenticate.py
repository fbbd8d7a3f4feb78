"""Reading WWW-Authenticate."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.www_authenticate import (
    MAX_CHALLENGES,
    MAX_LENGTH,
    OfferedChallenge,
    parse_challenges,
    readable_challenges,
)

TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8)
SCHEME = TOKEN.filter(lambda name: name.lower() != "application")
WORD = st.builds(str.__add__, st.text("az09-._~+/", min_size=1, max_size=8), st.sampled_from(["", "=", "=="]))
TEXT = st.text('\t az09,;=\\"éÿ', max_size=10)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def challenges(draw: st.DrawFn) -> tuple[str, OfferedChallenge]:
    scheme, application = draw(SCHEME), draw(st.booleans())
    head = "Application " * application + scheme
    if draw(st.booleans()):
        words = draw(st.lists(WORD, max_size=3 if application else 1))
        return " ".join([head, *words]), OfferedChallenge(scheme.lower(), tuple(words), {}, application)
    parameters = draw(st.dictionaries(TOKEN.map(str.lower), TEXT, min_size=1, max_size=3))
    text = ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
    return f"{head} {text}", OfferedChallenge(scheme.lower(), (), parameters, application)


def plain(challenge: OfferedChallenge) -> tuple[object, ...]:
    return challenge.scheme, challenge.words, dict(challenge.parameters), challenge.application


@given(st.lists(challenges(), max_size=5), st.booleans())
def test_what_was_written_is_read(offered: list[tuple[str, OfferedChallenge]], one_line: bool) -> None:
    """Challenges come out as they were written, whether they stand in one line or in several."""
    lines = [text for text, _ in offered]
    read = parse_challenges([", ".join(lines)] if one_line else lines)
    assert [plain(c) for c in read] == [plain(c) for _, c in offered]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever a server sends, the answer is challenges or a HeaderError."""
    with contextlib.suppress(HeaderError):
        assert isinstance(parse_challenges([text]), tuple)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('Basic realm="a, b", Negotiate', [("basic", (), {"realm": "a, b"}), ("negotiate", (), {})]),
        ("Negotiate YII=, Basic realm=x", [("negotiate", ("YII=",), {}), ("basic", (), {"realm": "x"})]),
        (
            'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
            [
                ("newauth", (), {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
                ("basic", (), {"realm": "simple"}),
            ],
        ),
        ('Application Token d1 d2 nonce="7"', [("token", ("d1", "d2"), {"nonce": "7"})]),
        ("Application Negotiate", [("negotiate", (), {})]),
        ("Application", [("application", (), {})]),
        (', ,Basic realm = "x" , ,', [("basic", (), {"realm": "x"})]),
        ("test_challenge SOME CHALLENGE STRING", [("test_challenge", ("SOME", "CHALLENGE", "STRING"), {})]),
        ("Basic\trealm=x", [("basic", (), {"realm": "x"})]),
        ("", []),
    ],
)
def test_examples(line: str, expected: list[tuple[object, ...]]) -> None:
    """RFC 9110's example, the original's forms and lists with empty elements are read."""
    assert [plain(c)[:3] for c in parse_challenges([line])] == expected


@pytest.mark.parametrize(
    "line",
    [
        'Basic realm="open',
        'Basic realm="a\nb"',
        "=x",
        'Basic realm="a"x',
        "Basic a=1, A=2",
        "Basic {",
        'Basic realm="\\',
        "Basic é",
        "Token a, YWJj==",
        'Basic "x"',
        "Basic realm=a\x00b",
    ],
)
def test_malformed_lines_are_refused(line: str) -> None:
    """What does not fit the grammar is a HeaderError that shows nothing of the line."""
    with pytest.raises(HeaderError) as caught:
        parse_challenges([line])
    assert "realm=" not in str(caught.value)


GOOD = 'Basic realm="a, b", Negotiate'


@pytest.mark.parametrize(
    "malformed",
    [
        "Bearer resource_metadata=https://a.example/x",
        'Bearer resource_metadata=https://a.example/x, scope="read, write", error="invalid_token"',
        "Digest nonce={1}, qop=auth, algorithm = MD5",
        "Hawk ts=1, ts=2",
        'Own "just text", more="a \\" b"',
        "=x",
        "Bearer é",
        "NTLM a, YWJj==",
    ],
)
@pytest.mark.parametrize("form", ["line before", "line after", "joined before", "joined after"])
def test_a_malformed_challenge_hides_no_other(malformed: str, form: str) -> None:
    """The challenges beside a malformed one are read, in a line of their own or joined to one as browsers do."""
    lines = {
        "line before": [malformed, GOOD],
        "line after": [GOOD, malformed],
        "joined before": [f"{malformed}, {GOOD}"],
        "joined after": [f"{GOOD}, {malformed}"],
    }[form]
    read = readable_challenges(lines)
    offered = [plain(challenge) for challenge in read.challenges]
    good = [plain(challenge) for challenge in parse_challenges([GOOD])]
    assert [each for each in offered if each[0] in ("basic", "negotiate")] == good
    assert len(read.errors) == 1
    with pytest.raises(HeaderError):
        parse_challenges(lines)


@pytest.mark.parametrize(
    "line",
    [
        'Bearer a={, realm="x", Basic realm="open',
        'Own x={ "Basic realm=y, Basic realm=z',
        'Own a={ b="c, Basic realm=evil, d="e", Own f={, g="',
        'Own a={, Basic = "x", Basic="y"',
    ],
)
def test_nothing_is_read_out_of_quoted_text(line: str) -> None:
    """What is inside quotes, after a quote that does not end, or a parameter's name, is no challenge."""
    assert [challenge.scheme for challenge in readable_challenges([line]).challenges if challenge.parameters] == []


@given(st.text('ab =",\\{', max_size=40), st.lists(challenges(), min_size=1, max_size=3))
def test_lines_do_not_touch_each_other(garbage: str, offered: Any) -> None:
    """Whatever one line holds, the challenges of the next are read."""
    read = readable_challenges([garbage, ", ".join(text for text, _ in offered)])
    assert [plain(c) for c in read.challenges][-len(offered) :] == [plain(c) for _, c in offered]


def test_bounds() -> None:
    """Too many challenges and too many characters are refused."""
    parse_challenges(["Basic"] * MAX_CHALLENGES)
    with pytest.raises(HeaderError, match="more than"):
        parse_challenges([",".join(["Basic"] * (MAX_CHALLENGES + 1))])
    with pytest.raises(HeaderError, match="more than"):
        readable_challenges([", {x"] * (MAX_CHALLENGES + 1))
    with pytest.raises(HeaderError, match="longer"):
        parse_challenges(["Negotiate " + "a" * MAX_LENGTH])


@pytest.mark.parametrize(
    "unit", [" ", ",", "a ", "a=", '"', "\\", 'a="\\a', "a=b ", "Application ", ', a="', ", a=1, a=1", ", {"]
)
def test_time_is_linear(unit: str) -> None:
    """The longest hostile line is read or refused in a small fraction of a second."""
    start = time.process_time()
    for end in ("{", ", {, Basic"):
        with pytest.raises(HeaderError):
            parse_challenges(["Basic " + unit * ((MAX_LENGTH - 20) // len(unit)) + end])
    assert time.process_time() - start < 5  # quadratic would be minutes


def test_repr_shows_no_challenge_data() -> None:
    """Challenge data is not printed, since it may be secret."""
    assert "7777" not in repr(parse_challenges(['Application Token x7777 n="7777"']))
