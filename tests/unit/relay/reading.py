"""A Windows client that reads signed lists, as far as the tests here need it; the whole is in ``tests/windows.py``."""

from __future__ import annotations

from camrelay.ipmsg import signed
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import is_ipdict, parse
from tests.world import Client, Sent, Windows, World


class Reading(Windows):
    """Takes a list that is signed by the key it first saw under that name. ``heard``: classic packets to it alone."""

    def __init__(self, world: World, address: str, nick: str, logon: str = "", host: str = "") -> None:
        super().__init__(world, address, nick, logon, host)
        self.keys: dict[tuple[str, str], object] = {}
        self.lists: list[signed.Signed] = []
        self.letters: list[Sent] = []

    def receive(self, sent: Sent) -> None:
        if is_ipdict(sent.data):
            self.read_list(signed.parse(sent.data), sent)
            return
        super().receive(sent)
        if sent.to == self.address and parse(sent.data).mode not in (Command.BR_ENTRY, Command.ANSENTRY):
            self.letters.append(sent)

    def read_list(self, packet: signed.Signed, sent: Sent) -> None:
        known = self.keys.get(packet.key)
        key = signed.signer(packet, known)  # type: ignore[arg-type]
        assert key is not None
        assert packet.mode == Command.ANSLIST_DICT
        assert len(sent.data) <= signed.LIMIT
        self.keys[packet.key] = key
        self.lists.append(packet)
        for host in signed.hosts(packet.fields):
            if host.present:
                self.listed[host.address] = host.nick
            else:
                self.listed.pop(host.address, None)

    def say(self, to: str, mode: int, body: bytes = b"") -> list[Sent]:
        """Send this; what came back to it alone."""
        self.letters = []
        self.send(self.plain(mode, body), to)
        self.world.run(1)
        return self.letters


def residents(world: World, front: str, count: int) -> list[Client]:
    """Windows users of one segment who started long ago."""
    found: list[Client] = [Windows(world, f"{front}.{n + 10}", f"a{n}") for n in range(count)]
    for client in found:
        client.alive = True
    return found
