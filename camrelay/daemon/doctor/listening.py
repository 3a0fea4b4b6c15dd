"""What ``camrelay listen`` does: hears the relays of a segment from any PC in it, and answers a doctor's question.

Rule kept here: nothing is sent but short answers to questions from the own wire, at most so many in a second.
"""

from __future__ import annotations

import errno
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from camrelay.daemon.doctor.host import holders
from camrelay.daemon.tracing import testuser
from camrelay.errors import MalformedPacket, StartError
from camrelay.ipmsg.command import PORT, Command
from camrelay.ipmsg.packet import parse
from camrelay.ipmsg.presence import Kind
from camrelay.ipmsg.presence import read as presence_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from camrelay.daemon.doctor.box import Box

IP_RECVTTL: Final = 12  # linux/in.h
ANNOUNCED_TTL: Final = 1  # of a relay's announcement for somebody else
ANSWERS_PER_SECOND: Final = 20
MOST_RELAYS: Final = 1024  # that are told apart; sources may be forged
LONGEST: Final = 65535
COMMANDS: Final = {
    Command.BR_ENTRY: "entry",
    Command.ANSENTRY: "present",
    Command.BR_ABSENCE: "present",
    Command.BR_EXIT: "exit",
}


class Heard(NamedTuple):
    """One datagram that says something about relays.

    ``what``: "relay" (a relay shows itself), "announcement" (a relay speaks for ``nick`` at ``source``), "question" (a
    doctor asks, in its own name or in that of ``source``; ``relay``: who is asked to be answered).
    """

    at: float
    what: str
    source: str
    nick: str = ""
    said: str = ""  # "entry", "present" or "exit"
    relay: str = ""
    ttl: int = 0
    answered: bool = False


def open_socket(box: Box, port: int = PORT) -> socket.socket:
    """UDP port 2425 of this PC, broadcasts included. StartError naming who has it, if it is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind(("0.0.0.0", port))  # without SO_BROADCAST: nobody's question makes us answer everybody
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise StartError(f"cannot open UDP port {port}: {error.strerror}") from None
        raise StartError(f"UDP port {port} is taken{_by_whom(box, port)}") from None
    sock.setblocking(False)
    return sock


def _by_whom(box: Box, port: int) -> str:
    found = next(iter(holders(box)), None) if port == PORT else None
    remedy = "end it (an IPMSG client, or camrelay itself?) and try again, or listen on another PC"
    if found is None or not found.name:
        return f": {remedy}"
    return f" by {found.name} (process {found.pids[0]}): {remedy}"


def listen(sock: socket.socket, seconds: float | None) -> Iterator[Heard]:
    """What is heard, as it comes; ends after ``seconds``, or never. Questions are answered before they are shown."""
    began = time.monotonic()
    answers: list[float] = []
    while (left := _left(began, seconds)) is None or left > 0:
        if not select.select([sock], [], [], left)[0]:
            return
        try:
            data, control, _, address = sock.recvmsg(LONGEST, 256)
        except OSError:  # an ICMP error about an answer of ours, or somebody else was faster
            continue
        heard = read(data, address[0], ttl_of(control), time.monotonic() - began)
        if heard is not None and heard.what == "question":
            heard = heard._replace(answered=_answer(sock, data, heard, answers))
        if heard is not None:
            yield heard


def _left(began: float, seconds: float | None) -> float | None:
    return None if seconds is None else began + seconds - time.monotonic()


def read(data: bytes, source: str, ttl: int, at: float) -> Heard | None:
    """What a datagram says about relays; None for all that is none of our business."""
    question = testuser.read(data)
    if question is not None:
        return Heard(at, "question", source, relay=question.to, ttl=ttl)
    try:
        packet = parse(data)
    except MalformedPacket:
        return None
    said = COMMANDS.get(Command(packet.mode)) if packet.mode in COMMANDS else None
    if said is None:
        return None
    presence = presence_of(packet)
    nick = presence.nick_text or presence.logon_text
    if ttl == ANNOUNCED_TTL:
        return Heard(at, "announcement", source, nick, said, ttl=ttl)
    if presence.kind is Kind.CAMRELAY:
        return Heard(at, "relay", source, nick, said, ttl=ttl)
    return None


def _answer(sock: socket.socket, data: bytes, heard: Heard, answers: list[float]) -> bool:
    """Answer a question, if it is one of our wire and we did not answer too many. Was it?"""
    question = testuser.read(data)
    if question is None or heard.ttl != ANNOUNCED_TTL:  # TTL 1 comes over no router
        return False
    now = time.monotonic()
    answers[:] = [when for when in answers if now - when < 1.0]
    if len(answers) >= ANSWERS_PER_SECOND:
        return False
    answers.append(now)
    said = testuser.answer(question)
    if len(said) > len(data):
        return False
    try:
        return sock.sendto(said, (question.to, PORT)) == len(said)
    except OSError:
        return False


def ttl_of(control: Sequence[tuple[int, int, bytes]]) -> int:
    """The TTL that a datagram came with, 0 if the kernel did not say."""
    for level, kind, value in control:
        if level == socket.IPPROTO_IP and kind == socket.IP_TTL and len(value) >= 4:
            return int.from_bytes(value[:4], sys.byteorder)
    return 0


class Relays:
    """What was heard so far, by relay: for the end. An announcement does not name its relay, so those are one row."""

    def __init__(self) -> None:
        self.relays: dict[str, dict[str, Any]] = {}
        self.announced: dict[str, str] = {}  # address -> nick, who is not gone again
        self.announcements = self.questions = 0
        self.foreign = self.own = 0  # questions in another name, and in the relay's own

    def take(self, heard: Heard) -> None:
        """One more."""
        if heard.what == "relay" and (heard.source in self.relays or len(self.relays) < MOST_RELAYS):
            row = self.relays.setdefault(heard.source, {"address": heard.source, "nick": "", "heard": 0})
            row["nick"] = heard.nick
            row["heard"] += 1
        elif heard.what == "relay":
            return
        elif heard.what == "announcement":
            self.announcements += 1
            if heard.said == "exit":
                self.announced.pop(heard.source, None)
            elif len(self.announced) < LONGEST:
                self.announced[heard.source] = heard.nick
        else:
            self.questions += 1
            self.own += heard.source == heard.relay
            self.foreign += heard.source != heard.relay
