"""The validated configuration: one model for XML and YAML. Field aliases are the names that files use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from asgi_gateway.config.values import parse_interval, parse_switch
from asgi_gateway.interfaces import ControlFlag

__all__ = [
    "Authentication",
    "Constraint",
    "CrossSiteConstraint",
    "GatewayConfig",
    "LoginModuleConfig",
    "RealmConfig",
    "SecurityConfig",
    "ServiceConfig",
    "StoreConfig",
]

Interval = Annotated[float, BeforeValidator(parse_interval), Field(gt=0)]
Switch = Annotated[bool, BeforeValidator(parse_switch)]


def _dashes(name: str) -> str:
    return name.replace("_", "-")


class Element(BaseModel):
    """Base of all: unknown keys are errors, values stay as they were."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=_dashes, populate_by_name=True, frozen=True, hide_input_in_errors=True
    )


class StoreConfig(Element):
    """``keystore`` and ``truststore``."""

    type: Literal["JKS", "JCEKS", "PKCS12"] | None = None
    file: Path
    password_file: Path | None = None


class LoginModuleConfig(Element):
    """``login-module``. ``time-limit`` is ours: how long the module may take, 30 seconds by default."""

    type: str
    success: ControlFlag
    options: dict[str, Any] = {}
    time_limit: Interval = 30.0


class Authentication(Element):
    """``authentication``."""

    http_challenge_scheme: tuple[str, ...] = Field(min_length=1)
    http_header: tuple[str, ...] = ()
    http_query_parameter: tuple[str, ...] = ()
    http_cookie: tuple[str, ...] = ()
    authorization_mode: Literal["challenge", "recycle"] = "challenge"
    authorization_timeout: Interval | None = None
    session_timeout: Interval | None = None
    login_modules: tuple[LoginModuleConfig, ...] = ()


class RealmConfig(Element):
    """``realm``. ``credential-cache`` is ours: how long a verified credential is remembered; 0 turns it off."""

    name: str = Field(min_length=1)
    description: str = ""
    user_principal_class: tuple[str, ...] = ()
    authentication: Authentication | None = None
    credential_cache: Annotated[float, BeforeValidator(parse_interval), Field(ge=0)] = 30.0


class SecurityConfig(Element):
    """``security``."""

    keystore: StoreConfig | None = None
    truststore: StoreConfig | None = None
    realms: tuple[RealmConfig, ...] = ()


class Constraint(Element):
    """``authorization-constraint``: every ``require-role`` must be held; ``*`` means any authenticated user."""

    require_role: tuple[str, ...] = ()
    require_valid_user: Switch = False


class CrossSiteConstraint(Element):
    """``cross-site-constraint``."""

    allow_origin: str
    allow_methods: str | None = None
    allow_headers: str | None = None
    maximum_age: Interval | None = None


class ServiceConfig(Element):
    """``service``. Several realms (``accept-options/http.realm``) must all succeed, in order."""

    name: str = ""
    description: str = ""
    accept: tuple[str, ...] = Field(min_length=1)
    match_host: Switch = False
    realm_name: tuple[str, ...] = ()
    authorization_constraint: Constraint | None = None
    cross_site_constraint: tuple[CrossSiteConstraint, ...] = ()
    max_authentication_attempts: int = Field(default=0, ge=0, le=100)


class GatewayConfig(Element):
    """The whole file. Without services, the one realm protects everything."""

    security: SecurityConfig = SecurityConfig()
    services: tuple[ServiceConfig, ...] | None = None
