"""Every dictionary that the real IP Messenger for Windows 4.99r3 sent is read, verified and built again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from camrelay.ipmsg import master
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.crypto import verify_dict
from camrelay.ipmsg.ipdict import IPDict, decode, encode, item, listing, write
from camrelay.ipmsg.packet import is_ipdict, parse
from camrelay.ipmsg.sealed import is_sealed
from camrelay.ipmsg.signed import Author, Signed, hosts, read, signer
from tests.keys import RELAY
from tests.pcap import CAPTURES, capture, requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from camrelay.ipmsg.pubkey import PublicKey

captures = pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)

# How many signatures there are, each nested one counted.
SIGNATURES = {
    "s2-startup-brA": 1,
    "s2-master-brA": 139,
    "s2-master-brB": 83,
    "s2-master-brC": 60,
    "s2b-two-agents-brA": 62,
    "s2b-two-agents-brB": 47,
}
COMMANDS = {
    Command.ANSLIST_DICT: 89,  # 13 alone, 76 in what follows
    Command.DIR_POLL: 125,
    Command.DIR_POLLAGENT: 4,
    Command.DIR_BROADCAST: 22,
    Command.DIR_ANSBROAD: 20,
    Command.DIR_PACKET: 76,  # 19 alone, 57 in what follows
    Command.DIR_REQUEST: 38,
    Command.DIR_AGENTPACKET: 19,
    Command.DIR_EVBROAD: 16,
    Command.DIR_AGENTREJECT: 2,
}
USERS = {"A1": "10.99.1.11", "A2": "10.99.1.12", "B1": "10.99.2.21", "B2": "10.99.2.22", "C1": "10.99.3.31"}


def frames(path: Path) -> list[bytes]:
    """The dictionaries of one capture, by UDP and by TCP."""
    return [one.data for one in (*capture(path).datagrams, *requests(path)) if is_ipdict(one.data)]


def packets(path: Path) -> Iterator[Signed]:
    """All that have a header, the nested ones too."""
    for data in frames(path):
        fields = decode(data)
        while not is_sealed(fields):
            yield read(fields)
            if b"WAPD" not in fields:
                break
            fields = master.unwrap(fields)


@captures
def test_every_dictionary_comes_out_as_it_went_in(path: Path) -> None:
    for data in frames(path):
        assert encode(decode(data)) == data


@captures
def test_every_signature_is_good_and_by_whom_it_names(path: Path) -> None:
    known: dict[tuple[str, str], PublicKey] = {}
    good = 0
    for packet in packets(path):
        if b"SIGN" not in packet.fields:
            assert packet.mode == Command.DIR_AGENTPACKET
            assert signer(packet) is None
            continue
        key = signer(packet)
        assert key is not None
        assert known.setdefault(packet.key, key) == key
        assert signer(packet, key) == key
        assert not verify_dict(packet.fields, RELAY.public)
        changed = IPDict(packet.fields | {b"DATE": b"1"})
        assert not verify_dict(changed)
        good += 1
    assert good == SIGNATURES.get(path.stem, 0)


def test_all_commands_are_there() -> None:
    assert sum(SIGNATURES[name] for name in SIGNATURES if "s2-master" in name) == 282
    counted = Counter(Command(packet.mode) for path in CAPTURES for packet in packets(path))
    assert counted == COMMANDS


@captures
def test_what_each_command_adds_is_built_again(path: Path) -> None:
    """Header and body as the real program wrote them, but for the signature, whose key nobody has."""
    for packet in packets(path):
        fields = packet.fields
        author = Author(
            RELAY, packet.logon, packet.host, packet.nick, packet.group, packet.version, packet.status
        )
        extra = added(packet)
        options = fields.number(b"FLG")
        content = author.write(packet.mode, packet.number, packet.date, extra, options)
        assert write(fields) == content or write(fields).startswith(content + b":PUBE:5:10001:PUBN:100:")


def added(packet: Signed) -> bytes:
    fields = packet.fields
    match packet.mode:
        case Command.DIR_POLL:
            networks = master.read_poll(fields)
            assert [(one.address[:5], one.prefix) for one in networks] == [("10.99", 24)]
            return master.poll(networks)
        case Command.DIR_BROADCAST | Command.DIR_POLLAGENT:
            asked = master.read_duty(fields)
            assert asked.seconds == 70  # the cycle was set to 60 s
            assert asked.address in USERS.values()
            return master.duty(asked)
        case Command.DIR_ANSBROAD | Command.DIR_EVBROAD:
            return master.report(master.read_report(fields))
        case Command.DIR_PACKET | Command.DIR_REQUEST | Command.DIR_AGENTPACKET:
            return master.wrap(encode(master.unwrap(fields)), master.agent(fields))
        case Command.ANSLIST_DICT:
            users = hosts(fields)
            assert users
            assert all(user.address == USERS[user.host] for user in users)
            assert all(user.port == 2425 for user in users)
            counts = [(b"START", 0), (b"NUM", len(users)), (b"TOTAL", len(users))]
            listed = item(b"HLST", listing([user.write() for user in users]))
            return b":".join((listed, *(item(key, number) for key, number in counts)))
        case _:
            return b""


def test_every_note_of_a_trailer_is_read_and_written_the_same() -> None:
    found: Counter[master.Note] = Counter()
    for path in CAPTURES:
        for one in capture(path).datagrams:
            if is_ipdict(one.data):
                continue
            packet = parse(one.data)
            note = master.read_note(packet)
            assert packet.extra.rstrip(b"\0").endswith(master.write_note(note))
            assert (note == master.Note()) is (b"\nIP:" not in one.data)
            found[note] += 1
    del found[master.Note()]
    own = master.Note(master="10.99.1.11")
    assert found == {own: 94, own._replace(duty=True): 10, master.Note(started=True): 4}
