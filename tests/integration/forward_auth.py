"""What holds behind every proxy that asks the gateway. Each proxy's tests are a class made of this one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.checks import ANN, JOE, WRONG, Site
from tests.integration.process import LOOPBACK, free_port

BASIC = {"Authorization": "Basic am9lOndlbGNvbWU="}
ORIGIN = "http://gateway.example"


Start = Callable[[Path, int, int], AbstractContextManager[Site]]


class ForwardAuthTests:
    """Tests that need a fixture ``site``."""

    start: Start
    """Starts the proxy, given a folder and the ports of the gateway and of the back end."""
    passes_all = True
    """Whether every response passes, with all lines of a header."""

    def test_a_gateway_that_is_down_lets_nobody_in(self, site: Site, tmp_path: Path) -> None:
        """Where nobody answers the check, public paths are closed too."""
        with type(self).start(tmp_path, free_port(), site.application) as other:
            assert other.ask("/public/page", JOE).status in (500, 502, 503)

    def test_decisions(self, site: Site) -> None:
        """Public paths are open, others ask for a login; a wrong password is refused."""
        assert site.ask("/public/page?a=b").told["path"] == "/public/page"
        refused = site.ask("/private/page")
        assert (refused.status, refused.body != b"") == (401, True)
        assert refused.all("www-authenticate") == ['Basic realm="demo", charset="UTF-8"']
        assert site.ask("/private/page", WRONG).status == 401
        assert site.ask("/private/page", JOE, JOE).status in (400, 403)

    def test_the_back_end_is_told_who_it_is(self, site: Site) -> None:
        """The user and the roles arrive, the password does not, and the target is the client's, byte for byte."""
        reply = site.ask("/private/p%C3%A4th?a=%2F..%2F;b&c=d", JOE)
        assert (reply.passed("x-user"), reply.passed("x-roles")) == (["joe"], ["AUTHORIZED"])
        assert (reply.told["path"], reply.told["query"]) == ("/private/p%C3%A4th", "a=%2F..%2F;b&c=d")
        assert reply.passed("authorization") == []
        assert reply.passed("host") == ["gateway.example"]

    def test_the_last_token_reaches_the_client(self, site: Site) -> None:
        """A login with Negotiate ends with a token on the page; an unusual name arrives in its one encoding."""
        reply = site.ask("/steps/page", "Authorization: Negotiate Zmlyc3Q=\r\n")
        assert reply.all("www-authenticate") == ["Negotiate bGFzdA=="]
        assert reply.passed("x-user") == ["{http.request.host} Zo%C3%AB%2C 100%25"]

    def test_several_challenges(self, site: Site) -> None:
        """Each challenge is a line of its own, where the proxy passes them all."""
        challenges = site.ask("/steps/page").all("www-authenticate")
        assert challenges[0] == "Negotiate"
        assert len(challenges) == (2 if self.passes_all else 1)

    def test_a_directory_that_is_down(self, site: Site) -> None:
        """The client is told when to come again, or at least that it may not come in: never an error of the proxy."""
        reply = site.ask("/down/page", JOE)
        assert reply.status == (503 if self.passes_all else 403)
        assert reply.all("retry-after") == (["7"] if self.passes_all else [])

    def test_bodies_pass(self, site: Site) -> None:
        """A POST reaches the back end with its body, of which the gateway saw nothing; a refused one ends at once."""
        reply = site.ask("/private/page", JOE, method="POST", body="a" * 100_000)
        assert (reply.told["method"], reply.all("x-received")) == ("POST", ["100000"])
        assert site.ask("/private/page", method="POST", body="a" * 10).status == 401

    def test_sessions(self, site: Site) -> None:
        """A login begins a session: its cookie reaches the client with the page, and is enough from then on."""
        first = site.ask("/private/page", JOE)
        (cookie,) = first.all("set-cookie")
        line = f"Cookie: {cookie.partition(';')[0]}\r\n"
        again = site.ask("/private/page", line)
        assert again.passed("x-user") == ["joe"]
        assert again.all("set-cookie") == []
        own = "Origin: http://gateway.example\r\n"
        assert site.ask("/private/;o", line, "Origin: http://evil.example\r\n", method="POST").status == 403
        assert site.ask("/private/;o", line, own, "Connection: close\r\n", method="POST").status == 204
        assert site.ask("/private/page", line).status == 401

    @pytest.mark.parametrize(
        "name", ["X-User", "x-user", "X_User", "X.User", "x_uSER", "X-Roles", "X_Roles", "X.ROLES"]
    )
    @pytest.mark.parametrize("target", ["/public/page", "/private/page"])
    def test_clients_cannot_say_who_they_are(self, site: Site, target: str, name: str) -> None:
        """An identity header of the client's own does not arrive under any alias, with a login or without."""
        lines = [f"{name}: root\r\n", f"{name}: admin\r\n", *([JOE] if target == "/private/page" else [])]
        reply = site.ask(target, *lines)
        if reply.status != 400:  # some proxies refuse such names
            known = ["joe"] if target == "/private/page" else []
            assert reply.passed("x-user") == known
            assert reply.passed("x-roles") == (["AUTHORIZED"] if known else [])

    def test_connection_cannot_remove_who_it_is(self, site: Site) -> None:
        """Headers that the client lists in Connection are still told to the back end."""
        for value in (
            "close, X-User",
            "X-User, X-Roles",
            "keep-alive, X-Original-URI, X-Forwarded-Uri, X-Forwarded-For",
        ):
            reply = site.ask("/private/page", JOE, f"Connection: {value}\r\n")
            assert (reply.passed("x-user"), reply.passed("x-roles")) == (["joe"], ["AUTHORIZED"])

    @pytest.mark.parametrize(
        "line",
        [
            *(
                "X-Original-URI: /public",
                "X_Original_URI: /public",
                "X-Original-URL: /public",
                "X-Rewrite-URL: /public",
            ),
            *("X-Forwarded-Uri: /public", "X-Forwarded-Path: /public", "X-Forwarded-Prefix: /public"),
            *("X-Envoy-Original-Path: /public", "X-Forwarded-Method: OPTIONS", "X-Original-Method: OPTIONS"),
            *("X-HTTP-Method-Override: OPTIONS", "X-Forwarded-Host: open.example", "Forwarded: host=open.example"),
        ],
    )
    def test_clients_cannot_say_what_they_ask_for(self, site: Site, line: str) -> None:
        """A client's header under the name of any proxy's opens nothing, and breaks nothing."""
        assert site.ask("/private/page", f"{line}\r\n").status == 401
        assert site.ask("/private/page", f"{line}\r\n", f"{line}\r\n").status == 401
        assert site.ask("/private/page", f"{line}\r\n", JOE).passed("x-user") == ["joe"]

    @pytest.mark.parametrize("claimed", ["192.0.2.1", "192.0.2.1, 127.0.0.1", "unknown"])
    def test_clients_cannot_choose_their_address(self, site: Site, claimed: str) -> None:
        """The audit log has the client's address, whatever the client says."""
        lines = [f"X-Forwarded-For: {claimed}\r\n", f"Forwarded: for={claimed}\r\n", "X-Real-IP: 192.0.2.1\r\n"]
        assert site.ask("/private/page", *lines).status == 401
        assert site.last_event["peer"] == LOOPBACK

    def test_the_scheme_is_the_proxys(self, site: Site) -> None:
        """A client cannot pass for one with TLS: the cookie of its session is not Secure."""
        (cookie,) = site.ask("/private/page", ANN, "X-Forwarded-Proto: https\r\n").all("set-cookie")
        assert "Secure" not in cookie

    @pytest.mark.parametrize(
        "target",
        [
            *("/public/../private", "/public/%2e%2e/private", "/public/..%2fprivate", "/public%2f..%2fprivate"),
            *("/public/..;/private", "/public;/../private", "/public;x=y", "//private", "/public//../private"),
            *("/public/%5c../private", "/public/.%2e/private", "/public/%252e%252e/private", "/%2e/private"),
            *("/public/\\../private", "/public/%c0%ae%c0%ae/private", "/public%00/../private", "/private#/../public"),
            *("/private/%2e%2e/public", "/private/../public", "/public/./../private/."),
        ],
    )
    def test_paths_with_two_readings_are_refused(self, site: Site, target: str) -> None:
        """Whatever the proxy or the back end make of it, no path that is not canonical gets to the back end."""
        assert site.ask(target).status in (400, 401, 403)

    @pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "DELETE", "PROPFIND"])
    def test_methods_open_nothing(self, site: Site, method: str) -> None:
        """Every method needs the login."""
        page = ["Origin: http://gateway.example\r\n", "Access-Control-Request-Method: GET\r\n"]
        assert site.ask("/private/page", *page, method=method).status in (401, 405)

    def test_pages_of_other_origins_change_nothing(self, site: Site) -> None:
        """The method of the original request is what the rule on cross-site requests sees."""
        page = "Origin: http://evil.example\r\n"
        assert site.ask("/private/page", JOE, page, method="POST", body="x").status == 403
        assert site.ask("/private/page", JOE, page).status == 200
        own = "Origin: http://gateway.example\r\n"
        assert site.ask("/private/page", JOE, own, method="POST", body="x").status == 200

    def test_absolute_form(self, site: Site) -> None:
        """A target with scheme and host is decided on by its path."""
        assert site.ask("http://gateway.example/private/page").status == 401
        assert site.ask("http://gateway.example//public/..//private").status in (400, 401, 403)
        assert site.ask("http://gateway.example/private/page", JOE).passed("x-user") == ["joe"]

    def test_the_check_is_no_page(self, site: Site) -> None:
        """The path of the checks is not the client's."""
        for line in ("X-Original-URI: /public\r\n", "X-Forwarded-Uri: /public\r\n"):
            assert site.ask("/gateway-check", line).status in (401, 404)

    def test_sockets(self, site: Site) -> None:
        """A WebSocket of the site's own page opens with a login, and the back end is told who it is."""
        for headers in ({}, {"Connection": "X-User, X-Roles"}, {"X-User": "root", "X_User": "root", "X.User": "root"}):
            told = site.socket("/private/socket", ORIGIN, BASIC | headers)
            names = [(name.lower(), value) for name, value in told["headers"]]
            folded = [value for name, value in names if name.replace("_", "-").replace(".", "-") == "x-user"]
            assert (folded, "authorization" in dict(names)) == (["joe"], False)
            assert [value.lower() for name, value in names if name == "connection"] == ["upgrade"]

    @pytest.mark.parametrize(
        ("origin", "headers", "status"),
        [(ORIGIN, {}, 401), ("http://evil.example", BASIC, 403), ("null", BASIC, 403)],
    )
    def test_sockets_that_are_refused(self, site: Site, origin: str, headers: dict[str, str], status: int) -> None:
        """A WebSocket without a login, or of another origin's page, never opens."""
        with pytest.raises(InvalidStatus) as error:
            site.socket("/private/socket", origin, headers)
        assert error.value.response.status_code == status
