"""Many users in few bytes: one column per field, ordered by address, deflated. And back, believing nothing.

Rule kept here: of rows that are as ``messages.Row`` says, ``read_rows`` reads what ``write_rows`` wrote; it reads
nothing that could harm whoever shows or announces it, and what it reads is bounded.
"""

from __future__ import annotations

import re
import sys
import zlib
from functools import lru_cache, partial
from itertools import accumulate
from operator import add, itemgetter, sub
from socket import inet_aton, inet_ntoa
from struct import pack, unpack
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from camrelay.ipmsg.announcement import OTHERS_LIMIT
from camrelay.ipmsg.trailer import NAME_LIMIT
from camrelay.relay.messages import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from camrelay.relay.user import Key

    T = TypeVar("T")
    Value = TypeVar("Value", bound=Hashable)

MOST_INFLATED = 4 << 20  # bytes; 1 MiB on the wire could become 1 GiB
MOST_ROWS = 1024  # of one message: a bucket of the largest roster has some 800
LONGEST_KEY = 3 * NAME_LIMIT  # folding the case can make three characters of one
LEVEL = 5  # measured: 4 costs half a byte per user, 6 a tenth more time
MANY = 12  # rows: codes of its own cost a column some 10 bytes
OWN_CODES = range(2, 8)  # numbers to nicks
HOSTS = (1 << 24, 224 << 24)  # no host has an address below or beyond

_PRINT = re.compile(r"-<([0-9a-f]{16})>\Z")
_UNSHOWN = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # what ``trailer.clean`` takes out

# Every charset that leaves ASCII alone, as Python calls it (of those that are no other way to write Unicode), but for
# "latin-1", as camrelay does. No other name is looked up: Python keeps each name that it was ever asked for.
CHARSETS = frozenset(
    """
    utf-8 utf-8-sig ascii latin-1 charmap cp932 shift_jis shift_jis_2004 shift_jisx0213 euc_jp euc_jis_2004
    euc_jisx0213 iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext gb18030 gbk gb2312 hz
    big5 big5hkscs cp950 cp949 euc_kr johab iso2022_kr cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858
    cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869 cp874 cp1006 cp1125 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255
    cp1256 cp1257 cp1258 iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9
    iso8859-10 iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-t koi8-u kz1048 ptcp154 tis-620
    hp-roman8 palmos mac-arabic mac-croatian mac-cyrillic mac-farsi mac-greek mac-iceland mac-latin2 mac-roman
    mac-romanian mac-turkish
    """.split()  # noqa: SIM905 - a hundred quotes fewer
)

_Few = Meta(max_length=MOST_ROWS)
Texts = tuple[Annotated[list[str], _Few], bytes]
Charsets = tuple[Annotated[list[Annotated[str, Meta(max_length=32)]], _Few], bytes]
Raws = tuple[Annotated[list[bytes], _Few], bytes]
Options = tuple[Annotated[list[Annotated[int, Meta(ge=0, le=2**32 - 1)]], _Few], bytes]
Ports = tuple[Annotated[list[Annotated[int, Meta(gt=0, le=2**16 - 1)]], _Few], bytes]
Claims = tuple[Annotated[list[Annotated[int, Meta(ge=0, le=2**63 - 1)]], _Few], bytes]


class _Table(Struct, array_like=True, gc=False):
    """One column per field: texts joined by line breaks, or distinct values and the place of each row's there."""

    count: Annotated[int, Meta(ge=0, le=MOST_ROWS)]
    addresses: bytes  # steps from one to the next, in planes
    numbers: bytes  # in planes
    prints: bytes  # key fingerprints, 8 bytes each
    printed: bytes  # of each row: has its logon one?
    logons: str  # without it
    hosts: str
    nicks: str
    groups: Texts
    versions: Raws
    options: Options
    parts: Raws
    lines: Texts
    charsets: Charsets
    ports: Ports
    claims: Claims
    gone: Annotated[int, Meta(ge=0, le=MOST_ROWS)]
    gone_logons: str
    gone_hosts: str


