"""Show people pages where programs get bare refusals: a login page, and pages that refuse and log out.

A refusal of a realm with ``login-page`` keeps its status and its headers, ``WWW-Authenticate`` among them, and carries
a page if a browser navigates. Programs that ask for JSON get problem details (RFC 9457), which say no more than the
status does. All others get what they get without ``login-page``.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from importlib.resources import files

from asgi_gateway.authentication.login_page import LoginPageSettings
from asgi_gateway.authentication.realm import Realm, came_over_tls
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.endpoints.form_body import FormError, Receive, read_form
from asgi_gateway.endpoints.login_state import FormState, LoginStates
from asgi_gateway.endpoints.navigation import (
    made_by_own_page,
    navigates,
    safe_query,
    url_path,
    wants_problem_details,
)
from asgi_gateway.endpoints.page_html import Button, Form, Kind, Link, Page, PageWriter
from asgi_gateway.endpoints.page_texts import choose_language
from asgi_gateway.endpoints.responses import response_to
from asgi_gateway.errors import HeaderError
from asgi_gateway.gateway import Gateway
from asgi_gateway.http.headers import basic_value, cookie_header
from asgi_gateway.model import Allow, AuthRequest, Challenge, Forbid, Headers, Refusal, Response, Unavailable
from asgi_gateway.services.routes import Route

__all__ = ["LOG_IN", "LOG_OUT", "SCRIPT", "LoginPages", "login_scheme"]

LOG_IN, SCRIPT, LOG_OUT = "/;l", "/;l.js", "/;o"
"""What follows a service's path in the URLs of the form, of its script, and of the logout."""
_SCRIPT_HEADERS: Headers = ((b"cache-control", b"max-age=3600"), (b"x-content-type-options", b"nosniff"))
_KINDS: dict[str, Kind] = {"basic": "password", "token": "token", "bearer": "token"}
"""What the form asks for, by a scheme's name on the Authorization line."""


def login_scheme(names: tuple[str, ...]) -> str | None:
    """Return the first of some schemes whose credentials a form can ask for; None if there is none.

    Args:
        names: the names on the Authorization line, in the order of the configuration.
    """
    return next((name for name in names if name in _KINDS), None)


class LoginPages:
    """Answers people for the realms of a gateway that have a login page.

    Args:
        gateway: the gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        pages = {each: _RealmPages(gateway, each) for each in gateway.realms if each.settings.login_page is not None}
        self._by_service = {
            service.name: pages[realm]
            for service in gateway.services
            for realm in reversed(service.realms)
            if realm in pages
        }
        self._asking = {
            service.name
            for service in gateway.services
            if len(service.realms) == 1 and service.name in self._by_service
        }
        self._only = next(iter(pages.values())) if len(pages) == 1 else None
        self._script = files("asgi_gateway").joinpath("endpoints", "pages", "login.js").read_bytes()

    def response_to(self, request: AuthRequest, refusal: Refusal) -> Response:
        """Return the response to a refused request, with a page for a person.

        Args:
            request: the request.
            refusal: the decision on it.
        """
        pages = self._by_service.get(refusal.service) if refusal.service else self._only
        bare = response_to(refusal)
        if pages is None or request.protocol != "http":
            return bare
        if navigates(request):
            wrong = isinstance(refusal, Forbid) and refusal.wrong_credentials
            if not wrong and not isinstance(refusal, Challenge):
                return pages.refused(request, refusal, bare)
            # a service with several realms asks for one after the other, which the page cannot do
            return pages.ask(request, bare, wrong=wrong) if refusal.service in self._asking else bare
        return _problem_details(bare) if wants_problem_details(request) else bare

    async def log_in(self, request: AuthRequest, route: Route, receive: Receive, method: str) -> Response | None:
        """Answer the form of a login page; None if the service has none.

        Args:
            request: the request for the page that the person was going to, as the form's URL names it, with GET.
            route: the route of that page.
            receive: gives the form.
            method: the method of the form's own request.
        """
        if (pages := self._asking_pages(route)) is None:
            return None
        if method in ("GET", "HEAD"):  # the address bar still shows it after a wrong password
            return _see_other(request, url_path(request) or "/")
        if method != "POST":
            return Response(status=405, headers=((b"allow", b"GET, HEAD, POST"),), body=b"Method Not Allowed\n")
        return await pages.log_in(request, route, receive)

    def script(self, route: Route, method: str) -> Response | None:
        """Answer a request for the login page's script; None if the service has no login page.

        Args:
            route: the service's route.
            method: the method of the request.
        """
        if self._asking_pages(route) is None:
            return None
        if method not in ("GET", "HEAD"):
            return Response(status=405, headers=((b"allow", b"GET, HEAD"),), body=b"Method Not Allowed\n")
        content_type = "text/javascript; charset=utf-8"
        return Response(status=200, headers=_SCRIPT_HEADERS, body=self._script, content_type=content_type)

    def _asking_pages(self, route: Route) -> _RealmPages | None:
        service = route.service
        return self._by_service.get(service.name) if service.name in self._asking and not service.refusal else None

    def ask_to_log_out(self, request: AuthRequest, route: Route) -> Response | None:
        """Return the page with the button that logs out; None if the service has no page, or nobody navigates.

        Args:
            request: the request, whose path is the service's own.
            route: the service's route.
        """
        pages, request = self._by_service.get(route.service.name), request.replace(protocol="http")
        return pages.ask_to_log_out(request) if pages is not None and navigates(request) else None

    def logged_out(self, request: AuthRequest, route: Route, response: Response | Refusal) -> Response | Refusal:
        """Return what a person sees after a logout by a form; the response of programs for all others.

        Args:
            request: the POST request, whose path is the service's own.
            route: the service's route.
            response: what a program gets.
        """
        pages, request = self._by_service.get(route.service.name), request.replace(protocol="http")
        if pages is None or not navigates(request, ("POST",)):
            return response
        if not isinstance(response, Response):
            return pages.refused(request, response, response_to(response))
        return pages.logged_out(request, response)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A login by the form that did not succeed: the answer to it, and why, by the name of a text."""

    bare: Response
    text: str


