"""The roster on disk: SQLite, off the loop, in batches. The only place where wall time is known.

Nothing in memory depends on the disk: while it is full or read-only, the latest state of each user waits here
(bounded by the number of users), ``error`` says why, and it is written as soon as that is possible again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Never

import trio

from camrelay.daemon import schema
from camrelay.daemon.durably import reason
from camrelay.daemon.schema import SCHEMA, is_damage
from camrelay.daemon.told import Told
from camrelay.errors import StartError, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from typing import TypeVar

    from camrelay.daemon.log import Log
    from camrelay.daemon.schema import Key, Saved
    from camrelay.relay.messages import RelayId, Row
    from camrelay.relay.user import SavedUser

    T = TypeVar("T")

FLUSH_EVERY: Final = 1.0  # seconds
FLUSH_ROWS: Final = 500
RETRY_FIRST, RETRY_LONGEST = 1.0, 60.0
NUMBERS_AHEAD: Final = 65536  # packet numbers reserved on disk: minutes of busy sending
LAST_NUMBER: Final = (
    2**31 - 2**24
)  # clients read a signed 32-bit number: begin again by the clock before that


class Store:
    """One database file. ``open`` and ``load`` may block and belong before the loop; the rest does not."""

    def __init__(
        self, path: Path, log: Log, wall: Callable[[], float], aside: Callable[..., Awaitable[None]]
    ) -> None:
        self.path = path
        self.error: str | None = None
        self.last_write: float | None = None  # trio time
        self.users = 0
        self.boot = 0
        self.first_number = int(wall())
        self.counters: dict[str, int] = {}
        self._log = log
        self._wall = wall
        self.aside = aside
        self._db: sqlite3.Connection | None = None
        self._pending: dict[Key, Saved | None] = {}  # None: forget this user
        self._told = Told()
        self._number = self._reserved = 0
        self._work = trio.Event()
        self._much = trio.Event()
        self._writing = trio.Lock()

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        log: Log,
        wall: Callable[[], float] = time.time,
        aside: Callable[..., Awaitable[None]] = trio.to_thread.run_sync,
    ) -> Store:
        """Open ``roster.db`` there, making both. A damaged one is moved aside.

        StartError if the directory is not ours to write, StoreError for a database of a newer camrelay. A
        full or read-only disk is no error: see ``error``. ``aside`` runs what blocks, in a thread.
        """
        path = Path(directory) / "roster.db"
        store = cls(path, log, wall, aside)
        store._check_directory(path.parent)
        try:
            store._connect()
        except sqlite3.Error as error:
            if is_damage(error):
                store._move_aside(error)
            else:
                store._failed(error)
        return store

    def _check_directory(self, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(
                f"state directory {directory}: {reason(error)}: set [relay] state or make it"
            ) from None
        read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
        if not read_only and not os.access(directory, os.W_OK | os.X_OK):
            raise StartError(
                f"state directory {directory}: not writable: make its owner the user who runs camrelay"
            )

    def _connect(self) -> None:
        """Open, and take boot counter and packet numbers of this start. Raises sqlite3.Error, StoreError."""
        db = sqlite3.connect(self.path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            version = schema.version(db)
            if version > SCHEMA:
                raise StoreError(
                    f"{self.path}: written by a newer camrelay (schema {version}, this one knows {SCHEMA}): "
                    "install that version again, or set [relay] state to another directory"
                )
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")  # these numbers must never come twice, power loss or not
            schema.migrate(db)
            counters = dict(db.execute("SELECT name, value FROM counters"))
            boot = int(counters.get("boot", 0)) + 1
            number = max(int(self._wall()), int(counters.get("number", 0)) + 1)
            number = number if number < LAST_NUMBER else int(self._wall())
            schema.set_counters(db, boot=boot, number=number + NUMBERS_AHEAD)
            db.execute("PRAGMA synchronous=NORMAL")
            (self.users,) = db.execute("SELECT count(*) FROM users").fetchone()
        except BaseException:
            db.close()
            raise
        if not self.boot:  # not when a lost database comes back while we run
            self.first_number = self._number = number
        self.boot, self._reserved, self._db = boot, number + NUMBERS_AHEAD, db

    def _move_aside(self, error: Exception) -> None:
        """The damaged file is kept for whoever wants to look into it; we begin with an empty one."""
        if self._db:
            self._db.close()
            self._db = None
        aside = Path(f"{self.path}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.localtime(self._wall()))}")
        try:
            os.replace(self.path, aside)
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            self._connect()
        except (OSError, sqlite3.Error) as second:
            self._failed(second)
            return
        self._count("roster databases found damaged")
        self._log.warning(
            "roster database damaged, begun anew", path=str(self.path), moved_to=str(aside), cause=str(error)
        )

    def load(self) -> Iterator[SavedUser]:
        """Every user on disk, ages as of now; ends early where the file is damaged (and begins a new one)."""
        return self._load(schema.read_users)

    def load_peers(self) -> Iterator[tuple[RelayId, float, list[Row]]]:
        """Every peer on disk, the seconds since it was heard, and whom it told of; ends early as ``load``."""
        return self._load(schema.read_peers)

    def _load(self, read: Callable[[sqlite3.Connection, float], Iterator[T]]) -> Iterator[T]:
        try:
            if self._db is not None:
                yield from read(self._db, self._wall())
            else:
                yield from self._read_only(read)
        except sqlite3.Error as error:
            if self._db is not None and is_damage(error):
                self._move_aside(error)
            else:
                self._failed(error)

    def _read_only(self, read: Callable[[sqlite3.Connection, float], Iterator[T]]) -> Iterator[T]:
        """A disk that cannot be written may still be read."""
        if self.path.is_file():
            db = sqlite3.connect(f"{self.path.absolute().as_uri()}?immutable=1", uri=True)
            try:
                yield from read(db, self._wall())
            finally:
                db.close()

    def save(self, key: Key, user: SavedUser) -> None:
        """Remember this state of a user; the latest one counts."""
        now = self._wall()
        self._put(key, (*user[:4], int(user.online), now - user.heard, now - user.joined, *user[7:]))

    def forget(self, key: Key) -> None:
        """Remove a user."""
        self._put(key, None)

    def _put(self, key: Key, row: Saved | None) -> None:
        self._pending[key] = row
        self._waits()

    def told(self, peer: RelayId, rows: Iterable[Row], gone: Iterable[Key]) -> None:
        """Remember what a peer told just now."""
        self._told.say(peer, rows, gone, self._wall())
        self._waits()

    def peer_heard(self, peer: RelayId) -> None:
        """There is a link with this peer now."""
        self.told(peer, (), ())

    def forget_peer(self, peer: RelayId) -> None:
        """Remove a peer and all that it told."""
        self._told.forget(peer)
        self._waits()

    def _waits(self) -> None:
        self._work.set()
        if len(self._pending) + len(self._told) >= FLUSH_ROWS:
            self._much.set()

    def used_numbers(self, count: int) -> None:
        """So many more datagrams were sent, each with a number at most; more are reserved on disk in time."""
        self._number += count
        if self._reserved - self._number < NUMBERS_AHEAD // 2:
            self._work.set()

    async def write(self) -> Never:
        """The task that writes: each second or as soon as 500 rows wait, with growing pauses after errors."""
        pause = RETRY_FIRST
        while True:
            await self._work.wait()
            with trio.move_on_after(FLUSH_EVERY):
                await self._much.wait()
            if await self.flush():
                pause = RETRY_FIRST
            else:
                await trio.sleep(pause)
                pause = min(2 * pause, RETRY_LONGEST)

    async def flush(self) -> bool:
        """Write all that waits, now. False if that failed (it is kept)."""
        async with self._writing:
            self._work, self._much = trio.Event(), trio.Event()
            batch, self._pending = self._pending, {}
            said, self._told = self._told, Told()
            try:
                await self.aside(self._write, batch, said)
            except (sqlite3.Error, StoreError, OSError) as error:
                self._pending = batch | self._pending
                self._told = self._told.after(said)
                self._work.set()
                if is_damage(error):
                    await self.aside(self._move_aside, error)
                else:
                    self._failed(error)
                return False
            self.last_write = trio.current_time()
            self._count("roster rows written", len(batch) + len(said))
            if self.error:
                self.error = None
                self._log.info("roster database works again", path=str(self.path))
            return True

    def _write(self, batch: dict[Key, Saved | None], said: Told) -> None:
        """In a worker thread."""
        if self._db is None:
            self._connect()
            assert self._db is not None
        reserve = self._number + NUMBERS_AHEAD if self._reserved - self._number < NUMBERS_AHEAD // 2 else 0
        self._db.execute("BEGIN IMMEDIATE")
        try:
            schema.write_users(self._db, batch)
            said.write(self._db)
            if reserve:
                schema.set_counters(self._db, number=reserve)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._reserved = reserve or self._reserved
        (self.users,) = self._db.execute("SELECT count(*) FROM users").fetchone()

    def _failed(self, error: Exception) -> None:
        self._count("roster writes failed")
        said = f"{self.path}: {error}: the roster is in memory only until this is mended"
        if self.error != said:
            self._log.error("roster database not written", path=str(self.path), cause=str(error))
        self.error = said

    def _count(self, cause: str, number: int = 1) -> None:
        if number:
            self.counters[cause] = self.counters.get(cause, 0) + number

    def close(self) -> None:
        """Close the file; what waits and was not flushed is lost."""
        if self._db is not None:
            self._db.close()
            self._db = None
