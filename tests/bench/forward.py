"""Two forwarders in Python that decide nothing: what trio costs by itself, and what our LAN socket costs.

python -m tests.bench.forward plain|lan PORT TO-ADDRESS TO-PORT
"""

from __future__ import annotations

import socket
import sys

import trio

from camrelay.daemon.lan import Lan
from camrelay.daemon.lansocket import RECEIVE_BUFFER, SO_RCVBUFFORCE, drop_own_broadcasts
from camrelay.relay.outputs import Transmit


async def plain(port: int, address: str, to_port: int) -> None:
    """One await for each datagram, as every tutorial has it."""
    stdlib = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stdlib.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    stdlib.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    drop_own_broadcasts(stdlib)
    sock = trio.socket.from_stdlib_socket(stdlib)
    await sock.bind(("0.0.0.0", port))
    to = (address, to_port)
    while True:
        data, _ = await sock.recvfrom(65536)
        await sock.sendto(data, to)


async def lan(port: int, address: str, to_port: int) -> None:
    """Capped batches in, one Transmit for each out: the daemon without the relay."""
    ours = Lan.open(port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.drain)
        while True:
            ours.send([Transmit(datagram.data, address, to_port) for datagram in await ours.receive()])


if __name__ == "__main__":
    kind, port, address, to_port = sys.argv[1:]
    trio.run({"plain": plain, "lan": lan}[kind], int(port), address, int(to_port))
