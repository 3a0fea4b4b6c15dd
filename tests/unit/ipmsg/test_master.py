"""The DIR_* dictionaries and the IP: line: the vectors both ways, and nonsense."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.ipdict import IPDict, decode, encode, frame, listing, read, write
from camrelay.ipmsg.master import (
    MOST_NETWORKS,
    Duty,
    Network,
    Note,
    Report,
    agent,
    duty,
    poll,
    read_duty,
    read_note,
    read_poll,
    read_report,
    report,
    unwrap,
    wrap,
    write_note,
)
from camrelay.ipmsg.packet import build, parse
from camrelay.ipmsg.signed import Author, pack
from tests.keys import AGENTPACKET, LIST, PACKET, PEER, POLL, RELAY, REQUEST
from tests.unit.ipmsg.test_packet import CLASSIC
from tests.unit.ipmsg.test_signed import AUTHOR, BOB, CAROL, DATE, VERSION

USER = Author(PEER, "bob-<3e9baf9cab544e94>", "PC-B", "Bob", "Sales", VERSION, 0xF640000)

addresses = st.ip_addresses(v=4).map(str)


def test_poll_vector_both_ways() -> None:
    networks = [Network("10.2.0.0", 24)]
    assert USER.sign(Command.DIR_POLL, 1700000005, DATE, poll(networks)) == POLL
    assert read_poll(decode(POLL)) == networks


def test_nested_vectors_both_ways() -> None:
    listed, _ = pack(AUTHOR, [BOB, CAROL], 0, 1700000001, DATE)
    packet = AUTHOR.sign(Command.DIR_PACKET, 1700000002, DATE, wrap(listed, "10.2.0.7"))
    assert packet == PACKET
    request = AUTHOR.sign(Command.DIR_REQUEST, 1700000003, DATE, wrap(packet, "10.2.0.7"))
    assert request == REQUEST
    outside = frame(USER.write(Command.DIR_AGENTPACKET, 1700000004, DATE, wrap(packet)))
    assert outside == AGENTPACKET
    assert encode(unwrap(decode(outside))) == encode(unwrap(decode(request))) == packet
    assert encode(unwrap(unwrap(decode(request)))) == LIST
    assert [agent(decode(data)) for data in (packet, request, outside)] == ["10.2.0.7", "10.2.0.7", ""]


def test_duties_and_reports_come_back() -> None:
    asked = Duty(190, "10.2.0.7")
    assert duty(asked) == b"AGS:2:be:TADR:8:10.2.0.7"
    assert read_duty(decode(AUTHOR.sign(Command.DIR_BROADCAST, 1, DATE, duty(asked)))) == asked
    for told in (Report([BOB, CAROL], entry=False), Report([BOB], entry=True), Report([], entry=False)):
        assert read_report(decode(USER.sign(Command.DIR_EVBROAD, 1, DATE, report(told)))) == told
    assert report(Report([BOB], entry=True)).endswith(b":DRCT:1:1")


def test_a_reject_is_a_header_and_a_signature() -> None:
    fields = decode(USER.sign(Command.DIR_AGENTREJECT, 1, DATE))
    assert list(fields)[-6:] == [b"STAT", b"PUBE", b"PUBN", b"EF", b"EC", b"SIGN"]


def test_networks_that_make_no_sense_are_left_out() -> None:
    good = Network("192.168.64.0", 20)
    odd = [Network("x", 24), Network("fe80::", 24), Network("10.0.0.0", 0), Network("10.0.0.0", 33), good]
    assert read_poll(read(poll(odd))) == [good]
    assert read_poll(IPDict()) == []
    assert read_poll(IPDict({b"NADRS": b""})) == []
    assert len(read_poll(read(poll([good] * (MOST_NETWORKS + 1))))) == MOST_NETWORKS


@pytest.mark.parametrize("value", [b"", b"-1", b"x", b"80000000"])
def test_a_duty_without_an_end_is_an_error(value: bytes) -> None:
    with pytest.raises(MalformedPacket):
        read_duty(IPDict({b"AGS": value, b"TADR": b"10.0.0.1"}))


def test_only_whole_packets_are_wrapped() -> None:
    with pytest.raises(MalformedPacket):
        wrap(LIST[:-1])
    with pytest.raises(MalformedPacket, match="without WAPD"):
        unwrap(decode(LIST))


def with_line(line: bytes, options: int = 0x1000000) -> Note:
    extra = b"GrpA\0\nUN:bob\nHN:PC-B\nNN:Bob\nGN:GrpA\nVS:" + VERSION.encode() + line
    return read_note(parse(build(b"1", 1, b"bob", b"PC-B", Command.BR_ENTRY | options, b"Bob", extra)))


def test_the_line_of_the_vector_both_ways() -> None:
    packet = parse(CLASSIC["BR_ENTRY 4.99 + IP:{SVADR}"])
    note = Note(master="192.168.10.2")
    assert read_note(packet) == note
    assert packet.extra.endswith(VERSION.encode() + write_note(note))
    assert read_note(parse(CLASSIC["BR_ENTRY 4.99"])) == Note()


def test_nothing_to_say_is_no_line() -> None:
    assert write_note(Note()) == b""
    assert with_line(b"") == Note()
    assert with_line(b"\nIP:") == Note()


def test_notes_are_for_those_who_declare_a_trailer() -> None:
    line = write_note(Note(started=True))
    assert with_line(line) == Note(started=True)
    assert with_line(line + b"\0") == with_line(line + b"\nXX:more") == Note(started=True)
    assert with_line(line, options=0) == Note()


def test_only_a_zero_means_started() -> None:
    line = write_note(Note(started=True))
    assert line == b"\nIP:SVAyOjc6VVBUOjE6MDpa"
    assert with_line(b"\nIP:SVAyOjc6VVBUOjE6MTpa") == Note()  # UPT=1


@pytest.mark.parametrize("line", [b"\nIP:!", b"\nIP:AA", b"\nIP:QUJD", b"\nIP:SVAyOjc6VVBUOjE6MDpaAA=="])
def test_a_line_that_is_no_dictionary_is_an_error(line: bytes) -> None:
    with pytest.raises(MalformedPacket):
        with_line(line)


@given(st.builds(Note, addresses | st.just(""), st.booleans(), st.booleans()))
def test_notes_that_were_written_are_read_again(note: Note) -> None:
    assert with_line(write_note(note)) == note


@given(
    st.lists(st.builds(Network, addresses, st.integers(1, 32)), max_size=9),
    st.integers(0, 2**31 - 1),
    addresses,
)
def test_what_was_written_is_read_again(networks: list[Network], seconds: int, address: str) -> None:
    assert read_poll(read(poll(networks))) == networks
    assert read_duty(read(duty(Duty(seconds, address)))) == Duty(seconds, address)


@given(
    st.dictionaries(
        st.sampled_from(
            [b"NADRS", b"AGS", b"TADR", b"HLST", b"NUM", b"DRCT", b"WAPD", b"SVADR", b"UPT", b"DRB"]
        ),
        st.binary(max_size=30)
        | st.sampled_from([b"0", b"1", b"10.0.0.1", listing([b""]), listing([BOB.write()])]),
    )
)
@example({b"NADRS": b"1:a"})
def test_reading_raises_nothing_but_its_one_error(fields: dict[bytes, bytes]) -> None:
    for reader in (read_poll, read_duty, read_report, unwrap, agent):
        try:
            reader(IPDict(fields))
        except MalformedPacket:
            continue
    try:
        with_line(b"\nIP:" + write(fields))
    except MalformedPacket:
        return


@given(st.binary(max_size=60))
def test_any_line_is_a_note_or_the_one_error(line: bytes) -> None:
    try:
        note = with_line(b"\nIP:" + line)
    except MalformedPacket:
        return
    assert isinstance(note.master, str)


def test_the_relay_signs_with_the_key_in_its_name() -> None:
    assert AUTHOR.key is RELAY
