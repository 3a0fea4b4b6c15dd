"""Messages between relays as bytes: both ways without loss, and from strangers nothing but what is harmless."""

from __future__ import annotations

import codecs
import encodings
import pkgutil
import random
import sys
import time
import zlib
from contextlib import suppress
from encodings.aliases import aliases
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camrelay.config import kinds
from camrelay.config.kinds import Refused
from camrelay.daemon import columns, wire
from camrelay.daemon.columns import MOST_INFLATED, MOST_ROWS
from camrelay.daemon.wire import (
    VERSION,
    Bye,
    Cancel,
    Hello,
    Join,
    Member,
    Members,
    Ping,
    Question,
    Reply,
    Seen,
    Unknown,
    Welcome,
    decode,
    encode,
)
from camrelay.errors import MalformedFrame
from camrelay.ipmsg import charset
from camrelay.ipmsg.charset import LAST_RESORT
from camrelay.ipmsg.kind import Kind
from camrelay.ipmsg.packet import build, parse
from camrelay.ipmsg.presence import read
from camrelay.ipmsg.trailer import clean
from camrelay.relay.copy import row_key
from camrelay.relay.messages import BUCKETS, Changes, Digest, Marks, Reach, Row, Rows
from camrelay.relay.publishing import TOGETHER
from camrelay.relay.roster import MAX_USERS
from tests.rows import keys, numbers, row, rows

if TYPE_CHECKING:
    from camrelay.daemon.wire import LinkMessage
    from camrelay.relay.messages import PeerMessage

ID = "0123456789abcdef" * 4
shown = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=79)
labels = shown.map(lambda text: text or "?")
ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
networks = st.ip_addresses(v=4).map(str)
segments = st.one_of(networks, networks.map(lambda text: text.rpartition(".")[0] + ".*"))
places = st.sampled_from(["10.1.2.3:2425", "hq.example.org:2425", "[fe80::1]:1"])
members = st.builds(
    Member,
    id=ids,
    name=labels,
    addresses=st.lists(places, max_size=16).map(tuple),
    certs=st.lists(st.binary(max_size=400), max_size=4).map(tuple),
    revision=numbers,
    removed=st.booleans(),
)
many_members = st.lists(members, max_size=4).map(tuple)
lists_of_segments = st.lists(segments, max_size=5).map(tuple)
anything = st.one_of(st.none(), st.integers(-(2**63), 2**64 - 1), st.text(), st.lists(st.binary()))
messages = st.one_of(
    st.builds(
        Hello, v=st.just(VERSION), name=labels, software=shown, boot=numbers, number=numbers, lost=numbers
    ),
    st.just(Ping()),
    st.builds(Bye, shown),
    st.builds(Members, many_members),
    st.builds(Seen, id=ids, revision=numbers),
    st.builds(Join, members),
    st.builds(Welcome, many_members),
    st.builds(Question, number=numbers, what=labels, params=st.binary(max_size=400)),
    st.builds(Reply, number=numbers, kind=numbers, body=st.binary(max_size=400)),
    st.builds(Cancel, numbers),
    st.builds(
        Reach,
        local=st.lists(networks.map("{}/24".format), max_size=5).map(tuple),
        remote=lists_of_segments,
        pointed=lists_of_segments,
        can_speak=st.booleans(),
        ready=st.booleans(),
    ),
    st.builds(Digest, users=numbers, mark=st.integers(0, 2**64 - 1)),
    st.builds(Marks, st.lists(st.integers(0, 2**64 - 1), min_size=BUCKETS, max_size=BUCKETS).map(tuple)),
    st.builds(Rows, bucket=st.integers(0, BUCKETS - 1), rows=st.lists(rows, max_size=5).map(tuple)),
    st.builds(
        Changes, rows=st.lists(rows, max_size=5).map(tuple), gone=st.lists(keys, max_size=5).map(tuple)
    ),
)


def sorted_rows(message: Any) -> Any:
    """Rows arrive in the order of their addresses."""
    return (
        message._replace(rows=tuple(sorted(message.rows))) if isinstance(message, Rows | Changes) else message
    )


def raw(*elements: Any) -> bytes:
    return msgspec.msgpack.encode(elements)


def elements_of(message: PeerMessage | LinkMessage) -> list[Any]:
    found: list[Any] = msgspec.msgpack.decode(encode(message))
    return found


def table_of(message: Rows | Changes) -> list[Any]:
    """What is deflated in it."""
    found: list[Any] = msgspec.msgpack.decode(columns._inflated(elements_of(message)[-1]))
    return found


