"""Challenge requests and responses."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.client import ChallengeRequest, ChallengeResponse
from asgi_gateway.client.challenge import then
from asgi_gateway.errors import HeaderError


def test_a_request_is_taken_apart() -> None:
    """The prefix Application is stripped; scheme, realm and parameters are split."""
    request = ChallengeRequest("https://host/echo", 'Application Basic realm="demo, 1"')
    assert (request.scheme, request.realm, request.host) == ("basic", "demo, 1", "host")
    assert request.challenge.application
    assert ChallengeRequest("x://h", "Application Token a b").challenge.words == ("a", "b")


@pytest.mark.parametrize("challenge", ["", "Basic realm=x, Negotiate", "Basic {"])
def test_a_request_holds_one_challenge(challenge: Any) -> None:
    """No challenge, two or a malformed one are refused."""
    with pytest.raises(HeaderError):
        ChallengeRequest("https://host/", challenge)


def test_reprs_show_no_secret() -> None:
    """Neither the location's password, its query, challenge data nor credentials are printed."""
    request = ChallengeRequest("https://joe:canary@host:8/p?t=canary", 'Application Token canary x="canary"')
    assert "canary" not in repr(request)
    assert "host:8/p" in repr(request)
    assert "canary" not in repr(ChallengeResponse("canary"))


def test_credentials_can_be_cleared() -> None:
    """A cleared response holds nothing."""
    response = ChallengeResponse("Basic abc")
    response.clear_credentials()
    assert response.credentials == ""
    assert "cleared" in repr(response)


@pytest.mark.parametrize("credentials", ["a\r\nb: c", "é", "a\x00"])
def test_credentials_cannot_break_the_header(credentials: Any) -> None:
    """Credentials that do not fit a header line are refused."""
    with pytest.raises(ValueError, match="printable") as caught:
        ChallengeResponse(credentials)
    assert credentials not in str(caught.value)


@pytest.mark.anyio
async def test_then_takes_values_and_awaitables() -> None:
    """A function is applied at once to a value and later to an awaitable, and may give an awaitable itself."""

    async def plus(number: int) -> int:
        return number + 1

    def increase(number: int) -> int:
        return number + 1

    assert then(1, increase) == 2
    for function in (increase, plus):
        late: Any = then(plus(1), function)
        assert await late == 3
