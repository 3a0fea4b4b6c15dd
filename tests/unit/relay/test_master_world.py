"""The relay as member master of scripted Windows clients beyond a router, whose segments nobody sweeps again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from camrelay.ipmsg import master
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.signed import Author, Host
from tests.keys import PEER, RELAY
from tests.unit.relay.invariants import check, ghosts, misread, not_listed
from tests.windows import Windows499
from tests.world import Client, Iptux, Plain, RelayNode, Sent, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from camrelay.ipmsg.crypto import PrivateKey

RELAY_AT = "10.1.1.2"
BEYOND = "10.1.7"
SELDOM: dict[str, Any] = {"sweep_every": 86_400.0, "sweep_unknown_every": 86_400.0}
AT_ONCE = 5.0
ROUND = 10.0  # an agent is appointed within 2 s, and reports after 4 to 6 s
DUTIES = (Command.DIR_BROADCAST, Command.DIR_POLLAGENT)
FROM_AGENTS = (Command.DIR_ANSBROAD, Command.DIR_EVBROAD)


class Scene:
    """A relay that is a member master, alice with it, and beyond the router whom ``people`` adds."""

    def __init__(self, *, enabled: bool = True, speaks: bool = False, key: PrivateKey = RELAY) -> None:
        self.world = World()
        self.relay = RelayNode(
            self.world,
            (RELAY_AT,),
            remote=(f"{BEYOND}.*", "10.1.8.*"),
            can_speak=speaks,
            key=key,
            master=enabled,
            **SELDOM,
        )
        self.alice = Windows499(self.world, "10.1.1.11", "alice", "alice", "pc-alice")
        self.relay.start()
        self.alice.start()
        self.world.run(20)  # the first pass is over

    def member(self, n: int, front: str = BEYOND) -> Windows499:
        """A client that names the relay as its master."""
        return Windows499(
            self.world, f"{front}.{n}", f"m{front[-1]}{n}", f"m{front}{n}", f"pc-{n}", master=RELAY_AT
        )

    def bystander(self, n: int, kind: type[Client] = Windows499) -> Client:
        """One that does not."""
        return kind(self.world, f"{BEYOND}.{n}", f"o{n}", f"o{n}", f"opc-{n}")

    def start(self, *clients: Client) -> None:
        for client in clients:
            client.start()
            self.world.run(1)

    def complete(self, within: float) -> None:
        """Until every list is right."""
        end = self.world.now + within
        while complaints := not_listed(self.world) + ghosts(self.world):
            assert self.world.now < end, f"after {within} s: {complaints[:5]}"
            self.world.run(max(0.1, within / 300))

    def duties(self, since: float = 0.0) -> list[tuple[str, int]]:
        """Who was given what."""
        return [(s.to, s.mode) for s in self.world.tcp if s.time >= since and s.mode in DUTIES]

    def agents(self) -> list[str]:
        """Who is an agent now, the one that asks first."""
        rows = self.relay.relay.snapshot(self.world.now).master
        return [agent.address for row in rows for agent in row.agents]


def addresses(clients: Iterable[Client]) -> set[str]:
    return {client.address for client in clients}


def said(world: World, begun: float, *modes: int) -> list[Sent]:
    return [sent for sent in world.since(begun) if sent.mode in modes]


# -- polls -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
def test_who_polls_is_listed_at_once_and_gets_everybody(enabled: bool) -> None:
    scene = Scene(enabled=enabled)
    bob = scene.member(11)
    bob.start()
    scene.complete(within=AT_ONCE)
    scene.world.run(60)
    check(scene.world)
    assert scene.relay.relay.counters["polls heard"] >= 2


def test_a_poll_alone_is_enough_of_a_hint() -> None:
    """A client that has long been there is told of its master in its settings: it polls, and says no more."""
    scene = Scene()
    bob = scene.bystander(11)
    assert isinstance(bob, Windows499)
    scene.start(bob)
    scene.world.run(30)
    assert bob.address not in scene.relay.users()
    bob.use_master(RELAY_AT)
    scene.complete(within=AT_ONCE)
    check(scene.world)


def test_polling_goes_on_quietly() -> None:
    scene = Scene()
    bob = scene.member(11)
    scene.start(bob)
    scene.world.run(60)
    begun = scene.world.now
    scene.world.run(3600)
    check(scene.world)
    polls = said(scene.world, begun, Command.DIR_POLL)
    assert 59 <= len(polls) <= 61
    answered = [s for s in scene.world.since(begun) if s.sender == RELAY_AT and s.to == bob.address]
    assert len(answered) <= 60  # probes and two-hourly rounds, nothing per poll


def test_a_master_that_is_not_enabled_appoints_nobody_and_shows_nothing() -> None:
    scene = Scene(enabled=False)
    scene.start(scene.member(11), scene.member(12))
    scene.world.run(400)
    assert scene.duties() == []
    entries = [s for s in said(scene.world, 0, Command.BR_ENTRY) if s.sender == RELAY_AT]
    assert not any(s.packet.options & Option.DIR_MASTER for s in entries)


def test_clients_poll_at_once_when_the_relay_is_back() -> None:
    scene = Scene()
    bob = scene.member(11)
    scene.start(bob)
    scene.world.run(30)
    saved = scene.relay.kill()
    scene.world.run(20)
    begun = scene.world.now
    scene.relay.start([one._replace(heard=one.heard + 20) for one in saved])
    scene.world.run(20)
    polls = said(scene.world, begun, Command.DIR_POLL)
    assert polls
    assert polls[0].time - begun < 5
    scene.complete(within=ROUND)


# -- agents ------------------------------------------------------------------------------------------------------------


def test_those_beside_an_agent_are_found_and_served_without_any_setting() -> None:
    scene = Scene()
    others = [scene.bystander(n) for n in (21, 22, 23)]
    scene.start(*others)
    scene.world.run(10)
    assert not addresses(others) & set(scene.relay.users())
    bob = scene.member(11)
    bob.start()
    scene.complete(within=ROUND + 5)
    assert scene.agents() == [bob.address]
    scene.world.run(60)
    check(scene.world)


def test_one_agent_asks_and_two_more_report() -> None:
    scene = Scene()
    members = [scene.member(n) for n in range(11, 16)]
    scene.start(*members)
    scene.world.run(200)
    assert len(scene.agents()) == 3
    begun = scene.world.now
    scene.world.run(400)
    given = scene.duties(begun)
    asks = [to for to, mode in given if mode == Command.DIR_BROADCAST]
    reports = [to for to, mode in given if mode == Command.DIR_POLLAGENT]
    assert set(asks) == {scene.agents()[0]}
    assert set(reports) == set(scene.agents()[1:])
    assert 2 <= len(asks) <= 3
    rounds = said(scene.world, begun, Command.DIR_ANSBROAD)
    assert len(rounds) == len(asks)
    check(scene.world)


def test_what_an_agent_hears_is_told_everywhere_at_once() -> None:
    scene = Scene()
    bob, carl = scene.member(11), scene.bystander(21)
    assert isinstance(carl, Windows499)
    scene.start(bob, carl)
    scene.world.run(30)
    check(scene.world)
    carl.table.dialup.clear()  # it does not tell us itself
    acts: list[Callable[[], None]] = [lambda: carl.rename("karl"), carl.leave_desk]
    for act in acts:
        act()
        scene.complete(within=AT_ONCE)
        scene.world.run(10)
        carl.table.dialup.clear()
    carl.exit()
    scene.complete(within=12.0)
    assert said(scene.world, 0, Command.DIR_EVBROAD)
    check(scene.world)


def test_a_refresh_that_only_an_agent_heard_is_served_at_once() -> None:
    scene = Scene()
    bob, carl = scene.member(11), scene.bystander(21)
    scene.start(bob, carl)
    scene.world.run(30)
    carl.refresh()
    assert scene.alice.address not in carl.listed
    scene.complete(within=AT_ONCE + 3)
    scene.world.run(30)
    check(scene.world)


def test_changes_go_through_agents_where_all_read_dictionaries() -> None:
    scene = Scene()
    people = [scene.member(11), *(scene.bystander(n) for n in range(21, 40))]
    scene.start(*people)
    scene.world.run(60)
    check(scene.world)
    begun = scene.world.now
    scene.alice.rename("alicia")
    scene.complete(within=AT_ONCE)
    scene.world.run(5)
    assert len(said(scene.world, begun, Command.DIR_REQUEST)) == 1
    assert len(said(scene.world, begun, Command.DIR_AGENTPACKET)) == 1
    assert said(scene.world, begun, Command.ANSLIST_DICT) == []
    check(scene.world)


@pytest.mark.parametrize("kind", [Plain, Iptux])
def test_no_dictionary_is_broadcast_where_somebody_misreads_it(kind: type[Client]) -> None:
    scene = Scene()
    scene.start(scene.member(11), scene.bystander(21), scene.bystander(22, kind))
    scene.world.run(60)
    begun = scene.world.now
    scene.alice.rename("alicia")
    scene.complete(within=AT_ONCE)
    assert said(scene.world, begun, Command.DIR_REQUEST) == []
    assert misread(scene.world) == []


def test_an_agent_that_dies_is_replaced() -> None:
    scene = Scene()
    members = [scene.member(n) for n in (11, 12)]
    carl = scene.bystander(21)
    scene.start(*members, carl)
    scene.world.run(60)
    first = scene.agents()[0]
    next(member for member in members if member.address == first).kill()
    scene.world.run(500)
    assert first not in scene.agents()
    assert scene.agents()
    carl.rename("karl")
    scene.complete(within=AT_ONCE)
    check(scene.world)


def test_who_uses_no_master_any_more_rejects_and_is_let_go() -> None:
    scene = Scene()
    bob, carl = scene.member(11), scene.member(12)
    scene.start(bob, carl)
    scene.world.run(60)
    assert set(scene.agents()) == {bob.address, carl.address}
    bob.use_master("")
    scene.world.run(400)
    assert said(scene.world, 0, Command.DIR_AGENTREJECT)
    assert scene.agents() == [carl.address]
    begun = scene.world.now
    scene.world.run(600)
    assert all(to == carl.address for to, _ in scene.duties(begun))
    check(scene.world)


def test_who_polls_from_our_own_segment_is_no_agent() -> None:
    scene = Scene()
    scene.start(scene.member(12, "10.1.1"), scene.member(13, "10.1.1"))
    scene.world.run(300)
    assert scene.duties() == []
    check(scene.world)


def test_two_segments_meet_through_their_agents() -> None:
    scene = Scene()
    people = [scene.member(n, front) for front in (BEYOND, "10.1.8") for n in (11, 12)]
    people.append(Windows499(scene.world, "10.1.8.21", "o21", "o21", "opc"))
    scene.start(*people)
    scene.complete(within=ROUND + 5)
    for client in people[:2]:
        client.rename(client.nick + "'")
        scene.complete(within=AT_ONCE)
        scene.world.run(3)
    people[-1].exit()
    scene.complete(within=12.0)
    check(scene.world)


def test_masters_side_by_side_serve_those_who_name_them() -> None:
    scene = Scene()
    second = RelayNode(
        scene.world,
        ("10.1.1.3",),
        remote=(f"{BEYOND}.*", "10.1.8.*"),
        can_speak=False,
        key=PEER,
        master=True,
        **SELDOM,
    )
    second.start()
    scene.world.run(20)
    bob = scene.member(11)
    dora = Windows499(scene.world, "10.1.8.11", "dora", "dora", "pc-dora", master="10.1.1.3")
    scene.start(bob, dora)
    scene.world.run(30)
    mine = {to for to, _ in scene.duties()}
    assert mine == {bob.address, dora.address}
    assert scene.agents() == [bob.address]
    assert bob.listed[scene.alice.address] == dora.listed[scene.alice.address] == "alice"
    assert misread(scene.world) == []


# -- strangers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*FROM_AGENTS, Command.DIR_POLL, Command.DIR_AGENTREJECT])
@pytest.mark.parametrize("source", ["10.1.7.66", "10.1.7.11", "10.1.1.66"])
def test_what_a_stranger_signs_changes_nothing(mode: int, source: str) -> None:
    scene = Scene()
    bob, carl = scene.member(11), scene.bystander(21)
    scene.start(bob, carl)
    scene.world.run(60)
    before, agents = scene.relay.users(), scene.agents()
    author = Author(RELAY, "mallory", "pc-mallory", "x", "", "", 0x03400000)
    told = [
        Host("eve", "pc-eve", 0x0F640000, True, "10.1.7.77", 2425, "Eve", "", ""),
        Host(bob.user, bob.computer, 0x0F640000, False, bob.address, 2425, "", "", ""),
    ]
    extra = master.report(master.Report(told, entry=True))
    if mode == Command.DIR_POLL:
        extra = master.poll([master.Network("10.1.7.0", 24)])
    for number in range(100, 105):
        data = author.sign(mode, number, 7, extra)
        scene.world.put(Sent(scene.world.now, source, source, RELAY_AT, data))
        scene.world.run(5)
    scene.world.run(60)
    assert scene.relay.users() == before
    assert scene.agents() == agents
    assert "10.1.7.77" not in {row.address for row in scene.relay.relay.users(scene.world.now)}
    check(scene.world)


def test_an_agent_s_report_is_a_hint_and_no_proof() -> None:
    scene = Scene()
    bob, carl = scene.member(11), scene.bystander(21)
    scene.start(bob, carl)
    scene.world.run(60)
    assert scene.agents() == [bob.address]
    told = [
        Host("eve", "pc-eve", 0x0F640000, True, "10.1.7.77", 2425, "Eve", "", ""),
        Host("eve", "pc-eve", 0x0F640000, True, "10.1.1.77", 2425, "Eve", "", ""),
        Host("o21", "opc-21", 0x0F640000, False, carl.address, 2425, "", "", ""),
    ]
    extra = master.report(master.Report(told, entry=False))
    number = bob.next_number()
    data = bob.author().sign(Command.DIR_EVBROAD, number, 7, extra)
    scene.world.put(Sent(scene.world.now, bob.address, bob.address, RELAY_AT, data))
    scene.world.run(60)
    assert set(scene.relay.users()) == {scene.alice.address, bob.address, carl.address}
    check(scene.world)
