"""Messages between relays as bytes: one frame's payload each (MessagePack, its first element says which message).

Rule kept here: what comes out of ``decode`` is safe to use whoever sent it, and nothing but MalformedFrame comes
out instead. Elements behind those that we know are a newer relay's and not looked at; messages that we do not know
are ``Unknown``. Users travel in columns: see ``columns``.
"""

from __future__ import annotations

from struct import error as struct_error
from struct import pack, unpack
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Raw
from msgspec.msgpack import Decoder

from camrelay.daemon.columns import read_rows, write_rows
from camrelay.errors import MalformedFrame
from camrelay.ipmsg.trailer import NAME_LIMIT
from camrelay.relay.messages import BUCKETS, Changes, Digest, Marks, PeerMessage, Reach, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VERSION = 1  # of these messages; what Hello begins with stays the same in all of them

MOST_ELEMENTS = 64  # of one message, those of newer relays included
MOST_MEMBERS = 1024
MOST_SEGMENTS = 4096
LONGEST_TEXT = 400  # characters of a reason or a program's name
MOST_TRACED = 64 << 10  # bytes of what is asked or answered for a trace, in one message

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Unsigned = Annotated[int, Meta(ge=0)]  # MessagePack has none beyond 64 bits
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT)]
Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Address = Annotated[str, Meta(max_length=270, pattern=r"\A[!-~]+:[0-9]{1,5}\Z")]
Certificate = Annotated[bytes, Meta(max_length=8192)]
Traced = Annotated[bytes, Meta(max_length=MOST_TRACED)]
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
Network = Annotated[str, Meta(pattern=rf"\A({_OCTET}\.){{3}}{_OCTET}/(3[0-2]|[12]?[0-9])\Z")]
Segment = Annotated[str, Meta(pattern=rf"\A({_OCTET}\.){{3}}({_OCTET}|\*)\Z")]
Segments = Annotated[tuple[Segment, ...], Meta(max_length=MOST_SEGMENTS)]


class Hello(NamedTuple):
    """The first message of either side."""

    v: Count  # VERSION; of another version only name and software are read
    name: Name  # of the relay
    software: Text  # "camrelay 0.3.0"
    boot: Count  # the start of the daemon, counted up
    number: Count  # of this session, chosen by who dialled
    lost: Count  # the last session that the dialler saw end; 0: none


class Ping(NamedTuple):
    """Still here."""


class Bye(NamedTuple):
    """The last message: why the session ends, for people."""

    reason: Text


class Member(NamedTuple):
    """One relay of the fleet, in its own words."""

    id: Id
    name: Name
    addresses: Annotated[tuple[Address, ...], Meta(max_length=16)]  # "host:port" to dial
    certs: Annotated[tuple[Certificate, ...], Meta(max_length=4)]  # DER; two while the key is being changed
    revision: Count  # the greater one is the newer
    removed: bool = False


class Members(NamedTuple):
    """What the sender knows of these members."""

    members: Annotated[tuple[Member, ...], Meta(max_length=MOST_MEMBERS)]


class Seen(NamedTuple):
    """The sender has this revision of that member's record."""

    id: Id
    revision: Count


class Join(NamedTuple):
    """With a key of an invitation: this is who I am."""

    member: Member


class Welcome(NamedTuple):
    """The answer to it: the fleet, the answering member first."""

    members: Annotated[tuple[Member, ...], Meta(max_length=MOST_MEMBERS + 1)]  # it comes on top of all others


class Question(NamedTuple):
    """Look for a fault, for the sender. See ``tracing.far``."""

    number: Count  # of this question on this link, chosen by who asks
    what: Name
    params: Traced  # JSON


class Reply(NamedTuple):
    """To a question: that it is worked at, what was found so far, and in the end the result or why there is none."""

    number: Count
    kind: Count  # one of those below; others are a newer relay's
    body: Traced  # JSON


TAKEN, EVENT, RESULT, REFUSED, BUSY = range(5)


class Cancel(NamedTuple):
    """The answer to this question is of no use any more."""

    number: Count


class Unknown(NamedTuple):
    """A message of a newer relay."""

    tag: int


LinkMessage = Hello | Ping | Bye | Members | Seen | Join | Welcome | Question | Reply | Cancel


class _Form(NamedTuple):
    """How one message is written behind its tag, and read from there."""

    tag: int
    of: type
    write: Callable[[Any], tuple[Any, ...]]
    read: Callable[[Sequence[Raw]], Any]


_of_type: dict[type, _Form] = {}
_of_tag: dict[int, _Form] = {}
_raws = Decoder(Annotated[list[Raw], Meta(min_length=1, max_length=MOST_ELEMENTS)])
_tag = Decoder(int)


def encode(message: PeerMessage | LinkMessage) -> bytes:
    """The payload of one frame."""
    form = _of_type[type(message)]
    return msgspec.msgpack.encode((form.tag, *form.write(message)))


