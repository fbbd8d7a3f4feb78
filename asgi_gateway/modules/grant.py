"""Define the ``grant`` login module: one more role for every client that the rest of the chain authenticates."""

from __future__ import annotations

from pydantic import Field

from asgi_gateway.model import Grant, RolePrincipal
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import ModuleOptions

__all__ = ["GrantLoginModule", "GrantOptions"]


class GrantOptions(ModuleOptions):
    """Options of ``grant``.

    Args:
        name: the role's name.
    """

    name: str = Field(min_length=1)


class GrantLoginModule(LoginModule):
    """Adds a role and does not authenticate: alone it fails every login (KAAZING ``GrantLoginModule``)."""

    Options = GrantOptions
    authenticates = False
    needs_credentials = True
    cacheable = True

    def __init__(self, options: GrantOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self._grant = Grant((RolePrincipal(options.name),))

    def granted_roles(self) -> frozenset[str]:
        return frozenset((self.options.name,))

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        return self._grant
