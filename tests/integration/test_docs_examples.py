"""Examples of the documentation that need a server of their own, run as they stand but for names and ports."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.process import LOOPBACK, free_port, running

ROOT = Path(__file__).parents[2]
HOST = "gateway.example.com"
USERS = (ROOT / "example_app" / "users.yaml").read_text()
GATEWAY = """
security:
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
services:
  - {name: who, accept: /who, realm-name: demo}
"""

DJANGO = """
import sys
from django.conf import settings

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="only for tests", USE_TZ=True)
from django.http import HttpResponse
from django.urls import path


async def who(request):
    return HttpResponse(request.scope["user"].display_name)


urlpatterns = [path("who", who), path("other", who)]
"""


def block(page: str, info: str) -> str:
    """The only code block of a page with these words behind its fence."""
    text = (ROOT / "docs" / page).read_text()
    (found,) = re.findall(rf"^```{info}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration and users."""
    (tmp_path / "gateway.yaml").write_text(GATEWAY)
    (tmp_path / "users.yaml").write_text(USERS)
    return tmp_path


def test_django(folder: Path) -> None:
    """The example for Django challenges, names the user to the view, and refuses paths that no service accepts."""
    (folder / "main.py").write_text(DJANGO + block("how-to/frameworks.md", "python django"))
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port), "--lifespan", "on"]
    with running(command, port=port, log=folder / "log", name="uvicorn", cwd=folder, env={"PYTHONPATH": str(ROOT)}):
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False) as client:
            assert client.get("/who").status_code == 401
            answer = client.get("/who", auth=("joe", "welcome"))
            assert (answer.status_code, answer.text) == (200, "joe")
            assert client.get("/other", auth=("joe", "welcome")).status_code == 403


def test_a_program_with_a_keystore(folder: Path) -> None:
    """The program of keystores.md serves https with the keystore's certificate for the host."""
    certificate = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST} -keyout key.pem -out site.pem"
    store = "openssl pkcs12 -export -in site.pem -inkey key.pem -name server -passout pass:changeit -out keystore.p12"
    for command in (f"{certificate} -addext subjectAltName=DNS:{HOST}", store):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    (folder / "keystore.pw").write_text("changeit\n")
    (folder / "app.py").write_text(
        "from asgi_gateway import GatewayMiddleware\n"
        "from starlette.applications import Starlette\n"
        'app = GatewayMiddleware(Starlette(), "gateway.yaml")\n'
    )
    port = free_port()
    (folder / "serve.py").write_text(block("reference/keystores.md", "python").replace("8443", str(port)))
    serve = [sys.executable, "serve.py"]
    env = {"PYTHONPATH": str(ROOT)}
    with running(serve, port=port, log=folder / "log", name="serve.py", cwd=folder, env=env):
        tls = ssl.create_default_context(cafile=str(folder / "site.pem"))
        with httpx.Client(verify=tls, trust_env=False) as client:
            extensions = {"sni_hostname": HOST}
            assert client.get(f"https://{LOOPBACK}:{port}/who", extensions=extensions).status_code == 401
            answer = client.get(f"https://{LOOPBACK}:{port}/who", auth=("joe", "welcome"), extensions=extensions)
            assert answer.status_code == 404  # the application has no pages; the gateway let joe in