def decode(payload: bytes) -> PeerMessage | LinkMessage | Unknown:
    """The message. Raises MalformedFrame, and nothing else, for what is none."""
    try:
        first, *rest = _raws.decode(payload)
        tag = _tag.decode(first)
        form = _of_tag.get(tag)
        return form.read(rest) if form else Unknown(tag)
    except (
        msgspec.MsgspecError,
        struct_error,
        ValueError,
        OverflowError,
        RecursionError,
        IndexError,
    ) as error:
        raise MalformedFrame(f"a frame of {len(payload)} bytes: {error}") from None


def register(
    tag: int, of: type, write: Callable[[Any], tuple[Any, ...]], read: Callable[[Sequence[Raw]], Any]
) -> None:
    """A message and its place in the table."""
    _of_type[of] = _of_tag[tag] = _Form(tag, of, write, read)


def _plainly(tag: int, of: type, *kinds: Any) -> None:
    """A message whose fields travel as they are, of these kinds or as annotated."""
    register(tag, of, tuple, _reader(of, *kinds))


def _reader(of: type, *kinds: Any) -> Callable[[Sequence[Raw]], Any]:
    """What makes a tuple of this type; surplus elements are ignored, missing ones take the defaults."""
    kinds = kinds or tuple(get_type_hints(of, include_extras=True).values())
    fields = [_field(kind) for kind in kinds]
    needed = len(fields) - len(cast("Any", of)._field_defaults)

    def read(raws: Sequence[Raw]) -> Any:
        if len(raws) < needed:
            raise ValueError(f"{of.__name__} has {needed} elements, found {len(raws)}")
        return of(*(field(raw) for field, raw in zip(fields, raws, strict=False)))

    return read


def _field(kind: Any) -> Callable[[Raw], Any]:
    """What reads one element: a plain value, a member, or some of them."""
    if kind is Member:
        member = _reader(Member)
        return lambda raw: member(_raws.decode(raw))
    if kind in (Name, Text):
        text = Decoder(kind)
        return lambda raw: _shown(text.decode(raw))
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_args(bare)[:1] == (Member,):
        each, most = _field(Member), Decoder(Annotated[list[Raw], *kind.__metadata__])
        return lambda raw: tuple(map(each, most.decode(raw)))
    return Decoder(kind).decode


def _shown(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text has control characters")
    return text


def _read_hello(raws: Sequence[Raw]) -> Hello:
    if len(raws) >= 3 and _tag.decode(raws[0]) != VERSION:
        zero = Raw(msgspec.msgpack.encode(0))
        raws = (*raws[:3], zero, zero, zero)
    hello: Hello = _hello(raws)
    return hello


_hello = _reader(Hello)
_marks = Decoder(Annotated[bytes, Meta(min_length=8 * BUCKETS, max_length=8 * BUCKETS)])
_bucket = Decoder(Annotated[int, Meta(ge=0, le=BUCKETS - 1)])
_packed = Decoder(bytes)


def _write_bye(message: Bye) -> tuple[str]:
    """A reason is made where it may quote anybody, so it is cut and cleaned for the other side to take it."""
    shown = (sign if sign.isprintable() else " " for sign in message.reason[:LONGEST_TEXT])
    return ("".join(shown),)


def _write_marks(message: Marks) -> tuple[bytes]:
    return (pack(f">{BUCKETS}Q", *message.marks),)


def _read_marks(raws: Sequence[Raw]) -> Marks:
    return Marks(unpack(f">{BUCKETS}Q", _marks.decode(raws[0])))


def _write_rows(message: Rows) -> tuple[int, bytes]:
    return message.bucket, write_rows(message.rows)


def _read_rows(raws: Sequence[Raw]) -> Rows:
    rows, _ = read_rows(_packed.decode(raws[1]))
    return Rows(_bucket.decode(raws[0]), rows)


def _write_changes(message: Changes) -> tuple[bytes]:
    return (write_rows(message.rows, message.gone),)


def _read_changes(raws: Sequence[Raw]) -> Changes:
    return Changes(*read_rows(_packed.decode(raws[0])))


register(1, Hello, tuple, _read_hello)
register(3, Bye, _write_bye, _reader(Bye))
_PLAIN: tuple[tuple[int, type], ...] = (
    (2, Ping), (4, Members), (5, Seen), (6, Join), (7, Welcome), (32, Question), (33, Reply), (34, Cancel),
)  # fmt: skip
for _number, _type in _PLAIN:
    _plainly(_number, _type)
_plainly(
    16, Reach, Annotated[tuple[Network, ...], Meta(max_length=MOST_SEGMENTS)], Segments, Segments, bool, bool
)
_plainly(17, Digest, Count, Unsigned)
register(18, Marks, _write_marks, _read_marks)
register(19, Rows, _write_rows, _read_rows)
register(20, Changes, _write_changes, _read_changes)
