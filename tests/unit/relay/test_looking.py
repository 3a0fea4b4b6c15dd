"""What the relay knows of one address: who is to be listed there, who spoke to us unasked, who else is there."""

from __future__ import annotations

import pytest

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build, parse
from camrelay.ipmsg.presence import read
from camrelay.relay.looking import nothing
from camrelay.relay.outputs import Datagram
from camrelay.relay.pointed import LATELY, MOST, TURNS_WITHIN, Pointed
from camrelay.relay.questions import Asked
from camrelay.relay.rules import Share
from tests.windows import Windows499
from tests.world import Iptux, RelayNode, Windows, World

HERE = "10.1.1.2"
NEAR, FAR, OTHER, OUTSIDE = "10.1.1.11", "10.1.2.12", "10.1.3.13", "10.9.9.9"


def office(**settings: object) -> tuple[World, RelayNode]:
    """A client in our segment, one in each of two remote ones, all there for a while."""
    world = World()
    clients = [Windows(world, NEAR, "near"), Windows(world, FAR, "far"), Iptux(world, OTHER, "other")]
    for client in clients:
        client.start()
    node = RelayNode(world, (HERE,), remote=(FAR, OTHER), sweep_rate=20, **settings)
    node.start()
    world.run(30)
    return world, node


def expected(node: RelayNode, address: str) -> set[str] | None:
    users = node.relay.look.expected(address, node.clock)
    return None if users is None else {user.address for user in users}


def test_a_client_is_to_list_those_beyond_its_segment_whom_we_announce_there() -> None:
    _, node = office()
    assert expected(node, NEAR) == {FAR, OTHER}
    assert expected(node, FAR) == {NEAR}  # users of one remote segment are not told to another


def test_with_between_remote_a_swept_segment_is_told_of_the_other() -> None:
    _, node = office(between_remote=True)
    assert expected(node, FAR) == {NEAR, OTHER}


def test_whom_a_rule_hides_is_not_expected() -> None:
    _, node = office(shares=(Share((f"{OTHER}",), ("*",)),))
    assert expected(node, NEAR) == {FAR}


def test_whoever_came_just_now_is_not_expected_yet() -> None:
    world, node = office()
    late = Windows(world, "10.1.2.77", "late")
    world.after(0, late.start)
    world.after(0.1, lambda: node.act(node.relay.ask(late.address, Asked.ENTRY, node.clock)))
    world.run(6)
    assert late.address in node.users()
    assert expected(node, NEAR) == {FAR, OTHER}
    world.run(10)
    assert expected(node, NEAR) == {FAR, OTHER, late.address}


@pytest.mark.parametrize("address", ["10.1.1.99", OUTSIDE, HERE])
def test_of_nobody_nothing_is_expected(address: str) -> None:
    _, node = office()
    assert expected(node, address) is None


def test_of_one_who_was_told_everything_just_now_nothing_is_expected() -> None:
    world, node = office()
    world.clients[0].start()
    world.run(3)
    assert expected(node, NEAR) is None


def test_who_may_not_speak_for_others_expects_nothing_where_only_that_would_do() -> None:
    _, node = office(can_speak=False)
    assert expected(node, OTHER) is None


def test_others_of_a_segment_are_those_heard_last() -> None:
    world, node = office()
    for number in range(21, 26):
        world.after(number / 10, Windows(world, f"10.1.1.{number}", f"n{number}").start)
    world.run(20)
    others = node.relay.look.others(NEAR, 3)
    assert len(others) == 3
    assert NEAR not in {user.address for user in others}
    heard = [user.heard for user in others]
    assert heard == sorted(heard, reverse=True)
    assert node.relay.look.others(OUTSIDE, 3) == []


def test_lures_are_addresses_of_other_segments_the_most_similar_first() -> None:
    _, node = office()
    assert node.relay.look.beyond(OTHER, 3) == [FAR, NEAR]  # 3 and 2 differ in the last bit only
    assert node.relay.look.beyond(OTHER, 1) == [FAR]


@pytest.mark.parametrize(
    ("address", "name", "interface"), [(NEAR, "10.1.1.0/24", "eth0"), (FAR, "10.1.2.*", "")]
)
def test_where_an_address_belongs(address: str, name: str, interface: str) -> None:
    _, node = office()
    assert node.relay.look.segment(address) == (name, interface)


