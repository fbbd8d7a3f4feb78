"""Tell the requests of people, who are shown pages, from those of programs.

A browser says what a request is for by Sec-Fetch-Mode and Sec-Fetch-Dest (W3C Fetch Metadata), over TLS and on the
browser's own host. Elsewhere Accept has to do: only navigations name ``text/html``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from asgi_gateway.http.headers import query_values
from asgi_gateway.model import AuthRequest
from asgi_gateway.services.origins import OriginRules
from asgi_gateway.services.paths import with_encoded_slashes

__all__ = ["made_by_own_page", "navigates", "safe_query", "url_path", "wants_problem_details"]

_HTML = frozenset((b"text/html", b"application/xhtml+xml"))
_PROBLEM = frozenset((b"application/problem+json", b"application/json"))
_PURPOSES = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
"""Headers of requests that nobody has asked for yet: prefetch and prerender."""
_ENCODED_SLASH = re.compile("%2[fF]")
_UNSAFE_IN_QUERY = re.compile(rb"[^!$&-;=?-Z_a-z~%]")
_LONGEST_QUERY = 4096
_OWN = OriginRules()


def navigates(request: AuthRequest, methods: Iterable[str] = ("GET",)) -> bool:
    """Return whether a browser makes a request to show the answer to a person, in a window of its own.

    Args:
        request: the request.
        methods: the methods that count.
    """
    if request.protocol != "http" or request.method not in methods or not _accepts(request, _HTML):
        return False
    for name, value in request.headers:
        if name == b"sec-fetch-mode" and value != b"navigate":
            return False
        if name == b"sec-fetch-dest" and value != b"document":
            return False
        if name == b"x-requested-with":
            return False
        if name in _PURPOSES and value.lower().startswith((b"prefetch", b"preview", b"prerender")):
            return False
    return True


def wants_problem_details(request: AuthRequest) -> bool:
    """Return whether a request names JSON, or problem details (RFC 9457), among what it accepts."""
    return _accepts(request, _PROBLEM)


def made_by_own_page(request: AuthRequest) -> bool:
    """Return whether a form was sent by a page of the gateway's own origin.

    Sec-Fetch-Site decides where it is sent, since a proxy may rewrite Host; over plain HTTP Origin does. A request with
    neither was not made by a current browser: the form's cookie has to do for it.

    Raises:
        HeaderError: Sec-Fetch-Site, Origin or Host is a duplicate.
    """
    site, origin = request.header(b"sec-fetch-site"), request.header(b"origin")
    if site is not None:
        return site in (b"same-origin", b"none")
    return origin is None or _OWN.allows(request, origin)


def url_path(request: AuthRequest) -> str:
    """Return a request's path as a URL has it, below the root: percent-encoded in one way only.

    Args:
        request: a request whose path is canonical.
    """
    path = request.path
    if request.raw_path is not None and _ENCODED_SLASH.search(request.raw_path.decode("latin-1")):
        path = with_encoded_slashes(path, request.raw_path) or path
    return "%2F".join(quote(part, safe="/:@!$&'()*+,=~-._") for part in _ENCODED_SLASH.split(path))


def safe_query(query: bytes, credentials: frozenset[str]) -> str:
    """Return a query for a Location header, without the parameters that carry credentials.

    Args:
        query: the query as it was sent.
        credentials: the names of those parameters.

    Returns:
        the query in visible ASCII; empty if it is too long to be kept.
    """
    if len(query) > _LONGEST_QUERY:
        return ""
    if credentials:
        query = b"&".join(field for field in query.split(b"&") if not query_values(field, credentials))
    return _UNSAFE_IN_QUERY.sub(lambda found: b"%%%02X" % ord(found[0]), query).decode("ascii")


def _accepts(request: AuthRequest, types: frozenset[bytes]) -> bool:
    """Return whether Accept names one of some media types, and not with the weight 0 (RFC 9110 section 12.5.1)."""
    for name, value in request.headers:
        if name != b"accept":
            continue
        for each in value.lower().split(b","):
            media_type, _, parameters = each.partition(b";")
            if media_type.strip() in types and not re.search(rb"(^|;)\s*q=0(\.0*)?\s*(;|$)", parameters):
                return True
    return False
