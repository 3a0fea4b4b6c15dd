"""parse and build: every real packet, and every kind of nonsense."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import HEADER_LIMIT, Packet, build, is_ipdict, parse
from tests.pcap import DATA

VECTORS = json.loads((DATA / "ipmsg-vectors.json").read_text("utf-8"))
CLASSIC = {name: bytes.fromhex(text) for name, text in VECTORS["classic"].items()}
IPDICT = [
    bytes.fromhex(one["hex"]) for one in [*VECTORS["ipdict"], *VECTORS["signed"].values()] if "hex" in one
]
IPTUX = b"1_iptux 0.8.3:1:root:h-alice:257:alice\0grp-alice\0icon-tux.png\0utf-8\0"

names = st.binary(min_size=1, max_size=79).filter(lambda raw: not {0, ord(":")} & set(raw))
digits = st.integers(0, 10**30).map(lambda number: b"%d" % number)
versions = st.sampled_from([b"1", b"1_iptux 0.10.0", b"1@shiyeline", b"1_lbt6_0#128#0011#0#0#0#4001#9"])


def rebuilt(packet: Packet) -> bytes:
    return build(packet.version, packet.number, packet.logon, packet.host, *packet[4:])


@pytest.mark.parametrize("name", CLASSIC)
def test_classic_vector_is_read_and_rebuilt_byte_for_byte(name: str) -> None:
    data = CLASSIC[name]
    # FeiQ ends without the NUL that build() always writes; nothing else may differ.
    assert rebuilt(parse(data)) == data + (b"" if b"\0" in data else b"\0")


def test_fields_are_kept_as_sent() -> None:
    packet = parse(IPTUX)
    assert packet == (
        b"1_iptux 0.8.3",
        b"1",
        b"root",
        b"h-alice",
        257,
        b"alice",
        b"grp-alice\0icon-tux.png\0utf-8\0",
    )
    assert (packet.mode, packet.options, packet.serial) == (Command.BR_ENTRY, 0x100, 1)
    assert rebuilt(packet) == IPTUX


def test_body_may_hold_colons_and_begin_with_one() -> None:
    assert parse(b"1:2:a:b:32::x:y:\0").body == b":x:y:"


def test_a_missing_nul_ends_the_body_at_the_end() -> None:
    assert parse(b"1_lbt6_0#1#00#0#0#0#4001#9:14:u:H:6291457:\xd5\xc5\xc8\xfd")[5:] == (
        b"\xd5\xc5\xc8\xfd",
        b"",
    )


def test_empty_names_are_read_but_never_written() -> None:
    packet = parse(b"1:2:::1:")
    assert (packet.logon, packet.host) == (b"", b"")
    assert rebuilt(packet) == b"1:2:?:?:1:\0"


def test_a_colon_in_a_name_cannot_shift_fields() -> None:
    assert parse(build(b"1", 5, b"a:b", b"c:", 1))[2:4] == (b"a;b", b"c;")


def test_numbers_beyond_64_bits_are_numbers() -> None:
    packet = parse(b"1:0123456789012345678901:a:b:2147483905:x\0")
    assert packet.serial == 123456789012345678901
    assert packet.number == b"0123456789012345678901"
    assert (packet.mode, packet.options) == (1, 0x80000100)
    assert rebuilt(packet).startswith(b"1:0123456789012345678901:")


@pytest.mark.parametrize("data", IPDICT)
def test_a_dictionary_frame_is_refused_by_name(data: bytes) -> None:
    assert is_ipdict(data)
    with pytest.raises(MalformedPacket, match="IPDict frame"):
        parse(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "fewer than six fields"),
        (b"1:2:a:b:1", "fewer than six fields"),
        (b"\xfe\xff\0\0icon\0utf-8\0", "fewer than six fields"),
        (b"1:2:a\0:b:1:x\0", "fewer than six fields"),
        (b":1:a:b:1:", "not version 1"),
        (b"2:1:a:b:1:", "not version 1"),
        (b"10:1:a:b:1:", "not version 1"),
        (b"x1:1:a:b:1:", "not version 1"),
        (b"1::a:b:1:", "not decimal"),
        (b"1:-1:a:b:1:", "not decimal"),
        (b"1:1:a:b: 1:", "not decimal"),
        (b"1:1:a:b:1_0:", "not decimal"),
        (b"1:1:a:b:\xb2:", "not decimal"),
        (b"1:%d:a:b:1:" % 10**4000, "header longer"),
        (b"1:1:a:b:" + b"9" * 5000 + b":", "header longer"),
        (b"1:1:" + b"a" * HEADER_LIMIT + b":b:1:", "header longer"),
    ],
)
def test_what_is_no_packet_is_said_in_one_line(data: bytes, why: str) -> None:
    with pytest.raises(MalformedPacket, match=why) as caught:
        parse(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda tail: b"1:1:a:b:" + tail)))
@example(b"1:1:a:b:")
@example(b"IP2:0::Z")
def test_parse_raises_nothing_but_its_one_error(data: bytes) -> None:
    try:
        packet = parse(data)
    except MalformedPacket:
        return
    assert 0 <= packet.mode <= 0xFF
    assert packet.options & 0xFF == 0
    assert packet.serial >= 0
    assert parse(rebuilt(packet))[4:] == packet[4:]


@given(
    versions,
    digits,
    names,
    names,
    st.integers(0, 2**40),
    st.binary(max_size=99).map(lambda raw: raw.replace(b"\0", b"")),
    st.binary(max_size=99),
)
def test_what_was_built_is_read_again(
    version: bytes, number: bytes, logon: bytes, host: bytes, command: int, body: bytes, extra: bytes
) -> None:
    expected = (version, number, logon, host, command, body, extra)
    assert parse(build(version, number, logon, host, command, body, extra)) == expected
    assert parse(build(version, int(number), logon, host, command, body, extra)) == expected