def deflated(table: Any, level: int = 9) -> bytes:
    made = zlib.compressobj(level, zlib.DEFLATED, -15, zdict=columns._USUAL)
    return made.compress(msgspec.msgpack.encode(table)) + made.flush()


def with_column(column: str, value: Any, *told: Row) -> bytes:
    """A frame of rows in which one column is something else."""
    table = table_of(Changes(told or (row(),), ()))
    table[columns._Table.__struct_fields__.index(column)] = value
    return raw(20, deflated(table))


@settings(deadline=None)
@given(messages)
def test_every_message_comes_out_as_it_went_in(message: PeerMessage | LinkMessage) -> None:
    assert sorted_rows(decode(encode(message))) == sorted_rows(message)


@settings(deadline=None)
@given(messages)
def test_what_comes_out_goes_in_again(message: PeerMessage | LinkMessage) -> None:
    heard = decode(encode(message))
    assert not isinstance(heard, Unknown)
    assert decode(encode(heard)) == heard


@settings(deadline=None)
@given(messages, st.lists(anything, min_size=1, max_size=5))
def test_elements_of_a_newer_relay_are_tolerated(message: PeerMessage | LinkMessage, more: list[Any]) -> None:
    assert sorted_rows(decode(raw(*elements_of(message), *more))) == sorted_rows(message)


def test_newer_fields_of_a_member_and_of_rows_are_tolerated() -> None:
    member = Member(ID, "hq", ("10.1.2.3:2425",), (b"cert",), 7)
    assert decode(raw(4, [[*member, "new", 1]])) == Members((member,))
    assert decode(raw(6, [*member, "new"])) == Join(member)
    assert decode(raw(4, [member[:5]])) == Members((member,)), "what has a default may be missing"
    assert decode(raw(20, deflated([*table_of(Changes((row(),), ())), ["new"]]))) == Changes((row(),), ())


def test_a_full_fleet_is_welcome_with_the_one_that_says_so() -> None:
    fleet = tuple(Member(f"{n:064x}", "hq", (), (), 1) for n in range(wire.MOST_MEMBERS + 1))
    assert decode(encode(Welcome(fleet))) == Welcome(fleet)


@pytest.mark.parametrize("tag", [0, 8, 15, 21, 127, 4711, -1])
def test_a_message_of_a_newer_relay_is_unknown(tag: int) -> None:
    assert decode(raw(tag, "what", {"ever": [1]})) == Unknown(tag)


def test_a_trace_is_bounded() -> None:
    for message in (Question(1, "host", bytes(wire.MOST_TRACED)), Reply(1, 2, bytes(wire.MOST_TRACED))):
        assert decode(encode(message)) == message
        with pytest.raises(MalformedFrame):
            decode(encode(message._replace(**{message._fields[2]: bytes(wire.MOST_TRACED + 1)})))


def test_of_a_hello_of_another_version_name_and_software_are_read() -> None:
    assert decode(raw(1, 2, "hq", "camrelay 9", {"boot": 1}, [])) == Hello(2, "hq", "camrelay 9", 0, 0, 0)
    assert decode(raw(1, 9, "hq", "camrelay 9")) == Hello(9, "hq", "camrelay 9", 0, 0, 0)
    with pytest.raises(MalformedFrame):
        decode(raw(1, VERSION, "hq", "camrelay 1"))


def test_a_reason_is_cut_and_cleaned_for_the_other_side_to_take_it() -> None:
    assert decode(encode(Bye("no\n\x1b[31mway" + "x" * 999))) == Bye("no  [31mway" + "x" * 389)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x91" * 100_000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x92\x04\xdd\x7f\xff\xff\xff")
@example(b"\x92\x13\x00")
def test_any_bytes_are_a_message_or_malformed(payload: bytes) -> None:
    with suppress(MalformedFrame):
        decode(payload)


@settings(deadline=None, max_examples=100)
@given(messages, st.data())
def test_damaged_messages_are_messages_or_malformed(
    message: PeerMessage | LinkMessage, data: st.DataObject
) -> None:
    payload = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not payload:
            break
    with suppress(MalformedFrame):
        decode(bytes(payload))


table_values = st.one_of(
    st.integers(-1, 2**64 - 1),
    st.binary(max_size=20),
    st.text("a\n:\0", max_size=20),
    st.tuples(
        st.lists(st.one_of(st.text(max_size=3), st.binary(max_size=3), st.integers(-1, 2**64 - 1))),
        st.binary(),
    ),
)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(columns._Table.__struct_fields__), table_values)
def test_any_column_is_harmless_or_malformed(column: str, value: Any) -> None:
    try:
        heard = decode(with_column(column, value))
    except MalformedFrame:
        return
    assert isinstance(heard, Changes)
    harmless(heard)


