"""One printable line for any bytes; names in the right charset; never a word of what people write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camrelay.ipmsg import hostlist, ipdict
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.discreet import OPEN, command_of, without_body
from camrelay.ipmsg.packet import build, parse
from camrelay.ipmsg.summary import (
    LONGEST,
    command_name,
    command_names,
    command_number,
    message_text,
    options,
    summary,
)
from tests.pcap import CAPTURES, DATA, capture

VECTORS = json.loads(Path(DATA, "ipmsg-vectors.json").read_text())
SECRET = b"zQ7#meet me at nine"
PRIVATE = [mode for mode in range(256) if mode not in OPEN]

text = st.text(max_size=20)
names = st.sampled_from([b"tanaka", "田中".encode("cp932"), "太郎".encode(), b"", b"a\xff"])


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Classic packets, mostly right."""
    command = draw(st.sampled_from([*map(int, Command), 0x78])) | draw(st.integers(0, 1 << 40)) << 8
    body = draw(st.binary(max_size=40) | st.just(hostlist.pack([], 0)[0]) | names)
    return build(
        b"1",
        draw(st.integers(0, 1 << 70)),
        draw(names),
        draw(names),
        command,
        body,
        draw(st.binary(max_size=60)),
    )


@st.composite
def dictionaries(draw: st.DrawFn) -> bytes:
    """Dictionary packets, mostly right."""
    number = st.integers(-1, 1 << 40)
    inner = {b"VER": 3, b"CMD": draw(st.sampled_from([0x20, 0x14])), b"PKT": 1, b"BODY": SECRET}
    fields: dict[bytes, ipdict.Value] = {
        b"VER": 3, b"PKT": draw(number), b"UID": draw(text), b"HID": draw(text),
        b"CMD": draw(st.sampled_from([*map(int, Command)])), b"FLG": draw(number), b"STAT": draw(number),
        b"NCK": draw(text), b"WAPD": inner,
    }  # fmt: skip
    more = st.sampled_from([b"HLST", b"NUM", b"TOTAL", b"NADRS", b"AGS", b"TADR", b"BODY", b"EB", b"SIGN"])
    fields |= draw(st.dictionaries(more, st.binary(max_size=30) | st.integers(0, 99), max_size=5))
    return ipdict.encode(fields)


anything = st.binary(max_size=300) | packets() | dictionaries()


@given(anything, st.sampled_from(["cp932", "gb18030", "no-such"]), st.sampled_from(["", "utf-8", "cp932"]))
@example(build(b"1", 10**400, b"a", b"b", 1 << 2000), "cp932", "")
@example(b"IP2:0::Z", "cp932", "")
def test_any_bytes_give_one_printable_line(data: bytes, codepage: str, known: str) -> None:
    line = summary(data, codepage, known)
    assert line.isprintable()
    assert 0 < len(line) <= LONGEST
    message_text(data, codepage, known)
    command_of(data)


@given(anything)
def test_what_is_cut_has_its_length_and_is_cut_once_and_for_all(data: bytes) -> None:
    cut = without_body(data)
    assert len(cut) == len(data)
    assert without_body(cut) == cut
    assert summary(cut) == summary(data)
    assert command_of(cut) == command_of(data)


@given(st.sampled_from(PRIVATE), st.integers(0, 1 << 24), st.binary(max_size=20), st.booleans())
def test_no_word_of_a_body_leaks(mode: int, bits: int, around: bytes, behind: bool) -> None:
    body = around.replace(b"\0", b"") + SECRET
    data = build(b"1", 7, b"tanaka", b"PC", mode | bits << 8, *((b"", body) if behind else (body,)))
    cut = without_body(data)
    assert SECRET not in cut
    assert not any(SECRET[at : at + 4] in cut for at in range(len(SECRET) - 3))
    assert "meet" not in summary(data)


@given(
    st.sampled_from([0x20, 0x51, 0x14, 0xB4]),
    st.sampled_from([b"BODY", b"MSG", b"EB", b"X"]),
    st.integers(0, 3),
)
def test_no_word_of_a_dictionary_s_body_leaks(command: int, key: bytes, depth: int) -> None:
    fields: dict[bytes, ipdict.Value] = {
        b"VER": 3,
        b"PKT": 1,
        b"UID": b"u",
        b"HID": b"h",
        b"CMD": command,
        b"FLG": 0,
        key: SECRET,
    }
    for _ in range(depth):
        fields = {b"VER": 3, b"PKT": 1, b"UID": b"u", b"HID": b"h", b"CMD": 0xB4, b"FLG": 0, b"WAPD": fields}
    data = ipdict.encode(fields)
    cut = without_body(data)
    assert len(cut) == len(data)
    assert b"meet" not in cut
    assert "meet" not in summary(data)
    assert f"message of {len(SECRET)} bytes" in summary(data) or (command, key) != (0x20, b"BODY")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_datagram_of_the_real_program_is_understood(path: Path) -> None:
    for one in capture(path).datagrams:
        said = summary(one.data)
        assert not said.startswith("malformed"), said
        assert "not well formed" not in said
        assert "0x" not in said, f"a bit without a name: {said}"


