"""The tables of the roster database, how older ones become these, and how rows are read and written.

Rule kept here: times are wall time in the file and ages outside of it.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

import msgspec

from camrelay.relay.messages import Row
from camrelay.relay.user import SavedUser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from camrelay.relay.messages import RelayId

    Key = tuple[str, str]
    Saved = tuple[bytes, str, str, int, int, float, float, bytes, int]  # as SavedUser, ages as wall time

SCHEMA: Final = 3  # user_version
UNKNOWN_AGE: Final = 86400.0  # heard "in the future": the clock was set back, so the user has to be asked

TABLES: Final = """
CREATE TABLE IF NOT EXISTS users (
    logon TEXT NOT NULL, host TEXT NOT NULL, datagram BLOB NOT NULL, charset TEXT NOT NULL,
    address TEXT NOT NULL, port INTEGER NOT NULL, online INTEGER NOT NULL,
    heard REAL NOT NULL, joined REAL NOT NULL, pin BLOB NOT NULL DEFAULT x'',
    claim INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (logon, host)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (
    peer TEXT NOT NULL, logon TEXT NOT NULL, host TEXT NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (peer, logon, host)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS peers (peer TEXT PRIMARY KEY, heard REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
STEPS: Final = {  # from this version to the next
    1: "ALTER TABLE users ADD COLUMN pin BLOB NOT NULL DEFAULT x'';",
    2: "ALTER TABLE users ADD COLUMN claim INTEGER NOT NULL DEFAULT 1;",
}

_decode = msgspec.msgpack.Decoder(Row).decode


def version(db: sqlite3.Connection) -> int:
    """Of the schema; 0 where there is none yet."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def migrate(db: sqlite3.Connection) -> None:
    """Make the tables what they are here: all at once, or nothing."""
    steps = "".join(STEPS[old] for old in range(version(db) or SCHEMA, SCHEMA))
    db.executescript(f"BEGIN IMMEDIATE; {steps} {TABLES} PRAGMA user_version={SCHEMA}; COMMIT")


def set_counters(db: sqlite3.Connection, **counters: int) -> None:
    """Write these."""
    db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", counters.items())


def read_users(db: sqlite3.Connection, wall: float) -> Iterator[SavedUser]:
    """Every user. The version may be an older one: that of a file that cannot be written."""
    found = version(db)
    pin, claim = "pin" if found > 1 else "x''", "claim" if found > 2 else "1"
    return map(
        SavedUser._make,
        db.execute(
            "SELECT datagram, charset, address, port, online,"
            " CASE WHEN heard > ? + 5 THEN ? ELSE max(0, ? - heard) END,"
            f" max(0, ? - joined), {pin}, {claim} FROM users",
            (wall, UNKNOWN_AGE, wall, wall),
        ),
    )


def write_users(db: sqlite3.Connection, users: Mapping[Key, Saved | None]) -> None:
    """Within a transaction. None: this user is forgotten."""
    db.executemany(
        "INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((*key, *row) for key, row in users.items() if row is not None),
    )
    db.executemany(
        "DELETE FROM users WHERE logon = ? AND host = ?", (key for key, row in users.items() if row is None)
    )


def read_peers(db: sqlite3.Connection, wall: float) -> Iterator[tuple[RelayId, float, list[Row]]]:
    """Each peer, the seconds since it was heard, and its users; what is no row of ours is left out."""
    found = db.execute("SELECT peer, heard FROM peers ORDER BY peer").fetchall() if version(db) > 2 else ()
    for peer, heard in found:
        blobs = db.execute("SELECT row FROM told WHERE peer = ? ORDER BY logon, host", (peer,))
        age = UNKNOWN_AGE if heard > wall + 5 else max(0.0, wall - heard)
        yield peer, age, [row for (blob,) in blobs if (row := _row(blob)) is not None]


def _row(blob: bytes) -> Row | None:
    try:
        return _decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_damage(error: Exception) -> bool:
    """Is the file itself broken, as opposed to a full disk, a lock or a missing permission?"""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
