"""Why a user is known, to whom, and for how long: what ``trace why`` shows, put together from all who know a part.

Rule kept here: looking changes nothing, and a search lets others work after every ``LOOKS`` users.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from camrelay.errors import UsageError
from camrelay.ipmsg.charset import decode, encode, exactly, is_utf8
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.mojibake import likelier
from camrelay.ipmsg.trailer import said
from camrelay.relay import view
from camrelay.relay.audience import MOST_SEGMENTS, Audiences
from camrelay.relay.reasons import Alike, Doubts, Garbled, Holder, Life, WhyRow, Words
from camrelay.relay.snapshot import UserRow
from camrelay.relay.user import NEVER, State, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.inside import Inside
    from camrelay.relay.user import Key, User

LOOKS = 2_000  # users looked at between two pauses: some 3 ms
MOST_MATCHES = 20  # users that one word may mean
MOST_ALIKE = 8  # a logon that everybody has says nothing about who is who
MOST_PEERS = 256
LONGEST_LINE = 400  # characters
LONGEST_WORD = 160  # characters of a word: no name is longer, and a pattern of 60,000 takes a second
CHARSETS = ("utf-8", "cp932", "gb18030", "cp949", "cp950", "cp1252", "cp1251")
NAMES = ("logon", "host", "nick", "group")
AS_SHOWN = [
    name for name in WhyRow.__slots__ if name in UserRow.__slots__
]  # who it is, as ``users`` shows it
_SHOWN = str.maketrans({"\0": "␀", "\n": "␊", "\r": "␍"})


# -- searching -----------------------------------------------------------------------------------------------------


def search(users: Iterable[User], word: str) -> Iterator[User | None]:
    """Who is meant by an address, logon, host, logon/host or nick, whatever the case. None: a pause.

    A nick is found in whatever charset it was sent, also if we read it in a wrong one.
    """
    word = word.strip()
    if len(word) > LONGEST_WORD:
        return
    wanted = word.casefold()
    key = _as_key(wanted)
    name = plain((wanted, ""))[0] or None
    forms = {encode(form, c) for c in CHARSETS for form in (word, wanted, word.upper())}
    nick = _nick_pattern(form for form in forms if form.strip(b"? "))
    for looked, user in enumerate(users, 1):
        by_key = user.address == wanted or name in user.key or user.key == key
        if by_key or (nick is not None and nick.search(user.tail) and _is_called(user, wanted, forms)):
            yield user
        if not looked % LOOKS:
            yield None


def few(found: Sequence[User], word: str) -> Sequence[User]:
    """The same, if they are not too many to be shown. Raises UsageError."""
    if len(found) > MOST_MATCHES:
        raise UsageError(
            f"{len(found)} users match {word!r}, at most {MOST_MATCHES} are shown:"
            " name one by its address or as logon/host"
        )
    return found


def _as_key(wanted: str) -> Key:
    logon, slash, host = wanted.partition("/")
    return plain((logon, host)) if slash else ("", "")


def _is_called(user: User, wanted: str, forms: set[bytes]) -> bool:
    p = user.presence.anew()
    return p.nick_text.casefold() == wanted or (p.nick in forms and not p.nick.isascii())


def _nick_pattern(forms: Iterable[bytes]) -> re.Pattern[bytes] | None:
    """Finds nearly all tails with this nick, and few others: it stands between ":" and an end."""
    likely = b"|".join(map(re.escape, sorted(forms)))
    return re.compile(b":(?:%b)(?:[\\0\\n]|\\Z)" % likely, re.IGNORECASE) if likely else None


# -- showing -------------------------------------------------------------------------------------------------------


def rows(inside: Inside, users: Sequence[User], now: float) -> Iterator[WhyRow | None]:
    """One row for each. None: a pause."""
    audiences = Audiences(inside.context, inside.announcer.agents, now)
    alike: dict[User, list[User]] = {user: [] for user in users}
    everybody = list(inside.context.roster.by_key.values())
    for start in range(0, len(everybody), LOOKS):
        _find_alike(everybody[start : start + LOOKS], alike)
        yield None
    for user in users:
        yield _row(inside, user, audiences, alike[user], now)
        yield None


def _row(inside: Inside, user: User, audiences: Audiences, alike: list[User], now: float) -> WhyRow:
    shown = view.row(user, now)
    p = user.presence.anew()  # what is looked up for this row alone is not kept
    peers = list(inside.peers.values())[:MOST_PEERS]
    ready = user.key not in inside.publishing.dirty and user not in inside.publishing.unsaid
    return WhyRow(
        **{name: getattr(shown, name) for name in AS_SHOWN},
        learned=user.learned.value,
        pinned=user.known_key is not None,
        words=words(user, p),
        holders=_holders(inside, user),
        audience=audiences.of(user),
        more_segments=max(0, len(inside.context.segments.all) - MOST_SEGMENTS),
        informed=[audiences.informed(user, peer, ready and not peer.owed) for peer in peers],
        alike=[_shown_alike(other, user, p.nick_text, now) for other in alike[:MOST_ALIKE]],
        more_alike=max(0, len(alike) - MOST_ALIKE),
        life=_life(inside, user, now),
        doubts=_doubts(inside, user, now),
    )


def words(user: User, p: Presence) -> Words:
    """What the user last said. ``p``: its presence."""
    marked = said(p.sent[4])
    raws = [None if text is not None else raw for text, raw in zip(marked, p.sent, strict=False)]
    found = None
    if not all(text.isascii() for text in p.texts):
        # Bytes that are valid UTF-8 beyond ASCII, and were read so, are what their sender meant them to be.
        foreign = [
            raw if raw and not raw.isascii() and not _is_meant(raw, p.charset) else None for raw in raws
        ]
        better = likelier(p.texts, foreign, p.charset if any(foreign) else "utf-8")
        found = better and Garbled(better.charset, list(better.texts), better.read_as)
    return Words(
        command=_command(user.mode),
        options=[option.name or hex(option) for option in Option if option & p.options],
        number=user.number.decode("ascii", "replace"),
        line=_line(user.datagram, p.charset),
        charset=p.charset,
        proven=p.proven,
        marked=any(text is not None for text in marked),
        raw={n: raw.hex() for n, raw in zip(NAMES, p.sent, strict=False) if not raw.isascii()},
        garbled=found,
    )


def _is_meant(raw: bytes, charset: str) -> bool:
    return is_utf8(charset) and exactly(raw, "utf-8") is not None


def _command(mode: int) -> str:
    try:
        return Command(mode).name
    except ValueError:
        return hex(mode)


def _line(datagram: bytes, charset: str) -> str:
    """One readable line: names in their charset, the trailer in UTF-8."""
    head, end, trailer = datagram.partition(b"\n")
    text = decode(head, charset) + (end + trailer).decode("utf-8", "replace")
    text = text.rstrip("\0").translate(_SHOWN)
    return text if len(text) <= LONGEST_LINE else text[:LONGEST_LINE] + "…"


def _holders(inside: Inside, user: User) -> list[Holder]:
    """Who hears the user first hand, the owner first."""
    found: list[tuple[bool, int, str, Holder]] = []  # what ranks them, and who it is
    if user.home and user.state is not State.OFFLINE:
        name = inside.context.settings.name
        ours = Holder(name, True, "witness", user.address, user.claim, True)
        found.append((True, user.claim, inside.settling.me, ours))
    for peer in list(inside.peers.values()):
        row = peer.copy.rows.get(user.key)
        if row is not None:
            sure = peer.lives(user.key) or (not peer.linked and not peer.stale)
            role = "contests" if row.claim == 0 else "witness" if sure else "before"
            theirs = Holder(peer.name, False, role, row.address, row.claim, peer.linked)
            found.append((role == "witness" and peer.linked, row.claim, peer.id, theirs))
    found.sort(key=lambda one: one[:3], reverse=True)
    holders = [holder for *_, holder in found]
    if holders and holders[0].role == "witness":
        owner = holders[0] = _as(holders[0], "owner")
        holders[1:] = [
            _as(one, "elsewhere") if one.role == "witness" and one.address != owner.address else one
            for one in holders[1:]
        ]
    return holders[:MOST_PEERS]


def _as(holder: Holder, role: str) -> Holder:
    return Holder(holder.relay, holder.ours, role, holder.address, holder.claim, holder.linked)


def _life(inside: Inside, user: User, now: float) -> Life:
    asked = gone = None
    forgotten: float | None = None
    if user.home or user.state is State.OFFLINE:
        outlook = inside.liveness.outlook(user)
        asked, gone, forgotten = outlook
    else:
        leaves = [peer.leaves for peer in inside.peers.values() if peer.name == user.via and not peer.linked]
        gone = min(leaves, default=None)
    return Life(
        heard=now - user.heard,
        said=now - user.spoke,
        joined=now - user.joined,
        unanswered=user.asked,
        waiting=inside.questions.waiting(user.address, now),
        asked_in=_until(asked, now),
        gone_in=_until(gone, now),
        forgotten_in=_until(forgotten, now),
        listed=now - user.listed if user.listed > NEVER else None,
        farewell=now - user.farewell if user.farewell > NEVER else None,
    )


def _until(then: float | None, now: float) -> float | None:
    return None if then is None else max(0.0, then - now)


def _doubts(inside: Inside, user: User, now: float) -> Doubts:
    candidate = user.candidate.address if user.candidate else None
    return Doubts(user.twin, user.rival, candidate, _until(inside.settling.contested.get(user.key), now))


def _find_alike(everybody: Iterable[User], alike: dict[User, list[User]]) -> None:
    """Add to each user the others with the same logon, machine or address."""
    logons, hosts = {user.key[0] for user in alike}, {user.key[1] for user in alike}
    addresses = {user.address for user in alike}
    for other in everybody:
        logon, host = other.key
        if (logon in logons or host in hosts or other.address in addresses) and not other.is_relay:
            for user, others in alike.items():
                same = user.key[0] == logon or user.key[1] == host or user.address == other.address
                if same and user is not other:
                    others.append(other)


def _shown_alike(other: User, user: User, nick: str, now: float) -> Alike:
    p = other.presence.anew()
    at, logon = other.address == user.address, other.key[0] == user.key[0]
    return Alike(
        p.logon_text, p.host_text, p.nick_text, other.address, other.state.value, now - other.heard,
        "address" if at else "logon" if logon else "host", p.nick_text == nick,
    )  # fmt: skip
