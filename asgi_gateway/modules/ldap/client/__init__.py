"""LDAP directories, below the login modules that ask them: addresses, TLS, pooled connections, failover, groups."""
