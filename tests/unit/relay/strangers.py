"""A relay alone, and single datagrams to it."""

from __future__ import annotations

from camrelay.ipmsg.packet import build
from camrelay.relay.outputs import Datagram, Output
from tests.world import RelayNode, World


def node(**more: object) -> RelayNode:
    relay = RelayNode(World(), ("10.1.1.2", "10.1.2.2"), remote=("10.1.7.*",), **more)
    relay.relay.start(1000.0)
    return relay


def hear(
    relay: RelayNode,
    data: bytes,
    source: str,
    *,
    now: float = 1030.0,
    index: int = 2,
    broadcast: bool = False,
    ttl: int = 64,
) -> list[Output]:
    return relay.relay.receive(Datagram(data, source, 2425, index, broadcast, ttl), now)


def says(mode: int, name: str = "somebody-with-a-usual-name", extra: bytes = b"sales") -> bytes:
    return build(b"1", 7, name.encode(), b"a-usual-host-name", mode, b"nick", extra)
