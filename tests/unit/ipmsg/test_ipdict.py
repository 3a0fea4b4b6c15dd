"""IPDict: every vector both ways, and one error for whatever breaks the grammar."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.ipdict import (
    LIMIT,
    MOST_ENTRIES,
    MOST_KEYS,
    IPDict,
    decode,
    elements,
    encode,
    frame,
    listing,
    read,
    write,
)
from tests.keys import SIGNED, VECTORS

if TYPE_CHECKING:
    from camrelay.ipmsg.ipdict import Value

FRAMES = {one["name"]: bytes.fromhex(one["hex"]) for one in VECTORS["ipdict"]} | SIGNED
BUILT: dict[str, dict[bytes, Value]] = {
    "header-comment example": {
        b"key1": 1000,
        b"key2": "str1",
        b"key3": {b"key31": -2000},
        b"key4": [1000, 2000],
    },
    "empty dict": {},
    "zero and negative ints": {b"A": 0, b"B": -1, b"C": 2**63 - 1},
    "empty string, utf-8 string, raw bytes with colon": {b"E": "", b"U": "山田", b"X": b"\0:\xff"},
    "empty list, list of empty strings, list of dicts": {
        b"L0": [],
        b"L1": ["", ""],
        b"L2": [{b"a": 1}, {b"b": "x"}],
    },
    "nested ipdict vs dict": {b"d": {b"k": 5}, b"f": encode({b"k": 5})},
    "float 1.0 (8-byte LE double, trailing zero bytes stripped)": {b"F": struct.pack("<d", 1.0), b"Z": b""},
    "BR_ENTRY add-on of the master's first broadcast": {b"UPT": 0},
    "BR_ENTRY add-on of an agent round": {b"DRB": 1, b"SVADR": "192.168.10.2"},
}

keys = st.binary(min_size=1, max_size=6).filter(lambda key: b":" not in key)
contents = st.dictionaries(keys, st.binary(max_size=40) | st.binary(min_size=300, max_size=600), max_size=12)
# What looks like a dictionary, often enough.
nearly = st.lists(
    st.sampled_from([b":", b"k", b"1", b"0", b"a", b"x", b"\0", b"k:1:x", b":k:0:"]), max_size=30
).map(b"".join)


@pytest.mark.parametrize("name", FRAMES)
def test_vector_comes_out_as_it_went_in(name: str) -> None:
    assert encode(decode(FRAMES[name])) == FRAMES[name]


@pytest.mark.parametrize("name", BUILT)
def test_vector_is_built_from_values(name: str) -> None:
    assert encode(BUILT[name]) == FRAMES[name]


def test_every_plain_vector_is_built() -> None:
    assert set(BUILT) == {one["name"] for one in VECTORS["ipdict"]}


def test_values_are_read_as_what_is_asked_for() -> None:
    fields = decode(FRAMES["header-comment example"])
    assert list(fields) == [b"key1", b"key2", b"key3", b"key4"]
    assert (fields.number(b"key1"), fields.text(b"key2")) == (1000, "str1")
    assert fields.nested(b"key3").number(b"key31") == -2000
    assert elements(fields.raw(b"key4")) == [b"3e8", b"7d0"]
    lists = decode(FRAMES["empty list, list of empty strings, list of dicts"])
    assert (lists.listed(b"L0"), lists.listed(b"L1")) == ([], [{}, {}])
    assert lists.listed(b"L2") == [{b"a": b"1"}, {b"b": b"x"}]
    assert decode(FRAMES["nested ipdict vs dict"]).nested(b"d") == {b"k": b"5"}


def test_a_missing_value_is_the_default_or_an_error() -> None:
    fields = IPDict()
    assert (fields.number(b"A", 0), fields.number(b"A", -3), fields.text(b"A", "")) == (0, -3, "")
    for ask in (fields.raw, fields.number, fields.text, fields.nested, fields.listed):
        with pytest.raises(MalformedPacket, match="without A"):
            ask(b"A")


@pytest.mark.parametrize(
    "digits", [b"", b"-", b"0x1f", b"1_0", b" 1", b"+1", b"--1", b"1g", b"1" * 17, b"\xb2"]
)
def test_what_is_no_number_is_an_error_even_with_a_default(digits: bytes) -> None:
    with pytest.raises(MalformedPacket, match="A is not a number"):
        IPDict({b"A": digits}).number(b"A", 7)


def test_numbers_are_read_in_either_case_and_with_zeros() -> None:
    assert IPDict({b"A": b"-0fF"}).number(b"A") == -255
    assert IPDict({b"A": b"f" * 16}).number(b"A") == 2**64 - 1


def test_text_that_is_not_utf8_costs_characters_only() -> None:
    assert IPDict({b"A": b"a\x83\x7b"}).text(b"A") == "a\ufffd{"


def test_a_repeated_key_keeps_its_place_and_takes_the_new_value() -> None:
    fields = read(b"A:1:1:B:1:2:A:1:3")
    assert list(fields.items()) == [(b"A", b"3"), (b"B", b"2")]


def test_lengths_are_read_as_windows_reads_them_and_written_the_usual_way() -> None:
    assert encode(decode(b"IP2:010:A:00A:0123456789:Z")) == b"IP2:e:A:a:0123456789:Z"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"IP2",
        b"IP2:",
        b"IP2:0",
        b"IP2:0:",
        b"IP2:0:Z",
        b"IP2:0::",
        b"IP2:0::Z\0",
        b"IP2:0::ZIP2:0::Z",
        b"IP1:0::Z",
        b"ip2:0::Z",
        b"IP2:1::Z",
        b"IP2:-1::Z",
        b"IP2:::Z",
        b"IP2:5:A:1:xx:Z",
        b"IP2:6:A:1:xx:Z",
        b"IP2:5:A:2:x:Z",
        b"IP2:5::1:xx:Z",
        b"IP2:6:A:1:x::Z",
        b"IP2:4:A:x::Z",
        b"IP2:5:A:-1::Z",
        b"IP2:7:A:0x1:x:Z",
        b"IP2:1:A:Z",
        b"IP2:0000000000000000000000:Z",
        frame(b"A:ffff0:" + b"x" * LIMIT),
        frame(b"A:ffffffffffffffffffffff:" + b"x" * 600),
    ],
)
def test_what_breaks_the_grammar_is_said_in_one_line(data: bytes) -> None:
    with pytest.raises(MalformedPacket) as caught:
        decode(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [b"1", b":", b"1:", b"1:a:", b"2:a", b"1:ab", b"x:a", b"-1:a", b"1:a::"])
def test_what_is_no_list_is_an_error(value: bytes) -> None:
    with pytest.raises(MalformedPacket, match="not an IPDict list"):
        elements(value)


def test_what_a_stranger_makes_us_look_at_is_bounded() -> None:
    most = {b"%x" % number: b"value" for number in range(MOST_KEYS)}
    assert read(write(most)) == most
    for surplus in (write({**most, b"more": b""}), write(most) + b":0:0:"):  # a repeated key counts too
        with pytest.raises(MalformedPacket):
            read(surplus)
    assert len(elements(listing([b""] * MOST_ENTRIES))) == MOST_ENTRIES
    with pytest.raises(MalformedPacket):
        elements(listing([b""] * (MOST_ENTRIES + 1)))


def test_depth_costs_nothing() -> None:
    value = b""
    while len(value) < 60_000:
        value = b"d:%x:%b" % (len(value), value)
    fields, depth = decode(frame(value)), 0
    while fields:
        fields, depth = fields.nested(b"d"), depth + 1
    assert depth > 5000


@given(contents)
def test_what_was_written_is_read_again(fields: dict[bytes, bytes]) -> None:
    got = decode(encode(fields))
    assert list(got.items()) == list(fields.items())
    assert encode({b"inner": write(fields)}) == encode({b"inner": dict(fields)})
    assert decode(encode({b"inner": write(fields)})).nested(b"inner") == fields


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_lists_that_were_written_are_read_again(values: list[bytes]) -> None:
    assert elements(listing(values)) == values


@given(st.integers(-(2**64) + 1, 2**64 - 1))
def test_numbers_that_were_written_are_read_again(number: int) -> None:
    assert decode(encode({b"N": number})).number(b"N") == number


@given(st.binary(max_size=100) | nearly)
@example(b"k:1:x:k")
def test_reading_raises_nothing_but_its_one_error(content: bytes) -> None:
    for attempt in (decode, read, elements):
        try:
            attempt(content)
        except MalformedPacket:
            continue
    try:
        fields = decode(frame(content))
    except MalformedPacket:
        return
    assert read(write(fields)) == fields
    for key in fields:
        assert isinstance(fields.text(key), str)
        for ask in (fields.number, fields.nested, fields.listed):
            try:
                ask(key)
            except MalformedPacket:
                continue


@given(nearly | contents.map(write))
def test_short_and_long_content_is_read_by_the_same_rules(content: bytes) -> None:
    """Two ways lead through content, by its size. What makes it long changes nothing else."""

    def outcome(raw: bytes) -> dict[bytes, bytes] | None:
        try:
            return dict(read(raw))
        except MalformedPacket:
            return None

    padding = b"padding:400:" + bytes(0x400)
    short, long = outcome(content), outcome(content + b":" + padding if content else padding)
    assert (long is None) == (short is None)
    if short is not None and long is not None:
        assert list(long.items()) == [*short.items(), (b"padding", bytes(0x400))]
