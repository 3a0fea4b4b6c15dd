"""A relay's rows as it and its peers hold them: equal rows, equal numbers; only what differs travels."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camrelay.ipmsg.packet import build, parse
from camrelay.ipmsg.presence import read
from camrelay.relay.copy import Copy, bucket_of, mark_of, row_key
from camrelay.relay.messages import BUCKETS, Digest, Marks
from camrelay.relay.segment import Segment
from camrelay.relay.user import SavedUser, User, key_of, revive
from tests.rows import row, rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.messages import Row
    from camrelay.relay.user import Key

CROWD = [row(f"user{n}", f"PC-{n}", f"10.0.{n >> 8}.{n & 255}") for n in range(2000)]


def holding(told: Iterable[Row]) -> Copy:
    copy = Copy()
    for one in told:
        copy.put(one)
    return copy


def repaired(theirs: Copy, ours: Copy) -> int:
    """``theirs`` becomes ``ours`` as it does over a link; returns how many rows travelled."""
    travelled = 0
    for n in ours.differing(theirs.marks()):
        part = ours.bucket(n)
        travelled += len(part)
        assert theirs.replace(n, part)[2] == 0
    return travelled


def test_an_empty_copy() -> None:
    copy = Copy()
    assert (len(copy), copy.digest(), copy.marks()) == (0, Digest(0, 0), Marks((0,) * BUCKETS))
    assert copy.bucket(7) == ()


def test_what_is_put_and_dropped_is_given_back() -> None:
    copy = Copy()
    assert copy.put(row()) is None
    assert copy.put(row(nick="花子")) == row()
    assert copy.put(row(nick="花子")) == row(nick="花子")
    assert copy.rows == {("taro", "pc-1"): row(nick="花子")}
    assert copy.drop(("taro", "pc-1")) == row(nick="花子")
    assert copy.drop(("taro", "pc-1")) is None
    assert copy.marks() == Copy().marks()


def test_the_fingerprint_is_no_part_of_the_key() -> None:
    copy = holding([row(), row(logon="Taro-<0000000000000000>", host="pc-1"), row(logon="TARO")])
    assert list(copy.rows.values()) == [row(logon="TARO")]


@given(rows)
def test_a_row_has_the_key_of_its_user(told: Row) -> None:
    logon, host = told.logon.encode(), told.host.encode()
    trailer = b"\0\nUN:%b\nHN:%b" % (logon, host)
    sent = read(parse(build(b"1", 1, logon, host, 0x01000001, b"nick", b"group" + trailer)), "utf-8")
    assert (sent.logon_text, sent.host_text) == (told.logon, told.host)
    assert row_key(told) == key_of(sent)


@given(st.lists(rows, max_size=12))
def test_the_numbers_are_those_of_the_rows_whatever_the_order(told: list[Row]) -> None:
    apart = list({row_key(one): one for one in told}.values())
    assert holding(apart).digest() == holding(reversed(apart)).digest()
    assert holding(told).marks() == holding(apart).marks()


@given(rows, rows)
def test_rows_that_differ_have_marks_that_differ(one: Row, other: Row) -> None:
    assert (mark_of(one) == mark_of(other)) is (one == other)
    assert 0 <= mark_of(one) < 2**64


@pytest.mark.parametrize("field", row()._fields)
def test_every_field_counts(field: str) -> None:
    before = getattr(row(), field)
    after = before + (1 if isinstance(before, int) else b"x" if isinstance(before, bytes) else "x")
    assert mark_of(row()._replace(**{field: after})) != mark_of(row())


def test_two_users_who_swap_something_do_not_pass_for_the_same() -> None:
    one, two = row("a", nick="x"), row("b", nick="y")
    swapped = holding([one._replace(nick="y"), two._replace(nick="x")])
    assert swapped.digest().mark != holding([one, two]).digest().mark


def test_the_boundary_between_fields_counts() -> None:
    moved = row()._replace(version=b"1a", parts=b"b"), row()._replace(version=b"1", parts=b"ab")
    assert mark_of(moved[0]) != mark_of(moved[1])


def test_every_process_finds_the_same_numbers() -> None:
    """Python's own hash differs from start to start."""
    asked = (
        "from tests.unit.relay.test_copy import CROWD, holding;"
        "copy = holding(CROWD[:50]); print(copy.digest().mark, copy.differing(type(copy)().marks()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", asked], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    ours = holding(CROWD[:50])
    assert found == {f"{ours.digest().mark} {ours.differing(Copy().marks())}\n".encode()}