class _RealmPages:
    """The pages of one realm."""

    def __init__(self, gateway: Gateway, realm: Realm) -> None:
        if realm.settings.login_page is None or realm.sessions is None:
            raise ValueError("a login page needs its settings, and sessions")
        scheme = login_scheme(tuple(each.wire_name for each in realm.schemes))
        if scheme is None:
            raise ValueError("a login page needs a scheme that a form can ask for")
        self._settings: LoginPageSettings = realm.settings.login_page
        self._realm, self._gateway, self._sessions = realm, gateway, realm.sessions
        self._scheme, self._kind = scheme, _KINDS[scheme]
        self._states = LoginStates(realm.sessions, gateway.clock)
        self._writer = PageWriter(self._settings)
        self._credentials = frozenset(realm.reader.query_parameters)

    # ------------------------------------------------------------------------------------------------------- refusals

    def ask(self, request: AuthRequest, bare: Response, *, wrong: bool = False) -> Response:
        """Return the page that asks a person to log in and goes on to where they were going.

        Args:
            request: the request.
            bare: what programs get.
            wrong: whether the request's own credentials were refused, such as a link's ticket that was used before.
        """
        try:
            query = safe_query(request.query, self._credentials)
        except HeaderError:
            query = ""
        message = f"wrong-{self._kind}" if wrong else ""
        return self._form(request, bare, FormState(query, request.path.endswith("/")), message=message)

    def refused(self, request: AuthRequest, refusal: Refusal, bare: Response) -> Response:
        """Return the page of a refusal that no login changes."""
        texts, language = self._texts(request)
        if bare.status == HTTPStatus.FORBIDDEN:
            cookie, secure = cookie_header(request.headers), came_over_tls(request)
            known = bool(refusal.service) and self._sessions.is_named(cookie, secure=secure)
            link = Link(href=_below_root(request, LOG_OUT), text=texts["sign-out"]) if known else None
            message = texts["forbidden-account" if known else "forbidden"]
            page = Page(
                template="message.html", status=403, heading=texts["forbidden-title"], message=message, link=link
            )
        else:
            name = "too-many" if bare.status == HTTPStatus.TOO_MANY_REQUESTS else "unavailable"
            page = Page(
                template="message.html",
                status=bare.status,
                heading=texts["unavailable-title"],
                message=texts[name].replace("{seconds}", _retry_after(bare)),
                link=Link(href="", text=texts["try-again"]),
            )
        return self._writer.write(page, language, bare.headers)

    def _form(
        self, request: AuthRequest, bare: Response, state: FormState, *, name: str = "", message: str = ""
    ) -> Response:
        texts, language = self._texts(request)
        path = url_path(request).rstrip("/")
        sealed, cookies = self._states.issue(request, path, state)
        action, script = (_below_root(request, tail) for tail in (LOG_IN, SCRIPT))
        form = Form(action=action, state=sealed, script=script, kind=self._kind, name=name)
        text = texts[message].replace("{seconds}", _retry_after(bare)) if message else ""
        page = Page(template="login.html", status=bare.status, heading=texts["sign-in"], message=text, form=form)
        return self._writer.write(page, language, (*bare.headers, *cookies))

    def _texts(self, request: AuthRequest) -> tuple[dict[str, str], str]:
        settings = self._settings
        language = settings.language or choose_language(request.headers, settings.texts)
        return dict(settings.texts[language]), language

    # --------------------------------------------------------------------------------------------------------- log in

    async def log_in(self, request: AuthRequest, route: Route, receive: Receive) -> Response:
        """Return the answer to a form: the way to where the person was going, or the form anew."""
        try:
            if not made_by_own_page(request):
                return self._denied(request, route, "the login form was not sent by the gateway's own page")
            fields = await read_form(request, receive)
        except HeaderError as error:
            return self._denied(request, route, str(error))
        except FormError as error:
            return self._malformed(request, error.status)
        return await self._check(request, route, fields)

    async def _check(self, request: AuthRequest, route: Route, fields: dict[str, str]) -> Response:
        path = url_path(request).rstrip("/")
        state = self._states.read(request, path, fields.get("state", ""))
        name = _shown(fields.get("username", "")) if self._kind == "password" else ""
        if not state.fresh:
            return await self._anew(request, route, state, name)
        outcome = await self._authenticate(request, route, fields)
        if isinstance(outcome, AuthenticationResult):
            location = path + "/" if state.slash else path
            return _see_other(request, f"{location}?{state.query}" if state.query else location, outcome.headers)
        if wants_problem_details(request):
            return _problem_details(outcome.bare)
        return self._form(request, outcome.bare, state, name=name, message=outcome.text)

    async def _authenticate(
        self, request: AuthRequest, route: Route, fields: dict[str, str]
    ) -> AuthenticationResult | _Failure:
        """Ask the realm, as if a program had sent the same credentials, and begin a session."""
        wrong = f"wrong-{self._kind}"
        inner = request.replace(query=b"", headers=self._headers(request, route, self._authorization(fields)))
        options = LoginOptions(bypass_caches=True, begin_session=False)
        outcome = await self._realm.authenticate(inner, route.service.name, options)
        if isinstance(outcome, AuthenticationResult):
            login = replace(outcome, recycles=True)
            result = await self._realm.begin_session(inner, route.service.name, login)
            if result is not login:
                return result
            return _Failure(response_to(Unavailable(reason="no session")), "login-unavailable")
        bare = response_to(outcome)
        vary = route.service.cache_headers[1:]
        bare = replace(bare, headers=(*bare.headers, *vary))
        if bare.status == HTTPStatus.TOO_MANY_REQUESTS:
            return _Failure(bare, "too-many")
        if isinstance(outcome, Unavailable):
            return _Failure(bare, "login-unavailable")
        problem = outcome.account_problem
        return _Failure(bare, wrong if problem is None else problem.value)

    def _authorization(self, fields: dict[str, str]) -> bytes:
        """Return the Authorization header that carries a form's credentials.

        What none can carry, such as a name with a colon, becomes one that the realm refuses as malformed.
        """
        with suppress(HeaderError, UnicodeEncodeError):
            if self._kind == "password":
                return basic_value(fields.get("username", ""), fields.get("password", "")).encode("ascii")
            return f"{self._scheme} {fields.get('token', '').strip()}".encode("ascii")
        return f"{self._scheme} \0".encode("ascii")

    def _headers(self, request: AuthRequest, route: Route, authorization: bytes) -> Headers:
        """Return a request's headers with these credentials in place of all others."""
        dropped = route.service.credential_headers | {b"authorization"}
        kept = [each for each in request.headers if each[0] not in dropped]
        if cookies := frozenset(self._realm.reader.cookies):
            kept = [(name, _without(value, cookies) if name == b"cookie" else value) for name, value in kept]
        return (*kept, (b"authorization", authorization))

    async def _anew(self, request: AuthRequest, route: Route, state: FormState, name: str) -> Response:
        """Return the answer to a form that counts no more: the form anew, or the way on with a session that lives."""
        decision = await route.decide(request.replace(query=b""))
        if isinstance(decision, Allow):
            location = url_path(request) or "/"
            return _see_other(request, f"{location}?{state.query}" if state.query else location, decision.headers)
        bare = response_to(decision)
        if wants_problem_details(request):
            return _problem_details(bare)
        if isinstance(decision, Challenge):
            return self._form(request, bare, state, name=name, message="stale")
        return self.refused(request, decision, bare)

    def _denied(self, request: AuthRequest, route: Route, reason: str) -> Response:
        refusal = route.deny(request, reason)
        bare = response_to(refusal)
        return _problem_details(bare) if wants_problem_details(request) else self.refused(request, refusal, bare)

    def _malformed(self, request: AuthRequest, status: int) -> Response:
        bare = Response(status=status)
        if wants_problem_details(request):
            return _problem_details(bare)
        texts, language = self._texts(request)
        page = Page(
            template="message.html",
            status=status,
            heading=texts["bad-request-title"],
            message=texts["bad-request"],
            link=Link(href=_below_root(request, ""), text=texts["try-again"]),
        )
        return self._writer.write(page, language)

    # -------------------------------------------------------------------------------------------------------- log out

    def ask_to_log_out(self, request: AuthRequest) -> Response:
        """Return the page with the button that logs out."""
        texts, language = self._texts(request)
        page = Page(
            template="logout.html",
            status=200,
            heading=texts["sign-out-title"],
            message=texts["sign-out-question"],
            button=Button(action=_below_root(request, LOG_OUT), text=texts["sign-out"]),
        )
        return self._writer.write(page, language)

    def logged_out(self, request: AuthRequest, response: Response) -> Response:
        """Return the way to the site's own page after a logout, or the gateway's."""
        if self._settings.after_logout:
            location = self._settings.after_logout.encode("ascii")
            return Response(status=303, headers=(*response.headers, (b"location", location)))
        texts, language = self._texts(request)
        page = Page(
            template="logout.html",
            status=200,
            heading=texts["signed-out-title"],
            message=texts["signed-out"],
            link=Link(href=_below_root(request, ""), text=texts["sign-in-again"]),
        )
        return self._writer.write(page, language, response.headers)


