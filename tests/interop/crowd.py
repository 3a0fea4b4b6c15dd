"""Many users without programs: presence broadcasts from many addresses, so that there is much to list and to sync."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.command import PORT, Command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .rig import Box

IP_TRANSPARENT = 19  # linux/in.h
IP_PKTINFO = 8
PAUSE = 0.001  # as fast as a floor of people that comes to work, and no socket overflows


class Guest(NamedTuple):
    """One of a crowd."""

    address: str
    name: str


class Crowd:
    """Users in the segment of a box's eth0, one for each address. Nobody answers there."""

    def __init__(self, box: Box, addresses: Iterable[str]) -> None:
        self.users = [Guest(address, f"guest {number}") for number, address in enumerate(addresses)]
        self._box = box

    def come(self) -> None:
        """Each of them says once that it is here."""
        self._say(Command.BR_ENTRY)

    def rename(self) -> None:
        """All of them at once."""
        self.users = [Guest(address, f"re{name}") for address, name in self.users]
        self._say(Command.BR_ABSENCE)

    def leave(self) -> None:
        """Each says good-bye."""
        self._say(Command.BR_EXIT)

    def _say(self, command: Command) -> None:
        said = [
            (address, words(command, f"u{number}", f"host{number}", name))
            for number, (address, name) in enumerate(self.users)
        ]
        self._box.namespace.call(_broadcast, said)


def farewell(box: Box, address: str, logon: str, host: str) -> None:
    """Say BR_EXIT for a client that has ended without."""
    box.namespace.call(_broadcast, [(address, words(Command.BR_EXIT, logon, host, logon))])


def words(command: Command, logon: str, host: str, name: str) -> bytes:
    """A packet such as iptux says it."""
    who = f"{logon}:{host}:{command | 0x100}:{name}"
    return f"1_iptux 0.8.3:{int(command)}:{who}\0crowd\0icon-tux.png\0utf-8\0".encode()


def _broadcast(said: Iterable[tuple[str, bytes]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
        speaker.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        speaker.bind(("0.0.0.0", PORT))
        card = socket.if_nametoindex("eth0")
        for address, packet in said:
            source = struct.pack("i4s4s", card, socket.inet_aton(address), b"\0\0\0\0")
            speaker.sendmsg([packet], [(socket.SOL_IP, IP_PKTINFO, source)], 0, ("255.255.255.255", PORT))
            time.sleep(PAUSE)
