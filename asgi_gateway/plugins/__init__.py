"""The contracts that plugin authors use: login modules, challenge schemes, state stores and their options."""

from __future__ import annotations

from asgi_gateway.plugins.clock import Clock, SystemClock
from asgi_gateway.plugins.login_module import (
    SHARED_NAME,
    SHARED_PASSWORD,
    ControlFlag,
    LoginAttempt,
    LoginModule,
    ModuleContext,
)
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions, parse_boolean, parse_duration
from asgi_gateway.plugins.password_login import PasswordLoginModule, PasswordOptions
from asgi_gateway.plugins.replay import CLOCK_MARGIN, ReplayGuard
from asgi_gateway.plugins.scheme import ChallengeScheme, UserNamePassword
from asgi_gateway.plugins.state_store import ExpiringState, Listing, MessageLog, Partition, PositionLost, StateStore
from asgi_gateway.plugins.user_names import user_name_problem

__all__ = [
    "CLOCK_MARGIN",
    "SHARED_NAME",
    "SHARED_PASSWORD",
    "Boolean",
    "ChallengeScheme",
    "Clock",
    "ControlFlag",
    "ExpiringState",
    "Listing",
    "LoginAttempt",
    "LoginModule",
    "MessageLog",
    "ModuleContext",
    "ModuleOptions",
    "Partition",
    "PasswordLoginModule",
    "PasswordOptions",
    "PositionLost",
    "ReplayGuard",
    "StateStore",
    "SystemClock",
    "UserNamePassword",
    "parse_boolean",
    "parse_duration",
    "user_name_problem",
]
