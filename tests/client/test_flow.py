"""The authentication flow, driven by hand."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.client import (
    BasicChallengeHandler,
    ChallengeHandler,
    ChallengeResponse,
    MutualAuthenticationError,
    PasswordAuthentication,
)
from asgi_gateway.client.flow import (
    AskHandler,
    FlowOptions,
    HttpReply,
    SendRequest,
    authenticate,
    run_step,
    run_step_async,
)
from asgi_gateway.client.memory import CredentialMemory, ProtectionSpace
from asgi_gateway.client.urls import origin

URL = "https://host.example/echo"


class Answers(ChallengeHandler):
    """Handles every scheme it was given, each with its own answers, in turn."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {scheme: iter(each if isinstance(each, list) else [each]) for scheme, each in answers.items()}
        self.requests: list[Any] = []

    def can_handle(self, request: Any) -> Any:
        return request.scheme in self.answers

    def handle(self, request: Any) -> Any:
        self.requests.append(request)
        answer = next(self.answers[request.scheme], None)
        return ChallengeResponse(answer) if isinstance(answer, str) else answer


def run(handler: Any, replies: Any, attempts: int = 3, location: str = URL, **options: Any) -> Any:
    """Drive the flow with these replies; returns the headers of every request that was sent."""
    flow = authenticate(handler, location, FlowOptions(max_attempts=attempts, **options))
    sent, replies = [], iter(replies)
    try:
        step = next(flow)
        while True:
            if isinstance(step, AskHandler):
                step = flow.send(run_step(step))
            else:
                assert isinstance(step, SendRequest)
                sent.append(dict(step.headers))
                step = flow.send(next(replies))
    except StopIteration:
        return sent


def space(handler: Any = None, realm: str = "", scheme: Any = "own", location: str = URL) -> Any:
    return ProtectionSpace(origin(location), scheme, realm, handler or Answers())


def reply(status: int, *challenges: Any, location: str = URL, **headers: Any) -> Any:
    lines = [("WWW-Authenticate", challenge) for challenge in challenges]
    return HttpReply(status, [*lines, *((name.replace("_", "-"), value) for name, value in headers.items())], location)


def test_no_credentials_before_a_challenge() -> None:
    """The first request carries nothing, and a reply other than 401 ends the flow."""
    for status in (200, 403, 407, 500):
        assert run(Answers(basic="x"), [reply(status, "Basic realm=a")]) == [{}]


def test_the_strongest_challenge_is_answered_first() -> None:
    """Negotiate goes before Token before others before Basic, in whatever order and lines they stand."""
    handler = Answers(negotiate="n", token="t", basic="b")
    challenges = ("Basic realm=a", "Application Token, Application Negotiate")
    assert run(handler, [reply(401, *challenges), reply(200)]) == [{}, {"Authorization": "n"}]
    handler = Answers(token="t", basic="b")
    assert run(handler, [reply(401, *challenges), reply(200)]) == [{}, {"Authorization": "t"}]
    handler = Answers(basic="b", own="o")
    assert run(handler, [reply(401, "Basic realm=a, Own"), reply(200)]) == [{}, {"Authorization": "o"}]


def test_a_weaker_challenge_is_tried_if_there_is_no_answer() -> None:
    """A handler that gives no answer leaves the weaker challenge; no answer at all ends the flow."""
    refused = reply(401, "Basic realm=a, Negotiate")
    assert run(Answers(negotiate=None, basic="b"), [refused, reply(200)]) == [{}, {"Authorization": "b"}]
    assert run(Answers(negotiate=None, basic=None), [refused]) == [{}]
    assert run(Answers(), [refused]) == [{}]


def test_endless_challenges_end() -> None:
    """After the given number of answers a further 401 is final; 0 attempts answer nothing."""
    answers = [f"a{n}" for n in range(100)]
    refused = [reply(401, "Own")] * 100
    assert len(run(Answers(own=answers), refused)) == 4
    assert len(run(Answers(own=answers), refused, attempts=7)) == 8
    assert len(run(Answers(own=answers), refused, attempts=0)) == 1


def test_the_same_answer_is_not_sent_twice_to_one_challenge() -> None:
    """Credentials that were refused are not sent again, so that no account gets locked."""
    refused = [reply(401, "Basic realm=a")] * 9
    assert len(run(Answers(basic=["same"] * 9), refused)) == 2
    factors = [reply(401, "Basic realm=a"), reply(401, "Basic realm=b"), reply(200)]
    assert len(run(Answers(basic=["same"] * 9), factors)) == 3


