"""IPDict, the dictionary framing of IP Messenger 4.5 and later: ``IP2:LENGTH:CONTENT:Z``, lengths in hex.

The content is ``KEY:LENGTH:VALUE``, joined by colons; a list ``LENGTH:VALUE``, joined by colons. Nothing says
what type a value has: it stays as sent until a getter asks. One level is read at a time, never recursively,
so depth costs nothing. Bytes that break the grammar raise MalformedPacket and nothing else. Source:
``ipdict.h`` and ``ipdict.cpp`` of 4.99r3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.charset import decode as decode_text

# More than a datagram holds. Windows would take 256 MiB over TCP; its own frames there are under 1 KiB.
LIMIT: Final = 0xFFFF
# Real dictionaries have some 20 keys. Each one that a stranger makes us look at costs half a microsecond.
MOST_KEYS: Final = 256
# What a list of users may hold, as in ``hostlist``.
MOST_ENTRIES: Final = 2000

Value = int | str | bytes | Mapping[bytes, "Value"] | Sequence["Value"]

_HEX = b"0123456789abcdefABCDEF"
_COLON = ord(":")
_MOST_DIGITS = 16  # Windows reads numbers into 64 bits
_SHORT = 256
# The lengths of nearly all values, as they are written: looking one up costs a third of int().
_LENGTHS = {b"%x" % length: length for length in range(_SHORT + 1)}


class IPDict(dict[bytes, bytes]):
    """Keys and raw values in the order of the wire, which counts for signatures.

    As in Windows a repeated key keeps its place and takes the new value. The getters raise MalformedPacket
    for a value that is not what is asked for, and for a missing one unless a default is given.
    """

    __slots__ = ()

    def raw(self, key: bytes) -> bytes:
        """The value as sent."""
        value = self.get(key)
        if value is None:
            raise MalformedPacket(f"a dictionary without {key.decode('ascii', 'replace')}")
        return value

    def number(self, key: bytes, default: int | None = None) -> int:
        """Hex digits, with a leading ``-`` if negative. An empty value is an error, not zero."""
        if default is not None and key not in self:
            return default
        value = self.raw(key)
        digits = value.removeprefix(b"-")
        if not 0 < len(digits) <= _MOST_DIGITS or digits.strip(_HEX):
            raise MalformedPacket(f"{key.decode('ascii', 'replace')} is not a number: {value[:20]!r}")
        return int(value, 16)

    def text(self, key: bytes, default: str | None = None) -> str:
        """UTF-8; bytes that are not become U+FFFD."""
        if default is not None and key not in self:
            return default
        return decode_text(self.raw(key), "utf-8")

    def nested(self, key: bytes) -> IPDict:
        """A dictionary in a dictionary: bare content, as all those on the wire are."""
        return read(self.raw(key))

    def listed(self, key: bytes) -> list[IPDict]:
        """A list of dictionaries."""
        return [read(element) for element in elements(self.raw(key))]


def decode(data: bytes) -> IPDict:
    """The dictionary of one complete frame. Bytes behind the frame are an error, as they are for Windows."""
    head, _, rest = data[:16].partition(b":")
    size, colon, _ = rest.partition(b":")
    start = len(head) + len(size) + 2
    end = len(data) - 2
    if head != b"IP2" or not colon or data[end:] != b":Z" or len(data) > LIMIT:
        raise _malformed(data, "not an IPDict frame")
    try:
        length = _length(size)
    except ValueError:
        length = -1
    if length != end - start:
        raise _malformed(data, "an IPDict frame that is not as long as it says")
    return read(data[start:end])


def read(content: bytes) -> IPDict:
    """The dictionary of bare content, what stands inside a frame and in nested values."""
    if not content:
        return IPDict()
    try:
        # Most dictionaries are users in lists: short values, which one split() takes apart in half the time.
        return _read_short(content) if len(content) < _SHORT else _read_long(content)
    except (ValueError, StopIteration):
        raise _malformed(content, "not the content of an IPDict") from None


def elements(value: bytes) -> list[bytes]:
    """The values of a list. Nothing at all is a list without elements."""
    found: list[bytes] = []
    end = len(value)
    stop = -1 if value else end
    try:
        while stop < end:
            at = stop + 1
            start = value.index(b":", at) + 1
            stop = start + _length(value[at : start - 1])
            if stop > end or (stop < end and value[stop] != _COLON) or len(found) == MOST_ENTRIES:
                raise ValueError(at)
            found.append(value[start:stop])
    except ValueError:
        raise _malformed(value, f"not an IPDict list of at most {MOST_ENTRIES}") from None
    return found


def encode(fields: Mapping[bytes, Value]) -> bytes:
    """One complete frame with these keys in this order. What ``decode`` gave goes out as it came in.

    (If its sender wrote lengths the one usual way, in lower case without zeros in front.)
    """
    return frame(write(fields))


def frame(content: bytes) -> bytes:
    """A complete frame around content."""
    return b"IP2:%x:%b:Z" % (len(content), content)


def write(fields: Mapping[bytes, Value]) -> bytes:
    """Bare content. Keys are not empty and hold no colon."""
    return b":".join([item(key, value) for key, value in fields.items()])


def item(key: bytes, value: Value) -> bytes:
    """One key with its value, to be joined with others by colons."""
    raw = value if isinstance(value, bytes) else _raw(value)
    return b"%b:%x:%b" % (key, len(raw), raw)


def listing(values: Sequence[bytes]) -> bytes:
    """The value that is a list of these."""
    return b":".join([b"%x:%b" % (len(value), value) for value in values])


def _raw(value: Value) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "replace")
        case int():
            return b"%x" % value
        case Mapping():
            return write(value)
        case _:
            return listing([_raw(element) for element in value])


def _read_short(content: bytes) -> IPDict:
    """By splitting at every colon and joining again the values that hold some."""
    fields = IPDict()
    parts = iter(content.split(b":"))
    for key in parts:
        size, value = next(parts), next(parts)
        length = _LENGTHS.get(size)
        if length is None:
            length = _length(size)
        while len(value) < length:
            value += b":" + next(parts)
        if len(value) != length or not key:
            raise ValueError(key)
        fields[key] = value
    return fields


def _read_long(content: bytes) -> IPDict:
    """By going from length to length."""
    fields = IPDict()
    find = content.index
    end = len(content)
    at = 0
    for _ in range(MOST_KEYS):
        colon = find(b":", at)
        start = find(b":", colon + 1) + 1
        size = content[colon + 1 : start - 1]
        length = _LENGTHS.get(size)
        stop = start + (_length(size) if length is None else length)
        if colon == at or stop > end:
            raise ValueError(at)
        fields[content[at:colon]] = content[start:stop]
        if stop == end:
            return fields
        if content[stop] != _COLON:
            raise ValueError(stop)
        at = stop + 1
    raise ValueError(at)


def _length(size: bytes) -> int:
    """A length in whatever way Windows reads it. Raises ValueError."""
    if not 0 < len(size) <= _MOST_DIGITS or size.strip(_HEX):
        raise ValueError(size)
    return int(size, 16)


def _malformed(data: bytes, why: str) -> MalformedPacket:
    return MalformedPacket(f"{why}: {len(data)} bytes, beginning {data[:16]!r}")
