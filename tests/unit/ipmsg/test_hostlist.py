"""The classic host list: what Windows writes and reads, and what others make of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import NEVER_ANNOUNCED, OPTION_MASK, Option
from camrelay.ipmsg.hostlist import LIMIT, MOST_ENTRIES, Entry, pack, unpack
from camrelay.ipmsg.packet import parse
from tests.unit.ipmsg.test_packet import CLASSIC

CAROL = Entry(b"carol", b"pc-c", 0x200000, "10.2.0.8", 2425, b"carol", b"")

names = st.binary(min_size=1, max_size=30).map(
    lambda raw: raw.replace(b"\0", b"").replace(b"\a", b"") or b"x"
)
texts = names.filter(lambda raw: raw != b"\b") | st.just(b"")
options = st.integers(0, 0xFFFFFF).map(lambda bits: bits << 8 & ~int(NEVER_ANNOUNCED | Option.UTF8))
# The one port that cannot be told: swapped, it is what g2ipmsg writes for 2425.
ports = st.integers(1, 65535).filter(lambda port: port != 30985)
entries = st.builds(Entry, names, names, options, st.ip_addresses(v=4).map(str), ports, texts, texts)


def test_a_list_of_one_is_the_reference_packet() -> None:
    packet = parse(CLASSIC["ANSLIST one host"])
    assert pack([CAROL], 0) == (packet.body, 0)
    assert unpack(packet.body) == (0, [CAROL])


def test_an_empty_list_is_complete() -> None:
    assert pack([], 0) == (b"    0\a    0\a", 0)
    assert pack([CAROL], 1) == (b"    0\a    0\a", 0)
    assert unpack(b"    0\a    0\a") == (0, [])


def test_no_options_are_written_as_1_because_0_means_delete() -> None:
    for bits in (0, int(NEVER_ANNOUNCED), int(Option.UTF8)):
        body, _ = pack([CAROL._replace(options=bits)], 0)
        assert b"\apc-c\a1\a10.2.0.8\a" in body
        assert unpack(body)[1][0].options == 0


def test_names_that_would_break_the_list_are_mended() -> None:
    body, _ = pack([Entry(b"", b"", 0x100, "10.0.0.1", 2425, b"a\ab", b"c\0d")], 0)
    assert unpack(body) == (0, [Entry(b"?", b"?", 0x100, "10.0.0.1", 2425, b"a b", b"c d")])


def test_a_long_list_continues_where_it_stopped() -> None:
    many = [CAROL._replace(logon=b"u%04d" % number) for number in range(2000)]
    start, seen, packets = 0, [], 0
    while True:
        body, following = pack(many, start)
        assert len(body) <= LIMIT
        number, got = unpack(body)
        assert number == following
        seen += got
        packets += 1
        # What Windows demands of a continuation: not less than what it got so far in this packet.
        assert following == 0 or following >= len(got)
        if not following:
            break
        start = following
    assert seen == many
    assert packets == 3


def test_a_list_can_be_kept_within_one_datagram_without_fragments() -> None:
    body, following = pack([CAROL] * 100, 0, limit=1300)
    assert len(body) <= 1300
    assert 0 < following < 100


def test_an_entry_that_fits_nowhere_does_not_stop_the_list() -> None:
    novel = CAROL._replace(nick=b"n" * 2000)
    assert pack([novel, CAROL, novel], 0, limit=1000) == (
        pack([CAROL], 0)[0].replace(b"    0", b"    2", 1),
        2,
    )
    assert pack([novel, CAROL, novel], 2, limit=1000) == (b"    0\a    0\a", 0)


def test_a_start_out_of_range_is_no_error() -> None:
    assert pack([CAROL], -5) == pack([CAROL], 0)
    assert pack([CAROL], 10**9) == (b"    0\a    0\a", 0)


def entry(status: bytes = b"1", address: bytes = b"10.0.0.1", port: bytes = b"30985") -> bytes:
    return b"u\ah\a" + status + b"\a" + address + b"\a" + port + b"\an\ag\a"


def test_a_list_of_g2ipmsg_is_read() -> None:
    number, got = unpack(b"    1\a    1\a" + entry(b"19", port=b"2425") * 2)
    assert number == 1
    assert got == [Entry(b"u", b"h", 0, "10.0.0.1", 2425, b"n", b"g")] * 2


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"30985", 2425),
        (b"2425", 2425),
        (b"31241", 2426),
        (b"", 2425),
        (b"0", 2425),
        (b"70000", 2425),
        (b"x", 2425),
    ],
)
def test_ports_are_unswapped(written: bytes, meant: int) -> None:
    assert unpack(b"    0\a    1\a" + entry(port=written))[1][0].port == meant


@pytest.mark.parametrize(
    "bad",
    [
        entry(status=b"0"),
        entry(status=b"2"),
        entry(status=b"258"),
        entry(status=b""),
        entry(status=b"-1"),
        entry(address=b"fe80::1"),
        entry(address=b"10.0.0"),
        entry(address=b"\xff"),
        b"\ah\a1\a10.0.0.1\a1\an\ag\a",
    ],
)
def test_users_that_are_gone_or_make_no_sense_are_left_out(bad: bytes) -> None:
    assert len(unpack(b"    0\a    2\a" + bad + entry())[1]) == 1


def test_a_cut_entry_ends_the_list() -> None:
    assert len(unpack(b"    0\a    2\a" + entry() + entry()[:12])[1]) == 1


def test_one_list_cannot_fill_memory() -> None:
    assert len(unpack(b"    0\a    0\a" + entry() * (MOST_ENTRIES + 500))[1]) == MOST_ENTRIES


@pytest.mark.parametrize(
    "body", [b"", b"\a", b"    0", b"    0\a", b"x\a    1\a", b"-1\a0\a", b"1" * 11 + b"\a1\a"]
)
def test_what_is_no_list_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPacket, match="not a host list"):
        unpack(body)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"    0\a    1\a" + tail))
@example(b"0\a\a")
def test_unpack_raises_nothing_but_its_one_error(body: bytes) -> None:
    try:
        number, got = unpack(body)
    except MalformedPacket:
        return
    assert number >= 0
    for one in got:
        assert one.logon
        assert one.host
        assert one.options & ~OPTION_MASK == 0
        assert 0 < one.port < 0x10000


@given(st.lists(entries, max_size=30), st.integers(120, 2000))
def test_packed_lists_are_read_again(many: list[Entry], limit: int) -> None:
    fitting = [one for one in many if pack([one], 0, limit)[0] != b"    0\a    0\a"]
    start, seen = 0, []
    while True:
        body, start = pack(many, start, limit)
        seen += unpack(body)[1]
        if not start:
            break
    assert seen == fitting