def test_attempts_are_counted_for_each_challenge() -> None:
    """A handler learns how often its challenge was refused before."""
    handler = Answers(basic=["1", "2", "3"])
    run(handler, [reply(401, "Basic realm=a"), reply(401, "Basic realm=a"), reply(401, "Basic realm=b"), reply(200)])
    assert [(request.realm, request.attempt) for request in handler.requests] == [("a", 1), ("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/echo", "http://host.example/echo", "https://host.example:444/", "wss://host.example.:443/"],
)
def test_credentials_stay_at_their_origin(elsewhere: str) -> None:
    """A 401 that comes from another host, port or scheme after a redirect is not answered."""
    assert run(Answers(basic="x"), [reply(401, "Basic realm=a", location=elsewhere)]) == [{}]


def test_a_redirect_within_the_origin_is_answered() -> None:
    """A 401 from another path of the same origin is answered, and ws counts as http."""
    moved = reply(401, "Basic realm=a", location="https://host.example:443/other")
    assert len(run(Answers(basic="x"), [moved, reply(101)], location="wss://host.example/echo")) == 2


def test_the_challenge_identity_is_echoed() -> None:
    """Sec-Challenge-Identity goes back with the answer to its challenge, and only with that one."""
    first = reply(401, "Basic realm=a")
    second = reply(401, "Basic realm=b", sec_challenge_identity="opaque")
    third = reply(401, "Basic realm=c")
    sent = run(Answers(basic=["1", "2", "3"]), [first, second, third, reply(200)])
    assert [request.get("Sec-Challenge-Identity") for request in sent] == [None, None, "opaque", None]


def test_malformed_challenges_are_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    """A challenge that cannot be read is left alone and logged."""
    assert run(Answers(basic="x"), [reply(401, 'Basic realm="open')]) == [{}]
    assert "not answered" in caplog.text


@pytest.mark.parametrize(
    "malformed",
    ["Bearer resource_metadata=https://a.example/x", "Digest a=1, a=2", 'Own realm="open', "Negotiate {"],
)
def test_a_malformed_challenge_does_not_hide_a_good_one(malformed: str, caplog: pytest.LogCaptureFixture) -> None:
    """A good challenge in another line is answered, whatever order they are in; the malformed one is logged."""
    for lines in ((malformed, "Basic realm=a"), ("Basic realm=a", malformed)):
        sent = run(Answers(basic="x"), [reply(401, *lines), reply(200)])
        assert sent == [{}, {"Authorization": "x"}]
    assert caplog.text.count("a challenge is not answered") == 2


def test_the_first_credentials_of_a_url_go_first() -> None:
    """The URL's credentials go with the first request; the handler is asked if they are refused."""
    refused = reply(401, "Basic realm=a")
    assert run(Answers(basic="x"), [reply(200)], credentials="url") == [{"Authorization": "url"}]
    sent = run(Answers(basic="x"), [refused, reply(200)], credentials="url")
    assert sent == [{"Authorization": "url"}, {"Authorization": "x"}]


def test_refused_first_credentials_are_not_sent_again() -> None:
    """What was refused unasked is not sent again when the handler gives the same, unless it was a first factor."""
    refused = reply(401, "Basic realm=a")
    assert run(Answers(basic="same"), [refused], credentials="same") == [{"Authorization": "same"}]
    memory = CredentialMemory()
    memory.store(URL, space(), "same")
    assert run(Answers(basic="same"), [refused], memory=memory) == [{"Authorization": "same"}]
    further = reply(401, "Basic realm=b", sec_challenge_identity="1")
    assert len(run(Answers(basic="same"), [further, reply(200)], credentials="same")) == 2


def test_accepted_credentials_answer_the_same_realm_elsewhere() -> None:
    """A later challenge of the same origin, realm and handler is answered without asking; another one is not."""
    memory, handler = CredentialMemory(), Answers(basic=[])
    handler.answers["basic"] = (ChallengeResponse(each, reusable=True) for each in ("one", "two", "three"))
    for location, challenge, expected in (
        ("https://host.example/a/x", "Basic realm=r", "one"),
        ("https://host.example/b/x", "Basic realm=r", "one"),
        ("https://host.example:443/c/x", 'Application Basic realm="r"', "one"),
        ("https://host.example/d/x", "Basic realm=other", "two"),
        ("https://other.example/e/x", "Basic realm=r", "three"),
    ):
        challenged = reply(401, challenge, location=location)
        sent = run(handler, [challenged, reply(200, location=location)], location=location, memory=memory)
        assert sent == [{}, {"Authorization": expected}], location


