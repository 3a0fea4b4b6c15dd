"""What proves nobody. Rule kept here (design rule 1): a hint queues one question, in no more bytes than were sent, and
only so many for a network in 10 s; nothing else follows from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.presence import Kind, read
from camrelay.relay.context import Budget, Recently
from camrelay.relay.pointed import Pointed
from camrelay.relay.user import Learned

if TYPE_CHECKING:
    from camrelay.ipmsg.packet import Packet
    from camrelay.relay.context import Context
    from camrelay.relay.foreign import Foreign
    from camrelay.relay.outputs import Datagram
    from camrelay.relay.questions import Questions
    from camrelay.relay.segment import Segment

HINTS_PER_NETWORK = 256  # in 10 s: one whole segment starting at once
HINT_EVERY = 0.5  # seconds between two questions on hints: above any way there and back, below a refresh
MAX_HINTED = 8_192  # addresses; who is forgotten early is asked once more


class Hints:
    """Asks those who may be somebody."""

    def __init__(self, context: Context, questions: Questions, foreign: Foreign) -> None:
        self._context = context
        self._questions = questions
        self._foreign = foreign
        self._budget = Budget(HINTS_PER_NETWORK)
        self._asked = Recently(HINT_EVERY, MAX_HINTED)
        self.pointed = Pointed()

    def ask_back(self, datagram: Datagram, now: float) -> None:
        """Ask who speaks from there, in no more bytes than it sent."""
        if not self._asked.within(datagram.source, now):
            self._asked.note(datagram.source, now)
            self._questions.entry(datagram.source, now, datagram.port, len(datagram.data), Learned.HINT)

    def take(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """Something that proves nobody: the address is asked once."""
        context = self._context
        context.count("hints")
        if datagram.broadcast:
            self._foreign.note(datagram.source)
        presence = read(packet, context.settings.codepage)
        if presence.kind is Kind.CAMRELAY:
            return  # another relay sweeps: it is no user here, and asking it would make it ask us
        if packet.mode == Command.BR_ENTRY:
            self.pointed.note(datagram, presence, now)
        if segment.told:
            return  # a peer hears who is there, and tells us
        user = context.roster.at.get(datagram.source)
        if user is not None and packet.mode == Command.BR_ENTRY:
            user.wants_list = True
        if self._budget.spend(segment.name, now):
            self.ask_back(datagram, now)
        else:
            context.count("hints dropped: too many from one network")
