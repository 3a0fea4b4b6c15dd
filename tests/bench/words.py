"""What the users of the bench say: the datagrams of IP Messenger 4.99 as captured, names numbered by flood.c."""

from __future__ import annotations

from camrelay.ipmsg.command import Command, Option

STAMP = b"T=" + b"@" * 19  # replaced by the time of sending
NUMBER = b"$$$$$$$$$"
LOGON = b"user-%%%%%%-<d1634b9018d53365>"
HOST = b"PC-%%%%%%"
GROUP = b"Sales"
VERSION = b"\nVS:00010002:4:99:103"
OPTIONS = 0x0F640000  # as captured: what 4.99 can do


def said(command: Command, nick: bytes = b"Mr %%%%%%", run: int = 1) -> bytes:
    """One datagram. ``run`` keeps the packet numbers of one pass apart from those of another."""
    if command == Command.ANSENTRY:  # to clients that can read UTF-8 it repeats the version only
        options, trailer = OPTIONS | int(Option.UTF8), VERSION
    else:
        names = b"\nUN:" + LOGON + b"\nHN:" + HOST + b"\nNN:" + nick + b"\nGN:" + GROUP
        options, trailer = OPTIONS, names + VERSION
    head = b"1:%d%b:%b:%b:%d:" % (run, NUMBER, LOGON, HOST, options | command)
    return head + nick + b"\0" + GROUP + b"\0" + trailer


def of_user(number: int, command: Command = Command.BR_ENTRY, nick: bytes = b"") -> bytes:
    """What user ``number`` says, as flood.c would write it."""
    text = said(command, nick) if nick else said(command)
    return text.replace(b"%%%%%%", b"%06d" % number).replace(NUMBER, b"%09d" % number)


CHANGE = said(Command.BR_ABSENCE, b"n " + STAMP)
FILES = {
    "change": CHANGE,
    "nothing": said(Command.NOOPERATION),
    "entry": said(Command.BR_ENTRY),
    "again": said(Command.BR_ENTRY, run=2),
    "answer": said(Command.ANSENTRY, run=3),
    "no news": said(Command.BR_ABSENCE, run=4),
    "lunch": said(Command.BR_ABSENCE, b"at lunch %%%%%%", run=5),
}