def harmless(changes: Changes) -> None:
    """Nothing in it could be more than a name."""
    for one in changes.rows:
        assert one.logon
        assert one.host
        assert not {":", "\n", "\0"} & set(one.logon + one.host)
        assert not {"\n", "\0", "\x1b"} & set(one.nick + one.group + one.line + one.charset)
        assert max(map(len, one[:4])) <= 79
        assert 0 < one.port < 65_536
        assert 0 <= one.options < 2**32
        assert 0 <= min(one.number, one.claim) <= max(one.number, one.claim) < 2**63
        assert len(one.address.split(".")) == 4


SHOWN = ("logons", "hosts", "nicks")
HOSTILE = (
    *((column, f"a{sign}b") for column in SHOWN for sign in ("\x1b", "\0", "\x07", "\x85", "\u202e", "\n")),
    *((column, "x" * 80) for column in SHOWN),
    ("logons", "a:b"),
    ("hosts", "a:b"),
    ("hosts", ""),
    ("groups", [["a\x1bb"], b"\0"]),
    ("lines", [["a\nUN:root"], b"\0"]),
    ("charsets", [["utf-16"], b"\0"]),
    ("charsets", [["no such"], b"\0"]),
    ("charsets", [["rot13"], b"\0"]),
    ("charsets", [["utf-" + "-" * 3000 + "8"], b"\0"]),
    ("charsets", [["utf--8"], b"\0"]),
    ("charsets", [["UTF-8"], b"\0"]),
    ("versions", [[b"2"], b"\0"]),
    ("versions", [[b"abc"], b"\0"]),
    ("versions", [[b"1:2"], b"\0"]),
    ("versions", [[b""], b"\0"]),
    ("versions", [[b"1" * 129], b"\0"]),
    ("parts", [[b"\nUN:root"], b"\0"]),
    ("parts", [[b"x" * 129], b"\0"]),
    ("ports", [[0], b"\0"]),
    ("ports", [[65_536], b"\0"]),
    ("options", [[2**32], b"\0"]),
    ("options", [[-1], b"\0"]),
    ("claims", [[2**63], b"\0"]),
    ("claims", [[-1], b"\0"]),
    ("numbers", (2**63).to_bytes(8, "big")),
    ("addresses", bytes(4)),
    ("addresses", bytes((224, 0, 0, 1))),
    ("addresses", bytes((255, 255, 255, 255))),
    ("addresses", b""),
    ("addresses", bytes(8)),
    ("prints", b""),
    ("prints", bytes(16)),
    ("printed", b"\0"),
    ("printed", b"\1\1"),
    ("ports", [[2425], b"\1"]),
    ("ports", [[2425], b""]),
    ("ports", [[], b"\0"]),
    ("count", 0),
    ("count", 2),
    ("count", MOST_ROWS + 1),
    ("count", -1),
    ("gone", 2),
    ("gone_logons", "a"),
    ("gone_hosts", "a"),
    ("groups", [["a"] * (MOST_ROWS + 1), b"\0"]),
    ("nicks", "\n" * (MOST_INFLATED // 2)),
)


@pytest.mark.parametrize(("column", "value"), HOSTILE)
def test_rows_that_could_harm_are_refused(column: str, value: Any) -> None:
    with pytest.raises(MalformedFrame):
        decode(with_column(column, value))


def test_every_charset_that_may_be_configured_can_be_told() -> None:
    """But for those that are another way to write Unicode, and no client's."""
    assert {
        LAST_RESORT,
        *charset._CODEPAGES,
        *(one for kind in Kind for one in kind.charsets),
    } <= columns.CHARSETS
    names = {
        *aliases,
        *aliases.values(),
        *(module.name for module in pkgutil.iter_modules(encodings.__path__)),
    }
    configured = set()
    for name in names:
        with suppress(Refused):
            configured.add(kinds._codepage(name))
    unicode_only = {"idna", "utf-7", "unicode-escape", "raw-unicode-escape"}
    assert configured - unicode_only == columns.CHARSETS - {LAST_RESORT}
    assert max(map(len, columns.CHARSETS)) <= 32
    told = tuple(row(f"u{n}")._replace(charset=name) for n, name in enumerate(sorted(columns.CHARSETS)))
    assert decode(encode(Changes(told, ()))) == Changes(told, ())


def test_no_name_from_outside_reaches_the_codecs() -> None:
    asked: list[str] = []
    codecs.register(search := lambda name: asked.append(name))
    try:
        for name in ("x-camrelay-1", "utf-8-" + "x" * 20):
            with pytest.raises(MalformedFrame):
                decode(with_column("charsets", [[name], b"\0"]))
    finally:
        codecs.unregister(search)
    assert asked == []


def test_what_may_not_be_shown_is_what_clean_takes_out() -> None:
    unsafe = {sign for sign in map(chr, range(sys.maxunicode + 1)) if clean(sign) != sign}
    assert set(columns._UNSHOWN.findall("".join(map(chr, range(sys.maxunicode + 1))))) == unsafe


def test_texts_of_many_strange_signs_cost_hardly_more_than_others() -> None:
    odd = [
        sign
        for sign in map(chr, range(0x300, sys.maxunicode + 1))
        if not sign.isprintable() and clean(sign) == sign
    ]

    def cost(signs: str) -> float:
        texts = [signs[at : at + 70] for at in range(0, 70 * MOST_ROWS, 70)]

        def timed() -> float:
            began = time.perf_counter()
            columns._shown(texts)
            return time.perf_counter() - began

        return min(timed() for _ in range(5))

    size = 70 * MOST_ROWS
    assert cost("".join(odd)[:size].ljust(size, odd[0])) < 5 * cost("\ue000" * size)


def test_a_bucket_of_the_largest_roster_is_not_too_many_rows() -> None:
    average = MAX_USERS / BUCKETS
    assert average + 8 * average**0.5 < MOST_ROWS
    assert 2 * TOGETHER + 8 * TOGETHER**0.5 < MOST_ROWS, "small buckets go together"


@pytest.mark.parametrize("name", ["a\x1bb", "x" * 300, "x" * 100 + "\x1b"])
def test_a_key_of_somebody_who_is_gone_is_checked_too(name: str) -> None:
    for key in ((name, "pc"), ("taro", name)):
        with pytest.raises(MalformedFrame):
            decode(encode(Changes((), (key,))))


def test_what_inflates_without_end_is_refused_early() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join([*(bomb.compress(bytes(1 << 20)) for _ in range(64)), bomb.flush()])
    assert len(data) < 70_000
    for payload in (raw(20, data), raw(19, 7, data), raw(20, deflated(["x" * MOST_INFLATED]))):
        with pytest.raises(MalformedFrame, match="cut off, or too much"):
            decode(payload)


MALFORMED = {
    "no array": raw(1)[1:],
    "no tag": raw(),
    "a tag that is no number": raw("1", 1),
    "too many elements": raw(2, *range(64)),
    "bytes behind it": raw(2) + b"\0",
    "a hello without a name": raw(1, 1, "", "camrelay", 1, 1, 0),
    "a hello with a name that steers terminals": raw(1, 1, "a\x1b[2J", "camrelay", 1, 1, 0),
    "a hello with a text for a number": raw(1, 1, "hq", "camrelay", "1", 1, 0),
    "a hello from before time": raw(1, 1, "hq", "camrelay", -1, 1, 0),
    "a number beyond 63 bits": raw(5, ID, 2**63),
    "a reason without end": raw(3, "x" * 401),
    "no reason": raw(3),
    "an id that is a path": raw(5, "../" + ID[3:], 1),
    "an id with a line break": raw(5, ID + "\n", 1),
    "a member that is a text": raw(6, "me"),
    "a member without a revision": raw(6, [ID, "hq", [], []]),
    "an address without a port": raw(6, [ID, "hq", ["10.1.2.3"], [], 1, False]),
    "an address with a blank": raw(6, [ID, "hq", ["a b:1"], [], 1, False]),
    "too many addresses": raw(6, [ID, "hq", ["a:1"] * 17, [], 1, False]),
    "too many certificates": raw(6, [ID, "hq", [], [b""] * 5, 1, False]),
    "a certificate without end": raw(6, [ID, "hq", [], [bytes(8193)], 1, False]),
    "too many members": raw(4, [[ID, "hq", [], [], 1, False]] * 1025),
    "too many to be welcome to": raw(7, [[ID, "hq", [], [], 1, False]] * 1026),
    "a network that is none": raw(16, ["10.0.0.0/33"], [], [], True, True),
    "an address as a network": raw(16, ["10.0.0.1"], [], [], True, True),
    "a segment with a wildcard in front": raw(16, [], ["10.*.0.1"], [], True, True),
    "a segment with letters": raw(16, [], [], ["10.0.0.x"], True, True),
    "an octet too large": raw(16, [], ["10.0.256.*"], [], True, True),
    "too many segments": raw(16, [], ["10.0.0.*"] * 4097, [], True, True),
    "a mark too few": raw(18, bytes(8 * 255)),
    "a bucket too many": raw(19, 256, b""),
    "a negative bucket": raw(19, -1, elements_of(Rows(1, (row(),)))[2]),
    "rows that are not deflated": raw(20, b"\0" * 100),
    "rows that are cut off": raw(20, elements_of(Changes((row(),), ()))[1][:-4]),
    "rows and something behind them": raw(20, elements_of(Changes((row(),), ()))[1] + b"x"),
    "rows as a text": raw(20, "x"),
    "a table that is none": raw(20, deflated({"a": 1})),
    "text that is not UTF-8": raw(3, "xx").replace(b"xx", b"\xff\xfe"),
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
def test_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedFrame) as caught:
        decode(payload)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


strange = st.one_of(
    st.binary(max_size=100),
    st.text(max_size=60).map(str.encode),
    st.text("aあア\u3000\u200b", max_size=40).map(lambda text: text.encode("cp932", "replace")),
)


@settings(deadline=None, max_examples=100)
@given(strange, strange, strange, strange, strange, strange, st.integers(0, 2**32 - 1))
def test_whatever_a_stranger_calls_itself_peers_can_be_told(
    version: bytes, logon: bytes, host: bytes, nick: bytes, group: bytes, trailer: bytes, command: int
) -> None:
    """Else one datagram would end every link: rows as ``telling.row_of`` makes them."""
    version = b"1 " + version.translate(None, b":\0")
    logon, host, nick = (name.translate(None, b":\0") for name in (logon, host, nick))
    p = read(parse(build(version, 1, logon, host, command & ~0xFF | 1, nick, group + b"\0" + trailer)))
    names = (p.logon_text, p.host_text, p.nick_text, p.group_text)
    told = Row(*names, p.version[:128], p.abilities, p.parts[:128], p.line, p.charset, "10.0.0.1", 2425, 1, 1)
    changes = Changes((told,), (row_key(told),))
    assert decode(encode(changes)) == changes


def test_many_rows_take_few_bytes_and_keep_their_values() -> None:
    chance = random.Random(1)
    crowd = tuple(
        row(
            logon=f"user{n}-<{chance.getrandbits(64):016x}>",
            host="DESKTOP-" + "".join(chance.choices("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=7)),
            address=f"10.{n >> 8}.{n & 255}.{chance.randrange(1, 255)}",
            nick=f"山田{n}",
        )._replace(group=f"課{n % 300}")
        for n in range(400)
    )
    frame = encode(Rows(7, crowd))
    heard = decode(frame)
    assert isinstance(heard, Rows)
    assert set(heard.rows) == set(crowd)
    assert len(frame) < 32 * len(crowd)
    assert heard.rows[0].version is heard.rows[1].version
    assert heard.rows[0].line is heard.rows[1].line


def test_a_change_takes_some_ninety_bytes() -> None:
    told = row("sato4711-<d1634b9018d53365>", "DESKTOP-4F7G9QX", "10.12.200.17", "佐藤太郎")
    assert len(encode(Changes((told,), ()))) < 95
    assert len(encode(Changes((), (row_key(told),)))) < 50
    assert len(encode(Ping())) == 2


def test_a_bucket_of_the_largest_roster_fits_a_frame_at_its_worst() -> None:
    chance = random.Random(2)
    letters = [chr(n) for n in range(0x4E00, 0x9FFF)]
    crowd = tuple(
        row(
            "".join(chance.choices(letters, k=79)),
            f"PC-{n}",
            f"10.0.{n >> 8}.{n & 255}",
            chance.choice(letters) * 79,
        )
        for n in range(800)
    )
    assert len(encode(Rows(0, crowd))) < 1 << 20


def test_rows_are_told_in_any_order_and_heard_in_that_of_addresses() -> None:
    crowd = [row(f"u{n}", address=address) for n, address in enumerate(("10.0.0.9", "9.0.0.1", "10.0.0.10"))]
    heard = decode(encode(Changes(tuple(crowd), ())))
    assert isinstance(heard, Changes)
    assert [one.address for one in heard.rows] == ["9.0.0.1", "10.0.0.9", "10.0.0.10"]


def test_every_message_has_its_number() -> None:
    """Numbers are never given to something else."""
    assert {tag: form.of.__name__ for tag, form in wire._of_tag.items()} == {
        1: "Hello",
        2: "Ping",
        3: "Bye",
        4: "Members",
        5: "Seen",
        6: "Join",
        7: "Welcome",
        16: "Reach",
        17: "Digest",
        18: "Marks",
        19: "Rows",
        20: "Changes",
        32: "Question",
        33: "Reply",
        34: "Cancel",
    }
