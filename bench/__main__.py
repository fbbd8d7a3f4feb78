"""``make bench``: every benchmark, one after the other."""

from __future__ import annotations

import asyncio

from bench import directory, forward_auth, handshake, inprocess, kerberos, proxying, served, sockets, state

inprocess.report("In one process, no sockets (medians of paired ratios)", asyncio.run(inprocess.main()))
asyncio.run(served.main())
asyncio.run(sockets.main())
asyncio.run(directory.main())
asyncio.run(kerberos.main())
asyncio.run(handshake.main())
asyncio.run(proxying.main())
asyncio.run(forward_auth.main())
state.main()
