"""A fleet to which anything happens, in any order, and what must be so after a quiet while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camrelay.ipmsg.command import Command
from camrelay.relay.outputs import Output, UserLeft, UserMoved
from tests.fleet_world import Fleet, FleetNode
from tests.unit.fleet.fleet_checks import changes, highest_claim, key_of, not_listed, owners, unequal
from tests.unit.relay.invariants import misplaced, misread, provoked, relay_addresses, too_fast, twice
from tests.world import Client, Feiq, Iptux, Plain, Windows, segment_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# Everything that comes round comes round sooner here, so that a quiet while is short to compute.
SOONER: dict[str, Any] = {
    "sweep_every": 300.0,
    "sweep_unknown_every": 900.0,
    "announce_every": 1800.0,
    "sync_every": 600.0,
    "keep_users": 600.0,
}
QUIET = 2_700.0
STILL = 600.0  # at the end of it nobody has anything to tell any more
KINDS: Sequence[type[Client]] = [Iptux, Windows, Plain, Windows, Feiq, Iptux, Plain, Windows]
TWINS: Sequence[type[Client]] = [Windows, Plain]
RELAY_LESS = ("10.1.91", "10.1.92")

ACTIONS = [
    *["start"] * 4,
    *["exit", "kill", "rename", "refresh"],
    *["move"] * 2,
    *["twin", "twin"],
    *["relay"] * 3,
    *["cut", "partition", "heal", "reset"],
    *["jump", "suspend", "sync", "loss"],
]
PAUSES = [0.0, 0.0, 0.01, 0.3, 1.0, 5.0, 9.0, 30.0, 40.0, 250.0, 800.0]
Step = tuple[str, int, float]


class Watched(FleetNode):
    """Writes down whom it gave up at a time when others told some of its segments."""

    def __init__(self, fleet: Fleet, addresses: tuple[str, ...], **more: Any) -> None:
        self.gave_up: list[tuple[float, str, frozenset[str]]] = []  # when, which address, and those segments
        super().__init__(fleet, addresses, **more)

    def act(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, UserLeft | UserMoved):
                address = output.was if isinstance(output, UserMoved) else output.user.address
                others = (s for s in self.relay._context.segments.ours if not s.served)
                fronts = frozenset(segment.name.rsplit(".", 1)[0] for segment in others)
                self.gave_up.append((self.world.now, address, fronts))
        super().act(outputs)


class Storm:
    """``count`` relays: some of them in one segment, some that name the same relay-less ones.

    Either datagrams are lost on the LANs, or relays die: one that dies in the two hours after a farewell that was lost
    twice no longer knows that it has to be repeated.
    """

    def __init__(self, seed: int, count: int, *, bad_lines: bool = False, pairs: int = 1) -> None:
        self.bad_lines = bad_lines
        self.between = seed % 2 == 0
        self.fleet = Fleet(seed, kind=Watched)
        self.world = self.fleet.world
        self.own = max(2, count - pairs)  # segments with a relay of their own
        fronts = [*(f"10.1.{n}" for n in range(1, self.own + 1)), *RELAY_LESS]
        self.pool = [f"{front}.{host}" for front in fronts for host in (11, 12, 13)]
        self.nodes = [self._make(n) for n in range(count)]
        for line in self.fleet.lines.values():
            for end in line.ends:  # so that what is told over two lines overtakes
                end.latency = self.fleet.chance.choice([0.001, 0.02, 0.2, 1.5])
                end.detect = self.fleet.chance.choice([2.0, 12.0, 25.0])
        self.clients = [self._client(kind, n, f"n{n}") for n, kind in enumerate(KINDS)]
        self.twins = [self._client(kind, len(KINDS) + n, "double", f"d{n}") for n, kind in enumerate(TWINS)]
        self.commits_lost: set[str] = set()  # segments whose relay forgot what it may have announced
        self.fleet.start(settled=1.0)

    def _make(self, n: int) -> FleetNode:
        remote = tuple(a for a in self.pool if segment_of(a) == RELAY_LESS[n % 2]) if n < 4 else ()
        return self.fleet.relay(
            f"10.1.{n % self.own + 1}.{2 + n // self.own}",
            remote=remote,
            between_remote=self.between,
            **SOONER,
        )

    def _client(self, kind: type[Client], n: int, name: str, nick: str = "") -> Client:
        address = self.pool[(4 * n) % len(self.pool)]
        return kind(self.world, address, nick or name, f"logon-{name}", f"host-{name}")

    # -- what happens ----------------------------------------------------------------------------------------------

    def happen(self, step: Step) -> None:
        """One thing, and so long a pause."""
        action, number, pause = step
        getattr(self, f"_{action}")(number)
        self.world.run(pause)

    def _some(self, number: int) -> Client:
        return self.clients[number % len(self.clients)]

    def _node(self, number: int) -> FleetNode:
        return self.nodes[number % len(self.nodes)]

    def _start(self, number: int) -> None:
        self._begin(self._some(number))

    def _begin(self, client: Client) -> None:
        if self.world.nodes.get(client.address) is client and not client.alive:
            client.start()

    def _exit(self, number: int) -> None:
        if self._some(number).alive:
            self._some(number).exit()

    def _kill(self, number: int) -> None:
        self._some(number).kill()

    def _rename(self, number: int) -> None:
        client = self._some(number)
        if client.alive:
            client.rename(f"{client.nick[:2]} {number}")

    def _refresh(self, number: int) -> None:
        if self._some(number).alive:
            self._some(number).refresh()

    def _move(self, number: int) -> None:
        self._go(self._some(number), self.pool[number % len(self.pool)])

    def _go(self, client: Client, address: str) -> None:
        sitting = self.world.nodes.get(address)
        if sitting is None or (isinstance(sitting, Client) and not sitting.alive):
            client.kill()
            client.move(address)
            client.start()

    def _twin(self, number: int) -> None:
        twin = self.twins[number % 2]
        if twin.alive and number % 3:
            (twin.exit if number % 3 == 1 else twin.kill)()
        elif twin.alive:
            self._go(twin, self.pool[number % len(self.pool)])
        else:
            self._begin(twin)

    def _relay(self, number: int) -> None:
        node = self._node(number)
        if self.bad_lines:
            return
        if not node.running:
            node.restart()
            return
        if number % 3 == 0:
            node.kill()
        else:
            lost = 60.0 if number % 3 == 1 else 0.0
            if lost:
                self.commits_lost.update(segment_of(interface.address) for interface in node.interfaces)
                self.commits_lost.update(map(segment_of, node.settings.remote))
            node.power_cut(lost)

    def _cut(self, number: int) -> None:
        lines = list(self.fleet.lines.values())
        line = lines[number % len(lines)]
        (line.cut if line.whole else line.mend)()

    def _reset(self, number: int) -> None:
        lines = list(self.fleet.lines.values())
        lines[number % len(lines)].reset()

    def _partition(self, number: int) -> None:
        parts: tuple[list[FleetNode], ...] = ([], [], [])
        for place, node in enumerate(self.nodes):
            parts[(number >> place) % (2 + number % 2)].append(node)
        self.fleet.partition(*parts)

    def _heal(self, number: int) -> None:
        self.fleet.heal()

    def _jump(self, number: int) -> None:
        self._node(number).jump((1.0, 30.0, 700.0, 5_000.0)[number % 4])

    def _suspend(self, number: int) -> None:
        node = self._node(number)
        if node.running:
            node.relay.distrust(node.clock)
            node.act([])

    def _sync(self, number: int) -> None:
        node = self._node(number)
        if node.running:
            node.act(node.relay.sync_now(node.clock))

    def _loss(self, number: int) -> None:
        self.world.loss = number % 4 * 0.1 * self.bad_lines

    # -- and how it ends -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """All relays run, all lines are whole, nothing is lost; and a quiet while."""
        self.world.loss = 0.0
        for node in self.nodes:
            if not node.running:
                node.restart()
        self.fleet.heal()
        self.world.run(QUIET)

    def misdeeds(self) -> list[str]:
        """What must not happen even in the worst moment."""
        return misplaced(self.world) + provoked(self.world) + too_fast(self.world) + misread(self.world)

    def check(self, steps: int) -> None:
        """After ``settle``; ``steps``: how many things happened."""
        fleet = self.fleet
        complaints = self.misdeeds() + unequal(fleet) + not_listed(fleet) + owners(fleet) + twice(self.world)
        complaints += self.ghosts()
        # Twins are contested, answered and given up with each round of questions.
        asked = 2 * 3 * (len(self.nodes) - 1)
        for key, times in changes(fleet.since(self.world.now - STILL)).items():
            if times > (asked if key == key_of(self.twins[0]) else 0):
                complaints.append(f"{key} was told {times} times in the quiet")
        if (most := highest_claim(fleet)) > 2 + steps:
            complaints.append(f"claims up to {most} after {steps} steps")
        assert not complaints, "\n".join(complaints[:20])

    def ghosts(self) -> list[str]:
        """Who is listed and not there."""
        there = {c.address for c in self.world.clients if c.alive} | relay_addresses(self.world)
        return [
            f"{listener.nick} still lists {nick} at {address}"
            for listener in self.world.clients
            if listener.alive
            for address, nick in listener.listed.items()
            if address not in there and segment_of(address) != segment_of(listener.address)
            if not self._excused(listener, address)
        ]

    def _excused(self, listener: Client, address: str) -> bool:
        """Known limits: whose commits were lost cannot take back what it told; a twin is nobody's listener for a while;
        and who told a segment before, and does not now, leaves it to a relay that may never have known the user.
        """
        front = segment_of(listener.address)
        told_by = {front}
        if front in RELAY_LESS:
            told_by.add(segment_of(address))  # each site tells them of its own users
        twin = listener in self.twins and front in RELAY_LESS
        return twin or bool(told_by & self.commits_lost) or self._left_to_another(listener, address)

    def _left_to_another(self, listener: Client, address: str) -> bool:
        front = segment_of(listener.address)
        told = [
            sent
            for sent in self.world.wire
            if sent.source == address
            and sent.mode != Command.BR_EXIT
            and sent.to in (listener.address, f"{front}.255")
        ]
        node = self.world.nodes.get(told[-1].sender) if told else None
        return isinstance(node, Watched) and any(
            time > told[-1].time and left == address and front in others
            for time, left, others in node.gave_up
        )
