"""``make bench``: every benchmark, one after the other."""

from __future__ import annotations

import asyncio

from bench import bench_ldap, inprocess, kerberos, served

inprocess.report("In one process, no sockets (medians of paired ratios)", asyncio.run(inprocess.main()))
asyncio.run(served.main())
asyncio.run(bench_ldap.main())
asyncio.run(kerberos.main())
