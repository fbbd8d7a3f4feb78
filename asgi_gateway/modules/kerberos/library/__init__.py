"""Implement Kerberos for the login modules with MIT's libraries.

Files that need the ``gssapi`` package (extra ``kerberos``) import it at their top. The login modules import those files
when they are built, so that a gateway without Kerberos runs without the package.
"""
