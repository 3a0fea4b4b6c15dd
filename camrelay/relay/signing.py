"""Lists and changes as signed dictionaries (ANSLIST_DICT), which IP Messenger for Windows takes from anybody: from our
own address, with no privilege here and no setting there, across any router.

Rules kept here: never to who would misread one; each is signed when first wanted and kept until what it says changes;
not more than ``SIGNATURES`` in one helping, so that signing stalls nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from camrelay.ipmsg.command import PORT
from camrelay.ipmsg.signed import Host, gather
from camrelay.relay.slots import TOGETHER
from camrelay.relay.user import State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from camrelay.relay.context import Context
    from camrelay.relay.segment import Segment
    from camrelay.relay.slots import Slot
    from camrelay.relay.user import User
    from camrelay.relay.visits import News

SIGNATURES = 20  # in one helping: 0.35 ms each
MAX_CHANGES = 1_024  # changes whose datagrams are kept for those who hear of them later

Frames = tuple[bytes, ...]
Sealed = tuple[bytes, ...]  # the same by ``Author.seal``: what is kept of them
Found = TypeVar("Found")


class Signing:
    """Makes signed datagrams. What returns None could not be signed in this helping: ask again in the next."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._left = SIGNATURES
        self._changes: dict[tuple[News, ...], tuple[tuple[object, ...], Sealed]] = {}

    def serves(self, listener: User) -> bool:
        """Is ``listener`` to be told by signed dictionaries?"""
        return self._context.identity is not None and listener.dialect.signed and not listener.is_relay

    def refill(self) -> None:
        """A new helping begins."""
        self._left = SIGNATURES

    def chunk(self, slot: Slot) -> Frames | None:
        """The users of ``slot`` who are surely here; nothing if there are none."""
        listed = [u for u in slot.users if u.state is State.ONLINE and not u.is_relay]
        words: tuple[object, ...] = (self._context.identity,)
        for user in listed:
            words += (user.presence, user.address, user.port)  # each user has a presence of its own
        if slot.words != words:
            sealed = self._sign([present(user) for user in listed])
            if sealed is None:
                return None
            slot.words, slot.sealed = words, sealed
        return self._frames(slot.sealed)

    def changes(self, news: tuple[News, ...], segment: Segment) -> Frames | None:
        """What of ``news`` is still so for those of ``segment``: who left is removed, who is here added, in order."""
        context = self._context
        hosts: list[Host] = []
        words: list[object] = [self._context.identity]
        for user, leaving in news:
            if leaving is not None:
                if not context.lists(segment, leaving):
                    hosts += absent(user, leaving)
                    words.append(leaving)
            elif user.state is State.ONLINE and not user.is_relay and context.sharing.visible(user, segment):
                hosts.append(present(user))
                words.append((user.presence, user.address, user.port))
        kept = self._changes.get(news)
        if kept is None or kept[0] != tuple(words):
            sealed = self._sign(hosts)
            if sealed is None:
                return None
            while len(self._changes) >= MAX_CHANGES:
                del self._changes[next(iter(self._changes))]
            kept = self._changes[news] = tuple(words), sealed
        return self._frames(kept[1])

    def _frames(self, sealed: Sealed) -> Frames:
        identity = self._context.identity
        return tuple(map(identity.author.unseal, sealed)) if identity is not None else ()

    def _sign(self, hosts: Sequence[Host]) -> Sealed | None:
        """``hosts`` in as few datagrams as hold them: one, but for very long names."""
        identity = self._context.identity
        if not hosts or identity is None:
            return ()
        if self._left <= 0:
            return None
        found: list[bytes] = []
        start = 0
        while start or not found:
            number = self._context.next_number()
            listed, start = gather(identity.author, hosts, start, number, number)
            found.append(identity.author.seal(number, listed))
            self._left -= 1
            self._context.count("lists signed")
        return tuple(found)


def patiently(make: Callable[[], Found | None]) -> Generator[None, None, Found]:
    """What ``make`` gives, as soon as it gives something; yields None whenever it does not."""
    while (found := make()) is None:
        yield None
    return found


def together(news: Iterable[News]) -> list[tuple[News, ...]]:
    """The same in groups that fit into one datagram."""
    all_ = list(news)
    return [tuple(all_[n : n + TOGETHER]) for n in range(0, len(all_), TOGETHER)]


def present(user: User) -> Host:
    """``user``, who is here, as an entry of a list."""
    p = user.presence.anew()  # what is looked up for this line is not kept: 300 bytes a user
    names = (p.nick_text or p.logon_text, p.group_text, p.line)
    return Host(p.logon_text, p.host_text, p.abilities, True, user.address, user.port, *names)


def absent(user: User, address: str) -> list[Host]:
    """``user``, who was at ``address``. Windows removes by address and port: where it heard of both, by both."""
    p = user.presence
    ports = (user.port,) if user.port == PORT else (user.port, PORT)
    return [
        Host(p.logon_text, p.host_text, p.abilities, False, address, port, p.nick_text, p.group_text, p.line)
        for port in ports
    ]
