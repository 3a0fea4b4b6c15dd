"""Member lists in the classic form: those we give (BR_ISGETLIST, GETLIST) and those we read (ANSLIST).

Rules kept here: a list goes only to who proved its address (it is larger than what was sent); a list that we read
is hearsay: who is in it is asked, nothing else (design rule 1). What one Windows client lists shows what it lacks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import hostlist
from camrelay.ipmsg.charset import encode
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import build
from camrelay.ipmsg.presence import Kind
from camrelay.relay.outputs import Transmit
from camrelay.relay.questions import ANSWER_WITHIN, Asked
from camrelay.relay.user import Learned

if TYPE_CHECKING:
    from camrelay.ipmsg.packet import Packet
    from camrelay.relay.announce import Announcer
    from camrelay.relay.context import Bucket, Context
    from camrelay.relay.outputs import Datagram
    from camrelay.relay.questions import Questions
    from camrelay.relay.user import User

MAX_HEARSAY = 4_096  # addresses waiting to be asked: what 16 full segments could name
MAX_VIEWS = 256  # clients whose lists are being read at one time
MAX_VIEW = 20_000  # users in one client's list


class Lists:
    """Gives lists, reads lists."""

    def __init__(self, context: Context, questions: Questions, announcer: Announcer, bucket: Bucket) -> None:
        self._context = context
        self._questions = questions
        self._announcer = announcer
        self._bucket = bucket
        self._hearsay: dict[str, None] = {}  # in the order of arrival
        self._views: dict[str, tuple[float, set[str]]] = {}  # lists of which we wait for more, and since when
        self._tick = 0.0

    # -- given -------------------------------------------------------------------------------------------------

    def offer(self, datagram: Datagram, now: float) -> None:
        """BR_ISGETLIST(2): say that we have a list."""
        self._questions.offer(datagram.source, datagram.port, now)

    def give(self, packet: Packet, datagram: Datagram, now: float) -> None:
        """GETLIST: everybody who is here but the one who asks, from the index it names."""
        utf8 = bool(packet.options & (Option.CAPUTF8 | Option.UTF8))
        asker = self._context.roster.at.get(datagram.source)
        charset = "utf-8" if utf8 else asker.presence.charset if asker else self._context.settings.codepage
        start = int(packet.body) if packet.body.strip().isdigit() and len(packet.body) < 8 else 0
        self._give(asker, charset, start, datagram.source, datagram.port)

    def push(self, target: User, now: float) -> None:
        """Our list, unasked: Windows takes one after each start, and asks for the rest of a long one."""
        if target.presence.kind is Kind.WINDOWS:
            target.listed = now
            self._questions.expect(target.address, Asked.OFFER, now)
            capable = target.presence.options & Option.CAPUTF8
            charset = "utf-8" if capable else target.presence.charset
            self._give(target, charset, 0, target.address, target.port)

    def _give(self, asker: User | None, charset: str, start: int, address: str, port: int) -> None:
        segment = asker.segment if asker else self._context.segments.of(address)
        users = [u for u in self._context.roster.online() if u is not asker and not u.is_relay]
        if segment is not None:
            users = [u for u in users if self._context.sharing.visible(u, segment)]
        body, _ = hostlist.pack([entry(user, charset) for user in users], start)
        own = self._context.own
        command = Command.ANSLIST | (Option.UTF8 if charset == "utf-8" else 0)
        data = build(b"1", self._context.next_number(), own.logon, own.host, command, body)
        self._context.emit(Transmit(data, address, port))
        self._context.count("member lists given")

    # -- read --------------------------------------------------------------------------------------------------

    def read(self, packet: Packet, user: User, now: float) -> None:
        """ANSLIST to a GETLIST of ours: ask whom we do not know, tell what is missing."""
        try:
            following, entries = hostlist.unpack(packet.body)
        except MalformedPacket:
            self._context.count("malformed member list")
            return
        begun, view = self._views.pop(user.address, (-math.inf, set()))
        if now - begun >= ANSWER_WITHIN:
            view = set()
        before = len(view)
        view.update(found.address for found in entries)
        for found in entries:
            self.hear_of(found.address)
        if following and before < len(view) < MAX_VIEW:
            while len(self._views) >= MAX_VIEWS:
                del self._views[next(iter(self._views))]
            self._views[user.address] = now, view
            self._questions.list(user, following, now)
            return
        self._context.count("member lists read")
        user.listed = now  # as far as it listed everybody, and now will be told the rest
        if not self._context.segments.own_addresses & view:
            # We are not in its list: it was refreshed since, and forgot to push its changes to us.
            self._questions.entry(user.address, now, user.port)
        signed = user.dialect.signed and self._context.identity is not None
        missing = [
            u for u in self._announcer.rounds.external_to(user.segment, signed) if u.address not in view
        ]
        if missing:
            self._announcer.rounds.list_of(user, missing, now)

    def hear_of(self, address: str, news: bool = False) -> None:
        """Somebody says that there is a client at ``address``: it will be asked, at the sweep's pace.

        ``news``: also where we know one, who is said to be somebody else or another way now.
        """
        context = self._context
        known = address in context.roster.at and not news
        segment = context.segments.of(address)
        if known or address in self._hearsay or segment is None or segment.told:
            return  # in a segment that only peers know, they hear who is there
        if len(self._hearsay) >= MAX_HEARSAY:
            context.count("hearsay dropped: too much of it")
            return
        self._hearsay[address] = None

    def next_due(self) -> float:
        """When somebody is to be asked."""
        return self._tick + 1.0 / self._bucket.rate if self._hearsay else math.inf

    def tick(self, now: float) -> None:
        """Ask those we heard of."""
        self._tick = now
        while self._hearsay and not self._context.congested and self._bucket.take(now):
            address = next(iter(self._hearsay))
            del self._hearsay[address]
            self._questions.entry(address, now, why=Learned.HEARSAY)


def entry(user: User, charset: str) -> hostlist.Entry:
    """``user`` as a line of a member list in ``charset``."""
    p = user.presence
    names = [encode(text, charset) for text in (p.logon_text, p.host_text, p.nick_text, p.group_text)]
    logon, host, nick, group = names
    return hostlist.Entry(logon, host, p.options, user.address, user.port, nick, group)
