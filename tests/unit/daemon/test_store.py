"""The roster on disk: what comes back after a restart, and what a bad disk or a bad file does (nothing)."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
import trio

from camrelay.daemon.log import Log
from camrelay.daemon.schema import UNKNOWN_AGE
from camrelay.daemon.store import FLUSH_ROWS, LAST_NUMBER, NUMBERS_AHEAD, Store
from camrelay.errors import StartError, StoreError
from camrelay.relay.copy import row_key
from camrelay.relay.user import SavedUser
from tests.rows import row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from camrelay.relay.messages import Row

HQ, ANNEX = "a" * 64, "b" * 64


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def at_once(function: Callable[..., None], *arguments: object) -> None:
    """Instead of a thread, which a clock that jumps does not wait for."""
    await trio.lowlevel.checkpoint()
    function(*arguments)


def open_store(directory: Path, wall: Wall | None = None) -> Store:
    return Store.open(directory, Log(), wall or Wall(), at_once)


def user(number: int = 1, online: bool = True, heard: float = 0.0, joined: float = 0.0) -> SavedUser:
    datagram = b"1:1:user%d:pc:1:nick\0group\0" % number
    return SavedUser(datagram, "cp932", f"10.0.{number // 250}.{number % 250}", 2425, online, heard, joined)


def key(number: int = 1) -> tuple[str, str]:
    return (f"user{number}", "pc")


async def test_what_is_saved_comes_back_with_its_age_as_of_then(tmp_path: Path) -> None:
    wall = Wall()
    store = open_store(tmp_path, wall)
    store.save(key(), user(heard=5.0, joined=100.0))
    assert await store.flush()
    store.close()
    wall.now += 60.0
    assert list(open_store(tmp_path, wall).load()) == [user(heard=65.0, joined=160.0)]


async def test_the_latest_state_counts_and_the_forgotten_are_gone(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save(key(1), user(1))
    store.save(key(2), user(2))
    await store.flush()
    store.save(key(1), user(1, online=False))
    store.forget(key(2))
    await store.flush()
    assert list(store.load()) == [user(1, online=False)]
    assert store.users == 1


@pytest.mark.parametrize(("back", "heard"), [(3.0, 0.0), (3600.0, UNKNOWN_AGE)])
async def test_a_user_heard_in_the_future_has_to_be_asked(tmp_path: Path, back: float, heard: float) -> None:
    """A clock is set right by seconds now and then; anything more says that the time is not known."""
    wall = Wall()
    store = open_store(tmp_path, wall)
    store.save(key(), user())
    await store.flush()
    wall.now -= back
    (loaded,) = list(store.load())
    assert (loaded.heard, loaded.joined) == (heard, 0.0)


async def test_a_second_reader_sees_what_is_committed_as_after_kill_9(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save(key(), user())
    await store.flush()
    assert list(open_store(tmp_path).load()) == [user()], "while the first one never closed its file"


async def test_every_start_counts_and_numbers_grow_over_starts(tmp_path: Path) -> None:
    wall = Wall(1000.0)
    first = open_store(tmp_path, wall)
    assert (first.boot, first.first_number) == (1, 1000)
    first.used_numbers(NUMBERS_AHEAD - 10)
    await first.flush()
    used = first.first_number + NUMBERS_AHEAD - 10
    first.close()
    second = open_store(tmp_path, wall)
    assert second.boot == 2
    assert second.first_number > used
    wall.now = 5_000_000.0
    assert open_store(tmp_path, wall).first_number == 5_000_000


def test_numbers_begin_anew_before_clients_read_them_as_negative(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE counters SET value = ? WHERE name = 'number'", (LAST_NUMBER,))
    db.close()
    assert open_store(tmp_path).first_number == 1_800_000_000


async def test_rows_are_written_within_a_second_and_at_once_when_many(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.write)
        store.save(key(), user())
        await trio.sleep(0.99)
        assert store.users == 0
        await trio.sleep(0.02)
        assert store.users == 1
        for number in range(FLUSH_ROWS):
            store.save(key(number), user(number))
        await trio.sleep(0.001)
        assert store.users == FLUSH_ROWS
        nursery.cancel_scope.cancel()


def scribble_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 10)


@pytest.mark.real_time
async def test_writing_happens_in_a_thread(tmp_path: Path) -> None:
    store = Store.open(tmp_path, Log())
    store.save(key(), user())
    assert await store.flush()
    assert len(list(store.load())) == 1


def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    (tmp_path / "roster.db").write_bytes(b"these are not the bytes of a database" * 1000)
    store = open_store(tmp_path)
    assert list(store.load()) == []
    assert store.error is None
    (moved,) = tmp_path.glob("roster.db.damaged-2027*")
    assert moved.read_bytes().startswith(b"these are not")
    assert store.counters == {"roster databases found damaged": 1}


async def test_damage_inside_the_file_is_found_when_it_is_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(2000):
        store.save(key(number), user(number))
    await store.flush()
    store.close()
    scribble_over(tmp_path / "roster.db")
    again = open_store(tmp_path)
    assert len(list(again.load())) < 2000
    assert again.counters == {"roster databases found damaged": 1}
    again.save(key(), user())
    assert await again.flush()
    assert list(again.load()) == [user()]


async def test_a_full_disk_loses_nothing_and_is_said_until_it_is_over(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store._db is not None
    store._db.execute("PRAGMA max_page_count = 5")  # SQLite's own way to run out of room
    for number in range(300):
        store.save(key(number), user(number))
    assert not await store.flush()
    assert store.error is not None
    assert "database or disk is full" in store.error
    store.save(key(7), user(7, online=False))
    store._db.execute("PRAGMA max_page_count = 100000")
    assert await store.flush()
    assert store.error is None
    assert len(list(store.load())) == 300
    assert user(7, online=False) in list(store.load())


async def test_after_errors_it_tries_again_with_growing_pauses(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store._db is not None
    store._db.execute("PRAGMA query_only = 1")  # as on a file system that was made read-only
    store.save(key(), user())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.write)
        await trio.sleep(300)
        assert store.counters == {"roster writes failed": 10}  # after 1, 2, 4 ... 60 s
        assert store.error is not None
        assert "readonly" in store.error
        nursery.cancel_scope.cancel()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "roster.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"written by a newer camrelay \(schema 99, this one knows 3\)"):
        open_store(tmp_path)
    assert not list(tmp_path.glob("*damaged*"))


def test_a_state_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StartError, match=r"state directory .*file/state: not a directory: set \[relay\] state"
    ):
        open_store(tmp_path / "file" / "state")


async def test_a_database_that_cannot_be_opened_at_start_is_opened_when_it_can(tmp_path: Path) -> None:
    (tmp_path / "roster.db").mkdir()
    store = open_store(tmp_path)
    assert list(store.load()) == []
    assert store.error is not None
    store.save(key(), user())
    assert not await store.flush()
    (tmp_path / "roster.db").rmdir()
    assert await store.flush()
    assert list(store.load()) == [user()]


OLDER = {  # the table of users, as these versions made it
    1: """CREATE TABLE users (
        logon TEXT NOT NULL, host TEXT NOT NULL, datagram BLOB NOT NULL, charset TEXT NOT NULL,
        address TEXT NOT NULL, port INTEGER NOT NULL, online INTEGER NOT NULL,
        heard REAL NOT NULL, joined REAL NOT NULL, PRIMARY KEY (logon, host)) WITHOUT ROWID""",
    2: """CREATE TABLE users (
        logon TEXT NOT NULL, host TEXT NOT NULL, datagram BLOB NOT NULL, charset TEXT NOT NULL,
        address TEXT NOT NULL, port INTEGER NOT NULL, online INTEGER NOT NULL,
        heard REAL NOT NULL, joined REAL NOT NULL, pin BLOB NOT NULL DEFAULT x'', PRIMARY KEY (logon, host)
        ) WITHOUT ROWID""",
}
PIN = b"4:10001-ab"


def older_database(path: Path, version: int) -> SavedUser:
    """A database as a camrelay of before wrote it; returns the user in it."""
    known = user(heard=1.0, joined=2.0)._replace(pin=b"" if version == 1 else PIN)
    values = (
        *key(),
        *known[:4],
        1,
        1_800_000_000.0 - 1.0,
        1_800_000_000.0 - 2.0,
        *([] if version == 1 else [PIN]),
    )
    with sqlite3.connect(path) as db:
        db.execute(OLDER[version])
        db.execute("CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID")
        db.execute("INSERT INTO counters VALUES ('boot', 41)")
        db.execute(f"INSERT INTO users VALUES ({', '.join('?' * len(values))})", values)
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    return known


@pytest.mark.parametrize("version", OLDER)
async def test_a_roster_of_an_older_camrelay_is_taken_over(tmp_path: Path, version: int) -> None:
    known = older_database(tmp_path / "roster.db", version)
    store = open_store(tmp_path)
    assert store.boot == 42
    assert list(store.load()) == [known]
    assert list(store.load_peers()) == []
    store.save(key(), user()._replace(pin=b"5:10001-cd", claim=7))
    store.told(HQ, [row()], ())
    assert await store.flush()
    store.close()
    again = open_store(tmp_path)
    assert list(again.load()) == [user()._replace(pin=b"5:10001-cd", claim=7)]
    assert list(again.load_peers()) == [(HQ, 0.0, [row()])]


@pytest.mark.parametrize("version", OLDER)
def test_a_migration_that_fails_leaves_the_older_roster_as_it_was(tmp_path: Path, version: int) -> None:
    path = tmp_path / "roster.db"
    known = older_database(path, version)
    with sqlite3.connect(path) as db:
        db.execute("CREATE INDEX told ON users (host)")  # a name that the new table wants
    db.close()
    store = open_store(tmp_path)
    assert store.error is not None
    assert list(store.load()) == [known], "what cannot be written may still be read"
    assert list(store.load_peers()) == []
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        assert "claim" not in db.execute("SELECT sql FROM sqlite_master WHERE name = 'users'").fetchone()[0]
        db.execute("DROP INDEX told")
    db.close()
    assert list(open_store(tmp_path).load()) == [known]


# What peers told


def others(*numbers: int, nick: str = "nick") -> list[Row]:
    return [row(f"user{n}", f"pc{n}", f"10.2.0.{n}", nick) for n in numbers]


async def test_what_peers_told_comes_back_with_the_age_of_the_last_word(tmp_path: Path) -> None:
    wall = Wall()
    store = open_store(tmp_path, wall)
    store.told(HQ, others(1, 2), ())
    store.told(ANNEX, others(2), ())
    assert await store.flush()
    wall.now += 100.0
    store.told(HQ, others(2, nick="renamed"), [row_key(*others(1))])
    store.told(HQ, others(3), ())
    assert await store.flush()
    store.close()
    wall.now += 50.0
    assert list(open_store(tmp_path, wall).load_peers()) == [
        (HQ, 50.0, [*others(2, nick="renamed"), *others(3)]),
        (ANNEX, 150.0, others(2)),
    ]
    assert list(open_store(tmp_path, wall).load()) == [], "they are no home users"


async def test_a_peer_that_is_linked_is_heard_though_it_has_nothing_new(tmp_path: Path) -> None:
    wall = Wall()
    store = open_store(tmp_path, wall)
    store.told(HQ, others(1), ())
    await store.flush()
    wall.now += 3600.0
    store.peer_heard(HQ)
    store.peer_heard(ANNEX)
    await store.flush()
    assert list(store.load_peers()) == [(HQ, 0.0, others(1)), (ANNEX, 0.0, [])]
    wall.now -= 60.0
    assert [age for _, age, _ in store.load_peers()] == [UNKNOWN_AGE] * 2, "the clock was set back"


async def test_all_of_a_peer_is_forgotten_and_what_it_says_afterwards_is_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.told(HQ, others(1, 2), ())
    store.told(ANNEX, others(1), ())
    await store.flush()
    store.told(HQ, others(3), ())
    store.forget_peer(HQ)
    await store.flush()
    assert list(store.load_peers()) == [(ANNEX, 0.0, others(1))]
    store.forget_peer(ANNEX)
    store.told(ANNEX, others(4), ())
    await store.flush()
    assert list(store.load_peers()) == [(ANNEX, 0.0, others(4))]


async def test_what_peers_told_waits_while_the_disk_is_full_and_the_last_word_counts(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.told(ANNEX, others(1), ())
    await store.flush()
    assert store._db is not None
    store._db.execute("PRAGMA query_only = 1")
    store.told(HQ, others(1, 2), ())
    store.told(ANNEX, others(2), ())
    assert not await store.flush()
    store.told(HQ, others(2, nick="renamed"), [row_key(*others(1))])
    store.forget_peer(ANNEX)
    store.told(ANNEX, others(3), ())
    assert not await store.flush()
    store.told(HQ, others(5), ())
    store._db.execute("PRAGMA query_only = 0")
    assert await store.flush()
    assert list(store.load_peers()) == [
        (HQ, 0.0, [*others(2, nick="renamed"), *others(5)]),
        (ANNEX, 0.0, others(3)),
    ]


async def test_many_rows_of_a_peer_are_written_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.write)
        store.told(HQ, [row(f"user{n}") for n in range(FLUSH_ROWS)], ())
        await trio.sleep(0.001)
        assert len(next(store.load_peers())[2]) == FLUSH_ROWS
        assert store.counters == {"roster rows written": FLUSH_ROWS + 1}
        nursery.cancel_scope.cancel()


async def test_rows_that_are_not_ours_are_left_out(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.told(HQ, others(1, 2, 3), ())
    await store.flush()
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE told SET row = x'c1' WHERE logon = 'user1'")
        db.execute("UPDATE told SET row = x'91a1ff' WHERE logon = 'user2'")
    db.close()
    assert list(open_store(tmp_path).load_peers()) == [(HQ, 0.0, others(3))]


async def test_damage_among_what_peers_told_is_found_when_it_is_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.told(HQ, [row(f"user{n}") for n in range(3000)], ())
    await store.flush()
    store.close()
    scribble_over(tmp_path / "roster.db")
    again = open_store(tmp_path)
    assert list(again.load_peers()) == []
    assert again.counters == {"roster databases found damaged": 1}
    again.told(HQ, others(1), ())
    assert await again.flush()
    assert list(again.load_peers()) == [(HQ, 0.0, others(1))]
