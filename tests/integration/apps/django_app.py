"""Django over ASGI: the user stands in ``request.scope``; Django itself serves no WebSockets."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import JsonResponse
from django.urls import path

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="only for tests", USE_TZ=True)


async def who(request: ASGIRequest) -> JsonResponse:
    user, auth = request.scope["user"], request.scope["auth"]
    return JsonResponse(
        {"authenticated": user.is_authenticated, "name": user.display_name, "roles": sorted(auth.scopes)}
    )


async def admin(request: ASGIRequest) -> JsonResponse:
    if "ADMINISTRATOR" not in request.scope["auth"].scopes:
        raise PermissionDenied
    return JsonResponse({"name": request.scope["user"].display_name})


urlpatterns = [path("public", who), path("who", who), path("locked", who), path("admin", admin)]

app = GatewayMiddleware(get_asgi_application(), CONFIG)