def test_vectors_are_understood() -> None:
    for vector in VECTORS["ipdict"]:
        assert summary(bytes.fromhex(vector["hex"]))


def said_in(name: str) -> list[str]:
    return [summary(one.data) for one in capture(DATA / f"{name}.pcap").datagrams]


def test_lists_dictionaries_and_keys_are_summed_up() -> None:
    classic, master = said_in("s3-hostlist-brA"), said_in("s2-master-brA")
    assert "ANSLIST 1795290264 root-<afd8e49385e8a3aa>@A1: 2 users, complete (Bob, Alice)" in classic
    assert (
        "DIR_PACKET 1795290380 signed by root-<1253fa362ba43e87>@A1: ANSLIST_DICT 1795290379 signed by"
        " root-<1253fa362ba43e87>@A1: 1 user from 0 of 1 (Alice)" in master
    )
    assert any("DIR_POLL" in one and one.endswith("is in 10.99.2.0/24") for one in master)
    assert "encrypted dictionary of 773 bytes" in said_in("s1-same-segment-brA")
    assert any(
        one.endswith("2048 bits, 6f408c350d15976c, 65920006") for one in said_in("s1-same-segment-brA")
    )


def test_names_are_in_their_charset() -> None:
    assert any('"表示ソ子" (開発部), windows 4.99r3' in one for one in said_in("s4-japanese-brB"))
    nick = "田中".encode("gb18030")
    entry = build(b"1", 1, b"t", b"h", Command.BR_ENTRY, nick)
    assert '"田中"' in summary(entry, "cp932", known="gb18030")
    assert '"田中"' in summary(entry, "gb18030")


def test_messages_are_a_length_and_what_goes_with_them() -> None:
    command = Command.SENDMSG | Option.FILEATTACH | Option.ENCRYPT | 0x100
    data = build(b"1", 5, b"taro", b"PC", command, b"12345", b"0:secret.doc:5:1:1:\a\0")
    assert (
        summary(data)
        == "SENDMSG 5 [SENDCHECK FILEATTACH ENCRYPT] taro@PC: message of 5 bytes, encrypted, with files"
    )
    assert summary(build(b"1", 5, b"taro", b"PC", Command.RECVMSG, b"17")) == "RECVMSG 5 taro@PC: of 17"
    assert summary(build(b"1", 5, b"taro", b"PC", 0x78, b"hello")) == "0x78 5 taro@PC: 5 bytes"


def test_a_body_can_be_read_by_who_may() -> None:
    assert message_text(build(b"1", 5, b"a", b"b", Command.SENDMSG, "表".encode("cp932"))) == "表"
    assert message_text(build(b"1", 5, b"a", b"b", Command.SENDMSG | Option.UTF8, "表".encode())) == "表"
    assert message_text(build(b"1", 5, b"a", b"b", Command.SENDMSG | Option.ENCRYPT, b"abc")) == ""
    assert message_text(build(b"1", 5, b"a", b"b", Command.BR_ENTRY, b"abc")) == message_text(b"junk") == ""


def test_what_is_no_packet_says_so() -> None:
    assert summary(b"hello, this is not a packet") == "malformed: 27 bytes, beginning hello, this is n"
    assert summary(b"2:5:u:h:32:" + SECRET) == "malformed: 30 bytes, beginning 2:5:u:h:32:xxxxx"
    assert parse(without_body(build(b"1", 5, b"a", b"b", Command.READMSG, b"9", b"x"))).body == b"9"


def test_names_of_commands_and_options() -> None:
    assert command_name(1) == "BR_ENTRY"
    assert command_name(0x99) == "0x99"
    assert [command_number(word) for word in ("entry", "BR_ENTRY", "IPMSG_BR_ENTRY", "1", "0x01")] == [1] * 5
    assert all(command_name(command_number(name)) == name for name in command_names())
    for word in ("", "hello", "256", "-1"):
        with pytest.raises(ValueError, match="no command"):
            command_number(word)
    assert options(0x100 | Command.BR_ENTRY) == " [ABSENCE]"
    assert options(0x100 | Command.SENDMSG) == " [SENDCHECK]"
    assert options(1 << 40 | 1 << 31) == " [0x80000000 bits beyond 32]"
    assert options(Command.GETINFO) == ""
