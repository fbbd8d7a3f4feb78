"""Django with Channels, by the template of Channels' documentation: AuthMiddlewareStack around the WebSockets."""

from __future__ import annotations

import django
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.http import JsonResponse
from django.urls import path, re_path

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    USE_TZ=True,
)
django.setup()


async def who(request: ASGIRequest) -> JsonResponse:
    return JsonResponse({"name": request.scope["user"].display_name})


urlpatterns = [path("who", who), path("public", who)]


class Echo(AsyncWebsocketConsumer):
    """Says who the user is, and whether another connection's mark is on the user."""

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        await self.send(f"{user.display_name or 'nobody'}, {getattr(user, 'mark', 'unmarked')}")
        user.mark = "marked"

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        await self.send(text_data)


app = GatewayMiddleware(
    ProtocolTypeRouter(
        {
            "http": get_asgi_application(),
            "websocket": AuthMiddlewareStack(URLRouter([re_path("^(public|echo)$", Echo.as_asgi())])),
        }
    ),
    CONFIG,
)
