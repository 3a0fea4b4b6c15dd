"""Who is told of a user, in which dialect, and why others are not: by the rules that ``announce`` follows, for people.

Computed when asked, not recorded: what holds now is what was done when the user last joined or changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.ipmsg.command import Command
from camrelay.relay.reasons import Audience, Informed, Told
from camrelay.relay.user import State
from camrelay.relay.writing import form_for, forms_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.announce import Agents
    from camrelay.relay.context import Context
    from camrelay.relay.peers import Peer
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import Dialect, User
    from camrelay.relay.writing import Form

MOST_SEGMENTS = 256  # shown; ours come first, then those that only peers know


class Audiences:
    """Asked once for each user; what is the same for all of them is found once."""

    def __init__(self, context: Context, agents: Agents | None, now: float) -> None:
        self._context = context
        self._agents = agents
        self._now = now
        self._groups: dict[Segment, dict[Dialect, int]] = {}

    def of(self, user: User) -> list[Audience]:
        """The first segments; how many there are says ``Segments.all``."""
        return [self._one(user, segment) for segment in self._context.segments.all[:MOST_SEGMENTS]]

    def _one(self, user: User, segment: Segment) -> Audience:
        listeners = sum(self._clients(segment).values())
        why, rule, by = self._why_not(user, segment, listeners)
        told = [] if why else self._told(user, segment, listeners)
        if not why and not told:
            why = "between" if self._context.can_speak and user.segment.interface is None else "mute"
        return Audience(segment.name, listeners, told, why, rule, by)

    def _clients(self, segment: Segment) -> dict[Dialect, int]:
        """How many there take what; other relays left out."""
        found = self._groups.get(segment)
        if found is None:
            found = self._groups[segment] = {}
            for user in segment.users:
                if not user.is_relay and user.state is not State.OFFLINE:
                    found[user.dialect] = found.get(user.dialect, 0) + 1
        return found

    def _why_not(self, user: User, segment: Segment, listeners: int) -> tuple[str, int | None, str | None]:
        if user.is_relay:
            return "is-relay", None, None
        if user.state is not State.ONLINE:
            return ("offline" if user.state is State.OFFLINE else "doubt"), None, None
        if segment is user.segment:
            return "own", None, None
        if not (segment.served or segment.ours_only):
            return "relay", None, segment.server
        rule = self._context.sharing.hiding(user, segment)
        if rule is not None:
            return "rule", rule, None
        # On our own wires we broadcast, whether we know somebody there or not.
        silent = segment.interface is not None and self._context.can_speak
        return ("" if listeners or silent else "nobody"), None, None

    def _told(self, user: User, segment: Segment, listeners: int) -> list[Told]:
        if segment.interface is None:
            return self._beyond(user, segment)
        clients = self._clients(segment)
        if not self._context.can_speak:
            return _signed(sum(n for dialect, n in clients.items() if self._reads_signed(dialect)), "signed")
        main, odd = forms_for(user, segment)
        dialects = {id(group): dialect for dialect, group in segment.groups.items()}
        apart = [_told(user, "unicast", form, clients.get(dialects[id(group)], 0)) for form, group in odd]
        all_ = _told(user, "broadcast", main, listeners - sum(one.listeners for one in apart))
        return together([all_, *(one for one in apart if one.listeners)])

    def _beyond(self, user: User, segment: Segment) -> list[Told]:
        """Each by itself; of a segment that a peer serves too, only those who do not read signed lists."""
        clients = self._clients(segment)
        readers = sum(n for dialect, n in clients.items() if segment.served and self._reads_signed(dialect))
        if readers and self._agents is not None and self._agents.reach(segment, self._now):
            return _signed(readers, "agents")
        found = _signed(readers, "signed")
        home = user.segment.interface is not None or self._context.settings.between_remote
        for dialect, n in clients.items() if home and self._context.can_speak else ():
            if not self._reads_signed(dialect):
                found.append(_told(user, "unicast", form_for(user, dialect, dialect.charset), n))
        return together(found)

    def _reads_signed(self, dialect: Dialect) -> bool:
        return self._context.identity is not None and dialect.signed

    def informed(self, user: User, peer: Peer, ready: bool) -> Informed:
        """Whether this relay is told of ``user``. ``ready``: was it told all that it is to know?"""
        if not user.home or user.state is State.OFFLINE or user.is_relay:
            return Informed(peer.name, "not-ours")
        rule = self._context.sharing.hiding_from_peer(user, peer.name, peer.id)
        if rule is not None:
            return Informed(peer.name, "rule", rule)
        if not peer.linked:
            return Informed(peer.name, "away")
        return Informed(peer.name, "" if ready and user.state is State.ONLINE else "late")


def _signed(listeners: int, how: str) -> list[Told]:
    return [Told(how, "ANSLIST_DICT", "utf-8", listeners)] if listeners else []


def together(parts: Iterable[Told]) -> list[Told]:
    """Those who are told alike are one."""
    found: dict[tuple[str, str, str], int] = {}
    for how, command, charset, listeners in ((p.how, p.command, p.charset, p.listeners) for p in parts):
        found[how, command, charset] = found.get((how, command, charset), 0) + listeners
    return [Told(*form, listeners) for form, listeners in found.items()]


def _told(user: User, how: str, form: Form, listeners: int) -> Told:
    presence = user.presence
    charset = form.charset or ("ascii" if presence.is_ascii else presence.charset)
    return Told(how, Command(form.command).name, charset, listeners)