def test_these_numbers_are_part_of_what_relays_agree_on() -> None:
    """A relay of another release finds the same ones: a change here is one of wire.VERSION."""
    assert bucket_of(("taro", "pc-1")) == 78
    assert mark_of(row()) == 0x8E7409ADD08B5489


def test_only_what_differs_travels() -> None:
    ours, theirs = holding(CROWD), holding(CROWD)
    assert ours.differing(theirs.marks()) == []
    ours.put(CROWD[0]._replace(nick="renamed"))
    ours.drop(row_key(CROWD[1]))
    theirs.drop(row_key(CROWD[2]))
    assert len(ours.differing(theirs.marks())) == len({bucket_of(row_key(one)) for one in CROWD[:3]})
    assert repaired(theirs, ours) < 60
    assert theirs.rows == ours.rows
    assert theirs.digest() == ours.digest()


def test_a_part_that_is_replaced_says_who_changed_and_who_is_gone() -> None:
    n = bucket_of(row_key(CROWD[0]))
    there = [one for one in CROWD if bucket_of(row_key(one)) == n]
    copy = holding(there[:3])
    renamed = there[1]._replace(nick="renamed")
    stray = next(one for one in CROWD if bucket_of(row_key(one)) != n)
    changed, gone, strays = copy.replace(n, [there[0], renamed, there[3], stray])
    assert changed == [renamed, there[3]]
    assert gone == [row_key(there[2])]
    assert strays == 1
    assert set(copy.bucket(n)) == {there[0], renamed, there[3]}
    assert copy.marks() == holding([there[0], renamed, there[3]]).marks()


def test_of_two_rows_for_one_user_the_last_counts() -> None:
    n, renamed = bucket_of(row_key(row())), row(nick="renamed")
    copy = Copy()
    assert copy.replace(n, [row(), renamed]) == ([renamed], [], 0)
    assert copy.marks() == holding([renamed]).marks()


changes = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "replace"]), st.integers(0, 20), st.integers(0, 2))
)


@settings(deadline=None)
@given(changes)
def test_numbers_never_drift_from_the_rows(steps: list[tuple[str, int, int]]) -> None:
    copy = Copy()
    known: dict[Key, Row] = {}
    for what, which, nick in steps:
        one = row(f"u{which}", nick=f"n{nick}")
        key = row_key(one)
        if what == "put":
            copy.put(one)
            known[key] = one
        elif what == "drop":
            assert copy.drop(key) == known.pop(key, None)
        else:
            n = bucket_of(key)
            copy.replace(n, [one])
            known = {k: r for k, r in known.items() if bucket_of(k) != n} | {key: one}
    fresh = holding(known.values())
    assert copy.rows == known
    assert (copy.digest(), copy.marks()) == (fresh.digest(), fresh.marks())
    assert sorted(one for n in range(BUCKETS) for one in copy.bucket(n)) == sorted(known.values())


def test_a_claim_outlives_a_restart() -> None:
    said = b"1:1:taro:pc-1:1:nick\0group\0"
    user = User(read(parse(said)), said, "10.0.0.1", 2425, Segment("10.0.0.0/24"), 100.0)
    assert user.saved(100.0).claim == 1
    user.claim = 7
    assert revive(user.saved(100.0), user.segment, "cp932", 200.0).claim == 7
    assert SavedUser(*user.saved(100.0)[:8]).claim == 1
