"""An identity provider of the tests: keys of all types, their public key set, tokens, and a server for the set."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = 1_800_000_000.0
SECRET = b"s" * 64
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = {"ES256": ec.generate_private_key(ec.SECP256R1()), "ES384": ec.generate_private_key(ec.SECP384R1())}
ED = ed25519.Ed25519PrivateKey.generate()
CLAIMS: Mapping[str, Any] = {"iss": "https://issuer", "aud": "app", "sub": "joe", "exp": NOW + 60, "iat": NOW}


def jwk(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    """The public half of a key, or a secret, as a JSON Web Key."""
    if isinstance(key, bytes):
        return {"kty": "oct", "k": base64.urlsafe_b64encode(key).rstrip(b"=").decode(), **more}
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**{name: value for name, value in made.items() if name != "key_ops"}, **more}


def key_set(*keys: dict[str, Any]) -> str:
    """A JSON Web Key Set."""
    return json.dumps({"keys": keys})


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = None, **changed: Any) -> str:
    """A signed token; a claim that is None is left out."""
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    encoded: str = jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)
    return encoded


class KeyServer:
    """What ``key_server`` serves, and how often it was asked."""

    def __init__(self) -> None:
        self.text = key_set(jwk(RSA, "RS256", kid="one"))
        self.status = 200
        self.location: str | None = None
        self.asked = 0
        self.agents: list[str | None] = []
        self.url = ""


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """A server for a key set on a free loopback port."""
    served = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked += 1
            served.agents.append(self.headers["User-Agent"])
            self.send_response(served.status)
            if served.location:
                self.send_header("Location", served.location)
            self.end_headers()
            self.wfile.write(served.text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
            """Nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/jwks"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