def _below_root(request: AuthRequest, tail: str) -> str:
    """Return the URL path of a request's own path, without a slash at its end, and something behind it."""
    return _with_root(request, (url_path(request).rstrip("/") + tail) or "/")


def _with_root(request: AuthRequest, path: str) -> str:
    """Return a URL path with the root before it. It begins with one slash: two would name a host."""
    root = url_path(request.replace(path=request.root_path, raw_path=None))
    return "/" + (root + path).lstrip("/")


def _see_other(request: AuthRequest, location: str, headers: Headers = ()) -> Response:
    return Response(status=303, headers=(*headers, (b"location", _with_root(request, location).encode("ascii"))))


def _without(cookie: bytes, names: frozenset[str]) -> bytes:
    """Return a Cookie header without the cookies of some names."""
    pairs = cookie.split(b";")
    return b";".join(each for each in pairs if each.partition(b"=")[0].strip().decode("latin-1") not in names)


def _shown(name: str) -> str:
    """Return the part of a typed name that is shown again."""
    return "".join(filter(str.isprintable, name))[:256]


def _retry_after(response: Response) -> str:
    return next((value.decode("ascii") for name, value in response.headers if name == b"retry-after"), "5")


def _problem_details(bare: Response) -> Response:
    """Return a response with problem details (RFC 9457) that say no more than its status does."""
    body = {"type": "about:blank", "title": HTTPStatus(bare.status).phrase, "status": bare.status}
    return replace(bare, body=json.dumps(body).encode() + b"\n", content_type="application/problem+json")
