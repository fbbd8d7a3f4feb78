"""The application. It has no authentication code: the last line puts the gateway in front of it."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_gateway import GatewayMiddleware
from example_app.tickets import issue_ticket

HERE = Path(__file__).parent
CHAT: set[WebSocket] = set()


async def home(request: Request) -> Response:
    """The public page."""
    return FileResponse(HERE / "static" / "index.html")


async def home_without_scripts(request: Request) -> Response:
    """Lead back to the public page: without scripts its forms come here, and no password is in a URL."""
    return RedirectResponse("/", status_code=303)


async def who(request: Request) -> Response:
    """Tell the user who they are, and why they were let in."""
    gateway = request.scope["asgi_gateway"]
    return JSONResponse(
        {
            "user": request.user.display_name,
            "roles": sorted(request.user.roles),
            "service": gateway.service,
            "realm": gateway.realm,
            "because": f"the chain of realm {gateway.realm} let {request.user.display_name} in, "
            f"and every role that service {gateway.service} requires is held",
        }
    )


async def ticket(request: Request) -> Response:
    """Trade a login for a ticket, with which a script may open one WebSocket."""
    return JSONResponse({"ticket": issue_ticket(request.user.display_name, request.user.roles)})


async def echo(socket: WebSocket) -> None:
    """Send each message back."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(f"{socket.user.display_name}: {await socket.receive_text()}")
    except WebSocketDisconnect:
        pass


async def chat(socket: WebSocket) -> None:
    """Send each message to everyone in the chat."""
    await socket.accept()
    CHAT.add(socket)
    try:
        while True:
            text = await socket.receive_text()
            for other in tuple(CHAT):
                try:
                    await other.send_text(f"{socket.user.display_name}: {text[:500]}")
                except (RuntimeError, WebSocketDisconnect):
                    CHAT.discard(other)
    except WebSocketDisconnect:
        pass
    finally:
        CHAT.discard(socket)


async def chat_page(request: Request) -> Response:
    """The chat's page; once it is shown, the browser sends the same credentials with its WebSocket."""
    return FileResponse(HERE / "static" / "chat.html")


async def inside(request: Request) -> Response:
    """A page whose logins happen inside it, with the gateway's client for browsers."""
    return FileResponse(HERE / "static" / "inside.html")


api = Starlette(
    routes=[
        Route("/", home),
        Route("/", home_without_scripts, methods=["POST"]),
        Route("/basic", who),
        Route("/basic/ticket", ticket, methods=["POST"]),
        Route("/admin", who),
        Route("/page/api/who", who),
        Route("/page/api/ticket", ticket, methods=["POST"]),
        Route("/session/who", who),
        Route("/ticket", who),
        WebSocketRoute("/ticket/echo", echo),
        WebSocketRoute("/echo", echo),
        Route("/chat", chat_page),
        WebSocketRoute("/chat/socket", chat),
        Route("/inside", inside),
        WebSocketRoute("/inside/chat", chat),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
)

app = GatewayMiddleware(api, HERE / "gateway.yaml")