# A table of one usual user, column by column: telling of a change takes 80 bytes instead of 140. Both sides need
# the same, so it belongs to wire.VERSION; when users are of another kind some day, it costs a few bytes.
_USUAL = (
    b"\xa5utf-8\xa7LAPTOP-\xa3PC-"
    b"\x01\xc4\x04\x0a\0\0\x01\xc4\x08\0\0\0\0j\xb0\0\0"
    b"\xc4\x08\0\0\0\0\0\0\0\0\xc4\x01\x01"
    b"\xa4user\xa8DESKTOP-\xa4user\x92\x91\xa5Sales\xc4\x01\0"
    b"\x92\x91\xc4\x011\xc4\x01\0\x92\x91\xce\x0fd\0\0\xc4\x01\0\x92\x91\xc4\0\xc4\x01\0"
    b"\x92\x91\xb100010002:4:99:103\xc4\x01\0\x92\x91\xa5cp932\xc4\x01\0"
    b"\x92\x91\xcd\ty\xc4\x01\0\x92\x91\x01\xc4\x01\0\0\xa0\xa0"
)

_encode = msgspec.msgpack.Encoder().encode
_table = msgspec.msgpack.Decoder(_Table)
_make: Callable[[Iterable[Any]], Row] = partial(tuple.__new__, Row)  # half the price of Row(...)


def write_rows(rows: Sequence[Row], gone: Sequence[Key] = ()) -> bytes:
    """These rows in the order of their addresses, and these keys; of either at most ``MOST_ROWS``."""
    placed = sorted(((inet_aton(row.address), row) for row in rows), key=itemgetter(0))
    places = unpack(f">{len(rows)}I", b"".join([place for place, _ in placed]))
    columns = list(zip(*[row for _, row in placed], strict=True)) or [()] * len(Row._fields)
    logons, hosts, nicks, groups, versions, options, parts, lines, charsets, _, ports, numbers, claims = (
        columns
    )
    printed = [_PRINT.search(logon) for logon in logons]
    table = _Table(
        count=len(rows),
        addresses=_planes(pack(f">{len(rows)}I", *map(sub, places, (0, *places))), 4),
        numbers=_planes(pack(f">{len(rows)}Q", *numbers), 8),
        prints=bytes.fromhex("".join([found[1] for found in printed if found])),
        printed=bytes([found is not None for found in printed]),
        logons="\n".join(
            [name[:-19] if found else name for name, found in zip(logons, printed, strict=True)]
        ),
        hosts="\n".join(hosts),
        nicks="\n".join(nicks),
        groups=_few(groups),
        versions=_few(versions),
        options=_few(options),
        parts=_few(parts),
        lines=_few(lines),
        charsets=_few(charsets),
        ports=_few(ports),
        claims=_few(claims),
        gone=len(gone),
        gone_logons="\n".join([logon for logon, _ in gone]),
        gone_hosts="\n".join([host for _, host in gone]),
    )
    return _deflated(table)


def read_rows(data: bytes) -> tuple[tuple[Row, ...], tuple[Key, ...]]:
    """Rows and keys. ValueError, struct.error, IndexError or an error of msgspec for what is none."""
    table = _table.decode(_inflated(data))
    n = table.count
    numbers = unpack(f">{n}Q", _values(table.numbers, 8, n))
    if max(numbers, default=0) >> 63:
        raise ValueError("a packet number beyond 63 bits")
    columns = (
        _names(_logons(table)),
        _names(_split(table.hosts, n)),
        _shown(_split(table.nicks, n)),
        _many(list(map(sys.intern, _shown(table.groups[0]))), table.groups[1], n),
        _many([_version(value) for value in table.versions[0]], table.versions[1], n),
        _many(*table.options, n),
        _many([_parts(value) for value in table.parts[0]], table.parts[1], n),
        _many(list(map(sys.intern, _shown(table.lines[0]))), table.lines[1], n),
        _many(list(map(_charset, table.charsets[0])), table.charsets[1], n),
        _addresses(table.addresses, n),
        _many(*table.ports, n),
        numbers,
        _many(*table.claims, n),
    )
    rows = tuple(map(_make, zip(*columns, strict=True)))
    gone_logons = _shown(_split(table.gone_logons, table.gone), LONGEST_KEY)  # "": of a fingerprint alone
    gone_hosts = _shown(_split(table.gone_hosts, table.gone), LONGEST_KEY)
    return rows, tuple(zip(gone_logons, gone_hosts, strict=True))


