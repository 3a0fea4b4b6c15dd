"""The scripted Windows client with a member master: polls, duties, and what it passes on."""

from __future__ import annotations

from itertools import count

import pytest

from camrelay.ipmsg import master
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.master import Duty
from camrelay.ipmsg.signed import Author, Host, hosts, pack
from tests.keys import PEER, RELAY
from tests.windows import Windows499
from tests.world import Sent, World

MASTER = "10.1.9.2"
NUMBERS = count(1000)


def scene(uses: str = MASTER) -> tuple[World, Windows499, Windows499]:
    """bob, who uses the master, and carl beside him, who does not."""
    world = World()
    bob = Windows499(world, "10.1.1.12", "bob", master=uses)
    carl = Windows499(world, "10.1.1.13", "carl")
    bob.start()
    carl.start()
    world.run(20)
    return world, bob, carl


def author(logon: str = "master") -> Author:
    return Author(RELAY, logon, "relay", "relay", "", "", 0x13410000)


def sign(mode: int, extra: bytes = b"") -> bytes:
    return author().sign(mode, next(NUMBERS), 7, extra)


def on_duty(world: World, bob: Windows499, mode: int = Command.DIR_BROADCAST, source: str = MASTER) -> float:
    begun = world.now
    assert world.connect(source, bob.address, sign(mode, master.duty(Duty(190, bob.address))))
    return begun


def to_master(world: World, begun: float) -> list[Sent]:
    return [sent for sent in world.since(begun) if sent.to == MASTER]


def a_list(number: int = 0) -> bytes:
    user = Host("dora", "pc-d", 0x0F640000, True, "10.1.3.14", 2425, "Dora", "", "")
    return pack(author(), [user], 0, number or next(NUMBERS), 7)[0]


def test_it_polls_at_its_start_and_every_minute() -> None:
    world = World()
    bob = Windows499(world, "10.1.1.12", "bob", master=MASTER)
    begun = world.now
    bob.start()
    world.run(185)
    polls = [sent for sent in to_master(world, begun) if sent.mode == Command.DIR_POLL]
    assert [round(sent.time - begun) for sent in polls] == [0, 60, 120, 180]
    assert master.read_poll(polls[0].dictionary.fields) == [master.Network("10.1.1.0", 24)]
    entries = [sent for sent in to_master(world, begun) if sent.mode == Command.BR_ENTRY]
    assert len(entries) == 2
    assert master.read_note(entries[0].packet).master == MASTER


def test_it_polls_at_once_when_its_master_starts() -> None:
    world, bob, _ = scene()
    begun = world.now
    data = bob.presence(Command.BR_ENTRY).replace(bob.logon, b"master").partition(b"\0")[0]
    note = master.write_note(master.Note(started=True))
    world.put(Sent(world.now, MASTER, MASTER, bob.address, data + b"\0\0\nVS:x" + note))
    world.run(0.1)
    assert [sent.mode for sent in to_master(world, begun)] == [Command.DIR_POLL]


def test_an_agent_asks_its_segment_and_reports_who_answered() -> None:
    world, bob, carl = scene()
    begun = on_duty(world, bob)
    world.run(8)
    said = [sent for sent in world.since(begun) if sent.sender == bob.address and sent.to.endswith(".255")]
    assert [sent.mode for sent in said] == [Command.NOOPERATION, Command.BR_ENTRY]
    assert [master.read_note(sent.packet).duty for sent in said] == [False, True]
    (answer,) = to_master(world, begun)
    assert 4.2 <= answer.time - begun <= 6.4
    assert answer.mode == Command.DIR_ANSBROAD
    assert {host.address for host in hosts(answer.dictionary.fields)} == {bob.address, carl.address}


def test_the_other_agents_only_report() -> None:
    world, bob, carl = scene()
    begun = on_duty(world, bob, Command.DIR_POLLAGENT)
    world.run(8)
    assert [sent for sent in world.since(begun) if sent.sender == bob.address] == []
    carl.refresh()
    world.run(1)
    (event,) = to_master(world, begun)
    assert event.mode == Command.DIR_EVBROAD
    assert master.read_report(event.dictionary.fields).entry


