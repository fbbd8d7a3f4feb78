"""Apache and nginx as judges of htpasswd files: each answers whether a name and password let a client in."""

from __future__ import annotations

import http.client
import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.process import LOOPBACK, free_port, running

_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"

_APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
Mutex posixsem
Listen {port}
ErrorLog {folder}/apache-error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
StartServers 1
MaxKeepAliveRequests 0
KeepAliveTimeout 60
LimitRequestFieldSize 32768
DocumentRoot {folder}/www
<Directory {folder}/www>
    AuthType Basic
    AuthName test
    AuthUserFile {folder}/users
    Require valid-user
</Directory>
"""

_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000;
    large_client_header_buffers 4 32k;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/www;
        location / {{
            auth_basic test;
            auth_basic_user_file {folder}/users;
        }}
    }}
}}
"""


@dataclass
class Judge:
    """A server that reads the htpasswd file at each request.

    Args:
        name: ``apache`` or ``nginx``.
        connection: a connection to it.
    """

    name: str
    connection: http.client.HTTPConnection

    def lets_in(self, name: str, password: str) -> bool:
        """Return whether the server takes a name and password."""
        credentials = b64encode(f"{name}:{password}".encode()).decode()
        self.connection.request("GET", "/index.html", headers={"Authorization": f"Basic {credentials}"})
        response = self.connection.getresponse()
        response.read()
        if response.status not in {200, 401, 403, 500}:
            raise AssertionError(f"{self.name} answers {response.status}")
        return response.status == 200


@dataclass
class Judges:
    """Both servers and the file that they read.

    Args:
        users: the htpasswd file.
        apache: Apache.
        nginx: nginx.
    """

    users: Path
    apache: Judge
    nginx: Judge

    def write(self, text: str) -> None:
        """Replace the htpasswd file."""
        new = self.users.with_name("new")
        new.write_bytes(text.encode())
        new.chmod(0o644)
        new.replace(self.users)


@contextmanager
def judges() -> Iterator[Judges]:
    """Run Apache and nginx on free loopback ports."""
    folder = Path(tempfile.mkdtemp(prefix="htpasswd-"))
    folder.chmod(0o755)  # the servers' workers may run as another user
    try:
        (folder / "www").mkdir()
        (folder / "www" / "index.html").write_text("in")
        (folder / "users").touch()
        ports = {"apache": free_port(), "nginx": free_port()}
        apache, nginx = (shutil.which(program, path=_PATH) for program in ("apache2", "nginx"))
        if apache is None or nginx is None:
            raise AssertionError("apache2 and nginx must be installed: run tools/system-packages")
        user = "user root;" if os.getuid() == 0 else ""
        values = {"folder": folder, "modules": "/usr/lib/apache2/modules", "user": user}
        (folder / "apache.conf").write_text(_APACHE.format(port=f"{LOOPBACK}:{ports['apache']}", **values))
        (folder / "nginx.conf").write_text(_NGINX.format(port=ports["nginx"], **values))
        commands: dict[str, list[str | Path]] = {
            "apache": [apache, "-f", folder / "apache.conf", "-DFOREGROUND"],
            "nginx": [nginx, "-p", folder, "-c", folder / "nginx.conf"],
        }
        with (
            running(commands["apache"], port=ports["apache"], log=folder / "apache.log"),
            running(commands["nginx"], port=ports["nginx"], log=folder / "nginx.log"),
        ):
            connections = {name: http.client.HTTPConnection(LOOPBACK, port, timeout=30) for name, port in ports.items()}
            found = {name: Judge(name, connection) for name, connection in connections.items()}
            yield Judges(folder / "users", found["apache"], found["nginx"])
            for connection in connections.values():
                connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
