"""Kerberos below the login modules: keytabs, service keys, passwords, names and replays, by way of MIT's libraries.

Files that need the ``gssapi`` package (extra ``kerberos``) import it at their top; the login modules import those files
when they are built, so that a gateway without Kerberos runs without it.
"""
