"""A fleet in the ``World``: relays, the lines between them (``fleet_lines``), and their disks (``fleet_disk``)."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from itertools import combinations
from typing import TYPE_CHECKING, Any

from camrelay.relay.outputs import Tell
from camrelay.relay.user import plain
from tests.fleet_disk import Disk
from tests.fleet_lines import End, Line
from tests.scripted import Sent, segment_of
from tests.world import RelayNode, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from camrelay.relay.messages import PeerMessage, RelayId
    from camrelay.relay.outputs import Output
    from camrelay.relay.user import SavedUser

Key = tuple[str, str]


def relay_id(name: str) -> RelayId:
    """What stands for the hash of a peer key. Where it sorts has nothing to do with the name."""
    return sha256(name.encode()).hexdigest()


class FleetNode(RelayNode):
    """A relay of a fleet."""

    def __init__(self, fleet: Fleet, addresses: tuple[str, ...], **more: Any) -> None:
        self.fleet = fleet
        self.disk = Disk(fleet.world)
        super().__init__(fleet.world, addresses, **more)
        self.id = relay_id(self.settings.name)
        self.ends: dict[RelayId, End] = {}

    def __repr__(self) -> str:
        return self.settings.name

    def enlist(self) -> None:
        self.act(self.relay.enlist(self.id, self.fleet.members(self), self.clock))
        for told in self.disk.told():
            self.relay.restore_peer(told.peer, told.rows, told.age, self.clock)

    def start(self, saved: list[SavedUser] | None = None) -> None:
        super().start(saved)
        for end in self.ends.values():
            end.call_soon()

    def restart(self, *, lost: float = 0.0) -> None:
        """Again, with what is on its disk but for the last ``lost`` seconds."""
        self.disk.lose(self.world.now - lost)
        self.start(self.disk.users())

    def kill(self) -> list[SavedUser]:
        """kill -9: its peers learn it at once. Returns what its disk says of its own users (see ``disk``)."""
        return self._stop(closes=True)

    def power_cut(self, lost: float = 0.0) -> list[SavedUser]:
        """Its peers hear nothing any more; the last ``lost`` seconds of commits are gone."""
        self.disk.lose(self.world.now - lost)
        return self._stop(closes=False)

    def _stop(self, *, closes: bool) -> list[SavedUser]:
        for end in self.ends.values():
            end.die(closes)
        self.running = False
        return self.disk.users()

    def jump(self, seconds: float) -> None:
        """Its monotonic clock leaps ahead."""
        self.ahead += seconds
        if self.running:
            self.act(self.relay.tick(self.clock))

    def act(self, outputs: list[Output]) -> None:
        others: list[Output] = []
        for output in outputs:
            if isinstance(output, Tell):
                end = self.ends[output.peer]
                assert end.session, f"{self} tells {end.other.node}, to whom it has no session"
                end.send(output.message)
            else:
                self.disk.write(output, self.clock)
                others.append(output)
        super().act(others)

    def online(self) -> dict[Key, tuple[str, str, str]]:
        """Whom it takes for present, wherever: key to address, nick and group. Relays are left out."""
        return {
            plain((row.logon.casefold(), row.host.casefold())): (row.address, row.nick, row.group)
            for row in self.relay.users(self.clock)
            if row.state == "online" and row.kind != "camrelay"
        }


class Fleet:
    """Relays that know each other, the lines between them, and a record of what they said.

    ``latency`` is that of each line one way, ``jitter`` the part of it that a message may take longer;
    ``checked`` carries every message as the bytes of ``daemon.wire``.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        latency: float = 0.01,
        jitter: float = 0.5,
        checked: bool = False,
        kind: type[FleetNode] = FleetNode,
    ) -> None:
        self.world = World(seed=seed, routed=self._routed)
        self.chance = self.world.random
        self.latency = latency
        self.jitter = jitter
        self.checked = checked
        self.kind = kind
        self.nodes: list[FleetNode] = []
        self.removed: set[RelayId] = set()
        self.lines: dict[frozenset[RelayId], Line] = {}
        self.said: list[tuple[float, FleetNode, FleetNode, PeerMessage]] = []
        self.counts: Counter[str] = Counter()
        self._sessions = 0
        self._sites: dict[str, int] = {}  # part of the network by segment, while it is split

    def relay(self, *addresses: str, **more: Any) -> FleetNode:
        """One more member, with a line to each of the others; not started."""
        node = self.kind(self, addresses, **more)
        for other in self.nodes:
            line = self.lines[frozenset((node.id, other.id))] = Line(self, node, other)
            for end in line.ends:
                end.latency = self.latency
        self.nodes.append(node)
        for other in self.nodes[:-1]:
            if other.running:
                other.act(other.relay.enlist(other.id, self.members(other), other.clock))
        return node

    def members(self, me: FleetNode) -> dict[RelayId, str]:
        """Whom ``me`` knows."""
        others = (node for node in self.nodes if node is not me and node.id not in self.removed)
        return {node.id: node.settings.name for node in others}

    def remove(self, gone: FleetNode) -> None:
        """``peer remove``, everywhere at once."""
        self.removed.add(gone.id)
        for node in self.nodes:
            if node is not gone:
                line = self.line(node, gone)
                line.cut()
                end = node.ends[gone.id]
                if end.session:
                    end.close()
                if node.running:
                    node.act(node.relay.enlist(node.id, self.members(node), node.clock))

    def line(self, a: FleetNode, b: FleetNode) -> Line:
        """What lies between these two."""
        return self.lines[frozenset((a.id, b.id))]

    def start(self, *, settled: float = 10.0) -> None:
        """All that do not run."""
        for node in self.nodes:
            if not node.running:
                node.start()
        self.world.run(settled)

    def partition(self, *groups: Sequence[FleetNode]) -> None:
        """Only those of one group reach each other and their segments; all reach those without a relay."""
        number = {node.id: n for n, group in enumerate(groups) for node in group}
        self._sites = {
            segment_of(interface.address): number[node.id]
            for node in self.nodes
            for interface in node.interfaces
        }
        for a, b in combinations(self.nodes, 2):
            (self.line(a, b).mend if number[a.id] == number[b.id] else self.line(a, b).cut)()

    def heal(self) -> None:
        """The network is one."""
        self._sites = {}
        for line in self.lines.values():
            if not self.removed.intersection(end.node.id for end in line.ends):
                line.mend()

    def _routed(self, sent: Sent) -> bool:
        here, there = (self._sites.get(segment_of(address)) for address in (sent.sender, sent.to))
        return here == there or here is None or there is None

    # -- what the lines need ---------------------------------------------------------------------------------------

    def next_session(self) -> int:
        """A number for a new session."""
        self._sessions += 1
        return self._sessions

    def note(self, sender: FleetNode, to: FleetNode, message: PeerMessage) -> None:
        """Something was said."""
        self.said.append((self.world.now, sender, to, message))
        self.counts[type(message).__name__] += 1
        self.counts["rows"] += len(getattr(message, "rows", ()))

    def carried(self, message: PeerMessage) -> PeerMessage:
        """The message as it comes out at the other end."""
        if not self.checked:
            return message
        from camrelay.daemon import wire

        return wire.decode(wire.encode(message))  # type: ignore[return-value]

    def since(self, begun: float) -> Iterable[tuple[float, FleetNode, FleetNode, PeerMessage]]:
        """What was said from then on."""
        return [said for said in self.said if said[0] >= begun]
