"""``make bench``: every benchmark, one after the other."""

from __future__ import annotations

import asyncio

from bench import bench_kerberos, bench_ldap, handshake, inprocess, served, state

inprocess.report("In one process, no sockets (medians of paired ratios)", asyncio.run(inprocess.main()))
asyncio.run(served.main())
asyncio.run(bench_ldap.main())
asyncio.run(bench_kerberos.main())
asyncio.run(handshake.main())
state.main()