def test_changes_are_reported_while_the_duty_lasts() -> None:
    world, bob, carl = scene()
    begun = on_duty(world, bob, Command.DIR_POLLAGENT)
    carl.rename("karl")
    world.run(1)
    carl.exit()
    world.run(1)
    reports = [master.read_report(sent.dictionary.fields) for sent in to_master(world, begun)]
    assert [(r.entry, r.hosts[0].nick, r.hosts[0].present) for r in reports] == [
        (False, "karl", True),
        (False, "karl", False),
    ]
    world.run(191)
    begun = world.now
    carl.start()
    world.run(10)
    assert [sent.mode for sent in to_master(world, begun) if sent.sender == bob.address] == []


def test_the_entries_of_an_agent_s_round_are_reported_by_nobody() -> None:
    world, bob, carl = scene()
    carl.use_master(MASTER)
    on_duty(world, carl, Command.DIR_POLLAGENT)
    world.run(1)
    begun = on_duty(world, bob)
    world.run(3)
    assert [sent for sent in to_master(world, begun) if sent.mode == Command.DIR_EVBROAD] == []


@pytest.mark.parametrize("mode", [Command.DIR_BROADCAST, Command.DIR_POLLAGENT])
def test_who_uses_no_master_rejects(mode: int) -> None:
    world, bob, _ = scene(uses="")
    begun = on_duty(world, bob, mode)
    world.run(8)
    assert [sent.mode for sent in to_master(world, begun)] == [Command.DIR_AGENTREJECT]


def test_nobody_but_its_master_gives_it_duties() -> None:
    world, bob, _ = scene()
    begun = on_duty(world, bob, source="10.1.8.8")
    world.run(8)
    assert [sent for sent in world.since(begun) if sent.sender == bob.address] == []
    assert bob.ignored["not its master"] == 1


def test_a_master_in_its_own_segment_gets_no_agent() -> None:
    world, bob, _ = scene(uses="10.1.1.2")
    begun = on_duty(world, bob, source="10.1.1.2")
    world.run(8)
    assert [sent for sent in world.since(begun) if sent.sender == bob.address] == []


def test_an_agent_repeats_a_wrapped_list_to_its_segment_and_itself() -> None:
    world, bob, carl = scene()
    inner = sign(Command.DIR_PACKET, master.wrap(a_list()))
    request = sign(Command.DIR_REQUEST, master.wrap(inner, bob.address))
    begun = world.now
    world.put(Sent(world.now, MASTER, MASTER, bob.address, request))
    world.run(0.1)
    (said,) = [sent for sent in world.since(begun) if sent.sender == bob.address]
    assert (said.mode, said.to) == (Command.DIR_AGENTPACKET, "10.1.1.255")
    assert b"SIGN" not in said.dictionary.fields
    assert bob.listed["10.1.3.14"] == carl.listed["10.1.3.14"] == "Dora"
    world.put(Sent(world.now, MASTER, MASTER, bob.address, request))
    world.run(0.1)
    assert len([sent for sent in world.since(begun) if sent.sender == bob.address]) == 1


def test_a_client_without_a_master_repeats_nothing() -> None:
    world, _, carl = scene()
    inner = sign(Command.DIR_PACKET, master.wrap(a_list()))
    begun = world.now
    request = sign(Command.DIR_REQUEST, master.wrap(inner, carl.address))
    world.put(Sent(world.now, MASTER, MASTER, carl.address, request))
    world.run(0.1)
    assert [sent for sent in world.since(begun) if sent.sender == carl.address] == []


def test_what_an_agent_repeats_must_be_signed_inside_by_the_key_first_seen() -> None:
    world, _, carl = scene()
    other = Author(PEER, "master", "relay", "relay", "", "", 0x13410000)
    world.put(Sent(world.now, MASTER, MASTER, carl.address, a_list()))
    world.run(0.1)
    gone = Host("dora", "pc-d", 0x0F640000, False, "10.1.3.14", 2425, "Dora", "", "")
    forged = pack(other, [gone], 0, next(NUMBERS), 7)[0]
    packet = sign(Command.DIR_PACKET, master.wrap(forged))
    world.put(Sent(world.now, MASTER, MASTER, carl.address, packet))
    world.run(0.1)
    assert "10.1.3.14" in carl.listed


def test_over_tcp_nothing_unsigned_is_looked_at() -> None:
    world, bob, _ = scene()
    begun = world.now
    world.connect(MASTER, bob.address, b"not a dictionary")
    world.connect(MASTER, bob.address, b"IP2:0::Z")
    world.run(1)
    assert to_master(world, begun) == []
    assert not world.connect(MASTER, "10.1.1.99", b"x")
