"""The roster on disk: what comes back after a restart, and what a bad disk or a bad file does (nothing)."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
import trio

from camrelay.daemon.log import Log
from camrelay.daemon.store import FLUSH_ROWS, LAST_NUMBER, NUMBERS_AHEAD, UNKNOWN_AGE, Store
from camrelay.errors import StartError, StoreError
from camrelay.relay.roster import SavedUser

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


async def test_a_user_heard_in_the_future_has_to_be_asked(tmp_path: Path) -> None:
    wall = Wall()
    store = open_store(tmp_path, wall)
    store.save(key(), user())
    await store.flush()
    wall.now -= 3600.0
    (loaded,) = list(store.load())
    assert (loaded.heard, loaded.joined) == (UNKNOWN_AGE, 0.0)


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
    with pytest.raises(StoreError, match=r"written by a newer camrelay \(schema 99, this one knows 2\)"):
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


async def test_a_roster_of_before_keys_were_kept_is_taken_over(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save(key(), user())
    await store.flush()
    store.close()
    with sqlite3.connect(tmp_path / "roster.db") as db:
        db.execute("ALTER TABLE users DROP COLUMN pin")
        db.execute("PRAGMA user_version = 1")
    db.close()
    store = open_store(tmp_path)
    assert list(store.load()) == [user()]
    store.save(key(), user()._replace(pin=b"4:10001-ab"))
    await store.flush()
    assert [found.pin for found in store.load()] == [b"4:10001-ab"]
