"""Run a server in a network namespace of its own, reachable at ports outside of it.

Some servers have fixed ports. Inside of a namespace of its own these are free for each; listening sockets of the
outside are inherited, and what connects to them is passed on to the ports inside. Run as a program::

    unshare -n python namespace.py FD:PORT [FD:PORT ...] -- COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import socket
import struct
import sys

LOOPBACK = "127.0.0.1"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def loopback_up() -> None:
    """Switch the namespace's loopback interface on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until it ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def forward(descriptor: int, port: int) -> asyncio.Server:
    """Pass on what connects to an inherited socket to a port of the namespace."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    return await asyncio.start_server(handle, sock=socket.socket(fileno=descriptor))


async def main(forwards: list[tuple[int, int]], command: list[str]) -> int:
    """Run the command and pass connections on until it ends."""
    loopback_up()
    servers = [await forward(descriptor, port) for descriptor, port in forwards]
    process = await asyncio.create_subprocess_exec(*command)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.terminate)
    code = await process.wait()
    for server in servers:
        server.close()
    return code


if __name__ == "__main__":
    split = sys.argv.index("--")
    pairs = [(int(fd), int(port)) for fd, _, port in (word.partition(":") for word in sys.argv[1:split])]
    sys.exit(asyncio.run(main(pairs, sys.argv[split + 1 :])))
