"""Authenticate with Kerberos: the login modules kerberos5 and gss."""
