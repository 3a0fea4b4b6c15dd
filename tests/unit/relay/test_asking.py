"""Questions for somebody who looks for a fault: to any address, and nobody gets into the roster by them."""

from __future__ import annotations

import pytest

from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import parse
from camrelay.ipmsg.presence import read
from camrelay.relay.outputs import Transmit
from camrelay.relay.questions import Asked
from tests.world import Iptux, RelayNode, Windows, World

EVERYTHING = Asked.ENTRY | Asked.INFO | Asked.LIST | Asked.KEY
QUESTIONS = [Command.BR_ENTRY, Command.GETINFO, Command.GETLIST, Command.GETPUBKEY]


def asked(node: RelayNode, address: str, kinds: Asked = EVERYTHING, pad: int = 0) -> list[Transmit]:
    outputs = node.relay.ask(address, kinds, node.clock, pad)
    assert all(isinstance(one, Transmit) and one.to == address for one in outputs)
    node.act(outputs)
    return [one for one in outputs if isinstance(one, Transmit)]


def test_each_kind_is_one_question_in_our_own_name() -> None:
    world = World()
    node = RelayNode(world, ("10.1.1.2",))
    node.start()
    packets = [parse(one.data) for one in asked(node, "10.9.9.9")]
    assert [packet.mode for packet in packets] == QUESTIONS
    assert {packet.logon for packet in packets} == {b"camrelay"}


@pytest.mark.parametrize(
    ("address", "told"), [("10.1.1.11", 0), ("10.1.2.12", Option.DIALUP), ("10.9.9.9", 0)]
)
def test_only_clients_of_remote_segments_are_to_tell_us_of_changes(address: str, told: int) -> None:
    world = World()
    node = RelayNode(world, ("10.1.1.2",), remote=("10.1.2.*",))
    node.start()
    (entry,) = asked(node, address, Asked.ENTRY)
    assert parse(entry.data).options & Option.DIALUP == told


@pytest.mark.parametrize("pad", [1, 1400, 3000])
def test_a_larger_question_says_the_same_of_us(pad: int) -> None:
    world = World()
    node = RelayNode(world, ("10.1.1.2",))
    node.start()
    (small,) = asked(node, "10.1.1.11", Asked.ENTRY)
    (large,) = asked(node, "10.1.1.11", Asked.ENTRY, pad)
    assert len(large.data) == len(small.data) + len(b"\nPD:") + pad
    assert read(parse(large.data)).texts == read(parse(small.data)).texts


def test_clients_answer_and_those_of_our_segments_are_known_by_it_as_by_any_question() -> None:
    world = World()
    near, far = Windows(world, "10.1.1.12", "near"), Iptux(world, "10.1.2.12", "far")
    stranger = Windows(world, "10.9.9.9", "stranger")
    node = RelayNode(world, ("10.1.1.2",), remote=("10.1.2.*",), sweep_rate=1)
    for client in (near, far, stranger):
        client.start()
    node.start()
    begun = world.now
    for client in (near, far, stranger):
        asked(node, client.address, pad=2800)
    world.run(5)
    answers = {sent.source for sent in world.since(begun) if sent.to == "10.1.1.2"}
    assert {near.address, far.address, stranger.address} <= answers
    assert set(node.users()) == {near.address, far.address}
    assert node.relay.counters["dropped: source not in accept_from"] > 0
