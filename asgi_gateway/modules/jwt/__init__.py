"""The ``jwt`` login module: JSON Web Tokens (RFC 7519) of an identity provider. Needs the extra ``jwt``."""

from asgi_gateway.modules.jwt.module import JwtLoginModule, JwtOptions

__all__ = ["JwtLoginModule", "JwtOptions"]
