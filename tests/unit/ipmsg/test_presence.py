"""Who a packet says it is from, and what is said in that user's name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import presence as presences
from camrelay.ipmsg.announcement import announce, own, told
from camrelay.ipmsg.charset import encode
from camrelay.ipmsg.command import NEVER_ANNOUNCED, OPTION_MASK, Command, Option
from camrelay.ipmsg.names import EXTRA_LIMIT
from camrelay.ipmsg.packet import Packet, build, parse
from camrelay.ipmsg.presence import Kind, Presence, read
from camrelay.ipmsg.trailer import NAME_LIMIT

BOB = "bob-<3e9baf9cab544e94>"
WINDOWS = (
    b"1:1700000010:bob-<3e9baf9cab544e94>:PC-B:258211841:\x83{\x83u\0\x89c\x8b\xc6\0\nUN:bob-<3e9baf9cab544e94>\n"
    b"HN:PC-B\nNN:\xe3\x83\x9c\xe3\x83\x96\nGN:\xe5\x96\xb6\xe6\xa5\xad\nVS:00010002:4:99:103"
)
MASTER = WINDOWS + b"\nIP:SVAyOjc6VVBUOjE6MDpa"
ANSWER = b"1:7:bob:PC-B:266600451:\xe3\x83\x9c\0\xe5\x96\xb6\xe6\xa5\xad\0\nVS:00010001:4:99:52"
IPTUX = b"1_iptux 0.8.3:1:root:h-alice:257:alice\0grp-alice\0icon-tux.png\0utf-8\0"
FEIQ = b"1_lbt6_0#128#001122334455#0#0#0#4001#9:1700000014:user:HOST:6291457:\xd5\xc5\xc8\xfd"
NWT = b"1@shiyeline:5:user:HOST:3:\xd5\xc5\xc8\xfd\0\xb2\xe2\xca\xd4\0" + b"0f" * 16 + b"\0"
G2IPMSG = b"1:77:jun:linux:2097153:jun\0lab\0\0"
RUST = b"1:1700000000:ann:pc:1025:ann\0\npc"
RELAY = b"1_camrelay 0.1.0:1:camrelay:hq:16777217:hq (camrelay)\0CAMRelay"

BR = [Command.BR_ENTRY, Command.BR_ABSENCE, Command.BR_EXIT]


def said_by(data: bytes, codepage: str = "cp932", known: str = "") -> Presence:
    return read(parse(data), codepage, known)


def texts(presence: Presence) -> tuple[str, str, str, str]:
    return presence.logon_text, presence.host_text, presence.nick_text, presence.group_text


# Reading


def test_a_windows_entry_is_read_from_bytes_and_trailer() -> None:
    bob = said_by(WINDOWS)
    assert texts(bob) == (BOB, "PC-B", "ボブ", "営業")
    assert (bob.nick, bob.group, bob.parts) == (b"\x83{\x83u", b"\x89c\x8b\xc6", b"")
    assert bob.key == (BOB, "pc-b")
    assert bob.options == 0x0F640000
    assert (bob.kind, bob.edition, bob.charset, bob.proven) == (Kind.WINDOWS, "4.99r3 x64", "cp932", True)
    assert not bob.is_ascii


def test_an_iptux_entry_keeps_its_third_and_fourth_part() -> None:
    alice = said_by(IPTUX)
    assert texts(alice) == ("root", "h-alice", "alice", "grp-alice")
    assert alice.parts == b"icon-tux.png\0utf-8\0"
    assert (alice.kind, alice.edition, alice.charset) == (Kind.IPTUX, "iptux 0.8.3", "utf-8")
    assert alice.is_ascii


@pytest.mark.parametrize(
    ("data", "kind", "edition"),
    [
        (WINDOWS, Kind.WINDOWS, "4.99r3 x64"),
        (ANSWER, Kind.WINDOWS, "4.99b2 x86"),
        (WINDOWS.replace(b"VS:00010002", b"VS:00020000"), Kind.MAC, "4.99r3 Mac"),
        (WINDOWS.replace(b"VS:00010002", b"VS:00040000"), Kind.UNKNOWN, "4.99r3 Android"),
        (WINDOWS[: WINDOWS.index(b"\nVS:")], Kind.WINDOWS, ""),  # CAPIPDICTOPT is enough
        (WINDOWS.replace(b"00010002:4:99:103", b"five"), Kind.WINDOWS, "five"),
        (IPTUX, Kind.IPTUX, "iptux 0.8.3"),
        (IPTUX.replace(b"1_iptux 0.8.3", b"1"), Kind.IPTUX, ""),  # known by its fourth part
        (FEIQ, Kind.FEIQ, "lbt6_0"),
        (NWT, Kind.NWT, "shiyeline"),
        (RELAY, Kind.CAMRELAY, "camrelay 0.1.0"),
        (G2IPMSG, Kind.UNKNOWN, ""),
        (RUST, Kind.UNKNOWN, ""),
    ],
)
def test_kind_and_edition(data: bytes, kind: Kind, edition: str) -> None:
    presence = said_by(data)
    assert (presence.kind, presence.edition) == (kind, edition)


def test_kinds_that_list_users_on_absence() -> None:
    assert {kind for kind in Kind if kind.takes_absence} == {Kind.WINDOWS, Kind.MAC, Kind.IPTUX}


@pytest.mark.parametrize(("data", "nick", "group"), [(FEIQ, "张三", ""), (NWT, "张三", "测试")])
def test_chinese_clients_are_read_in_gb18030(data: bytes, nick: str, group: str) -> None:
    presence = said_by(data)
    assert (presence.nick_text, presence.group_text, presence.charset) == (nick, group, "gb18030")
    assert not presence.proven


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_iptux_is_read_in_utf8_else_gb18030(charset: str) -> None:
    presence = said_by(IPTUX.replace(b"alice\0", "张三".encode(charset) + b"\0"))
    assert (presence.nick_text, presence.charset) == ("张三", charset)
    assert presence.proven is (charset == "utf-8")


def test_utf8opt_proves_utf8() -> None:
    presence = said_by(ANSWER)
    assert (presence.nick_text, presence.group_text) == ("ボ", "営業")
    assert (presence.charset, presence.proven) == ("utf-8", True)


def test_utf8opt_on_bytes_that_are_not_utf8_proves_nothing() -> None:
    presence = said_by(b"1:7:bob:PC-B:8388611:\x83{\x83u\0")
    assert (presence.nick_text, presence.charset, presence.proven) == ("ボブ", "cp932", False)


@pytest.mark.parametrize("charset", ["cp932", "gb18030", "utf-8", "cp949", "cp1251"])
def test_a_trailer_proves_the_code_page(charset: str) -> None:
    nick = {"cp949": "한국", "cp1251": "Боб"}.get(charset, "高山")
    trailer = f"\nUN:u\nHN:h\nNN:{nick}\nGN:\nVS:00010001:4:99:103".encode()
    presence = said_by(b"1:1:u:h:16777217:" + nick.encode(charset) + b"\0\0" + trailer, codepage="cp1252")
    assert (presence.charset, presence.proven, presence.nick_text) == (charset, True, nick)


def test_a_trailer_that_contradicts_the_body_proves_nothing_and_wins() -> None:
    presence = said_by(WINDOWS.replace(b"\x83{\x83u", b"\xd5\xc5??"))
    assert (presence.nick_text, presence.proven) == ("ボブ", False)


def test_the_known_charset_is_used_where_a_packet_has_no_sign() -> None:
    data = b"1:1:u:h:1:\xd5\xc5\xc8\xfd\0"
    assert said_by(data).nick_text != "张三"
    assert said_by(data, known="gb18030").nick_text == "张三"
    assert said_by(data, codepage="gb18030").nick_text == "张三"


def test_unmistakable_utf8_is_proven_by_itself() -> None:
    presence = said_by("1:1:u:h:1:山田\0".encode())
    assert (presence.nick_text, presence.charset, presence.proven) == ("山田", "utf-8", True)


def test_the_trailer_names_win_over_the_header() -> None:
    data = b"1:1:???:h:16777217:n\0g\0" + "\nUN:山田\nHN:h:1\nNN:\nGN:x".encode()
    presence = said_by(data)
    assert texts(presence) == ("山田", "h;1", "", "x")
    assert presence.key == ("山田", "h;1")
    assert presence.logon == b"???"


def test_a_trailer_without_caputf8_is_none() -> None:
    presence = said_by(b"1:1:u:h:1:n\0g\0\nUN:other\nNN:other")
    assert texts(presence) == ("u", "h", "n", "g")
    assert presence.parts == b""


def test_a_trailer_in_the_place_of_the_group_is_taken() -> None:
    presence = said_by(b"1:1:u:h:16777217:n\0\nUN:u\nHN:h\nNN:N\nGN:G\nVS:00020000:1:0:100\0\0")
    assert texts(presence) == ("u", "h", "N", "G")
    assert (presence.group, presence.edition) == (b"", "1.00r0 Mac")


def test_lines_that_are_not_utf8_or_empty_are_as_if_not_there() -> None:
    presence = said_by(b"1:1:u:h:16777217:n\0g\0\nUN:\nHN:\xff\xfe\nNN:\xff\nGN:G")
    assert texts(presence) == ("u", "h", "n", "G")


def test_surplus_nuls_are_nobodys_part() -> None:
    presence = said_by(G2IPMSG)
    assert (presence.group, presence.parts) == (b"lab", b"")


def test_names_cannot_steer_a_terminal() -> None:
    presence = said_by("1:1:u\x07:h\n:1:\x1b[31mevil\u202e\0\ng\x9b".encode())
    assert texts(presence) == ("u ", "h ", " [31mevil ", " g ")
    assert said_by("1:1:u:h:1:全角　空白\0".encode()).nick_text == "全角　空白"


def test_names_have_a_longest_length_and_strangers_fill_no_memory() -> None:
    novel = b"x" * 30000
    presence = said_by(b"1_%b:1:%b:h:1:%b\0%b\0%b" % (b"v" * 700, b"u" * 200, novel, novel, novel))
    assert {len(text) for text in texts(presence)} == {NAME_LIMIT, 1}
    kept = (presence.nick, presence.group, presence.parts)
    assert sum(map(len, kept)) <= 512 + EXTRA_LIMIT
    for trailer in (None, True, False):
        assert len(announce(presence, Command.BR_ABSENCE, 1, trailer=trailer)) <= 1400


@pytest.mark.parametrize("command", [Command.GETLIST, Command.SENDMSG, Command.GETINFO, Command.RECVMSG])
def test_other_commands_carry_names_only(command: Command) -> None:
    presence = said_by(build(b"1", 1, b"u", b"h", command | 0x100, b"hello", b"0:file:1:2:3:\x07"))
    assert texts(presence) == ("u", "h", "", "")
    assert presence.parts == b""


@pytest.mark.parametrize("command", [Command.BR_ISGETLIST2, Command.NOOPERATION])
def test_list_questions_and_no_operation_carry_nick_and_group(command: Command) -> None:
    assert texts(said_by(build(b"1", 1, b"u", b"h", command, b"n", b"g"))) == ("u", "h", "n", "g")


def test_an_empty_name_reads_as_it_will_be_announced() -> None:
    presence = said_by(b"1:1:::1:\0")
    assert presence.key == ("?", "?")
    assert said_by(announce(presence, Command.BR_ENTRY, 1)).key == ("?", "?")


def test_the_key_ignores_case() -> None:
    assert said_by(b"1:1:Bob:PC:1:").key == said_by(b"1:1:bOB:pc:1:").key


@given(
    st.binary(max_size=150), st.integers(0, 2**32), st.sampled_from(["cp932", "gb18030", "utf-8", "wrong"])
)
@example(b"\n\0\nUN:a\nUN:b\0", 0x1000001, "cp932")
def test_any_packet_is_somebodys(tail: bytes, command: int, codepage: str) -> None:
    logon = tail[:9].translate(None, b"\0:")
    packet = Packet(b"1", b"1", logon, b"h", command, *tail.partition(b"\0")[::2])
    presence = read(packet, codepage, known=codepage)
    assert presence.key == (presence.logon_text.casefold(), presence.host_text.casefold())
    assert not any(unicodedata.category(sign) == "Cc" for sign in "".join(texts(presence)) + presence.edition)
    for charset in (None, "cp932", "utf-8"):
        for trailer in (None, True, False):
            for mode in (*BR, Command.ANSENTRY):
                parse(announce(presence, mode, 1, charset, trailer))


ASKED = (
    *(
        "version",
        "logon",
        "host",
        "nick",
        "group",
        "parts",
        "options",
        "abilities",
        "line",
        "charset",
        "proven",
    ),
    *("logon_text", "host_text", "nick_text", "group_text", "key", "kind", "edition", "is_ascii"),
)
SAYINGS = [WINDOWS, MASTER, ANSWER, IPTUX, FEIQ, NWT, G2IPMSG, RUST, RELAY]


def all_of(presence: Presence) -> list[object]:
    return [getattr(presence, name) for name in ASKED]


@given(
    st.sampled_from(SAYINGS) | st.binary(max_size=150).map(lambda tail: b"1:7:a:b:16777217:" + tail),
    st.permutations(ASKED),
    st.sampled_from(["", "cp932", "gb18030"]),
)
def test_who_is_settled_says_the_same(data: bytes, order: list[str], known: str) -> None:
    expected = all_of(said_by(data, known=known))
    for asked_before in (0, 1, len(order)):
        presence = said_by(data, known=known)
        for name in order[:asked_before]:
            getattr(presence, name)
        settled = presence.settled(data.split(b":", 2)[2])
        assert settled is not presence
        forgotten = settled.settled(data.split(b":", 2)[2])
        presences._recently.clear()
        for kept in (settled, settled.anew(), settled.opened, forgotten):
            assert {name: getattr(kept, name) for name in order} == dict(zip(ASKED, expected, strict=True))
        assert settled.names_like(presence)
        assert presence.names_like(settled)
        for mode in (*BR, Command.ANSENTRY):
            assert announce(settled, mode, 1, "utf-8") == announce(presence, mode, 1, "utf-8")


@given(st.sampled_from(SAYINGS), st.sampled_from(SAYINGS), st.sampled_from([Command.ANSENTRY, *BR]))
def test_names_are_alike_where_their_texts_are(one: bytes, other: bytes, command: Command) -> None:
    old = said_by(one)
    again = said_by(announce(old, command, 3, "utf-8"))
    for new in (again, said_by(other)):
        assert new.names_like(old) == (texts(new) == texts(old))


def test_who_is_told_of_is_settled_only_where_the_datagram_says_just_that() -> None:
    ann = told(b"1", ("ann", "pc", "Ann", "Lab"), b"", int(Option.CAPUTF8), "00010002:4:99:103", "utf-8")
    tail = announce(ann, Command.BR_ENTRY, 1).split(b":", 2)[2]
    assert all_of(ann.settled(tail)) == all_of(ann)
    nameless = told(b"1", ("ann", "pc", "", "Lab"), b"", 0, "", "utf-8")
    tail = announce(nameless, Command.BR_ENTRY, 1).split(b":", 2)[2]
    assert nameless.settled(tail) is nameless


def test_users_who_are_kept_share_what_they_say_alike() -> None:
    kept = [said_by(WINDOWS, known="".join(("cp", "932"))).settled(WINDOWS.split(b":", 2)[2]) for _ in "ab"]
    assert kept[0].options is kept[1].options


@given(st.text(max_size=12), st.text(max_size=12))
def test_the_fast_key_is_the_slow_key(logon: str, host: str) -> None:
    lines = f"\nUN:{logon}\nHN:{host}\nNN:n\nGN:g".encode("utf-8", "replace")
    for extra in (b"g", b"g\0" + lines, b"g\0" + lines + b"\nUN:other"):
        presence = said_by(
            build(
                b"1",
                1,
                encode(logon, "utf-8").replace(b"\0", b""),
                encode(host, "utf-8").replace(b"\0", b""),
                0x1000001,
                b"n",
                extra,
            )
        )
        key = presence.key
        assert key == (presence.logon_text.casefold(), presence.host_text.casefold())


# Announcing


def test_a_windows_user_is_announced_as_it_announces_itself() -> None:
    expected = parse(WINDOWS)
    assert parse(announce(said_by(WINDOWS), Command.BR_ENTRY, 1700000010)) == expected


def test_an_iptux_user_is_announced_with_its_parts() -> None:
    assert announce(said_by(IPTUX), Command.BR_ENTRY, 1) == IPTUX
    assert announce(said_by(IPTUX), Command.BR_ABSENCE, 9) == IPTUX.replace(b":1:root", b":9:root").replace(
        b"257", b"260"
    )


def test_nwt_keeps_its_id_and_feiq_its_version() -> None:
    assert announce(said_by(NWT), Command.ANSENTRY, 5) == NWT
    packet = parse(announce(said_by(FEIQ), Command.ANSENTRY, 8))
    assert (packet.version, packet.command) == (parse(FEIQ).version, 6291459)


def test_a_surplus_nul_is_not_repeated() -> None:
    assert announce(said_by(G2IPMSG), Command.BR_ENTRY, 77) == G2IPMSG[:-2]


@pytest.mark.parametrize("trailer", [None, True, False])
@pytest.mark.parametrize("charset", [None, "utf-8", "cp932"])
@pytest.mark.parametrize("command", [*BR, Command.ANSENTRY])
@pytest.mark.parametrize("data", [WINDOWS, MASTER, ANSWER, IPTUX, FEIQ, NWT, G2IPMSG, RUST])
def test_options_are_the_users_own_without_what_is_never_repeated(
    data: bytes, command: Command, charset: str | None, trailer: bool | None
) -> None:
    packet = parse(data)._replace(command=parse(data).command | NEVER_ANNOUNCED)
    announced = parse(announce(read(packet), command, 3, charset, trailer))
    assert announced.mode == command
    assert announced.serial == 3
    assert not announced.options & NEVER_ANNOUNCED
    kept = packet.options & ~int(NEVER_ANNOUNCED | Option.UTF8)
    claimed = Option.CAPUTF8 if trailer else 0
    assert announced.options & ~Option.UTF8 == kept | claimed  # ENCRYPTOPT among them
    if command != Command.ANSENTRY:
        assert not announced.options & Option.UTF8
    assert b"\nIP:" not in announced.extra


@pytest.mark.parametrize(
    ("data", "charset", "trailer", "expected"),
    [
        (WINDOWS, "utf-8", None, True),
        (WINDOWS, "cp932", None, False),
        (WINDOWS, None, None, False),
        (ANSWER, None, None, True),
        (IPTUX, "utf-8", None, False),  # iptux never sets it
        (IPTUX, "utf-8", True, True),  # but a packet that says CAPUTF8OPT must say in which charset it is
    ],
)
def test_utf8opt_on_an_answer(data: bytes, charset: str | None, trailer: bool | None, expected: bool) -> None:
    options = parse(announce(said_by(data), Command.ANSENTRY, 1, charset, trailer)).options
    assert bool(options & Option.UTF8) is expected


def test_an_answer_has_only_the_version_in_its_trailer() -> None:
    packet = parse(announce(said_by(WINDOWS), Command.ANSENTRY, 1, "utf-8"))
    assert packet.body == "ボブ".encode()
    assert packet.extra == "営業".encode() + b"\0\nVS:00010002:4:99:103"


def test_one_datagram_carries_any_body_and_the_utf8_trailer() -> None:
    packet = parse(announce(said_by(IPTUX), Command.BR_ABSENCE, 1, "cp932", trailer=True))
    assert packet.extra == b"grp-alice\0\nUN:root\nHN:h-alice\nNN:alice\nGN:grp-alice"
    assert packet.options & Option.CAPUTF8


def test_without_trailer_the_parts_stay() -> None:
    assert parse(announce(said_by(IPTUX), Command.BR_ABSENCE, 1, trailer=False)).extra == parse(IPTUX).extra
    assert parse(announce(said_by(WINDOWS), Command.BR_ABSENCE, 1, trailer=False)).extra == b"\x89c\x8b\xc6"


def test_without_group_the_trailer_still_comes_third() -> None:
    data = b"1:1:u:h:16777217:n\0\0\nUN:u\nHN:h\nNN:n\nGN:\nVS:00010002:4:99:103"
    assert announce(said_by(data), Command.BR_ENTRY, 1) == data


def test_an_empty_nick_leaves_as_the_logon() -> None:
    nameless = said_by(b"1:1:u:h:16777217:\0g")
    assert parse(announce(nameless, Command.BR_ENTRY, 1)).body == b"u"
    assert b"\nNN:u\n" in announce(nameless, Command.BR_ENTRY, 1)
    assert parse(announce(nameless, Command.BR_ENTRY, 1, "utf-8", trailer=False)).body == b"u"


def test_only_the_relays_own_questions_ask_for_unicast() -> None:
    packet = parse(announce(said_by(RELAY), Command.BR_ENTRY, 1, plus=int(Option.DIALUP)))
    assert packet.options == Option.CAPUTF8 | Option.DIALUP


def test_the_relay_explains_itself() -> None:
    relay = own("hq-2f", "CAMRelay", "box:1", "0.1.0")
    assert (relay.kind, relay.edition, relay.charset) == (Kind.CAMRELAY, "camrelay 0.1.0", "utf-8")
    entry = announce(relay, Command.BR_ENTRY, 5)
    assert entry == (
        b"1_camrelay 0.1.0:5:camrelay:box;1:16777217:hq-2f (camrelay)\0CAMRelay\0"
        b"\nUN:camrelay\nHN:box;1\nNN:hq-2f (camrelay)\nGN:CAMRelay"
    )
    again = said_by(entry)
    assert (again.kind, again.key, texts(again)) == (relay.kind, relay.key, texts(relay))


def test_a_long_relay_name_does_not_push_out_what_it_is() -> None:
    assert own("x" * 200, "g", "h", "1").nick_text.endswith(" (camrelay)")


# Letters that the three charsets share, so that a difference is ours and not the charset's.
letters = st.text("abcXYZ019 _-[]高山表示東京中文日本語あいうアイウソ営業部", min_size=1, max_size=20)
charsets = st.sampled_from(["cp932", "gb18030", "utf-8"])


@st.composite
def users(draw: st.DrawFn) -> tuple[bytes, str]:
    """A presence packet as some client would send it, and the charset of its names."""
    logon, host, nick, group = (draw(letters) for _ in range(4))
    charset = draw(charsets)
    version, extra, options = draw(
        st.sampled_from(
            [
                (b"1", b"", 0),
                (b"1", b"\0", 0x600000),
                (b"1", b"\0\0", 0x30200300),
                (
                    b"1",
                    f"\0\nUN:{logon}\nHN:{host}\nNN:{nick}\nGN:{group}\nVS:00010001:4:99:103".encode(),
                    0x1F650300,
                ),
                (b"1_iptux 0.10.0", b"\0icon.png\0utf-8\0", 0x100),
            ]
        )
    )
    if version != b"1" and charset == "cp932":
        charset = "utf-8"
    raw = [text.encode(charset) for text in (logon, host, nick, group)]
    command = options | draw(st.sampled_from([1, 4]))
    return build(version, 1, raw[0], raw[1], command, raw[2], raw[3] + extra), charset


@given(users(), charsets, st.sampled_from([None, True, False]), st.sampled_from([*BR, Command.ANSENTRY]))
def test_whoever_reads_an_announcement_sees_the_same_user(
    user: tuple[bytes, str], target: str, trailer: bool | None, command: Command
) -> None:
    data, charset = user
    presence = read(parse(data), known=charset)
    for wanted in (None, target):
        packet = parse(announce(presence, command, 2, wanted, trailer))
        again = read(packet, known=wanted or charset)
        assert texts(again) == texts(presence)
        assert again.key == presence.key
        claimed = int(Option.CAPUTF8) if trailer else 0
        assert again.abilities == (presence.options & OPTION_MASK & ~int(NEVER_ANNOUNCED)) | claimed
        assert again.version == presence.version
        if trailer is False:
            assert again.parts == presence.parts


def test_a_dictionary_frame_is_nobodys() -> None:
    with pytest.raises(MalformedPacket):
        said_by(b"IP2:22:VER:1:3:PKT:1:5:UID:1:a:HID:1:b:Z")
