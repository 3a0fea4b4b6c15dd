"""What one relay tells of its home users, as that relay and its peers both hold it.

Rule kept here: equal rows give equal numbers in every process, and a change costs the same however many there are.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

from camrelay.relay.messages import BUCKETS, Digest, Marks, Row
from camrelay.relay.roster import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.roster import Key


def row_key(row: Row) -> Key:
    """Who this is, as ``roster.key_of`` says it of the same user."""
    return plain((row.logon.casefold(), row.host.casefold()))


def bucket_of(key: Key) -> int:
    """Which part of the roster this user is in: the same in every process."""
    return crc32("\n".join(key).encode("utf-8", "surrogatepass")) % BUCKETS


def mark_of(row: Row) -> int:
    """64 bits that differ for rows that differ. No text of a row has a line break, so no two rows read the same."""
    logon, host, nick, group, version, options, parts, line, charset, address, port, number, claim = row
    said = (
        f"{logon}\n{host}\n{nick}\n{group}\n{line}\n{charset}\n{address}\n"
        f"{port} {options} {number} {claim} {len(version)}\n"
    )
    text = said.encode("utf-8", "surrogatepass") + version + parts
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


class Copy:
    """The rows of one relay by key, in buckets that each have a mark: XOR of the marks of its rows."""

    __slots__ = ("_keys", "_mark", "_marks", "rows")

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}  # to be read; ``put`` and ``drop`` write
        self._keys: list[dict[Key, None]] = [{} for _ in range(BUCKETS)]
        self._marks = [0] * BUCKETS
        self._mark = 0

    def __len__(self) -> int:
        return len(self.rows)

    def put(self, row: Row) -> Row | None:
        """Take in what is said of a user now; returns what was said before."""
        key = row_key(row)
        return self._put(key, bucket_of(key), row)

    def _put(self, key: Key, n: int, row: Row) -> Row | None:
        before = self.rows.get(key)
        if before == row:
            return before
        mark = mark_of(row)
        if before is None:
            self._keys[n][key] = None
        else:
            mark ^= mark_of(before)
        self.rows[key] = row
        self._marks[n] ^= mark
        self._mark ^= mark
        return before

    def drop(self, key: Key) -> Row | None:
        """Nothing is said of this user any more; returns what was."""
        before = self.rows.pop(key, None)
        if before is not None:
            n = bucket_of(key)
            del self._keys[n][key]
            mark = mark_of(before)
            self._marks[n] ^= mark
            self._mark ^= mark
        return before

    def digest(self) -> Digest:
        """All of it in one number."""
        return Digest(len(self.rows), self._mark)

    def marks(self) -> Marks:
        """One number for each bucket, 0 for an empty one."""
        return Marks(tuple(self._marks))

    def differing(self, theirs: Marks) -> list[int]:
        """The buckets that are not the same there."""
        pairs = zip(self._marks, theirs.marks, strict=True)
        return [n for n, (ours, other) in enumerate(pairs) if ours != other]

    def bucket(self, n: int) -> tuple[Row, ...]:
        """Everybody in bucket ``n``."""
        return tuple(map(self.rows.__getitem__, self._keys[n]))

    def replace(self, n: int, rows: Iterable[Row]) -> tuple[list[Row], list[Key], int]:
        """Bucket ``n`` is exactly this: who is new or changed, who is gone, how many rows belong elsewhere.

        Those are ignored; of two rows with one key the last counts.
        """
        now: dict[Key, Row] = {}
        strays = 0
        for row in rows:
            key = row_key(row)
            if bucket_of(key) == n:
                now[key] = row
            else:
                strays += 1
        gone = [key for key in self._keys[n] if key not in now]
        for key in gone:
            self.drop(key)
        changed = [row for key, row in now.items() if self._put(key, n, row) != row]
        return changed, gone, strays