@pytest.mark.parametrize("address", [OUTSIDE, HERE, "10.1.1.255", "nonsense", ""])
def test_what_belongs_nowhere(address: str) -> None:
    _, node = office()
    assert node.relay.look.segment(address) is None


# -- pointed at us ----------------------------------------------------------------------------------------------------


def times(node: RelayNode, address: str) -> int:
    return node.relay.look.pointed.times(address, node.clock)


def test_clients_whose_settings_name_us_are_known_and_no_others() -> None:
    world = World()
    tux, windows = Iptux(world, FAR, "tux"), Windows499(world, "10.1.2.13", "win")
    tux.asks_too, windows.also = (HERE,), [HERE]
    plain = [Windows499(world, "10.1.2.14", "plain"), Iptux(world, "10.1.2.15", "quiet")]
    near = [Windows499(world, NEAR, "near"), Iptux(world, "10.1.1.12", "next")]
    node = RelayNode(world, (HERE,), remote=("10.1.2.*",), sweep_rate=50)
    node.start()
    for client in (tux, windows, *plain, *near):
        client.start()
    world.run(40)
    assert (times(node, tux.address), times(node, windows.address) >= 2) == (1, True)
    for client in (*plain, *near):
        client.start()  # a refresh: Windows tells us again what our DIALUPOPT asked it to
        world.run(10)
    assert {client.address: times(node, client.address) for client in (*plain, *near)} == dict.fromkeys(
        [client.address for client in (*plain, *near)], 0
    )


def entry(nick: str, source: str = FAR, broadcast: bool = False) -> tuple[Datagram, object]:
    data = build(b"1_iptux 0.8.3", 1, b"root", b"h", Command.BR_ENTRY, nick.encode(), b"g\0i\0utf-8\0")
    return Datagram(data, source, 2425, 2, broadcast, 64), read(parse(data))


def test_several_names_behind_one_address() -> None:
    for times_of, later, names in (
        ((("a", 0), ("b", 5)), 60, ["a", "b"]),  # lately
        ((("a", 0), ("b", 5)), LATELY + 10, []),  # a PC that was handed over
        ((("a", 0), ("a", 5)), 60, ["a"]),
        ((("a", 0), ("b", 7_000), ("a", 14_000)), 30_000, ["a", "b"]),  # they take turns
        ((("a", 0), ("b", 7_000), ("a", 14_000)), TURNS_WITHIN + 1, []),
        ((("a", 0), ("b", 5), ("c", 10), ("d", 15)), 60, ["b", "c", "d"]),
    ):
        pointed = Pointed()
        for nick, at in times_of:
            pointed.note(*entry(nick), float(at))  # type: ignore[arg-type]
        assert pointed.names(FAR, float(later)) == names
        assert pointed.times(FAR, float(later)) == len(times_of)
    assert pointed.times(FAR, 8 * 86_400.0) == 0


def test_strangers_fill_no_memory() -> None:
    pointed = Pointed()
    for number in range(MOST + 10):
        pointed.note(*entry("x", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), 1.0)  # type: ignore[arg-type]
    assert pointed.times("10.0.0.0", 2.0) == 0
    assert pointed.times(f"10.0.{MOST + 9 >> 8}.{MOST + 9 & 255}", 2.0) == 1


def test_broadcasts_and_the_polls_of_a_member_master_do_not_count() -> None:
    pointed = Pointed()
    pointed.note(*entry("a", broadcast=True), 1.0)  # type: ignore[arg-type]
    datagram, presence = entry("a")
    pointed.note(datagram._replace(data=datagram.data + b"\nIP:VAxN"), presence, 1.0)  # type: ignore[arg-type]
    assert pointed.times(FAR, 2.0) == 0


@pytest.mark.parametrize("length", [1, 20, 33, 60, 548, 1472])
def test_what_means_nothing_is_as_long_as_asked_and_a_packet_if_it_can_be(length: int) -> None:
    data = nothing(length)
    assert len(data) == length
    if length > 30:
        assert parse(data).mode == Command.NOOPERATION