def test_remembered_credentials_that_are_refused_are_forgotten() -> None:
    """If the realm's remembered credentials are refused, the handler is asked, as for a first attempt."""
    memory, handler = CredentialMemory(), Answers(basic="new")
    memory.store("https://host.example/a/x", space(handler, "r", "basic"), "old")
    sent = run(handler, [reply(401, "Basic realm=r"), reply(401, "Basic realm=r"), reply(200)], memory=memory)
    assert sent == [{}, {"Authorization": "old"}, {"Authorization": "new"}]
    assert [request.attempt for request in handler.requests] == [1]
    assert memory.recall("https://host.example/a/x") is None


def test_the_next_handler_answers_the_next_challenge() -> None:
    """A response can name who continues; where that one cannot, the first handler is asked again."""
    follow_up = Answers(negotiate=["second"])
    first = Answers(negotiate=[ChallengeResponse("first", follow_up)], basic=["fallback"])
    again = reply(401, "Negotiate abc")
    sent = run(first, [reply(401, "Negotiate"), again, reply(401, "Basic realm=a"), reply(200)])
    assert [request.get("Authorization") for request in sent] == [None, "first", "second", "fallback"]


def test_success_is_confirmed_and_failure_is_not() -> None:
    """The last response's check sees the challenges of a reply that accepts the client, and of no other."""
    seen: list[Any] = []

    def handler() -> Answers:
        return Answers(negotiate=[ChallengeResponse("x", confirm=seen.append)])

    run(handler(), [reply(401, "Negotiate"), reply(403, "Negotiate abc")])
    assert seen == []
    run(handler(), [reply(401, "Negotiate"), reply(101, "Negotiate abc")])
    assert seen[0][0].words == ("abc",)


def test_a_server_that_proves_nothing_is_an_error() -> None:
    """The check's error comes out of the flow."""

    def refuse(challenges: Any) -> None:
        raise MutualAuthenticationError("no proof")

    handler = Answers(negotiate=[ChallengeResponse("x", confirm=refuse)])
    with pytest.raises(MutualAuthenticationError):
        run(handler, [reply(401, "Negotiate"), reply(200)])


def test_only_reusable_credentials_that_let_us_in_are_remembered() -> None:
    """Basic's are, a token's are not, nor what was refused; refused ones are forgotten."""
    for response, status, kept in (
        (ChallengeResponse("x", reusable=True), 200, True),
        (ChallengeResponse("x", reusable=True), 403, False),
        (ChallengeResponse("x"), 200, False),
    ):
        memory = CredentialMemory()
        run(Answers(own=[response]), [reply(401, "Own"), reply(status)], memory=memory)
        assert (memory.recall(URL) == "x") is kept
    memory.store(URL, space(), "old")
    assert run(Answers(), [reply(200)], memory=memory) == [{"Authorization": "old"}]
    run(Answers(), [reply(401, "Own")], memory=memory)
    assert memory.recall(URL) is None


def test_credentials_are_cleared_once_sent() -> None:
    """After the request the response holds its credentials no longer."""
    response = ChallengeResponse("secret")
    run(Answers(own=[response]), [reply(401, "Own"), reply(200)])
    assert response.credentials == ""


def test_steps_print_no_secret() -> None:
    """Neither a step with headers nor a question shows credentials."""
    assert "canary" not in repr(SendRequest((("Authorization", "canary"),)))


async def slowly(request: Any) -> Any:
    return PasswordAuthentication("joe", "pw")


def test_a_program_without_loop_can_have_coroutine_handlers() -> None:
    """A coroutine login handler is run to its end."""
    assert len(run(BasicChallengeHandler(slowly), [reply(401, "Basic realm=a"), reply(200)])) == 2


@pytest.mark.anyio
async def test_in_a_loop_plain_handlers_run_in_a_thread() -> None:
    """A plain handler may block without stalling the loop; a coroutine handler is awaited."""
    import threading

    def login(request: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        return PasswordAuthentication("joe", "pw")

    for source in (login, slowly):
        flow = authenticate(BasicChallengeHandler(source), URL)
        next(flow)
        step = flow.send(reply(401, "Basic realm=a"))
        assert isinstance(step, AskHandler)
        answer = await run_step_async(step)
        assert isinstance(answer, ChallengeResponse)
        assert answer.credentials == "Basic am9lOnB3"
        flow.close()
