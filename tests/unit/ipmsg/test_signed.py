"""Packets as signed dictionaries: the vectors both ways, lists in chunks, and who is believed."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import NEVER_ANNOUNCED, OPTION_MASK, Command, Option
from camrelay.ipmsg.crypto import sign_dict, verify_dict
from camrelay.ipmsg.ipdict import IPDict, decode, frame, listing, write
from camrelay.ipmsg.pubkey import signed_name
from camrelay.ipmsg.signed import LIMIT, Author, Host, Signed, cut, gather, hosts, pack, parse, read, signer
from tests.keys import AGENTPACKET, LIST, OLD, PACKET, PEER, POLL, RELAY, REQUEST, SIGNED

STATUS = 0x1F650000
DATE = 1700000000
VERSION = "00010002:4:99:103"
RELAY_NAME = "camrelay-<8afb10eea9bae83c>"
AUTHOR = Author(RELAY, RELAY_NAME, "RELAY", "camrelay", "relay", VERSION, STATUS)
BOB = Host(
    "bob-<3e9baf9cab544e94>", "PC-B", 0xF640000, True, "10.2.0.7", 2425, "Bob", "Sales", "00010002:4:99:103"
)
CAROL = Host("carol", "pc-c", 0x200000, True, "10.2.0.8", 2425, "carol", "", "")

words = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=19)
users = st.builds(
    Host,
    words,
    words,
    st.integers(0, 0xFFFFFF).map(lambda bits: bits << 8 & ~int(NEVER_ANNOUNCED | Option.UTF8)),
    st.booleans(),
    st.ip_addresses(v=4).map(str),
    st.integers(1, 65535),
    words | st.just(""),
    words | st.just(""),
    words | st.just(""),
)


def crowd(size: int) -> list[Host]:
    """Users as long as those of the real client."""
    return [
        BOB._replace(
            logon=f"user{number:03}-<3e9baf9cab544e94>", address=f"10.{number // 200}.1.{number % 200}"
        )
        for number in range(size)
    ]


def test_the_list_vector_both_ways() -> None:
    assert pack(AUTHOR, [BOB, CAROL], 0, 1700000001, DATE) == (LIST, 0)
    packet = parse(LIST)
    assert packet[:-1] == (
        1700000001, DATE, RELAY_NAME, "RELAY", Command.ANSLIST_DICT, 0, STATUS, "camrelay", "relay", VERSION,
    )  # fmt: skip
    assert packet.key == ("camrelay-<8afb10eea9bae83c>", "relay")
    assert hosts(packet.fields) == [BOB, CAROL]
    assert signer(packet) == RELAY.public


@pytest.mark.parametrize("name", SIGNED)
def test_every_signed_vector_has_its_header(name: str) -> None:
    packet = parse(SIGNED[name])
    assert (packet.host, packet.date, packet.version) == (
        "RELAY" if packet.group == "relay" else "PC-B",
        DATE,
        VERSION,
    )
    assert packet.mode == Command[name.partition("(")[0]]
    assert packet.options == (0xF640000 if name == "DIR_POLL" else 0)
    assert (signer(packet) is None) == name.startswith("DIR_AGENTPACKET")


def test_status_counts_as_options_where_a_user_is_announced() -> None:
    for mode in (Command.BR_ENTRY, Command.BR_EXIT, Command.ANSENTRY, Command.BR_ABSENCE, Command.DIR_POLL):
        assert parse(AUTHOR.sign(mode, 1, 1, options=0x100)).options == STATUS | 0x100
    assert parse(AUTHOR.sign(Command.SENDMSG, 1, 1, options=0x100)).options == 0x100


def test_status_never_touches_the_command() -> None:
    packet = parse(frame(Author(RELAY, "a", "b", "", "", "", 0xF64FFFF).write(Command.DIR_POLL, 1, 1)))
    assert (packet.mode, packet.status) == (Command.DIR_POLL, 0xF64FF00)


@pytest.mark.parametrize(
    "changes",
    [{b"VER": b"1"}, {b"VER": b""}, {b"PKT": b"x"}, {b"CMD": b""}, {b"FLG": b"-x"}, {b"UID": b""},
     {b"HID": b""}, {b"STAT": b"z"}, {b"DATE": b":"}],
    ids=str,
)  # fmt: skip
def test_a_header_that_makes_no_sense_is_an_error(changes: dict[bytes, bytes]) -> None:
    with pytest.raises(MalformedPacket):
        read(IPDict(decode(LIST) | changes))


@pytest.mark.parametrize("key", [b"VER", b"PKT", b"UID", b"HID", b"CMD", b"FLG"])
def test_a_header_without_what_it_must_have_is_an_error(key: bytes) -> None:
    with pytest.raises(MalformedPacket, match=f"without {key.decode()}"):
        read(IPDict({name: value for name, value in decode(LIST).items() if name != key}))


def test_a_header_needs_no_more_than_that() -> None:
    packet = parse(frame(b"VER:1:3:PKT:1:1:UID:1:a:HID:1:b:CMD:2:b8:FLG:1:0"))
    assert packet[:-1] == (1, 0, "a", "b", Command.DIR_AGENTREJECT, 0, 0, "", "", "")


def test_500_users_arrive_in_chunks_without_fragments() -> None:
    many = crowd(500)
    start, number, seen, sizes = 0, 100, [], []
    while True:
        data, following = pack(AUTHOR, many, start, number, DATE)
        fields = decode(data)
        got = hosts(fields)
        counts = [fields.number(key) for key in (b"START", b"NUM", b"TOTAL", b"PKT")]
        assert counts == [start, len(got), 500, number]
        seen += got
        sizes.append(len(data))
        number += 1
        if not following:
            break
        assert following == start + len(got)
        start = following
    assert seen == many
    assert max(sizes) <= LIMIT
    assert len(sizes) == 125  # four to each
    assert min(sizes) > LIMIT - len(many[0].write())  # and there was no room for a fifth


def test_a_chunk_is_filled_to_the_limit_and_not_beyond() -> None:
    for limit in range(1000, 4000, 37):
        data, following = pack(AUTHOR, crowd(40), 0, 1, DATE, limit)
        assert following > 0
        assert len(data) <= limit
        assert len(data) > limit - len(BOB.write()) - 20


def test_a_user_without_room_goes_alone() -> None:
    data, following = pack(AUTHOR, crowd(3), 1, 1, DATE, limit=100)
    assert (hosts(decode(data)), following) == (crowd(3)[1:2], 2)
    assert verify_dict(decode(data))


def test_the_longest_names_fit_a_datagram() -> None:
    long = "山" * 200
    huge = Host(long, long, 0xFFFFFF00, True, "255.255.255.255", 65535, long, long, long)
    author = Author(RELAY, RELAY_NAME, "h" * 30, long, long, VERSION, STATUS)
    data, following = pack(author, [huge] * 3, 0, 2**32 - 1, 2**32)
    assert len(data) <= 1472
    assert following == 1
    (got,) = hosts(decode(data))
    assert got.logon == got.nick == "山" * 26  # 78 of Windows' 79 bytes


@given(st.lists(users, max_size=5), st.integers(1, 0xFFFFFFFFFFFF))
def test_what_is_kept_of_a_list_is_all_that_is_not_the_same_in_each(many: list[Host], number: int) -> None:
    listed, _ = gather(AUTHOR, many, 0, number, number)
    sealed = AUTHOR.seal(number, listed)
    assert AUTHOR.unseal(sealed) == pack(AUTHOR, many, 0, number, number)[0]
    assert len(AUTHOR.unseal(sealed)) - len(sealed) > 480


def test_an_empty_list_and_a_start_behind_the_end_are_complete() -> None:
    for listed, start in (([], 0), ([BOB], 1), ([BOB], 9)):
        data, following = pack(AUTHOR, listed, start, 1, DATE)
        assert (hosts(decode(data)), following) == ([], 0)


def test_a_removal_is_listed_as_not_present() -> None:
    data, _ = pack(AUTHOR, [BOB._replace(present=False)], 0, 1, DATE)
    assert b":ACT:1:0:" in data
    assert hosts(decode(data)) == [BOB._replace(present=False)]
    element = BOB.write().replace(b":ACT:1:1", b"")
    assert hosts(IPDict({b"HLST": listing([element])})) == [
        BOB._replace(present=False)
    ]  # as Windows reads it


def test_what_is_never_repeated_leaves_no_list() -> None:
    data, _ = pack(AUTHOR, [BOB._replace(status=0xFFFFFFFF)], 0, 1, DATE)
    (got,) = hosts(decode(data))
    assert got.status == OPTION_MASK & ~int(NEVER_ANNOUNCED) & ~int(Option.UTF8)


def test_a_list_that_claims_another_number_is_an_error() -> None:
    fields = decode(LIST)
    for number in (b"0", b"1", b"3", b""):
        with pytest.raises(MalformedPacket):
            hosts(IPDict(fields | {b"NUM": number}))
    del fields[b"NUM"]
    assert hosts(fields) == [BOB, CAROL]  # as the reports of agents are
    with pytest.raises(MalformedPacket, match="without HLST"):
        hosts(IPDict())


@pytest.mark.parametrize(
    "changes",
    [{b"UID": b""}, {b"HID": b""}, {b"IPAD": b""}, {b"IPAD": b"fe80::1"}, {b"IPAD": b"10.0.0.256"},
     {b"IPAD": b"pc-b"}, {b"PORT": b"0"}, {b"PORT": b"10000"}, {b"PORT": b"-979"}, {b"PORT": b""},
     {b"STAT": b"x"}, {b"ACT": b""}],
    ids=str,
)  # fmt: skip
def test_a_user_that_makes_no_sense_is_left_out(changes: dict[bytes, bytes]) -> None:
    bob = decode(frame(BOB.write()))
    fields = IPDict({b"HLST": listing([write(bob | changes), CAROL.write()])})
    assert hosts(fields) == [CAROL]


def test_names_in_lists_are_those_of_classic_headers() -> None:
    odd = BOB._replace(logon="a:b\n", host="h" * 200, nick="n\x1b[2J")
    fields = IPDict({b"HLST": listing([odd.write()])})
    (got,) = hosts(fields)
    assert (got.logon, got.host, got.nick) == ("a;b ", "h" * 79, "n [2J")


def test_who_is_believed() -> None:
    packet = parse(LIST)
    assert signer(packet) == RELAY.public
    assert signer(packet, RELAY.public) == RELAY.public
    assert signer(packet, PEER.public) is None
    assert signer(packet, OLD.public) is None


def test_a_forger_cannot_take_a_name_with_a_fingerprint() -> None:
    for name in (RELAY_NAME, RELAY_NAME.replace("8a", "8A"), signed_name("", RELAY.public)):
        forged = parse(sign_dict(decode(LIST) | {b"UID": name.encode()}, PEER))
        assert verify_dict(forged.fields)
        assert signer(forged) is None
        assert signer(forged, RELAY.public) is None


def test_a_forger_cannot_take_a_long_name_by_one_that_is_cut_to_it() -> None:
    name = signed_name("x" * 99, RELAY.public)
    assert len(name) == 79
    forged = parse(sign_dict(decode(LIST) | {b"UID": name.encode() + b"y"}, PEER))
    assert forged.logon == name
    assert signer(forged) is None


def test_a_name_without_fingerprint_goes_with_its_first_key() -> None:
    first = Author(PEER, "carol", "pc-c", "", "", "", 0).sign(Command.DIR_POLL, 1, 1)
    other = Author(RELAY, "carol", "pc-c", "", "", "", 0).sign(Command.DIR_POLL, 2, 2)
    assert signer(parse(first)) == PEER.public
    assert signer(parse(other)) == RELAY.public
    assert signer(parse(other), PEER.public) is None


def test_what_is_inside_is_believed_by_its_own_signature() -> None:
    for data, author in ((PACKET, RELAY), (REQUEST, RELAY)):
        packet = parse(data)
        assert signer(packet) == author.public
        assert signer(read(packet.fields.nested(b"WAPD"))) == RELAY.public
    outside = parse(AGENTPACKET)
    assert signer(outside) is None
    inside = read(outside.fields.nested(b"WAPD"))
    assert (signer(inside), inside.logon) == (RELAY.public, RELAY_NAME)
    assert signer(parse(POLL)) == PEER.public


def test_cut_never_halves_a_character() -> None:
    assert cut("a" * 200) == b"a" * 79
    assert cut("x" + "山" * 30) == ("x" + "山" * 26).encode()
    assert cut("\ud800") == b"?"


@settings(max_examples=40)
@given(st.lists(users, max_size=12), st.integers(0, 2**32 - 1), st.integers(0, 2**33), st.integers(900, 3000))
def test_lists_that_were_packed_are_read_again(many: list[Host], number: int, date: int, limit: int) -> None:
    start, seen = 0, []
    while True:
        data, following = pack(AUTHOR, many, start, number, date, limit)
        packet = parse(data)
        assert (packet.number, packet.date) == (number, date)
        assert verify_dict(packet.fields)
        got = hosts(packet.fields)
        assert len(data) <= limit or len(got) <= 1
        seen += got
        start = following
        if not following:
            break
    assert seen == many


@settings(max_examples=200)
@given(st.sampled_from(sorted(SIGNED.values(), key=len)), st.data())
@example(b"", None)
def test_damage_raises_nothing_but_the_one_error(whole: bytes, data: st.DataObject | None) -> None:
    damaged = whole
    if data is not None:
        position = data.draw(st.integers(0, 700))
        rest = whole[position + data.draw(st.integers(0, 3)) :]
        damaged = whole[:position] + data.draw(st.binary(max_size=3)) + rest
    try:
        packet: Signed = parse(damaged)
        found = hosts(packet.fields) if b"HLST" in packet.fields else []
    except MalformedPacket:
        return
    assert signer(packet) is None or parse(whole)[:-1] == packet[:-1]
    assert all(host.logon and host.host and 0 < host.port < 65536 for host in found)
