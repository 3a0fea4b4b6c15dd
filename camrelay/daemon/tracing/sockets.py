"""Sockets of our own, beside the presence socket, for measuring the way to another relay."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

import trio

from camrelay.daemon.tracing.forms import Opened, Sizes
from camrelay.ipmsg.command import PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.daemon.tracing.forms import Window
    from camrelay.trace.facts import Fact

OTHER_PORT: Final = 33434  # of traceroute
CALL_PORTS: Final = range(22224, 22230)  # UDP, of IP Messenger's voice calls


class Sockets:
    """What is done with sockets of our own; tests have another one."""

    def __init__(self) -> None:
        self._ports = trio.Lock()

    def way(self, to: str) -> tuple[str, str]:
        """Our address for what goes to that one, and the gateway it goes through; "" for none."""
        from camrelay.daemon.probes.ways import way

        found = way(to)
        return found.source, found.gateway

    async def tcp(self, to: str, port: int) -> Fact:
        """Try to connect."""
        from camrelay.daemon.probes.tcp import tcp_fact

        return await tcp_fact(to, port)

    async def path(self, to: str, payload: bytes, answers: bool) -> Fact:
        """TTL steps."""
        from camrelay.daemon.probes.hops import Walk, path_fact, walk

        walks: dict[int, Walk] = {}

        async def go(port: int) -> None:
            walks[port] = await walk(to, port, payload)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go, PORT)
            if not answers:  # where other datagrams come farther, a router filters this port
                nursery.start_soon(go, OTHER_PORT)
        return path_fact(walks[PORT], answers, other=walks.get(OTHER_PORT))

    async def sizes(self, to: str, made: Callable[[int], bytes]) -> Sizes:
        """DF datagrams."""
        from camrelay.daemon.probes.mtu import send_sizes

        sent = await send_sizes(to, PORT, made)
        errors = [(row.size, row.mtu, row.by) for row in sent.errors]
        return Sizes(sent.own, sorted(sent.sizes), errors, sorted(sent.answered), sent.why, sent.seconds)

    async def listen(self, nonce: str, window: Window) -> Opened:
        """Each port until something with the nonce came there. One at a time."""
        async with self._ports:
            return await _listen(nonce, window)


async def _listen(nonce: str, window: Window) -> Opened:
    listening: dict[int, trio.socket.SocketType] = {}
    arrived: dict[int, str] = {}
    try:
        for port in CALL_PORTS:
            sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                await sock.bind(("", port))
            except OSError as error:
                sock.close()
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            listening[port] = sock
        window.open()
        with window.scope:
            async with trio.open_nursery() as nursery:
                for port, sock in listening.items():
                    nursery.start_soon(_until_heard, sock, port, nonce.encode(), arrived)
    finally:
        for sock in listening.values():
            sock.close()
    return Opened(list(listening), [port for port in CALL_PORTS if port not in listening], arrived)


async def _until_heard(
    sock: trio.socket.SocketType, port: int, nonce: bytes, arrived: dict[int, str]
) -> None:
    while True:
        data, source = await sock.recvfrom(2048)
        if nonce in data:
            arrived[port] = source[0]
            return


SOCKETS: Final = Sockets()
