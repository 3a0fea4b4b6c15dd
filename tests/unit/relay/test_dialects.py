"""Each kind of client reads the others' names right, whatever they are written in."""

from __future__ import annotations

import pytest

from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import parse
from tests.keys import RELAY
from tests.unit.relay.invariants import check
from tests.unit.relay.reading import Reading
from tests.world import Client, Feiq, Iptux, Plain, PlainGb, RelayNode, Windows, World

SUZUKI = "鈴木一郎"  # fits in CP932 and in GB18030
LISTENERS = [Windows, Iptux, Plain, Feiq]


class WindowsGb(Windows):
    """The same program on a Chinese Windows."""

    charset = "gb18030"


class PlainCapable(Plain):
    """Unknown, ignores BR_ABSENCE, and reads UTF-8 where it is marked."""

    options = int(Option.CAPUTF8)
    charset = "cp932"

    def nick_of(self, packet: object) -> str:
        return Windows.nick_of(self, packet)  # type: ignore[arg-type]


def user(world: World, kind: type[Client], address: str) -> Client:
    return kind(world, address, SUZUKI, group="営業")


def windows(world: World, kind: type[Windows], address: str) -> Windows:
    client = kind(world, address, SUZUKI)
    client.group = "営業"
    return client


def speaker(world: World, kind: type[Client], address: str) -> Client:
    return windows(world, kind, address) if issubclass(kind, Windows) else user(world, kind, address)


@pytest.mark.parametrize("relay_first", [True, False])
@pytest.mark.parametrize("listener", [*LISTENERS, WindowsGb, PlainCapable])
@pytest.mark.parametrize("kind", [Windows, Iptux, Plain, Feiq])
def test_a_name_is_shown_right(kind: type[Client], listener: type[Client], relay_first: bool) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    reader = listener(world, "10.1.2.12", "reader")
    reader.start()
    if relay_first:
        relay.start()
    world.run(10)
    suzuki = speaker(world, kind, "10.1.1.11")
    suzuki.start()
    world.run(10)
    relay.start()
    world.run(20)
    assert reader.listed[suzuki.address] == SUZUKI
    check(world)


@pytest.mark.parametrize("listener", [Windows, WindowsGb, Iptux, PlainGb, Feiq])
@pytest.mark.parametrize("kind", [Windows, WindowsGb, Iptux, PlainGb, Feiq])
def test_a_name_is_shown_right_at_a_site_in_china(kind: type[Client], listener: type[Client]) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), codepage="gb18030")
    relay.start()
    reader, suzuki = listener(world, "10.1.2.12", "reader"), speaker(world, kind, "10.1.1.11")
    reader.start()
    suzuki.start()
    world.run(20)
    assert reader.listed[suzuki.address] == SUZUKI
    check(world)


@pytest.mark.parametrize("first", LISTENERS)
@pytest.mark.parametrize("kind", [Windows, Iptux, Plain, Feiq])
def test_a_name_is_shown_right_in_a_segment_of_all_kinds(kind: type[Client], first: type[Client]) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    relay.start()
    # Most are of the first kind: the broadcast is made for them, and the others need one of their own.
    kinds = [first, first, *LISTENERS]
    readers = [kind_(world, f"10.1.2.{n + 10}", f"r{n}") for n, kind_ in enumerate(kinds)]
    for reader in readers:
        reader.start()
    world.run(20)
    suzuki = speaker(world, kind, "10.1.1.11")
    suzuki.start()
    world.run(10)
    assert {type(r).__name__: r.listed[suzuki.address] for r in readers} == {
        type(r).__name__: SUZUKI for r in readers
    }
    suzuki.rename("佐藤")
    world.run(1)
    assert {r.listed[suzuki.address] for r in readers} == {"佐藤"}
    check(world)


@pytest.mark.parametrize("kind", [Windows, Iptux, Plain, Feiq])
def test_a_name_is_shown_right_in_users(kind: type[Client]) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    relay.start()
    speaker(world, kind, "10.1.1.11").start()
    world.run(10)
    (row,) = [row for row in relay.relay.users(world.now) if row.kind != "camrelay"]
    assert (row.nick, row.group) == (SUZUKI, "営業")


def test_an_announcement_to_most_listeners_is_the_users_own_words() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    relay.start()
    reader, suzuki = Windows(world, "10.1.2.12", "reader"), windows(world, Windows, "10.1.1.11")
    reader.start()
    world.run(10)
    suzuki.start()
    world.run(2)
    own = next(s for s in world.wire if s.sender == suzuki.address and s.mode == Command.BR_ENTRY).packet
    (spoken,) = [
        s.packet for s in world.wire if s.announces and s.to == "10.1.2.255" and s.source == suzuki.address
    ]
    assert spoken == own._replace(command=Command.BR_ABSENCE | own.options)


