"""One listener, one datagram: in its dialect and from the user's own address, or signed and from ours.

Rules kept here (design rule 3): who reads signed lists hears of everybody; others hear of a user only from the user's
own address, which takes a privilege, and beyond routers not of those beyond other routers unless that is allowed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from camrelay.relay.outputs import Transmit
from camrelay.relay.signing import patiently, together
from camrelay.relay.user import State
from camrelay.relay.visits import News
from camrelay.relay.writing import GOOD_BYE, Form, Group, form_for, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from camrelay.relay.context import Context
    from camrelay.relay.pacing import Items
    from camrelay.relay.segment import Segment
    from camrelay.relay.signing import Frames, Signing
    from camrelay.relay.user import User


class Unicast:
    """Who can be told, and the datagrams that tell."""

    def __init__(self, context: Context, signing: Signing) -> None:
        self._context = context
        self._signing = signing

    @property
    def mute(self) -> bool:
        """Can we tell nobody?"""
        return not self._context.can_speak and self._context.identity is None

    def serves(self, listener: User) -> bool:
        """Can we tell ``listener`` of others, and is that our part?"""
        segment, signed = listener.segment, self._signing.serves(listener)
        if listener.is_relay or not (signed or self._context.can_speak):
            return False
        return (listener.home and segment.served) or (segment.ours_only and not signed)

    def speaks_from(self, home: Segment | None) -> bool:
        """May swept segments hear of those of ``home`` from their own addresses?"""
        ours = home is None or home.interface is not None or self._context.settings.between_remote
        return ours and self._context.can_speak

    def as_user(self, user: User, listener: User) -> Transmit:
        """``user`` is here, in its own name."""
        data = write(user, form_for(user, listener.dialect, listener.dialect.charset))
        return Transmit(data, listener.address, listener.port, user.address)

    def frames(self, listener: User, make: Callable[[], Frames | None]) -> Items:
        """Datagrams of ours to ``listener``, as soon as they are signed.

        Not while it is in doubt: who sits at its address now may misread them. Proven, it gets its list.
        """
        if listener.state is State.ONLINE:
            for data in (yield from patiently(make)):
                yield Transmit(data, listener.address, listener.port)

    def to_group(self, user: User, group: Group, form: Form, leaving: str | None) -> Items:
        """The change to each of ``group``, in the user's name."""
        data = write(user, form)
        for listener in list(group):
            if listener.is_relay or listener.state is State.OFFLINE:
                continue
            segment = listener.segment
            if leaving is None:
                if user.state is not State.ONLINE or not self._context.sharing.visible(user, segment):
                    return
            elif self._context.lists(segment, leaving):
                return
            yield Transmit(data, listener.address, listener.port, leaving or user.address)

    def signed_to(self, user: User, group: Group, leaving: str | None) -> Items:
        """The change to each of ``group``, signed."""
        for listener in list(group):
            if self._signing.serves(listener) and listener.state is not State.OFFLINE:
                make = partial(self._signing.changes, (News(user, leaving),), listener.segment)
                yield from self.frames(listener, make)

    def visit(self, listener: User, news: Iterable[News]) -> Items:
        """What ``listener``, beyond our routers, is to hear."""
        home = listener.segment
        if not self.serves(listener):
            if not (home.fading and listener.home):
                return
            news = [one for one in news if one.leaving]
        if self._signing.serves(listener):
            for some in together(one for one in news if self.concerns(home, one)):
                yield from self.frames(listener, partial(self._signing.changes, some, home))
            return
        segments = self._context.segments
        for user, leaving in news:
            if not self.speaks_from(segments.of(leaving) if leaving else user.segment):
                continue
            if leaving is not None:
                if not self._context.lists(home, leaving):
                    yield Transmit(write(user, GOOD_BYE), listener.address, listener.port, leaving)
            elif user.state is State.ONLINE and self.concerns(home, News(user, leaving)):
                yield self.as_user(user, listener)

    def concerns(self, segment: Segment, news: News) -> bool:
        """Is this still news for those of ``segment``? Who left was shown there, so that always is."""
        user, leaving = news
        return leaving is not None or (
            user.segment is not segment and self._context.sharing.visible(user, segment)
        )


def signed_groups(segment: Segment) -> Iterator[Group]:
    """Those of ``segment`` who read signed lists."""
    return (group for dialect, group in segment.groups.items() if dialect.signed)