def _deflated(table: _Table) -> bytes:
    """Where there are many rows, the columns that differ most get codes of their own: a tenth less."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -15, zdict=_USUAL)
    columns = structs.astuple(table)
    pieces = [deflate.compress(pack(">BH", 0xDC, len(columns)))]  # MessagePack: a list of so many
    for n, column in enumerate(columns):
        pieces.append(deflate.compress(_encode(column)))
        if n in OWN_CODES and table.count >= MANY:
            pieces.append(deflate.flush(zlib.Z_BLOCK))
    return b"".join([*pieces, deflate.flush()])


def _inflated(data: bytes) -> bytes:
    inflate = zlib.decompressobj(-15, zdict=_USUAL)
    try:
        table = inflate.decompress(data, MOST_INFLATED)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflate.eof or inflate.unused_data:
        raise ValueError("cut off, or too much")
    return table


def _planes(values: bytes, size: int) -> bytes:
    """First bytes of all values of this size, then second ones ...: those that hardly differ deflate to nothing."""
    return b"".join([values[n::size] for n in range(size)])


def _values(planes: bytes, size: int, n: int) -> bytes:
    """The inverse."""
    if len(planes) != size * n:
        raise ValueError(f"{len(planes)} bytes for {n} rows")
    return _planes(planes, n)


def _few(values: Sequence[Value]) -> tuple[list[Value], bytes]:
    """Distinct values, and for each row the place of its own: one byte each, or two where there are many."""
    places = {value: n for n, value in enumerate(dict.fromkeys(values))}
    return list(places), pack(f">{len(values)}{'BH'[len(places) > 256]}", *map(places.__getitem__, values))


def _many(values: Sequence[T], places: bytes, n: int) -> list[T]:
    """The inverse."""
    return [values[place] for place in unpack(f">{n}{'BH'[len(values) > 256]}", places)]


def _split(joined: str, n: int) -> list[str]:
    texts = joined.split("\n", n) if n or joined else []
    if len(texts) != n:
        raise ValueError(f"not as many texts as rows: {n}")
    return texts


def _shown(texts: list[str], longest: int = NAME_LIMIT) -> list[str]:
    """These texts, if they are fit to be shown and not too long."""
    if max(map(len, texts), default=0) > longest:
        raise ValueError("a text is too long")
    joined = "".join(texts)
    if not joined.isprintable() and _UNSHOWN.search(joined):
        raise ValueError("a text has control characters")
    return texts


def _names(names: list[str]) -> list[str]:
    """The same for what stands in a header: neither empty nor with a colon."""
    if "" in names or ":" in "".join(names):
        raise ValueError("no such name fits a packet")
    return _shown(names)


def _logons(table: _Table) -> list[str]:
    bare, printed, digits = _split(table.logons, table.count), table.printed, table.prints.hex()
    if len(printed) != len(bare) or printed.count(1) * 16 != len(digits):
        raise ValueError("not as many fingerprints as promised")
    prints = [f"-<{digits[at : at + 16]}>" for at in range(0, len(digits), 16)]
    if len(prints) == len(bare):
        return list(map(add, bare, prints))
    following = iter(prints)
    return [name + next(following) if has == 1 else name for name, has in zip(bare, printed, strict=True)]


def _addresses(planes: bytes, n: int) -> list[str]:
    places = list(accumulate(unpack(f">{n}I", _values(planes, 4, n))))
    if places and not HOSTS[0] <= places[0] <= places[-1] < HOSTS[1]:
        raise ValueError("no host has such an address")
    return list(map(inet_ntoa, unpack("4s" * n, pack(f">{n}I", *places))))


def _version(value: bytes) -> bytes:
    if value[:1] != b"1" or len(value) > OTHERS_LIMIT or b":" in value or b"\0" in value:
        raise ValueError("no VER field")
    return _shared(value)


def _parts(value: bytes) -> bytes:
    """What follows the group; where it begins with a line break it would be read as a trailer."""
    if len(value) > OTHERS_LIMIT or value[:1] == b"\n":
        raise ValueError("not what follows a group")
    return _shared(value)


@lru_cache(maxsize=1024)
def _shared(value: bytes) -> bytes:
    """One object for all that are equal: the same few come with every user."""
    return value


def _charset(name: str) -> str:
    """A charset that leaves ASCII alone, as every one of an IPMSG client does."""
    if name not in CHARSETS:
        raise ValueError(f"no charset: {name[:20]!r}")
    return sys.intern(name)
