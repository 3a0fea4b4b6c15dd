"""Every datagram of every capture of the real IP Messenger for Windows 4.99r3 is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.announcement import announce
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.hostlist import pack, unpack
from camrelay.ipmsg.packet import build, is_ipdict, parse
from camrelay.ipmsg.presence import Kind, read
from tests.pcap import CAPTURES, Captured, capture

if TYPE_CHECKING:
    from pathlib import Path

PRESENCE = (Command.NOOPERATION, Command.BR_ENTRY, Command.BR_EXIT, Command.ANSENTRY, Command.BR_ABSENCE)

# How many datagrams there are, and how many of them are dictionary frames. (tshark counts the same.)
COUNTS = {
    "s1-same-segment-brA": (20, 1),
    "s2-master-brA": (131, 84),
    "s2-master-brB": (99, 49),
    "s2-master-brC": (61, 39),
    "s2-startup-brA": (14, 1),
    "s2-startup-brB": (6, 0),
    "s2b-two-agents-brA": (101, 47),
    "s2b-two-agents-brB": (77, 34),
    "s3-hostlist-brA": (18, 0),
    "s3-hostlist-brB": (15, 0),
    "s3c-hostlist-alone-brB": (23, 1),
    "s4-japanese-brA": (24, 1),
    "s4-japanese-brB": (21, 1),
}
USERS = {
    "10.99.1.11": ("A1", "Alice", "GrpA"),
    "10.99.1.12": ("A2", "Bob", "GrpA"),
    "10.99.2.21": ("B1", "Carol", "GrpB"),
    "10.99.2.22": ("B2", "Dave", "GrpB"),
    "10.99.3.31": ("C1", "Erin", "GrpC"),
}
JAPANESE = {
    "10.99.1.11": ("A1", "白水太郎", "開発部"),
    "10.99.1.12": ("A2", "Bob", "開発部"),
    "10.99.2.21": ("B1", "表示ソ子", "開発部"),  # 表 and ソ end in 0x5C in CP932
}

captures = pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)


def classic(path: Path) -> list[Captured]:
    return [one for one in capture(path).datagrams if not is_ipdict(one.data)]


def test_no_capture_is_missing() -> None:
    assert {path.stem for path in CAPTURES} == set(COUNTS)


@captures
def test_every_datagram_is_read_or_refused_as_a_dictionary(path: Path) -> None:
    dictionaries = 0
    for one in capture(path).datagrams:
        if is_ipdict(one.data):
            dictionaries += 1
            with pytest.raises(MalformedPacket, match="IPDict frame"):
                parse(one.data)
        else:
            packet = parse(one.data)
            assert packet.version == b"1"
            assert build(*packet).rstrip(b"\0") == one.data.rstrip(b"\0")
    assert (len(capture(path).datagrams), dictionaries) == COUNTS[path.stem]
    # The recorder of that one missed the second half of two dictionary frames.
    assert capture(path).incomplete == (2 if path.stem == "s2-startup-brA" else 0)


@captures
def test_every_presence_names_its_user(path: Path) -> None:
    users = JAPANESE if "japanese" in path.stem else USERS
    for one in classic(path):
        packet = parse(one.data)
        presence = read(packet)
        host, nick, group = users[one.source]
        assert presence.host_text == host
        assert presence.logon_text.startswith("root-<")
        assert presence.key[1] == host.casefold()
        if packet.mode in PRESENCE:
            assert presence.nick_text.removesuffix("[absence]") == nick
            assert presence.group_text == group
            assert (presence.kind, presence.edition) == (Kind.WINDOWS, "4.99r3 x64")
            assert presence.parts == b""
            assert presence.options & Option.ENCRYPT


@captures
def test_a_user_announced_as_itself_says_what_windows_says(path: Path) -> None:
    """Byte for byte, but for what is never repeated: the bits of a member master and its ``IP:`` line."""
    for one in classic(path):
        packet = parse(one.data)
        if packet.mode not in PRESENCE:
            continue
        sent, _, _ = one.data.partition(b"\nIP:")
        announced = announce(read(packet), packet.mode, packet.serial)
        master = packet.options & (Option.DIR_MASTER | Option.DIALUP)
        sent = sent.replace(b":%d:" % packet.command, b":%d:" % (packet.command & ~int(master)), 1)
        assert announced == sent


@pytest.mark.parametrize("name", ["s4-japanese-brA", "s4-japanese-brB"])
def test_japanese_names_in_the_code_page_agree_with_the_trailer(name: str) -> None:
    path = next(path for path in CAPTURES if path.stem == name)
    proven = set()
    for one in classic(path):
        packet = parse(one.data)
        if packet.mode not in (*PRESENCE, Command.BR_ISGETLIST2):
            continue
        presence = read(packet)
        _, nick, group = JAPANESE[one.source]
        charset = "utf-8" if packet.options & Option.UTF8 else "cp932"
        assert (presence.charset, presence.nick.decode(charset)) == (charset, nick)
        assert presence.group.decode(charset) == presence.group_text == group
        assert presence.proven is (packet.mode != Command.BR_ISGETLIST2)  # which has no trailer
        proven.add(charset)
        for target in ("gb18030", "utf-8", "cp932"):
            for trailer in (None, True, False):
                again = read(
                    parse(announce(presence, Command.BR_ABSENCE, 1, target, trailer)), codepage=target
                )
                assert (again.nick_text, again.group_text, again.key) == (nick, group, presence.key)
    assert proven == {"cp932", "utf-8"}


def test_host_lists_are_read_and_packed_the_same() -> None:
    lists = 0
    for path in CAPTURES:
        users = JAPANESE if "japanese" in path.stem else USERS
        for one in classic(path):
            packet = parse(one.data)
            if packet.mode != Command.ANSLIST:
                continue
            following, entries = unpack(packet.body)
            assert following == 0
            for entry in entries:
                got = (entry.host.decode(), entry.nick.decode("cp932"), entry.group.decode("cp932"))
                assert got == users[entry.address]
                assert entry.port == 2425
            assert pack(entries, 0) == (packet.body, 0)
            lists += 1
    assert lists == 5
