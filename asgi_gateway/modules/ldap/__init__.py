"""The ``ldap`` login module: user names and passwords checked by an LDAP directory, groups as roles."""

from asgi_gateway.modules.ldap.module import LdapLoginModule, LdapPrincipal
from asgi_gateway.modules.ldap.options import LdapOptions

__all__ = ["LdapLoginModule", "LdapOptions", "LdapPrincipal"]
