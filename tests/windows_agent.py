"""The dictionaries of the scripted Windows client: signed lists, and what it does for its member master.

Rules of wire 5.3, 6.4, 6.5 and 6.7; those about being a master itself are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import master, signed
from camrelay.ipmsg.command import PORT, Command
from camrelay.ipmsg.ipdict import encode, frame
from tests.scripted import Sent, segment_of
from tests.windows_table import Host, name_of, read_hosts

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.ipmsg.signed import Signed
    from tests.windows import Windows499

POLL = 60.0  # seconds between polls, wire 6.2
WARM_UP = 0.25
FRESH = 10  # seconds: who was heard first hand within them is reported, wire 6.5


class Heard:
    """A dictionary as it was understood: whose it is, and from where (wire 5.3)."""

    __slots__ = ("packet", "proven", "source")

    def __init__(self, packet: Signed, source: str, proven: bool) -> None:
        self.packet = packet
        self.source = source
        self.proven = proven

    @property
    def who(self) -> tuple[int, str, str]:
        return self.packet.number, self.packet.logon, self.packet.host


class Dictionaries:
    """One client's part in signed packets. Its network is ``segment_of`` its address, as all of the world are."""

    def __init__(self, client: Windows499) -> None:
        self.client = client
        self.poll_every = POLL
        self._net = ""  # where it is an agent
        self._duty_since = self._duty = -1.0  # since when, and for how many seconds
        self._asking = False  # between DIR_BROADCAST and DIR_ANSBROAD

    # -- in --------------------------------------------------------------------------------------------------------

    def receive(self, sent: Sent) -> None:
        """One datagram, or what came over TCP."""
        try:
            heard = self._read(signed.parse(sent.data), sent.source)
            if heard is not None:
                self._dispatch(heard)
        except MalformedPacket:
            self.client.ignored["malformed dictionary"] += 1

    def accept(self, sent: Sent) -> None:
        """Over TCP nothing is looked at that is not signed, wire 8."""
        try:
            heard = self._read(signed.parse(sent.data), sent.source)
            if heard is not None and heard.proven:
                self._dispatch(heard)
        except MalformedPacket:
            self.client.ignored["malformed dictionary"] += 1

    def _read(self, packet: Signed, source: str) -> Heard | None:
        """A bad signature spoils the packet; of a good one the address is that in the list, wire 5.3."""
        if b"SIGN" not in packet.fields:
            return Heard(packet, source, proven=False)
        if not self.client.keys.proves(packet):
            return None
        listed = self.client.table.by_name.get(name_of(packet.logon, packet.host))
        return Heard(packet, listed.address if listed else source, proven=True)

    def _dispatch(self, heard: Heard) -> None:
        does: dict[int, Callable[[Heard], None]] = {
            Command.DIR_POLLAGENT: self._pollagent,
            Command.DIR_BROADCAST: self._broadcast,
            Command.DIR_PACKET: self._packet,
            Command.DIR_REQUEST: self._request,
            Command.DIR_AGENTPACKET: self._agentpacket,
        }
        mode = heard.packet.mode
        if mode == Command.ANSLIST_DICT:  # checked against the log and not written there, wire 9.14
            if self._trusts(heard) and not self._seen(heard):
                self._list(heard)
        else:
            if mode in does:
                does[mode](heard)
            self.client.log.add(*heard.who)

    def _trusts(self, heard: Heard, *, by_address: bool = False) -> bool:
        """Whoever signs, unless it is to be strict; for duties the address counts too, wire 6.4."""
        client = self.client
        if not client.master and client.master_strict:
            return False
        if by_address and heard.source != client.master:
            client.ignored["not its master"] += 1
            return False
        if not heard.proven:
            client.ignored["not signed"] += 1
        return heard.proven

    def _seen(self, heard: Heard) -> bool:
        seen = self.client.log.has(*heard.who)
        self.client.ignored["seen before"] += seen
        return seen

    def _list(self, heard: Heard) -> None:
        """NUM must be the length, and not 0; ACT 1 adds by name, anything else removes by place, wire 6.5."""
        fields = heard.packet.fields
        hosts = read_hosts(fields)
        if not hosts or fields.number(b"NUM", 0) != len(hosts):
            self.client.ignored["list of another length"] += 1
            return
        for host, present in hosts:
            if present:
                self.client.take(host)
            else:
                self.client.table.delete(host.place)

    def _unwrap(self, heard: Heard) -> Heard | None:
        inner = self._read(signed.read(master.unwrap(heard.packet.fields)), heard.source)
        return inner if inner is not None and self._trusts(inner) else None

    def _packet(self, heard: Heard) -> None:
        if self._seen(heard):
            return
        inner = self._unwrap(heard)
        if inner is not None and inner.packet.mode == Command.ANSLIST_DICT:
            self._list(inner)

    def _agentpacket(self, heard: Heard) -> None:
        """Outside unsigned: what is inside must be."""
        if self._seen(heard):
            return
        inner = self._unwrap(heard)
        if inner is not None:
            self._packet(inner)

    def _request(self, heard: Heard) -> None:
        """An agent repeats what its master wrapped, to its segment and so to itself."""
        client = self.client
        if not client.master or self._seen(heard):
            return
        self._serve(master.agent(heard.packet.fields))
        inner = self._unwrap(heard)
        if inner is None or inner.packet.mode != Command.DIR_PACKET or not self._net:
            return
        extra = master.wrap(encode(inner.packet.fields))
        content = client.author().write(Command.DIR_AGENTPACKET, client.next_number(), client.clock(), extra)
        to = f"{self._net}.255"
        client.send(frame(content), to)
        own = Sent(client.world.now, client.address, client.address, to, frame(content))
        client.later(0.0, lambda: self.receive(own))

    # -- duties ----------------------------------------------------------------------------------------------------

    def _reject(self, heard: Heard) -> bool:
        """One that uses no master says so to whoever wants an agent, wire 6.5."""
        if not self.client.master:
            self._sign(Command.DIR_AGENTREJECT, heard.source)
            return True
        return self._seen(heard) or not self._trusts(heard, by_address=True)

    def _pollagent(self, heard: Heard) -> None:
        if not self._reject(heard):
            self._take_duty(heard)

    def _broadcast(self, heard: Heard) -> None:
        if self._reject(heard) or not self._take_duty(heard):
            return
        client = self.client
        client.say(Command.NOOPERATION, f"{self._net}.255")
        client.later(WARM_UP, lambda: client.say(Command.BR_ENTRY, f"{self._net}.255", duty=True))
        wait = 4.0 + client.world.random.randint(0, 2047) / 1000
        client.timer("agent", WARM_UP + wait, self._ansbroad)

    def _serve(self, address: str) -> None:
        """The network of TADR is its own one, else the last stays."""
        if segment_of(address) == segment_of(self.client.address):
            self._net = segment_of(address)

    def _take_duty(self, heard: Heard) -> bool:
        asked = master.read_duty(heard.packet.fields)
        self._serve(asked.address)
        if not self._net or segment_of(heard.source) == self._net:
            return False  # a master hears its own network by itself
        self._duty_since, self._duty, self._asking = self.client.world.now, float(asked.seconds), True
        return True

    def _ansbroad(self) -> None:
        now = int(self.client.world.now)
        hosts = [
            listed(host)
            for host in self.client.table
            if segment_of(host.address) == self._net and host.direct + FRESH >= now
        ]
        self._asking = False
        self._sign(Command.DIR_ANSBROAD, self.client.master, master.report(master.Report(hosts, entry=False)))

    def report(self, host: Host, *, entry: bool = False, gone: bool = False) -> None:
        """DIR_EVBROAD of what an agent hears in its network: not of itself, not of the master."""
        client = self.client
        if not client.master or client.master == host.address or host.name == client.name:
            return
        if self._duty < 0 or client.world.now - self._duty_since > self._duty:
            return
        if segment_of(host.address) != self._net or segment_of(client.master) == self._net:
            return
        told = master.Report([listed(host, present=not gone)], entry)
        self._sign(Command.DIR_EVBROAD, client.master, master.report(told))

    def forgets(self, host: Host) -> bool:
        """Does a refresh delete it? While it asks as an agent, only the users of its own network."""
        return not self._asking or segment_of(host.address) == self._net

    # -- out -------------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Every 60 s and at once after start, refresh, new settings and the master's start, wire 6.2."""
        client = self.client
        client.stop("poll")
        if client.master:
            network = master.Network(f"{segment_of(client.address)}.0", 24)
            self._sign(Command.DIR_POLL, client.master, master.poll([network]))
            client.timer("poll", self.poll_every, self.poll)

    def _sign(self, mode: int, to: str, extra: bytes = b"") -> None:
        client = self.client
        client.send(client.author().sign(mode, client.next_number(), client.clock(), extra), to)


def listed(host: Host, *, present: bool = True) -> signed.Host:
    """A list element as it writes one."""
    return signed.Host(
        *(host.logon, host.host, host.status, present, host.address, host.port or PORT),
        *(host.nick, host.group, host.version),
    )
