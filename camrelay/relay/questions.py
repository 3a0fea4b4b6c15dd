"""What we asked whom in the last 10 s. Rule kept here: only the answer to a question of ours proves an address
that is not heard first hand, so nobody can fill the roster by forging (design rule 1)."""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING

from camrelay.ipmsg.announcement import announce
from camrelay.ipmsg.command import AUTORETOPT, PORT, Command, Option
from camrelay.ipmsg.packet import build
from camrelay.ipmsg.pubkey import write_capability
from camrelay.relay.context import Recently
from camrelay.relay.identity import LOGON
from camrelay.relay.outputs import Transmit
from camrelay.relay.user import Learned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.context import Context
    from camrelay.relay.user import User

ANSWER_WITHIN = 10.0  # seconds; the slowest client answers after 4.1 s
MAX_QUESTIONS = 8_192  # more than both paces let out in that time


class Asked(IntFlag):
    """Kinds of questions."""

    ENTRY = 1  # BR_ENTRY: answered by presence
    INFO = 2  # GETINFO: answered by SENDINFO
    LIST = 4  # GETLIST: answered by ANSLIST
    OFFER = 8  # OKGETLIST: answered by GETLIST
    KEY = 16  # GETPUBKEY: answered by ANSPUBKEY


# What is asked without the user there seeing it: command and body.
_PROBES = {
    Asked.INFO: (int(Command.GETINFO), b""),
    Asked.LIST: (Command.GETLIST | Option.CAPUTF8, b"0"),
    Asked.KEY: (Command.GETPUBKEY | AUTORETOPT, write_capability()),
}


class Questions:
    """Asks, and remembers that it did."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pending = {kind: Recently(ANSWER_WITHIN, MAX_QUESTIONS) for kind in Asked}
        self._named = {why: Recently(ANSWER_WITHIN, MAX_QUESTIONS) for why in (Learned.HINT, Learned.HEARSAY)}

    def asked(self, address: str, kind: Asked, now: float) -> bool:
        """Is an answer of this kind from ``address`` expected?"""
        return self._pending[kind].within(address, now)

    def expect(self, address: str, kind: Asked, now: float) -> None:
        """Something of ours to ``address`` may draw an answer of this kind."""
        self._pending[kind].note(address, now)

    def because(self, address: str, now: float) -> Learned | None:
        """What made us ask who is at ``address``, if it was none of our rounds."""
        return next((why for why, asked in self._named.items() if asked.within(address, now)), None)

    def waiting(self, address: str, now: float) -> list[str]:
        """The questions whose answers from ``address`` would count now, as the commands that ask them."""
        names = {
            Asked.ENTRY: "BR_ENTRY",
            Asked.INFO: "GETINFO",
            Asked.LIST: "GETLIST",
            Asked.KEY: "GETPUBKEY",
        }
        return [name for kind, name in names.items() if self.asked(address, kind, now)]

    def entry(
        self, address: str, now: float, port: int = PORT, most: int = 0, why: Learned | None = None
    ) -> None:
        """Ask who is there (BR_ENTRY). ``most``: the largest datagram allowed, for those who are not proven.

        Users of remote segments are told to send us their later presence too (DIALUPOPT, design rule 6).
        """
        context = self._context
        segment = context.segments.of(address)
        remote = segment is None or segment.interface is None
        dialup = int(Option.DIALUP) if remote else 0
        number = context.next_number()
        data = announce(context.own, Command.BR_ENTRY, number, plus=dialup | context.plus) + context.note
        if most and len(data) > most:
            forms = _shorter(context.own, number, dialup)
            data = next((form for form in forms if len(form) <= most), b"")
            if not data:
                context.count("not asked: our question would be larger than what was sent")
                return
        if why is not None:
            self._named[why].note(address, now)
        self._send(Asked.ENTRY, data, address, port, now)

    def probe(self, address: str, kinds: Asked, now: float, pad: int = 0, start: int = 0) -> None:
        """Ask all of ``kinds``, for somebody who looks for a fault.

        ``pad``: bytes that make BR_ENTRY and GETINFO larger. ``start``: where the member list is to begin.
        Who is in none of our segments is not told to send us later presence: it is not taken in.
        """
        context = self._context
        if Asked.ENTRY in kinds:
            segment = context.segments.of(address)
            dialup = int(Option.DIALUP) if segment is not None and segment.interface is None else 0
            plus = dialup | context.plus
            data = announce(context.own, Command.BR_ENTRY, context.next_number(), plus=plus) + context.note
            self._send(Asked.ENTRY, data + (b"\nPD:" + b"x" * pad if pad else b""), address, PORT, now)
        for kind, (command, body) in _PROBES.items():
            if kind in kinds:
                body = b"%d" % start if kind is Asked.LIST else b"x" * pad if kind is Asked.INFO else body
                self._ask(kind, command, body, address, PORT, now)

    def info(self, user: User, now: float) -> None:
        """Ask for the client's version: answered at once, and its user sees nothing."""
        self._ask(Asked.INFO, *_PROBES[Asked.INFO], user.address, user.port, now)

    def list(self, user: User, index: int, now: float) -> None:
        """Ask for the client's member list from ``index``: its user sees nothing."""
        command, _ = _PROBES[Asked.LIST]
        self._ask(Asked.LIST, command, b"%d" % index, user.address, user.port, now)

    def key(self, user: User, now: float) -> None:
        """Ask for the client's public key, and not to be asked back."""
        self._ask(Asked.KEY, *_PROBES[Asked.KEY], user.address, user.port, now)

    def offer(self, address: str, port: int, now: float) -> None:
        """Offer our member list."""
        own = self._context.own
        data = build(b"1", self._context.next_number(), own.logon, own.host, Command.OKGETLIST)
        self._send(Asked.OFFER, data, address, port, now)

    def _ask(self, kind: Asked, command: int, body: bytes, address: str, port: int, now: float) -> None:
        own = self._context.own
        data = build(own.version, self._context.next_number(), own.logon, own.host, command, body)
        self._send(kind, data, address, port, now)

    def _send(self, kind: Asked, data: bytes, address: str, port: int, now: float) -> None:
        self.expect(address, kind, now)
        self._context.emit(Transmit(data, address, port))


def _shorter(own: Presence, number: int, dialup: int) -> Iterator[bytes]:
    """Our BR_ENTRY with less and less of our names. One with a fingerprint counts only with ENCRYPTOPT."""
    version = own.version.split(b" ")[0]
    for logon, host in ((own.logon, own.host), (own.logon, b""), (LOGON.encode(), b"")):
        encrypts = own.options & int(Option.ENCRYPT) if logon == own.logon else 0
        yield build(version, number, logon, host, Command.BR_ENTRY | dialup | encrypts)
