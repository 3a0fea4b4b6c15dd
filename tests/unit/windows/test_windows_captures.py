"""The scripted Windows client gets what a real one got in a recording, and does what the real one did next.

Their keys differ (nobody has the real ones), random waits may too: compared are commands, options, addresses,
names and lists, at times within what the waits allow.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from camrelay.ipmsg import hostlist, master
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.ipdict import encode
from camrelay.ipmsg.packet import is_ipdict, parse
from camrelay.ipmsg.signed import parse as parse_dictionary
from tests.pcap import DATA, Captured, capture, requests
from tests.scripted import Sent, segment_of
from tests.windows import Windows499
from tests.windows_table import name_of
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

LEAD = 10.0  # seconds of the world before the recording begins
# Random waits of the client: before ANSENTRY up to 1.03 s, before DIR_ANSBROAD 2.05 s; and a slow machine's.
SLACK = {Command.ANSENTRY: 1.1, Command.DIR_ANSBROAD: 2.3}
USUAL = 0.4

Act = tuple[float, "Callable[[Windows499], object]"]


class Role(NamedTuple):
    """Who is played in which recording, and what its user did when (seconds of the recording)."""

    recording: str
    address: str
    host: str
    nick: str
    group: str
    acts: tuple[Act, ...]
    master: str = ""
    without: frozenset[int] = frozenset()  # commands that its user's messages were the cause of
    until: float = 1e9


def start(client: Windows499) -> None:
    client.start()
    client.dictionaries.poll_every = 10.0  # as it was set for the recording


def back(client: Windows499) -> None:
    client.away = ""
    start(client)


def asks_for_list(client: Windows499) -> None:
    client.list_get = True
    client.also = ("10.99.1.11",)
    client.start()


MASTER = "10.99.1.11"
TALK = frozenset((int(Command.SENDMSG), int(Command.RECVMSG)))
ROLES = [
    Role("s1-same-segment-brA", "10.99.1.11", "A1", "Alice", "GrpA", ((0.0, start),), "", TALK | {0x72}),
    Role(
        "s1-same-segment-brA",
        "10.99.1.12",
        "A2",
        "Bob",
        "GrpA",
        ((8.131, start), (25.518, Windows499.leave_desk), (29.06, Windows499.exit)),
        "",
        TALK,
    ),
    Role(
        "s2-master-brB",
        "10.99.2.21",
        "B1",
        "Carol",
        "GrpB",
        (
            (3.427, start),
            (11.05, lambda client: client.use_master(MASTER)),
            (56.567, Windows499.refresh),
            (170.0, lambda client: client.use_master("")),
        ),
        "",
        TALK,
    ),
    Role(
        "s2-master-brB",
        "10.99.2.22",
        "B2",
        "Dave",
        "GrpB",
        (
            (0.0, start),
            (70.783, Windows499.leave_desk),
            (76.811, Windows499.exit),
            (85.017, back),
        ),
        "",
        TALK | {0x72},
    ),
    Role(
        "s2b-two-agents-brB", "10.99.2.21", "B1", "Carol", "GrpB", ((0.0, start),), MASTER, TALK, until=30.0
    ),
    Role(
        "s2b-two-agents-brB", "10.99.2.22", "B2", "Dave", "GrpB", ((1.711, start),), MASTER, TALK, until=30.0
    ),
    Role("s3-hostlist-brA", "10.99.1.11", "A1", "Alice", "GrpA", ((0.0, start),)),
    Role("s3-hostlist-brA", "10.99.1.12", "A2", "Bob", "GrpA", ((7.672, start),)),
    Role("s3-hostlist-brB", "10.99.2.21", "B1", "Carol", "GrpB", ((0.0, asks_for_list),)),
    Role("s4-japanese-brA", "10.99.1.11", "A1", "白水太郎", "開発部", ((0.0, start),), "", TALK),
    Role(
        "s4-japanese-brB",
        "10.99.2.21",
        "B1",
        "表示ソ子",
        "開発部",
        ((0.0, asks_for_list),),
        "",
        TALK | {0x72},
    ),
    Role("s2-master-brC", "10.99.3.31", "C1", "Erin", "GrpC", ((0.0, start),), MASTER, TALK),
]


def replay(role: Role) -> tuple[Windows499, list[Captured], list[Sent], float]:
    """The client after the recording, what the real one sent, what ours sent, and when the recording begins."""
    path = DATA / f"{role.recording}.pcap"
    datagrams, tcp = capture(path).datagrams, requests(path)
    begun = min(one.time for one in datagrams)
    world = World(seed=3)
    world.now = 1000.0
    client = Windows499(
        world, role.address, role.nick, logon="root", host=role.host, group=role.group, master=role.master
    )
    offset = world.now + LEAD - begun
    for one in [one for one in datagrams if one.source != role.address]:
        if one.target in (role.address, f"{segment_of(role.address)}.255"):
            feed(client, one, offset, Windows499.receive)
    for one in tcp:
        if one.target == role.address:
            feed(client, one, offset, Windows499.accept)
    for when, act in role.acts:
        world.at(1000.0 + LEAD + when, partial(act, client))
    world.run(LEAD + datagrams[-1].time - begun + 1.0)
    real = [one for one in datagrams if one.source == role.address]
    return client, real, world.wire, begun


def feed(client: Windows499, one: Captured, offset: float, door: Callable[[Windows499, Sent], None]) -> None:
    sent = Sent(one.time + offset, one.source, one.source, one.target, one.data)
    client.world.at(sent.time, lambda: door(client, sent) if client.alive else None)


def meaning(data: bytes, to: str) -> tuple[Any, ...]:
    """What a datagram says, without number, date, keys and fingerprints."""
    if not is_ipdict(data):
        packet = parse(data)
        note = master.read_note(packet)
        if packet.mode == Command.ANSLIST:
            following, entries = hostlist.unpack(packet.body)
            return packet.mode, packet.options, to, following, frozenset(one[1:] for one in entries)
        body = b"" if packet.mode in (Command.ANSPUBKEY, Command.RECVMSG) else packet.body
        return packet.mode, packet.options, to, packet.host, body, note
    said = parse_dictionary(data)
    extra: object = ""
    match said.mode:
        case Command.DIR_POLL:
            extra = tuple(master.read_poll(said.fields))
        case Command.DIR_ANSBROAD | Command.DIR_EVBROAD:
            told = master.read_report(said.fields)
            extra = (
                told.entry,
                frozenset(
                    (
                        one.host,
                        one.status,
                        one.present,
                        one.address,
                        one.port,
                        one.nick,
                        one.group,
                        one.version,
                    )
                    for one in told.hosts
                ),
            )
        case Command.DIR_AGENTPACKET:
            extra = encode(master.unwrap(said.fields))
    return said.mode, said.options, to, said.host, said.status, said.nick, said.group, said.version, extra


@pytest.mark.parametrize("role", ROLES, ids=lambda role: f"{role.recording}-{role.host}")
def test_it_sends_what_the_real_one_sent(role: Role) -> None:
    _, real, ours, begun = replay(role)
    expected: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    found: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for one in real:
        if one.time - begun < role.until and not sealed(one.data):
            expected[meaning(one.data, one.target)].append(one.time - begun)
    for sent in ours:
        if sent.time - 1000.0 - LEAD < role.until:
            found[meaning(sent.data, sent.to)].append(sent.time - 1000.0 - LEAD)
    for said in [said for said in {*expected, *found} if said[0] in role.without]:
        expected.pop(said, None)
        found.pop(said, None)
    show = {said: (expected[said], found[said]) for said in {*expected, *found}}
    wrong = [
        f"{said}\n   real {times(theirs)}\n   ours {times(mine)}"
        for said, (theirs, mine) in sorted(show.items(), key=lambda item: item[1])
        if len(theirs) != len(mine)
        or any(abs(a - b) > SLACK.get(Command(said[0]), USUAL) for a, b in zip(theirs, mine, strict=True))
    ]
    assert not wrong, "\n".join(wrong)


def times(those: list[float]) -> str:
    return " ".join(f"{one:.2f}" for one in those)


def sealed(data: bytes) -> bool:
    return data.startswith(b"IP2:") and b"EB:" in data[:400] and b"CMD:" not in data[:200]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: f"{role.recording}-{role.host}")
def test_it_believes_every_real_signature(role: Role) -> None:
    client, _, _, _ = replay(role)
    assert not client.keys.refused
    assert all(name == name_of(*name) for name in client.keys.by_name)
