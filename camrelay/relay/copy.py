"""What one relay tells of its home users, as that relay and its peers both hold it.

Rule kept here: equal rows give equal numbers in every process, and a change costs the same however many there are.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

from camrelay.relay.messages import BUCKETS, Digest, Marks, Row
from camrelay.relay.user import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.user import Key


def row_key(row: Row) -> Key:
    """Who this is, as ``roster.key_of`` says it of the same user."""
    logon, host = row[0].casefold(), row[1].casefold()
    return plain((logon, host)) if logon[-1:] == ">" else (logon, host)


def bucket_of(key: Key) -> int:
    """Which part of the roster this user is in: the same in every process."""
    return crc32("\n".join(key).encode("utf-8", "surrogatepass")) % BUCKETS


def mark_of(row: Row) -> int:
    """64 bits that differ for rows that differ."""
    # No text of a row has a line break, so no two rows read the same. What many users share is hashed once for all.
    said = f"{row[0]}\n{row[1]}\n{row[2]}\n{row[9]}\n{row[11]}\n{_common(row[3:9], row[10], row[12])}"
    return _number(_hash(said.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


_hash, _number = blake2b, int.from_bytes


@lru_cache(maxsize=4096)
def _common(middle: tuple[str, bytes, int, bytes, str, str], port: int, claim: int) -> str:
    """All other fields in 16 digits."""
    group, version, options, parts, line, charset = middle
    said = f"{group}\n{line}\n{charset}\n{port} {options} {claim} {len(version)}\n"
    return _hash(said.encode("utf-8", "surrogatepass") + version + parts, digest_size=8).hexdigest()


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

    def put(self, row: Row, key: Key | None = None) -> Row | None:
        """Take in what is said of a user now; returns what was before. ``key``: an object to keep as the row's key."""
        key = key or row_key(row)
        before = self.rows.get(key)
        if before != row:
            n = bucket_of(key)
            self._note(n, mark_of(row) if before is None else mark_of(row) ^ mark_of(before))
            self._keys[n][key] = None
            self.rows[key] = row
        return before

    def drop(self, key: Key) -> Row | None:
        """Nothing is said of this user any more; returns what was."""
        before = self.rows.pop(key, None)
        if before is not None:
            n = bucket_of(key)
            self._note(n, mark_of(before))
            del self._keys[n][key]
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
        known, changed, mark = self.rows, [], 0
        for key, row in now.items():
            before = known.get(key)
            if before != row:
                mark ^= mark_of(row) if before is None else mark_of(row) ^ mark_of(before)
                known[key] = row
                changed.append(row)
        self._keys[n] = dict.fromkeys(now)
        self._note(n, mark)
        return changed, gone, strays

    def _note(self, n: int, mark: int) -> None:
        self._marks[n] ^= mark
        self._mark ^= mark