def test_what_is_the_program_s_own_business_is_not_repeated() -> None:
    class Agent(Windows):
        """Names a member master in every BR_ENTRY (clients.md section 6), and is one itself."""

        def presence(self, mode: int) -> bytes:
            return super().presence(mode) + b"\nIP:SVADR-of-a-master"

    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    relay.start()
    reader, agent = Iptux(world, "10.1.2.12", "reader"), Agent(world, "10.1.1.11", "agent")
    agent.options |= Option.DIR_MASTER | Option.SERVER | Option.DIALUP
    reader.start()
    agent.start()
    world.run(10)
    spoken = [s for s in world.wire if s.announces and s.source == agent.address]
    assert spoken
    assert not any(b"IP:" in s.data for s in spoken)
    assert {s.packet.options for s in spoken} == {0x0F640000}


def test_a_fingerprinted_user_keeps_its_encrypt_bit() -> None:
    world = World()
    RelayNode(world, ("10.1.1.2", "10.1.2.2")).start()
    readers = [kind(world, f"10.1.2.{n + 10}", "r") for n, kind in enumerate(LISTENERS)]
    bob = Windows(world, "10.1.1.11", "bob")
    for client in (*readers, bob):
        client.start()
    world.run(20)
    spoken = [s.packet for s in world.wire if s.announces and s.source == bob.address]
    assert len(spoken) >= 4
    assert all(p.options & Option.ENCRYPT for p in spoken if p.mode != Command.BR_EXIT)


def test_an_empty_logon_never_leaves() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    relay.start()
    reader = Iptux(world, "10.1.2.12", "reader")
    reader.start()
    nobody = Plain(world, "10.1.1.11", "nobody")
    nobody.presence = lambda mode: b"1:1:::%d:nobody\0" % mode  # type: ignore[method-assign]
    nobody.start()
    world.run(10)
    assert reader.listed[nobody.address] == "nobody"
    spoken = [parse(s.data) for s in world.wire if s.announces and s.source == nobody.address]
    assert {(p.logon, p.host) for p in spoken} == {(b"?", b"?")}


def test_the_icon_of_iptux_reaches_iptux() -> None:
    world = World()
    RelayNode(world, ("10.1.1.2", "10.1.2.2")).start()
    readers = [Windows(world, "10.1.2.12", "w"), Iptux(world, "10.1.2.13", "i")]
    suzuki = user(world, Iptux, "10.1.1.11")
    for client in (*readers, suzuki):
        client.start()
    world.run(10)
    last = [
        s
        for s in world.wire
        if s.announces and s.source == suzuki.address and s.to in ("10.1.2.255", "10.1.2.13")
    ]
    assert last[-1].packet.extra.split(b"\0")[1:3] == [b"icon-tux.png", b"utf-8"]


class ReadingGb(Reading):
    """Reads signed lists, on a Chinese Windows."""

    charset = "gb18030"


@pytest.mark.parametrize("can_speak", [True, False])
@pytest.mark.parametrize("listener", [Reading, ReadingGb])
@pytest.mark.parametrize("kind", [Windows, WindowsGb, Iptux, Plain, PlainGb, Feiq])
def test_a_name_is_shown_right_by_who_reads_signed_lists(
    kind: type[Client], listener: type[Reading], can_speak: bool
) -> None:
    world = World()
    codepage = "gb18030" if kind is PlainGb else "cp932"
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), key=RELAY, can_speak=can_speak, codepage=codepage)
    relay.start()
    reader, suzuki = listener(world, "10.1.2.12", "reader"), speaker(world, kind, "10.1.1.11")
    suzuki.start()
    world.run(10)
    reader.start()
    world.run(10)
    assert reader.listed[suzuki.address] == SUZUKI  # in its list
    assert reader.lists
    suzuki.rename("佐藤")
    world.run(2)
    assert reader.listed[suzuki.address] == "佐藤"  # and as a change


@pytest.mark.parametrize("kind", [Windows, Iptux, Plain, Feiq])
def test_everybody_else_reads_who_reads_signed_lists(kind: type[Client]) -> None:
    world = World()
    RelayNode(world, ("10.1.1.2", "10.1.2.2"), key=RELAY).start()
    reader, suzuki = kind(world, "10.1.2.12", "reader"), windows(world, Reading, "10.1.1.11")
    reader.start()
    suzuki.start()
    world.run(20)
    assert reader.listed[suzuki.address] == SUZUKI
    check(world)
