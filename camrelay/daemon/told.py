"""What peers told of their users, on its way into the roster database.

Rule kept here: what was said last counts, however often writing failed in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from camrelay.relay.copy import row_key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from camrelay.relay.messages import RelayId, Row

    Key = tuple[str, str]

_encode = msgspec.msgpack.Encoder().encode


class Told:
    """What is to be written. ``wall``: seconds of the wall clock."""

    def __init__(self) -> None:
        self.rows: dict[tuple[RelayId, str, str], Row | None] = {}  # None: gone
        self.heard: dict[RelayId, float] = {}
        self.forgotten: set[RelayId] = set()  # before what is in ``rows`` was said

    def __len__(self) -> int:
        return len(self.rows) + len(self.heard) + len(self.forgotten)

    def say(self, peer: RelayId, rows: Iterable[Row], gone: Iterable[Key], wall: float) -> None:
        """A peer told this now."""
        self.rows.update(((peer, *row_key(row)), row) for row in rows)
        self.rows.update(((peer, *key), None) for key in gone)
        self.heard[peer] = wall

    def forget(self, peer: RelayId) -> None:
        """Nothing that this peer said is kept."""
        self.forgotten.add(peer)
        self.heard.pop(peer, None)
        self.rows = {key: row for key, row in self.rows.items() if key[0] != peer}

    def after(self, older: Told) -> Told:
        """Both in one: ``older`` could not be written, and this was said since."""
        for peer in self.forgotten:
            older.forget(peer)
        older.rows |= self.rows
        older.heard |= self.heard
        return older

    def write(self, db: sqlite3.Connection) -> None:
        """Within a transaction."""
        for table in ("told", "peers"):
            db.executemany(f"DELETE FROM {table} WHERE peer = ?", ((peer,) for peer in self.forgotten))
        db.executemany("INSERT OR REPLACE INTO peers VALUES (?, ?)", self.heard.items())
        db.executemany(
            "INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?)",
            ((*key, _encode(row)) for key, row in self.rows.items() if row is not None),
        )
        db.executemany(
            "DELETE FROM told WHERE peer = ? AND logon = ? AND host = ?",
            (key for key, row in self.rows.items() if row is None),
        )
