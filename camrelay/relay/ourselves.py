"""Ourselves in our own segments: we come, stay and leave there as a user. Rule kept here: everybody there answers who
comes, so we say that we come at a start, after a sleep and once per ``sweep_unknown_every``, and hear who is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.ipmsg.command import PORT, Command
from camrelay.relay.questions import Asked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.context import Context
    from camrelay.relay.questions import Questions
    from camrelay.relay.segment import Segment


class Ourselves:
    """``due``: when we say again that we come."""

    def __init__(self, context: Context, questions: Questions, now: float) -> None:
        self._context = context
        self._questions = questions
        self.due = now

    def enter(self, segments: Iterable[Segment], now: float) -> None:
        """We come into these."""
        self.due = now + self._context.settings.sweep_unknown_every
        for segment in segments:
            self._questions.expect(segment.broadcast, Asked.ENTRY, now)
            self._say(Command.BR_ENTRY, segment)

    def tick(self, now: float) -> None:
        """Come again, if it is time."""
        if now >= self.due:
            self.enter(self._context.segments.local, now)

    def renamed(self) -> None:
        """We are called otherwise now, or can do more."""
        for segment in self._context.segments.local:
            self._say(Command.BR_ABSENCE, segment)

    def leave(self) -> None:
        """Good-bye, also to users beyond routers who heard of us."""
        for segment in self._context.segments.local:
            self._say(Command.BR_EXIT, segment)
        for user in self._context.roster.online():
            if user.home and user.segment.interface is None and not user.is_relay:
                self._context.say(Command.BR_EXIT, user.address, user.port)

    def _say(self, command: int, segment: Segment) -> None:
        if segment.interface is not None:
            self._context.say(command, segment.broadcast, PORT, segment.interface.index)
