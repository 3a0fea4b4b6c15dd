"""The classic IPMSG packet, ``VER:NUMBER:LOGON:HOST:COMMAND:BODY NUL EXTRA``: bytes in, bytes out.

Every field is kept as sent (the number too: its text is an encryption IV), nothing is decoded. Bytes that
are not such a packet raise MalformedPacket and nothing else. IPDict frames, the other framing on the port,
are told apart here and refused.
"""

from __future__ import annotations

from typing import NamedTuple

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import MODE_MASK, OPTION_MASK

# VER to COMMAND with the colons. Windows cuts each name at 79 bytes and FeiQ's VER is some 60 long, so no
# real header comes near. The bound keeps strangers from filling tables, and digits within what int() takes.
HEADER_LIMIT = 1024

_IPDICT = b"IP2:"


class Packet(NamedTuple):
    """One packet, fields as sent. ``command`` may be of any size: some clients use bits above 2^31."""

    version: bytes  # begins with "1"; what follows the digit is the client's own
    number: bytes  # decimal text, also beyond 2^32
    logon: bytes  # may be empty here, never on the way out
    host: bytes
    command: int
    body: bytes  # up to the first NUL
    extra: bytes  # everything after that NUL, b"" if there is nothing or no NUL

    @property
    def mode(self) -> int:
        """What the packet is for: the low 8 bits, see ``Command``."""
        return self.command & MODE_MASK

    @property
    def options(self) -> int:
        """The high 24 of the command's low 32 bits, see ``Option``."""
        return self.command & OPTION_MASK

    @property
    def serial(self) -> int:
        """The number as a number."""
        return int(self.number)


def is_ipdict(data: bytes) -> bool:
    """Is this a frame of the dictionary framing (``IP2:``)? Its content is not looked at."""
    return data[:4] == _IPDICT


def parse(data: bytes) -> Packet:
    """Take a datagram apart. Empty names and missing or surplus NULs are accepted: real clients send them.

    Raises MalformedPacket, and nothing else, for any other bytes.
    """
    head, _, extra = data.partition(b"\0")
    try:
        version, number, logon, host, command, body = head.split(b":", 5)
    except ValueError:
        raise _malformed(data, "fewer than six fields") from None
    # Windows reads VER with atoi() and wants 1, so "1_iptux 0.8.3" passes and "10" does not.
    if version != b"1" and (version[:1] != b"1" or version[1:2].isdigit()):
        raise _malformed(data, "not version 1")
    if not (number.isdigit() and command.isdigit()):
        raise _malformed(data, "packet number or command is not decimal")
    if len(head) - len(body) > HEADER_LIMIT:
        raise _malformed(data, f"header longer than {HEADER_LIMIT} bytes")
    # What Packet(...) ends in, at half the price: one of these is made for every datagram.
    return tuple.__new__(Packet, (version, number, logon, host, int(command), body, extra))


def build(
    version: bytes,
    number: int | bytes,
    logon: bytes,
    host: bytes,
    command: int,
    body: bytes = b"",
    extra: bytes | None = None,
) -> bytes:
    """The datagram for these fields: header, body, NUL, then ``extra`` as it is.

    Empty names leave as ``?`` (Windows' tokenizer would shift the fields behind), ``:`` in them as ``;``.
    ``body`` must not contain NUL: what follows it would be read as ``extra``.
    """
    if b":" in logon or b":" in host:
        logon, host = logon.replace(b":", b";"), host.replace(b":", b";")
    if isinstance(number, int):
        number = b"%d" % number
    return b"%b:%b:%b:%b:%d:%b\0%b" % (
        version,
        number,
        logon or b"?",
        host or b"?",
        command,
        body,
        extra or b"",
    )


def _malformed(data: bytes, why: str) -> MalformedPacket:
    if is_ipdict(data):
        why = "an IPDict frame, not a classic packet"
    return MalformedPacket(f"{why}: {len(data)} bytes, beginning {data[:16]!r}")
